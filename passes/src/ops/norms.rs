//! Reductions to norms, logarithms of sums, and products.

use graphs::{Op, Value};

use super::body::Site;
use super::reduce::{self, fold, reduction, spread};
use super::{Adjoint, Case, Def, Gradient, Gradients, case, only};
use crate::Result;
use Gradient::{Body, Rule};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "ReduceL1",
        infer: reduce::shape,
        gradient: Rule(|s| {
            let x = s.x(0)?;
            let sign = s.apply("Sign", &[x])?;
            along(s, sign)
        }),
        eval: None,
        cases: || reduce::calls("ReduceL1"),
    },
    Def {
        op: "ReduceL2",
        infer: reduce::shape,
        gradient: Rule(euclidean),
        eval: None,
        cases: || reduce::calls("ReduceL2"),
    },
    Def {
        op: "ReduceSumSquare",
        infer: reduce::shape,
        gradient: Rule(|s| {
            let x = s.x(0)?;
            let double = s.scaled(x, 2.0)?;
            along(s, double)
        }),
        eval: None,
        cases: || reduce::calls("ReduceSumSquare"),
    },
    Def {
        op: "ReduceLogSum",
        infer: reduce::shape,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let sum = s.apply("Exp", &[y])?;
            let part = s.apply("Div", &[dy, sum])?;
            only(spread(s, part)?)
        }),
        eval: None,
        cases: || {
            let x = |case: Case| case.within(&[2, 3, 4], 0.2, 1.5);
            vec![
                x(case("ReduceLogSum")),
                x(case("ReduceLogSum")).ints(&[1, -1]),
                x(case("ReduceLogSum").with("keepdims", 0i64)).ints(&[0]),
                case("ReduceLogSum").with("noop_with_empty_axes", 1i64).within(&[3], 0.2, 1.5),
            ]
        },
    },
    Def {
        op: "ReduceLogSumExp",
        infer: reduce::shape,
        gradient: Rule(|s| {
            let (x, y) = (s.x(0)?, s.y(0));
            let y = spread(s, y)?;
            let log = s.apply("Sub", &[x, y])?;
            let share = s.apply("Exp", &[log])?;
            along(s, share)
        }),
        eval: None,
        cases: || {
            let x = |case: Case| case.x(&[2, 3, 4]);
            vec![
                x(case("ReduceLogSumExp")),
                x(case("ReduceLogSumExp")).ints(&[1, -1]),
                x(case("ReduceLogSumExp").with("keepdims", 0i64)).ints(&[0]),
                case("ReduceLogSumExp").with("noop_with_empty_axes", 1i64).x(&[3]),
            ]
        },
    },
    Def {
        op: "ReduceProd",
        infer: reduce::shape,
        gradient: Body(product),
        eval: Some(|call| fold(call, 1, i64::checked_mul)),
        cases: || {
            let mut cases = reduce::calls("ReduceProd");
            cases.push(case("ReduceProd").ints(&[2, 3, 4]));
            cases
        },
    },
];

/// What arrives, spread over all elements and times `slope`.
fn along(s: &mut Adjoint, slope: Value) -> Gradients {
    let dy = s.dy()?;
    let dy = spread(s, dy)?;
    only(s.apply("Mul", &[dy, slope])?)
}

/// `x / |x|`, and 0 where the norm is 0.
fn euclidean(s: &mut Adjoint) -> Gradients {
    let (x, y, dy) = (s.x(0)?, s.y(0), s.dy()?);
    let (zero, one) = (s.number(0.0)?, s.number(1.0)?);
    let nothing = s.apply("Equal", &[y, zero])?;
    let norm = s.apply("Where", &[nothing, one, y])?;
    let part = s.apply("Div", &[dy, norm])?;
    let part = spread(s, part)?;
    only(s.apply("Mul", &[part, x])?)
}

/// The product as products of halves: their gradients divide by nothing, so that zeros do
/// no harm.
fn product(s: &mut Site) -> Result<Vec<Value>> {
    let reduction = reduction(&s.call())?;
    let mut x = s.x(0)?;
    if reduction.count() == 0 {
        let one = s.number(1.0)?;
        return Ok(vec![s.tape.expand(one, &reduction.output())?]);
    }
    for &axis in &reduction.axes {
        let mut left = reduction.shape.get(axis).copied().unwrap_or(1);
        while left > 1 {
            let half = left / 2;
            let mut part = |from: usize, to: usize| {
                s.tape.slice(x, &[axis as i64], &[from as i64], &[to as i64], &[1])
            };
            let (a, b) = (part(0, half)?, part(half, 2 * half)?);
            let odd = if left.is_multiple_of(2) { None } else { Some(part(2 * half, left)?) };
            x = s.apply("Mul", &[a, b])?;
            if let Some(odd) = odd {
                x = s.tape.op(Op::new("Concat").with("axis", axis as i64), &[x, odd])?;
            }
            left -= half;
        }
    }
    Ok(vec![s.tape.reshape(x, &reduction.output())?])
}
