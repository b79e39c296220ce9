//! What picks or mixes one of several arguments, and remainders.

use super::broadcast::same_type;
use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case, eval};
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
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
];

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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, ints};
    use super::*;

    #[test]
    fn mod_follows_the_sign_of_the_divisor_or_the_dividend() {
        let arguments = |case: Case| case.ints(&[7, -7, 7, -7]).ints(&[3, 3, -3, -3]);
        assert_eq!(ints(arguments(case("Mod"))), [1, 2, -2, -1]);
        assert_eq!(ints(arguments(case("Mod").with("fmod", 1i64))), [1, -1, 1, -1]);
        assert!(eval(case("Mod").ints(&[1]).ints(&[0])).is_empty());
    }
}
