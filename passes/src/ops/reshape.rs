//! Operators that show the same elements under another shape.

use graphs::{Fact, element_count};

use super::{Adjoint, Call, Def, Folded, Gradient, Gradients, case, eval, like_first, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Reshape",
        infer: reshape,
        gradient: Rule(back),
        eval: Some(same_elements),
        cases: || {
            vec![
                case("Reshape").x(&[2, 3, 4]).ints(&[0, -1]),
                case("Reshape").x(&[2, 3, 4]).ints(&[4, 3, 2]),
                case("Reshape").x(&[1, 1]).ints(&[]),
                case("Reshape").with("allowzero", 1i64).x(&[2, 3]).ints(&[3, -1]),
                case("Reshape").x(&[]).ints(&[1, -1]),
            ]
        },
    },
    Def {
        op: "Flatten",
        infer: flatten,
        gradient: Rule(back),
        eval: Some(same_elements),
        cases: || {
            vec![
                case("Flatten").x(&[2, 3, 4]),
                case("Flatten").with("axis", 0i64).x(&[2, 3]),
                case("Flatten").with("axis", -1i64).x(&[2, 3, 4]),
                case("Flatten").with("axis", 2i64).x(&[2, 3]),
            ]
        },
    },
    Def {
        op: "Squeeze",
        infer: squeeze,
        gradient: Rule(back),
        eval: Some(same_elements),
        cases: || {
            vec![
                case("Squeeze").x(&[1, 3, 1, 2]),
                case("Squeeze").x(&[1, 3, 1, 2]).ints(&[-2]),
                case("Squeeze").x(&[1, 3, 1, 2]).ints(&[0, 2]),
                case("Squeeze").x(&[1, 3, 1, 2, 1]).ints(&[-1, 0]),
            ]
        },
    },
    Def {
        op: "Unsqueeze",
        infer: unsqueeze,
        gradient: Rule(back),
        eval: Some(same_elements),
        cases: || {
            vec![
                case("Unsqueeze").x(&[2, 3]).ints(&[0]),
                case("Unsqueeze").x(&[2, 3]).ints(&[-1, 1]),
                case("Unsqueeze").x(&[2, 3]).ints(&[3, 0]),
            ]
        },
    },
    Def {
        op: "Identity",
        infer: like_first,
        gradient: Rule(|s| only(s.dy()?)),
        eval: Some(same_elements),
        cases: || vec![case("Identity").x(&[2, 3])],
    },
];

/// The gradient under the argument's shape.
fn back(s: &mut Adjoint) -> Gradients {
    let (dy, shape) = (s.dy()?, s.shape(0)?);
    Ok(vec![Some(s.tape.reshape(dy, &shape)?), None])
}

/// A constant under the shape that its operator's shape rule gives.
fn same_elements(call: &Call) -> Folded {
    let Some(constants) = eval::constants(call) else { return Ok(None) };
    let shape = super::infer(call)?.first().and_then(Fact::known_shape);
    match (constants.first(), shape) {
        (Some(x), Some(shape)) => Ok(Some(vec![x.reshaped(&shape)?])),
        _ => Ok(None),
    }
}

fn fact(call: &Call, shape: &[usize]) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(call.dtype(0)?, shape)])
}

fn reshape(call: &Call) -> Result<Vec<Fact>> {
    let (from, wanted) = (call.shape(0)?, call.required_integers(1)?);
    let keep_zero = call.op.int("allowzero", 0) != 0;
    let refuse = || call.error(format!("{from:?} cannot be reshaped to {wanted:?}"));
    let mut shape = Vec::new();
    for (i, &n) in wanted.iter().enumerate() {
        shape.push(match n {
            -1 => None,
            0 if !keep_zero => Some(*from.get(i).ok_or_else(refuse)?),
            n => Some(call.size(n)?),
        });
    }
    let known: Vec<usize> = shape.iter().copied().flatten().collect();
    let total = element_count(&from).ok_or_else(refuse)?;
    let rest = match (element_count(&known), shape.len() - known.len()) {
        (Some(count), 0) if count == total => 1,
        (Some(count), 1) if count > 0 && total % count == 0 => total / count,
        _ => return Err(refuse()),
    };
    let shape: Vec<usize> = shape.into_iter().map(|n| n.unwrap_or(rest)).collect();
    fact(call, &shape)
}

fn flatten(call: &Call) -> Result<Vec<Fact>> {
    let shape = call.shape(0)?;
    // The axis may also stand behind the last one.
    let axis = call.axis(call.op.int("axis", 1), shape.len()).or_else(|error| {
        if call.op.int("axis", 1) == shape.len() as i64 { Ok(shape.len()) } else { Err(error) }
    })?;
    let (outer, inner) = shape.split_at(axis);
    match (element_count(outer), element_count(inner)) {
        (Some(outer), Some(inner)) => fact(call, &[outer, inner]),
        _ => Err(call.error(format!("{shape:?} is too large"))),
    }
}

fn squeeze(call: &Call) -> Result<Vec<Fact>> {
    let shape = call.shape(0)?;
    let gone = match call.integers(1)? {
        Some(axes) => call.axes(&axes, shape.len())?,
        None => (0..shape.len()).filter(|&i| shape.get(i) == Some(&1)).collect(),
    };
    if let Some(&i) = gone.iter().find(|&&i| shape.get(i) != Some(&1)) {
        return Err(call.error(format!("axis {i} of {shape:?} is not 1")));
    }
    let left = (0..shape.len()).filter(|i| !gone.contains(i)).filter_map(|i| shape.get(i).copied());
    fact(call, &left.collect::<Vec<_>>())
}

fn unsqueeze(call: &Call) -> Result<Vec<Fact>> {
    let (shape, axes) = (call.shape(0)?, call.required_integers(1)?);
    let rank = shape.len() + axes.len();
    let new = call.axes(&axes, rank)?;
    let mut old = shape.into_iter();
    let size = |i| if new.contains(&i) { Some(1) } else { old.next() };
    fact(call, &(0..rank).filter_map(size).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use graphs::Tensor;

    use super::super::trial::{eval, ints, refusal, shape};
    use super::*;

    #[test]
    fn reshape_keeps_and_infers_axes() {
        let x = || case("Reshape").x(&[2, 3, 4]);
        assert_eq!(shape(x().ints(&[0, -1])), [2, 12]);
        assert_eq!(shape(x().ints(&[-1])), [24]);
        assert!(!refusal(case("Reshape").x(&[0, 3]).ints(&[3, 0])).is_empty());
        assert_eq!(shape(case("Reshape").with("allowzero", 1i64).x(&[0, 3]).ints(&[3, 0])), [3, 0]);
        for bad in [&[5, -1], &[-1, -1], &[2, 13], &[-2, 12], &[i64::MAX, i64::MAX]] {
            assert!(!refusal(x().ints(bad)).is_empty());
        }
        assert!(refusal(case("Reshape").x(&[6]).ints(&[6, 0])).contains("cannot be reshaped"));
    }

    #[test]
    fn axes_of_one_come_and_go() {
        assert_eq!(shape(case("Flatten").with("axis", 3i64).x(&[2, 3, 4])), [24, 1]);
        assert!(refusal(case("Flatten").with("axis", 4i64).x(&[2, 3, 4])).contains("axis 4"));
        assert_eq!(shape(case("Squeeze").x(&[1, 3, 1])), [3]);
        assert!(refusal(case("Squeeze").x(&[1, 3]).ints(&[1])).contains("is not 1"));
        assert_eq!(shape(case("Unsqueeze").x(&[2, 3]).ints(&[-1, 1])), [2, 1, 3, 1]);
        assert!(refusal(case("Unsqueeze").x(&[2]).ints(&[1, 1])).contains("named twice"));
    }

    #[test]
    fn constants_keep_their_elements() {
        assert_eq!(shape(case("Reshape").ints(&[1, 2]).ints(&[1, 2])), [1, 2]);
        let cube = eval(case("Unsqueeze").ints(&[7, 8]).ints(&[0, -1]));
        assert_eq!(cube.first().map(Tensor::shape), Some(&[1, 2, 1][..]));
        assert_eq!(ints(case("Reshape").ints(&[7, 8]).ints(&[2, -1])), [7, 8]);
    }
}
