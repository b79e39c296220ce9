//! Arithmetic and elementary functions, element by element.

use std::f64::consts::FRAC_2_SQRT_PI;

use super::broadcast::same_type;
use super::{Adjoint, Case, Def, Gradient, Gradients, case, eval, like_first, only};
use Gradient::{Rule, Zero};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Add",
        infer: same_type,
        gradient: Rule(|s| Ok(vec![Some(s.dy()?), Some(s.dy()?)])),
        eval: Some(|call| eval::arithmetic(call, i64::checked_add, |a, b| a + b)),
        cases: || pairs("Add"),
    },
    Def {
        op: "Sub",
        infer: same_type,
        gradient: Rule(|s| {
            let dy = s.dy()?;
            Ok(vec![Some(dy), s.when(1, |s| s.apply("Neg", &[dy]))?])
        }),
        eval: Some(|call| eval::arithmetic(call, i64::checked_sub, |a, b| a - b)),
        cases: || pairs("Sub"),
    },
    Def {
        op: "Mul",
        infer: same_type,
        gradient: Rule(|s| {
            let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
            let da = s.when(0, |s| s.apply("Mul", &[dy, b]))?;
            Ok(vec![da, s.when(1, |s| s.apply("Mul", &[dy, a]))?])
        }),
        eval: Some(|call| eval::arithmetic(call, i64::checked_mul, |a, b| a * b)),
        cases: || pairs("Mul"),
    },
    Def {
        op: "Div",
        infer: same_type,
        gradient: Rule(div),
        eval: Some(|call| eval::arithmetic(call, i64::checked_div, |a, b| a / b)),
        cases: || {
            vec![
                case("Div").x(&[2, 3]).within(&[2, 3], 0.5, 1.5),
                case("Div").x(&[3, 1, 2]).within(&[4, 1], -1.5, -0.5),
                case("Div").x(&[3]).scalar(2f32),
            ]
        },
    },
    Def {
        op: "Neg",
        infer: like_first,
        gradient: Rule(|s| {
            let dy = s.dy()?;
            only(s.apply("Neg", &[dy])?)
        }),
        eval: Some(|call| eval::map(call, i64::checked_neg, |x| -x)),
        cases: || vec![case("Neg").x(&[2, 3])],
    },
    Def {
        op: "Abs",
        infer: like_first,
        gradient: Rule(|s| {
            let (x, dy) = (s.x(0)?, s.dy()?);
            let sign = s.apply("Sign", &[x])?;
            only(s.apply("Mul", &[dy, sign])?)
        }),
        eval: Some(|call| eval::map(call, i64::checked_abs, f64::abs)),
        cases: || vec![case("Abs").distinct(&[2, 3])],
    },
    Def {
        op: "Erf",
        infer: like_first,
        gradient: Rule(|s| {
            let (x, dy) = (s.x(0)?, s.dy()?);
            let square = s.apply("Mul", &[x, x])?;
            let square = s.apply("Neg", &[square])?;
            let bell = s.apply("Exp", &[square])?;
            let slope = s.scaled(bell, FRAC_2_SQRT_PI)?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Erf").x(&[2, 3])],
    },
    Def {
        op: "Sign",
        infer: like_first,
        gradient: Zero,
        eval: None,
        cases: || vec![case("Sign").distinct(&[2, 3])],
    },
    Def {
        op: "Floor",
        infer: like_first,
        gradient: Zero,
        eval: Some(|call| eval::map(call, |_| None, f64::floor)),
        cases: || vec![case("Floor").within(&[2, 3], 1.2, 1.8)],
    },
    Def {
        op: "Ceil",
        infer: like_first,
        gradient: Zero,
        eval: Some(|call| eval::map(call, |_| None, f64::ceil)),
        cases: || vec![case("Ceil").within(&[2, 3], -1.8, -1.2)],
    },
    Def {
        op: "Round",
        infer: like_first,
        gradient: Zero,
        eval: Some(|call| eval::map(call, |_| None, f64::round_ties_even)),
        cases: || vec![case("Round").within(&[2, 3], 0.6, 1.4)],
    },
];

fn pairs(op: &str) -> Vec<Case> {
    vec![
        case(op).x(&[2, 3]).x(&[2, 3]),
        case(op).x(&[2, 1, 3]).x(&[4, 1]),
        case(op).x(&[3]).x(&[2, 2, 1]),
        case(op).x(&[2, 3]).scalar(0.5f32),
    ]
}

/// (a / b)' = (da - y db) / b.
fn div(s: &mut Adjoint) -> Gradients {
    let (b, y, dy) = (s.x(1)?, s.y(0), s.dy()?);
    let da = s.apply("Div", &[dy, b])?;
    let db = s.when(1, |s| {
        let product = s.apply("Mul", &[da, y])?;
        s.apply("Neg", &[product])
    })?;
    Ok(vec![Some(da), db])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, ints, refusal, shape};
    use super::*;

    #[test]
    fn shapes_broadcast() {
        assert_eq!(shape(case("Add").x(&[2, 1, 3]).x(&[4, 1])), [2, 4, 3]);
        assert_eq!(shape(case("Mul").x(&[0, 3]).x(&[1, 1])), [0, 3]);
        assert!(refusal(case("Add").x(&[2]).x(&[3])).contains("do not broadcast"));
        assert!(refusal(case("Add").x(&[2]).ints(&[1, 2])).contains("is int64"));
        assert!(refusal(case("Add").x(&[1 << 40, 1]).x(&[1, 1 << 40])).contains("too large"));
    }

    #[test]
    fn integers_are_computed_as_onnx_does() {
        assert_eq!(ints(case("Add").ints(&[1, 2, 3]).scalar(10i64)), [11, 12, 13]);
        assert_eq!(ints(case("Div").ints(&[7, -7]).scalar(2i64)), [3, -3]);
        assert!(eval(case("Div").ints(&[1]).ints(&[0])).is_empty());
        assert!(eval(case("Mul").ints(&[i64::MAX]).ints(&[2])).is_empty());
    }

    #[test]
    fn floats_round_as_float32_does() {
        let sum = eval(case("Add").scalar(0.1f32).scalar(0.2f32));
        assert_eq!(*sum[0].values::<f32>().unwrap(), [0.1f32 + 0.2f32]);
        let halves = eval(case("Round").scalar(2.5f32));
        assert_eq!(*halves[0].values::<f32>().unwrap(), [2.0]);
    }
}
