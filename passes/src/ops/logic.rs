//! Comparisons, logic and choices.

use graphs::{DType, Fact, Tensor};

use super::broadcast::{self, common_dtype, comparison};
use super::{Case, Def, Gradient, case, eval};
use Gradient::{Rule, Zero};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Equal",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::comparison(call, |order| order.is_eq())),
        cases: || comparisons("Equal"),
    },
    Def {
        op: "Greater",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::comparison(call, |order| order.is_gt())),
        cases: || comparisons("Greater"),
    },
    Def {
        op: "GreaterOrEqual",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::comparison(call, |order| order.is_ge())),
        cases: || comparisons("GreaterOrEqual"),
    },
    Def {
        op: "Less",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::comparison(call, |order| order.is_lt())),
        cases: || comparisons("Less"),
    },
    Def {
        op: "LessOrEqual",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::comparison(call, |order| order.is_le())),
        cases: || comparisons("LessOrEqual"),
    },
    Def {
        op: "And",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::arithmetic(call, |a, b| Some(a & b), |a, _| a)),
        cases: || vec![case("And").flags(&[2, 2]).flags(&[2])],
    },
    Def {
        op: "Or",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::arithmetic(call, |a, b| Some(a | b), |a, _| a)),
        cases: || vec![case("Or").flags(&[2, 2]).flags(&[2])],
    },
    Def {
        op: "Xor",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::arithmetic(call, |a, b| Some(a ^ b), |a, _| a)),
        cases: || vec![case("Xor").flags(&[2, 2]).flags(&[2])],
    },
    Def {
        op: "Not",
        infer: comparison,
        gradient: Zero,
        eval: Some(|call| eval::map(call, |a| Some(1 - a), |a| a)),
        cases: || vec![case("Not").flags(&[2, 2])],
    },
    test("IsNaN", || vec![case("IsNaN").x(&[2, 3])]),
    test("IsInf", || {
        let infinite = Tensor::vector(&[f32::INFINITY, f32::NEG_INFINITY, 0.0, f32::NAN]);
        let call = || case("IsInf").constant(infinite.clone());
        vec![call(), call().with("detect_negative", 0i64), call().with("detect_positive", 0i64)]
    }),
    Def {
        op: "Where",
        infer: |call| Ok(vec![Fact::new(common_dtype(call, 1)?, &broadcast::shape(call)?)]),
        gradient: Rule(|s| {
            let (condition, dy, zero) = (s.x(0)?, s.dy()?, s.number(0.0)?);
            let dx = s.when(1, |s| s.apply("Where", &[condition, dy, zero]))?;
            Ok(vec![None, dx, s.when(2, |s| s.apply("Where", &[condition, zero, dy]))?])
        }),
        eval: Some(eval::choice),
        cases: || {
            vec![
                case("Where").flags(&[2, 2]).x(&[2, 2]).x(&[2, 2]),
                case("Where").flags(&[2, 1]).x(&[3]).x(&[2, 1, 1]),
                case("Where").flags(&[3, 1]).x(&[3, 4]).scalar(0f32),
            ]
        },
    },
];

/// A question about every element.
const fn test(op: &'static str, cases: fn() -> Vec<Case>) -> Def {
    Def {
        op,
        infer: |call| Ok(vec![Fact::new(DType::Bool, &call.shape(0)?)]),
        gradient: Zero,
        eval: None,
        cases,
    }
}

fn comparisons(op: &str) -> Vec<Case> {
    vec![
        case(op).distinct(&[2, 3]).distinct(&[3]),
        case(op).ints(&[1, 2, 3]).ints(&[3, 2, 1]),
        case(op).distinct(&[2, 3]).scalar(0f32),
    ]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{infer, ints, shape};
    use super::*;

    #[test]
    fn types_are_what_the_operators_make() {
        let fact = &infer(case("Less").x(&[2, 1]).x(&[3])).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::Bool, &[2, 3]));
        assert_eq!(shape(case("Where").flags(&[2, 1]).x(&[3]).scalar(0f32)), [2, 3]);
    }

    #[test]
    fn the_arithmetic_of_expand_folds() {
        let wild = Tensor::from_bytes(DType::Bool, vec![2], vec![1u8, 0].into()).unwrap();
        assert_eq!(ints(case("Equal").ints(&[-1, 4]).scalar(-1i64)), [1, 0]);
        assert_eq!(ints(case("Where").constant(wild).ints(&[1, 1]).ints(&[-1, 4])), [1, 4]);
        assert_eq!(ints(case("Max").ints(&[1, 5]).ints(&[3, 3]).scalar(4i64)), [4, 5]);
    }
}
