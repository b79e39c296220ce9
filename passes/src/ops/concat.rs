//! Operators that join along an axis and cut into parts.

use graphs::{Fact, Op, Tensor};

use super::broadcast::common_dtype;
use super::{Adjoint, Call, Def, Folded, Gradient, Gradients, case, eval};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Concat",
        infer: concat_shape,
        gradient: Rule(concat),
        eval: Some(join),
        cases: || {
            vec![
                case("Concat").with("axis", 0i64).x(&[2, 3]).x(&[1, 3]),
                case("Concat").with("axis", -1i64).x(&[2, 1]).x(&[2, 3]).x(&[2, 2]),
                case("Concat").with("axis", 1i64).x(&[2, 2, 2]),
            ]
        },
    },
    Def {
        op: "Split",
        infer: |call| {
            let (axis, sizes) = parts(call)?;
            let (dtype, shape) = (call.dtype(0)?, call.shape(0)?);
            let part = |&size| {
                let mut shape = shape.clone();
                shape.iter_mut().skip(axis).take(1).for_each(|n| *n = size);
                Fact::new(dtype, &shape)
            };
            Ok(sizes.iter().map(part).collect())
        },
        gradient: Rule(split),
        eval: Some(cut),
        cases: || {
            let in_two = case("Split").with("num_outputs", 2i64).x(&[5, 2]).outputs(2);
            let uneven = case("Split").with("axis", -1i64).x(&[2, 6]).ints(&[1, 3, 2]).outputs(3);
            let four = case("Split").with("num_outputs", 4i64).with("axis", 1i64).x(&[2, 7]);
            vec![in_two, uneven, four.outputs(4), case("Split").x(&[4, 2]).ints(&[0, 4]).outputs(2)]
        },
    },
];

fn concat_shape(call: &Call) -> Result<Vec<Fact>> {
    let dtype = common_dtype(call, 0)?;
    let mut shape = call.shape(0)?;
    let axis = call.axis(call.op.int("axis", 0), shape.len())?;
    for i in 1..call.count() {
        let other = call.shape(i)?;
        let fits = other.len() == shape.len()
            && (0..shape.len()).all(|j| j == axis || shape.get(j) == other.get(j));
        if !fits {
            let reason = format!("argument {i} is {other:?}, which does not continue {shape:?}");
            return Err(call.error(reason));
        }
        if let (Some(size), Some(more)) = (shape.get_mut(axis), other.get(axis)) {
            *size = size.saturating_add(*more);
        }
    }
    Ok(vec![Fact::new(dtype, &shape)])
}

fn concat(s: &mut Adjoint) -> Gradients {
    let (dy, rank) = (s.dy()?, s.shape(0)?.len());
    let axis = s.call()?.axis(s.op.int("axis", 0), rank)?;
    let mut start = 0;
    let mut gradients = Vec::new();
    for i in 0..s.arguments.len() {
        let size = s.shape(i)?.get(axis).map_or(0, |&n| n as i64);
        let end = start + size;
        let part = |s: &mut Adjoint| s.tape.slice(dy, &[axis as i64], &[start], &[end], &[1]);
        gradients.push(s.when(i, part)?);
        start = end;
    }
    Ok(gradients)
}

/// Concat of small constants.
fn join(call: &Call) -> Folded {
    let Some(constants) = eval::constants(call) else { return Ok(None) };
    let Some(fact) = concat_shape(call)?.pop() else { return Ok(None) };
    let shape = fact.known_shape().unwrap_or_default();
    let axis = call.axis(call.op.int("axis", 0), shape.len())?;
    let total: usize = constants.iter().map(|x| x.bytes().len()).sum();
    if fact.dtype.is_none_or(|t| t.bits() < 8) || total > eval::LIMIT * size_of::<i64>() {
        return Ok(None);
    }
    // Without elements there are no rows either, whatever the other sizes say.
    let outer: usize = if total == 0 { 0 } else { shape.iter().take(axis).product() };
    let mut data = Vec::with_capacity(total);
    for row in 0..outer {
        for x in &constants {
            let width = x.bytes().len() / outer;
            data.extend_from_slice(x.bytes().get(row * width..(row + 1) * width).unwrap_or(&[]));
        }
    }
    Ok(Some(vec![Tensor::from_bytes(call.dtype(0)?, shape, data.into())?]))
}

/// The most parts that `num_outputs` may ask for.
const PARTS: usize = 1 << 16;

/// The axis of a Split and the size of every part.
fn parts(call: &Call) -> Result<(usize, Vec<usize>)> {
    let shape = call.shape(0)?;
    let axis = call.axis(call.op.int("axis", 0), shape.len())?;
    let size = shape.get(axis).copied().unwrap_or_default();
    let sizes: Vec<usize> = match call.integers(1)? {
        Some(sizes) => sizes.iter().map(|&n| call.size(n)).collect::<Result<_>>()?,
        None => {
            let count = call.size(call.op.int("num_outputs", 0))?;
            if !(1..=size.clamp(1, PARTS)).contains(&count) {
                let reason = format!("cannot split {size} elements into {count} parts");
                return Err(call.error(reason));
            }
            let most = size.div_ceil(count);
            (0..count).map(|i| most.min(size.saturating_sub(i * most))).collect()
        }
    };
    if sizes.iter().try_fold(0usize, |sum, &n| sum.checked_add(n)) != Some(size) {
        return Err(call.error(format!("the parts {sizes:?} do not add up to {size}")));
    }
    Ok((axis, sizes))
}

/// Split of a small constant.
fn cut(call: &Call) -> Folded {
    let Some(x) = call.constant(0).filter(|x| x.len() <= eval::LIMIT) else { return Ok(None) };
    if call.has(1) && call.constant(1).is_none() {
        return Ok(None);
    }
    let (axis, sizes) = parts(call)?;
    let strides = eval::strides(x.shape());
    let (mut at, mut tensors) = (0, Vec::new());
    for size in sizes {
        let mut shape = x.shape().to_vec();
        shape.iter_mut().skip(axis).take(1).for_each(|n| *n = size);
        let first = at * strides.get(axis).copied().unwrap_or(0);
        let Some(positions) = eval::view(&shape, first, &strides) else { return Ok(None) };
        let Some(part) = eval::pick(x, &shape, positions)? else { return Ok(None) };
        tensors.extend(part);
        at += size as i64;
    }
    Ok(Some(tensors))
}

fn split(s: &mut Adjoint) -> Gradients {
    let (axis, sizes) = parts(&s.call()?)?;
    let mut gradients = Vec::new();
    for i in 0..sizes.len() {
        gradients.push(match s.gradients.get(i).copied().flatten() {
            Some(gradient) => gradient,
            None => s.tape.zeros_like(s.y(i))?,
        });
    }
    let concat = Op::new("Concat").with("axis", axis as i64);
    Ok(vec![Some(s.tape.op(concat, &gradients)?)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::Case;
    use super::super::trial::{self, infer, ints, refusal, shape};
    use super::*;

    #[test]
    fn parts_join_and_split() {
        let last = |call: Case| call.with("axis", -1i64);
        assert_eq!(shape(last(case("Concat")).x(&[2, 1]).x(&[2, 3])), [2, 4]);
        assert!(refusal(last(case("Concat")).x(&[2, 1]).x(&[3, 1])).contains("does not continue"));
        assert_eq!(ints(last(case("Concat")).ints(&[1]).ints(&[2, 3])), [1, 2, 3]);
        let sizes = |call| {
            let facts = infer(call).unwrap();
            facts.iter().map(|fact| fact.known_shape().unwrap()[0]).collect::<Vec<_>>()
        };
        assert_eq!(sizes(case("Split").with("num_outputs", 3i64).x(&[7])), [3, 3, 1]);
        assert_eq!(sizes(case("Split").x(&[7]).ints(&[5, 2])), [5, 2]);
        let halves = trial::eval(case("Split").with("num_outputs", 2i64).ints(&[1, 2, 3]));
        assert_eq!(halves[0].integers().unwrap(), [1, 2]);
        assert_eq!(halves[1].integers().unwrap(), [3]);
        assert!(refusal(case("Split").x(&[7]).ints(&[5, 3])).contains("add up"));
        assert!(
            refusal(case("Split").with("num_outputs", i64::MAX).x(&[7])).contains("7 elements")
        );
    }
}
