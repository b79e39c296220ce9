//! Activation functions made of two pieces, one for each side of a threshold.

use graphs::Value;

use super::{Adjoint, Def, Gradient, Gradients, broadcast, case, like_first, only};
use Gradient::Rule;

/// The attributes of Selu, where it has none (Klambauer and others 2017).
const SELU_ALPHA: f32 = 1.673_263_2;
const SELU_GAMMA: f32 = 1.050_701;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "PRelu",
        infer: |call| {
            let (x, slope) = (call.shape(0)?, call.shape(1)?);
            if broadcast::pair(call, &x, &slope)? != x {
                return Err(call.error(format!("its slope {slope:?} does not broadcast to {x:?}")));
            }
            broadcast::common_dtype(call, 0)?;
            like_first(call)
        },
        gradient: Rule(parametric),
        eval: None,
        cases: || {
            vec![
                case("PRelu").distinct(&[2, 3, 4]).within(&[3, 1], 0.1, 0.4),
                case("PRelu").distinct(&[2, 3]).within(&[2, 3], -0.4, 0.4),
                case("PRelu").distinct(&[2, 3]).within(&[1], 0.1, 0.4),
                case("PRelu").distinct(&[2, 3, 2, 2]).within(&[], 1.5, 2.0),
                case("PRelu").distinct(&[2, 3]).scalar(0.25f32),
            ]
        },
    },
    Def {
        op: "Elu",
        infer: like_first,
        gradient: Rule(|s| {
            let alpha = f64::from(s.op.float("alpha", 1.0));
            exponential(s, 1.0, 1.0, alpha)
        }),
        eval: None,
        cases: || {
            vec![case("Elu").distinct(&[2, 3]), case("Elu").with("alpha", 0.3f32).distinct(&[2, 3])]
        },
    },
    Def {
        op: "Selu",
        infer: like_first,
        gradient: Rule(|s| {
            let alpha = f64::from(s.op.float("alpha", SELU_ALPHA));
            let gamma = f64::from(s.op.float("gamma", SELU_GAMMA));
            exponential(s, gamma, 1.0, alpha * gamma)
        }),
        eval: None,
        cases: || {
            let stated = case("Selu").with("alpha", 0.6f32).with("gamma", 2.0f32);
            vec![case("Selu").distinct(&[2, 3]), stated.distinct(&[2, 3])]
        },
    },
    Def {
        op: "Celu",
        infer: like_first,
        gradient: Rule(|s| {
            let alpha = f64::from(s.op.float("alpha", 1.0));
            exponential(s, 1.0, 1.0 / alpha, 1.0)
        }),
        eval: None,
        cases: || {
            vec![
                case("Celu").distinct(&[2, 3]),
                case("Celu").with("alpha", 0.3f32).distinct(&[2, 3]),
            ]
        },
    },
    Def {
        op: "ThresholdedRelu",
        infer: like_first,
        gradient: Rule(|s| {
            let alpha = f64::from(s.op.float("alpha", 1.0));
            let (x, dy, threshold) = (s.x(0)?, s.dy()?, s.number(alpha)?);
            let above = s.apply("Greater", &[x, threshold])?;
            only(s.masked(above, dy)?)
        }),
        eval: None,
        cases: || {
            let call = || case("ThresholdedRelu");
            vec![
                call().within(&[2, 3], 1.2, 2.0),
                call().with("alpha", 0.0f32).distinct(&[2, 3]),
                call().with("alpha", -0.5f32).within(&[4], -0.4, 0.4),
            ]
        },
    },
    Def {
        op: "Shrink",
        infer: like_first,
        gradient: Rule(|s| {
            let edge = f64::from(s.op.float("lambd", 0.5));
            let (x, dy) = (s.x(0)?, s.dy()?);
            let (low, high) = (s.number(-edge)?, s.number(edge)?);
            let (below, above) = (s.apply("Less", &[x, low])?, s.apply("Greater", &[x, high])?);
            let outside = s.apply("Or", &[below, above])?;
            only(s.masked(outside, dy)?)
        }),
        eval: None,
        cases: || {
            let hard = case("Shrink").with("lambd", 0.0f32).with("bias", 0.1f32);
            let range = |low, high| case("Shrink").with("bias", 0.5f32).within(&[2, 3], low, high);
            vec![hard.distinct(&[2, 3]), range(0.6, 1.2), range(-1.2, -0.6), range(-0.4, 0.4)]
        },
    },
];

/// `y = x` above 0 and `slope x` below.
fn parametric(s: &mut Adjoint) -> Gradients {
    let (x, slope, dy, one) = (s.x(0)?, s.x(1)?, s.dy()?, s.number(1.0)?);
    let positive = s.apply("Relu", &[x])?;
    let above = s.apply("Sign", &[positive])?;
    let below = s.apply("Sub", &[one, above])?;
    let dx = s.when(0, |s| {
        let low = s.apply("Mul", &[slope, below])?;
        let steepness = s.apply("Add", &[above, low])?;
        s.apply("Mul", &[dy, steepness])
    })?;
    let dslope = s.when(1, |s| {
        let negative = s.apply("Sub", &[x, positive])?;
        s.apply("Mul", &[dy, negative])
    })?;
    Ok(vec![dx, dslope])
}

/// The slope is `above` where x is positive, and `factor y + offset` elsewhere: there `y` is
/// an exponential, which its own derivative follows.
fn exponential(s: &mut Adjoint, above: f64, factor: f64, offset: f64) -> Gradients {
    let (x, y, dy) = (s.x(0)?, s.y(0), s.dy()?);
    let (zero, above, offset) = (s.number(0.0)?, s.number(above)?, s.number(offset)?);
    let positive = s.apply("Greater", &[x, zero])?;
    let below: Value = s.scaled(y, factor)?;
    let below = s.apply("Add", &[below, offset])?;
    let slope = s.apply("Where", &[positive, above, below])?;
    only(s.apply("Mul", &[dy, slope])?)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn a_slope_may_not_be_larger_than_what_it_bends() {
        assert_eq!(shape(case("PRelu").x(&[2, 3]).x(&[3])), [2, 3]);
        assert!(refusal(case("PRelu").x(&[3]).x(&[2, 3])).contains("does not broadcast"));
    }
}
