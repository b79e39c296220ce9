//! From indices to indicators and back.

use graphs::{DType, Dim, Fact, NodeId, Op, Tensor, Value};

use super::eval::{self, Numbers};
use super::{Adjoint, Call, Def, Folded, Gradient, Gradients, case};
use crate::{Result, Tape};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "OneHot",
        infer: |call| Ok(vec![Fact::new(call.dtype(2)?, &one_hot(call)?.0)]),
        gradient: Gradient::Rule(values_gradient),
        eval: Some(fold),
        cases: || {
            let labels = || case("OneHot").ints(&[1, 0, 2]);
            let values = || Tensor::vector(&[0f32, 1.0]);
            vec![
                labels().scalar(3i64).constant(values()),
                labels().with("axis", 0i64).ints(&[4]).constant(values()),
                labels().scalar(3i64).x(&[2]),
                labels().with("axis", 0i64).scalar(4i64).x(&[2]),
            ]
        },
    },
    Def {
        op: "NonZero",
        infer: |call| {
            let rank = call.shape(0)?.len();
            let count = match positions(call)? {
                Some(positions) => Dim::Known(positions.len()),
                None => Dim::Unknown,
            };
            let shape = vec![Dim::Known(rank), count];
            Ok(vec![Fact { dtype: Some(DType::I64), shape: Some(shape) }])
        },
        gradient: Gradient::Zero,
        eval: Some(|call| {
            let (Some(x), Some(positions)) = (call.constant(0), positions(call)?) else {
                return Ok(None);
            };
            let strides = eval::strides(x.shape());
            let places = x.shape().iter().zip(&strides).flat_map(|(&size, &step)| {
                positions.iter().map(move |&i| i as i64 / step % size as i64)
            });
            let shape = [x.shape().len(), positions.len()];
            Ok(Some(vec![Tensor::new(&shape, places.collect::<Vec<i64>>())?]))
        }),
        cases: || vec![case("NonZero").flags(&[2, 3]), case("NonZero").ints(&[0, 3, 0, -1])],
    },
];

/// The shape with an axis of `depth`, by default at the end, and where that axis is.
fn one_hot(call: &Call) -> Result<(Vec<usize>, usize)> {
    let mut shape = call.shape(0)?;
    let axis = call.axis(call.op.int("axis", -1), shape.len() + 1)?;
    let depth = call.constant(1).ok_or_else(|| call.error("argument 1 must be a constant"))?;
    match eval::read(depth).and_then(whole).as_deref() {
        Some(&[depth]) if depth > 0 => shape.insert(axis, call.size(depth)?),
        other => return Err(call.error(format!("the depth is {other:?}, not one positive size"))),
    }
    if call.shape(2)? != [2] {
        return Err(call.error("argument 2 must be the two values for off and on"));
    }
    Ok((shape, axis))
}

/// Numbers as integers; `None` if one is none.
fn whole(numbers: Numbers) -> Option<Vec<i64>> {
    let integer = |v: f64| Some(v as i64).filter(|_| v.abs() < eval::EXACT);
    match numbers {
        Numbers::Ints(v) => Some(v),
        Numbers::Floats(v) => v.into_iter().map(integer).collect(),
    }
}

/// The sums over what is off and over what is on.
fn values_gradient(s: &mut Adjoint) -> Gradients {
    let (indices, depth, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let dtype = s.tape.dtype(dy)?;
    let rank = s.tape.shape(dy)?.len();
    let binary = s.tape.constant(Tensor::vector(&[0f32, 1.0]));
    let binary = s.tape.cast(binary, dtype)?;
    let op = Op::new("OneHot").with("axis", s.op.int("axis", -1));
    let on = s.tape.op(op, &[indices, depth, binary])?;
    let axes: Vec<usize> = (0..rank).collect();
    let all = s.tape.reduce_sum(dy, &axes, false)?;
    let on = s.apply("Mul", &[dy, on])?;
    let on = s.tape.reduce_sum(on, &axes, false)?;
    let off = s.apply("Sub", &[all, on])?;
    let [off, on] = [s.tape.reshape(off, &[1])?, s.tape.reshape(on, &[1])?];
    let both = s.tape.op(Op::new("Concat").with("axis", 0i64), &[off, on])?;
    Ok(vec![None, None, Some(both)])
}

/// tract wants constant values: 0 and 1, which then choose from the others.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let [indices, depth, values] = [0, 1, 2].map(|slot| tape.graph.argument(id, slot));
    let (Some(indices), Some(depth), Some(values)) = (indices, depth, values) else {
        return Ok(None);
    };
    let (Some(op), None) = (tape.graph.node(id).op().cloned(), tape.graph.tensor(values)) else {
        return Ok(None);
    };
    let binary = tape.ints(&[0, 1]);
    let choice = tape.op(op, &[indices, depth, binary])?;
    tape.op(Op::new("Gather").with("axis", 0i64), &[values, choice]).map(Some)
}

fn fold(call: &Call) -> Folded {
    let (Some(indices), Some(values), Some(_)) =
        (call.constant(0), call.constant(2), call.constant(1))
    else {
        return Ok(None);
    };
    let indices = eval::read(indices).and_then(whole);
    let (Some(indices), (shape, axis)) = (indices, one_hot(call)?) else { return Ok(None) };
    let depth = shape.get(axis).copied().unwrap_or(1);
    let inner: usize = shape.iter().skip(axis + 1).product();
    let count = graphs::element_count(&shape).filter(|&count| count <= eval::LIMIT);
    let Some(count) = count else { return Ok(None) };
    let on = |flat: usize| {
        let at = flat / inner / depth * inner + flat % inner;
        let index = indices.get(at).copied().unwrap_or(-1);
        let index = if index < 0 { index.saturating_add(depth as i64) } else { index };
        usize::from(index == (flat / inner % depth) as i64)
    };
    eval::pick(values, &shape, (0..count).map(on))
}

/// Where a constant is not zero, if it is known.
fn positions(call: &Call) -> Result<Option<Vec<usize>>> {
    let Some(x) = call.constant(0).filter(|x| x.len() <= eval::LIMIT) else { return Ok(None) };
    let there = |flags: Vec<bool>| {
        let places = flags.into_iter().enumerate().filter(|(_, there)| *there);
        places.map(|(i, _)| i).collect()
    };
    Ok(match eval::read(x) {
        Some(Numbers::Ints(v)) => Some(there(v.iter().map(|&v| v != 0).collect())),
        Some(Numbers::Floats(v)) => Some(there(v.iter().map(|&v| v != 0.0).collect())),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::Case;
    use super::super::trial::{eval, infer, ints, refusal, shape};
    use super::*;

    #[test]
    fn one_hot_adds_an_axis() {
        let labels = |axis: i64, depth: i64| {
            let values = Tensor::vector(&[0f32, 1.0]);
            case("OneHot").with("axis", axis).ints(&[1, 0, 2]).scalar(depth).constant(values)
        };
        let fact = &infer(labels(-1, 5)).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::F32, &[3, 5]));
        assert_eq!(shape(labels(0, 5)), [5, 3]);
        assert!(refusal(labels(0, 0)).contains("positive"));
        assert!(refusal(labels(2, 5)).contains("out of range"));
    }

    #[test]
    fn constants_become_indicators() {
        let call = |axis: i64| -> Case {
            let call = case("OneHot").with("axis", axis).ints(&[1, -1, 9]).scalar(2i64);
            call.ints(&[5, 7])
        };
        assert_eq!(ints(call(-1)), [5, 7, 5, 7, 5, 5]);
        assert_eq!(ints(call(0)), [5, 5, 5, 7, 7, 5]);
        let floats = case("OneHot").constant(Tensor::vector(&[1f32])).scalar(2f32).ints(&[5, 7]);
        assert_eq!(ints(floats), [5, 7]);
    }

    #[test]
    fn what_is_not_zero_has_a_place() {
        let matrix = Tensor::new(&[2, 2], vec![0i64, 3, -1, 0]).unwrap();
        let places = &eval(case("NonZero").constant(matrix))[0];
        assert_eq!((places.shape(), places.integers().unwrap()), (&[2, 2][..], vec![0, 1, 1, 0]));
        let unknown = infer(case("NonZero").x(&[2, 3])).unwrap();
        assert_eq!(unknown[0].known_shape(), None);
    }
}
