//! Operators that read the same elements in another order or several times.

use graphs::Fact;

use super::{Call, Def, Gradient, broadcast, case, eval, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Expand",
        infer: expand,
        gradient: Rule(|s| Ok(vec![Some(s.dy()?), None])),
        eval: Some(|call| {
            let (Some(x), Some(_)) = (call.constant(0), call.constant(1)) else { return Ok(None) };
            let shape = expanded(call)?;
            match eval::stretch(x.shape(), &shape) {
                Some(positions) => eval::pick(x, &shape, positions),
                None => Ok(None),
            }
        }),
        cases: || {
            vec![
                case("Expand").x(&[3, 1]).ints(&[2, 3, 4]),
                case("Expand").x(&[3, 4]).ints(&[1, 1]),
                case("Expand").x(&[]).ints(&[2, 2]),
            ]
        },
    },
    Def {
        op: "Transpose",
        infer: |call| {
            let shape = call.shape(0)?;
            let order = order(call, shape.len())?;
            Ok(vec![Fact::new(call.dtype(0)?, &permuted(&shape, &order))])
        },
        gradient: Rule(|s| {
            let (dy, order) = (s.dy()?, order(&s.call()?, s.shape(0)?.len())?);
            let mut inverse: Vec<usize> = (0..order.len()).collect();
            inverse.sort_by_key(|&i| order.get(i));
            only(s.tape.transpose(dy, &inverse)?)
        }),
        eval: Some(|call| {
            let Some(x) = call.constant(0) else { return Ok(None) };
            let order = order(call, x.shape().len())?;
            let shape = permuted(x.shape(), &order);
            match eval::view(&shape, 0, &permuted(&eval::strides(x.shape()), &order)) {
                Some(positions) => eval::pick(x, &shape, positions),
                None => Ok(None),
            }
        }),
        cases: || {
            vec![
                case("Transpose").x(&[2, 3, 4]),
                case("Transpose").with("perm", vec![1, 2, 0]).x(&[2, 3, 4]),
                case("Transpose").with("perm", vec![0, 2, 3, 1]).x(&[2, 3, 1, 2]),
            ]
        },
    },
];

fn expanded(call: &Call) -> Result<Vec<usize>> {
    let wanted = call.required_integers(1)?;
    let wanted: Vec<usize> = wanted.iter().map(|&n| call.size(n)).collect::<Result<_>>()?;
    broadcast::pair(call, &call.shape(0)?, &wanted)
}

fn expand(call: &Call) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(call.dtype(0)?, &expanded(call)?)])
}

/// Where each axis of Transpose's result comes from.
fn order(call: &Call, rank: usize) -> Result<Vec<usize>> {
    let Some(perm) = call.op.ints("perm") else { return Ok((0..rank).rev().collect()) };
    let order = call.axes(perm, rank)?;
    if order.len() != rank {
        return Err(call.error(format!("`perm` {perm:?} does not name every one of {rank} axes")));
    }
    Ok(order)
}

fn permuted<T: Copy>(of: &[T], order: &[usize]) -> Vec<T> {
    order.iter().filter_map(|&i| of.get(i).copied()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use graphs::Tensor;

    use super::super::trial::{eval, ints, refusal, shape};
    use super::*;

    #[test]
    fn constants_move() {
        let matrix = Tensor::new(&[2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap();
        assert_eq!(ints(case("Transpose").constant(matrix)), [1, 4, 2, 5, 3, 6]);
        assert_eq!(ints(case("Expand").ints(&[1, 2]).ints(&[2, 1])), [1, 2, 1, 2]);
        assert!(eval(case("Expand").ints(&[1]).ints(&[1 << 40])).is_empty());
    }

    #[test]
    fn axes_are_checked() {
        assert_eq!(
            shape(case("Transpose").with("perm", vec![1i64, 2, 0]).x(&[2, 3, 4])),
            [3, 4, 2]
        );
        assert!(refusal(case("Transpose").with("perm", vec![0i64]).x(&[2, 3])).contains("perm"));
        assert!(refusal(case("Expand").x(&[2]).ints(&[3])).contains("do not broadcast"));
        assert!(refusal(case("Expand").x(&[2]).ints(&[-1, 2])).contains("no dimension"));
    }
}
