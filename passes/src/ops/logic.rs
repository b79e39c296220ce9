//! Comparisons, choices, and what picks or mixes one of several arguments.

use graphs::{DType, Fact, Tensor};

use super::broadcast::{self, common_dtype, comparison, same_type};
use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case, eval};
use crate::Result;
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
    Def {
        op: "Max",
        infer: same_type,
        gradient: Rule(shared),
        eval: Some(|call| eval::arithmetic(call, |a, b| Some(a.max(b)), f64::max)),
        cases: || extremes("Max"),
    },
    Def {
        op: "Min",
        infer: same_type,
        gradient: Rule(shared),
        eval: Some(|call| eval::arithmetic(call, |a, b| Some(a.min(b)), f64::min)),
        cases: || extremes("Min"),
    },
    Def {
        op: "Sum",
        infer: same_type,
        gradient: Rule(|s| Ok(vec![Some(s.dy()?); s.arguments.len()])),
        eval: Some(|call| eval::arithmetic(call, i64::checked_add, |a, b| a + b)),
        cases: || mixtures("Sum"),
    },
    Def {
        op: "Mean",
        infer: same_type,
        gradient: Rule(|s| {
            let (dy, count) = (s.dy()?, s.arguments.len());
            Ok(vec![Some(s.scaled(dy, 1.0 / count as f64)?); count])
        }),
        eval: None,
        cases: || mixtures("Mean"),
    },
    Def {
        op: "Mod",
        infer: same_type,
        gradient: Rule(modulus),
        eval: Some(remainder),
        cases: || {
            vec![
                case("Mod").with("fmod", 1i64).within(&[2, 3], 1.2, 1.8).within(&[3], 0.95, 1.05),
                case("Mod").with("fmod", 1i64).within(&[3], -1.8, -1.2).scalar(1f32),
                case("Mod").ints(&[7, -7, 6]).ints(&[3, 3, -4]),
            ]
        },
    },
    Def {
        op: "Cast",
        infer: |call| Ok(vec![Fact::new(target(call)?, &call.shape(0)?)]),
        gradient: Rule(|s| {
            let (dy, from) = (s.dy()?, s.x(0)?);
            let from = s.tape.dtype(from)?;
            super::only(s.tape.cast(dy, from)?)
        }),
        eval: Some(|call| eval::cast(call, target(call)?)),
        cases: || {
            let to = |dtype: DType| case("Cast").with("to", i64::from(dtype.code()));
            vec![
                to(DType::F32).x(&[2, 3]),
                to(DType::Bool).distinct(&[2, 3]),
                to(DType::F32).ints(&[-3, 0, 3]),
                to(DType::F32).flags(&[2, 2]),
            ]
        },
    },
    Def {
        op: "CastLike",
        infer: |call| Ok(vec![Fact::new(call.dtype(1)?, &call.shape(0)?)]),
        gradient: Rule(|s| {
            let (dy, from) = (s.dy()?, s.x(0)?);
            let from = s.tape.dtype(from)?;
            Ok(vec![Some(s.tape.cast(dy, from)?), None])
        }),
        eval: Some(|call| eval::cast(call, call.dtype(1)?)),
        cases: || {
            vec![
                case("CastLike").x(&[2, 3]).scalar(0f32),
                case("CastLike").ints(&[-3, 0, 3]).scalar(0f32),
                case("CastLike").distinct(&[2, 3]).flags(&[1]),
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

fn extremes(op: &str) -> Vec<Case> {
    vec![
        case(op).distinct(&[2, 3]).scalar(0f32),
        case(op).within(&[2, 3], 0.1, 0.5).within(&[3], 0.6, 1.0).within(&[1], -0.5, 0.0),
        case(op).distinct(&[4]),
    ]
}

fn mixtures(op: &str) -> Vec<Case> {
    vec![case(op).x(&[2, 3]).x(&[3]).x(&[2, 1]), case(op).x(&[2]), case(op).x(&[2]).x(&[2])]
}

/// Arguments that are equal share the gradient evenly, as in PyTorch.
fn shared(s: &mut Adjoint) -> Gradients {
    let (y, dy) = (s.y(0), s.dy()?);
    let dtype = s.tape.dtype(y)?;
    let mut masks = Vec::new();
    for i in 0..s.arguments.len() {
        let x = s.x(i)?;
        let reached = s.apply("Equal", &[x, y])?;
        masks.push(s.tape.cast(reached, dtype)?);
    }
    let count = s.apply("Sum", &masks)?;
    let share = s.apply("Div", &[dy, count])?;
    let part = |(i, mask)| s.when(i, |s| s.apply("Mul", &[share, mask]));
    masks.into_iter().enumerate().map(part).collect()
}

/// y = a - q b with a q that is constant between the jumps.
fn modulus(s: &mut Adjoint) -> Gradients {
    let (a, b, y, dy) = (s.x(0)?, s.x(1)?, s.y(0), s.dy()?);
    let db = s.when(1, |s| {
        let multiple = s.apply("Sub", &[y, a])?;
        let quotient = s.apply("Div", &[multiple, b])?;
        s.apply("Mul", &[dy, quotient])
    })?;
    Ok(vec![Some(dy), db])
}

/// Without `fmod` the sign is the divisor's, with it the dividend's.
fn remainder(call: &Call) -> Folded {
    if call.op.int("fmod", 0) != 0 {
        return eval::arithmetic(call, i64::checked_rem, |a, b| a % b);
    }
    let floored = |a: i64, b: i64| match a.checked_rem(b)? {
        r if r != 0 && (r < 0) != (b < 0) => r.checked_add(b),
        r => Some(r),
    };
    eval::arithmetic(call, floored, |a, b| a - (a / b).floor() * b)
}

/// The type that Cast makes.
fn target(call: &Call) -> Result<DType> {
    let code = call.op.int("to", 0);
    let dtype = i32::try_from(code).ok().and_then(DType::from_code);
    dtype.ok_or_else(|| call.error(format!("`to` = {code} is no element type")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, infer, ints, refusal, shape};
    use super::*;

    #[test]
    fn types_are_what_the_operators_make() {
        let fact = &infer(case("Less").x(&[2, 1]).x(&[3])).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::Bool, &[2, 3]));
        let fact = &infer(case("Cast").with("to", 7i64).x(&[2])).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::I64, &[2]));
        assert!(refusal(case("Cast").with("to", 99i64).x(&[2])).contains("no element type"));
        assert_eq!(shape(case("Where").flags(&[2, 1]).x(&[3]).scalar(0f32)), [2, 3]);
    }

    #[test]
    fn the_arithmetic_of_expand_folds() {
        let wild = Tensor::from_bytes(DType::Bool, vec![2], vec![1u8, 0].into()).unwrap();
        assert_eq!(ints(case("Equal").ints(&[-1, 4]).scalar(-1i64)), [1, 0]);
        assert_eq!(ints(case("Where").constant(wild).ints(&[1, 1]).ints(&[-1, 4])), [1, 4]);
        assert_eq!(ints(case("Max").ints(&[1, 5]).ints(&[3, 3]).scalar(4i64)), [4, 5]);
    }

    #[test]
    fn mod_follows_the_sign_of_the_divisor_or_the_dividend() {
        let arguments = |case: Case| case.ints(&[7, -7, 7, -7]).ints(&[3, 3, -3, -3]);
        assert_eq!(ints(arguments(case("Mod"))), [1, 2, -2, -1]);
        assert_eq!(ints(arguments(case("Mod").with("fmod", 1i64))), [1, -1, 1, -1]);
        assert!(eval(case("Mod").ints(&[1]).ints(&[0])).is_empty());
    }

    #[test]
    fn casts_fold_only_where_they_are_exact() {
        let to = |code: i64| case("Cast").with("to", code);
        assert_eq!(ints(to(7).scalar(-2.7f32)), [-2]);
        assert_eq!(ints(to(9).ints(&[0, 5])), [0, 1]);
        assert!(eval(to(7).scalar(f32::NAN)).is_empty());
        assert!(eval(to(6).scalar(1i64 << 40)).is_empty());
    }
}
