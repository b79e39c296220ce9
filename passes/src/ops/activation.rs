//! Activation functions.

use graphs::{DType, Fact, Op, Value, element_count};

use super::schedule::{self, StepForm};
use super::{Adjoint, Call, Def, Gradient, Gradients, case, like_first, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Relu",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let slope = step(s, y)?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Relu").distinct(&[2, 3, 5])],
    },
    Def {
        op: "LeakyRelu",
        infer: like_first,
        gradient: Rule(|s| {
            let alpha = f64::from(s.op.float("alpha", 0.01));
            let (x, dy, low) = (s.x(0)?, s.dy()?, s.number(alpha)?);
            let step = step(s, x)?;
            let rise = s.scaled(step, 1.0 - alpha)?;
            let slope = s.apply("Add", &[low, rise])?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || {
            vec![
                case("LeakyRelu").distinct(&[2, 3]),
                case("LeakyRelu").with("alpha", 0.3f32).distinct(&[2, 3]),
            ]
        },
    },
    Def {
        op: "Sigmoid",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy, one) = (s.y(0), s.dy()?, s.number(1.0)?);
            let rest = s.apply("Sub", &[one, y])?;
            let slope = s.apply("Mul", &[y, rest])?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Sigmoid").x(&[2, 3])],
    },
    Def {
        op: "Tanh",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy, one) = (s.y(0), s.dy()?, s.number(1.0)?);
            let square = s.apply("Mul", &[y, y])?;
            let slope = s.apply("Sub", &[one, square])?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Tanh").x(&[2, 3])],
    },
    Def {
        op: "Softplus",
        infer: like_first,
        gradient: Rule(|s| {
            let (x, dy) = (s.x(0)?, s.dy()?);
            let slope = s.apply("Sigmoid", &[x])?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Softplus").x(&[2, 3])],
    },
    Def {
        op: "Softsign",
        infer: like_first,
        gradient: Rule(|s| {
            let (x, dy, one) = (s.x(0)?, s.dy()?, s.number(1.0)?);
            let size = s.apply("Abs", &[x])?;
            let divisor = s.apply("Add", &[size, one])?;
            let square = s.apply("Mul", &[divisor, divisor])?;
            only(s.apply("Div", &[dy, square])?)
        }),
        eval: None,
        cases: || vec![case("Softsign").distinct(&[2, 3])],
    },
    Def {
        op: "Mish",
        infer: like_first,
        gradient: Rule(mish),
        eval: None,
        cases: || vec![case("Mish").within(&[2, 3], -3.0, 3.0)],
    },
    Def {
        op: "HardSigmoid",
        infer: like_first,
        gradient: Rule(hard_sigmoid),
        eval: None,
        cases: || {
            vec![
                case("HardSigmoid").within(&[2, 3], -2.0, 2.0),
                case("HardSigmoid").with("alpha", 2.0f32).with("beta", 0.1f32).within(
                    &[5],
                    0.6,
                    2.0,
                ),
                case("HardSigmoid").with("alpha", 0.1f32).with("beta", -0.5f32).within(
                    &[5],
                    0.0,
                    4.0,
                ),
            ]
        },
    },
    Def {
        op: "HardSwish",
        infer: like_first,
        gradient: Rule(hard_swish),
        eval: None,
        cases: || {
            let range = |low, high| case("HardSwish").within(&[2, 3], low, high);
            vec![range(-2.5, 2.5), range(3.2, 5.0), range(-5.0, -3.2)]
        },
    },
    Def {
        op: "Clip",
        infer: clip_shape,
        gradient: Rule(clip),
        eval: None,
        cases: || {
            vec![
                case("Clip").distinct(&[3, 4]).scalar(-0.45f32).scalar(0.45f32),
                case("Clip").distinct(&[3, 4]).absent().scalar(0.45f32),
                case("Clip").distinct(&[3, 4]).scalar(-0.45f32),
                case("Clip").distinct(&[3, 4]),
                case("Clip").distinct(&[3, 4]).within(&[], -0.46, -0.44).within(&[], 0.44, 0.46),
                case("Clip").distinct(&[3, 4]).within(&[], 0.44, 0.46).within(&[], -0.46, -0.44),
            ]
        },
    },
];

/// 1 where x > 0, else 0. For float32 the steepest HardSigmoid, which ONNX Runtime runs in
/// the blocked layout of the convolutions around it (measured on the gradient of
/// DenseNet-121: a fifth less time in all than with Sign, an eighth less than with
/// Greater and Cast); only the gap of subnormal numbers above 0 is not quite 1.
fn step(s: &mut Adjoint, x: Value) -> Result<Value> {
    let dtype = s.tape.dtype(x)?;
    match schedule::step(s.tape.forms) {
        StepForm::Comparison => {
            let zero = s.number(0.0)?;
            let above = s.apply("Greater", &[x, zero])?;
            s.tape.cast(above, dtype)
        }
        StepForm::Sigmoid if dtype == DType::F32 => {
            let steepest = Op::new("HardSigmoid").with("alpha", f32::MAX).with("beta", 0f32);
            s.tape.op(steepest, &[x])
        }
        StepForm::Sigmoid => {
            let positive = s.apply("Relu", &[x])?;
            s.apply("Sign", &[positive])
        }
    }
}

/// y = x t with t = tanh(softplus(x)), so y' = t + x (1 - t^2) sigmoid(x).
fn mish(s: &mut Adjoint) -> Gradients {
    let (x, dy, one) = (s.x(0)?, s.dy()?, s.number(1.0)?);
    let soft = s.apply("Softplus", &[x])?;
    let t = s.apply("Tanh", &[soft])?;
    let square = s.apply("Mul", &[t, t])?;
    let bend = s.apply("Sub", &[one, square])?;
    let gate = s.apply("Sigmoid", &[x])?;
    let bend = s.apply("Mul", &[bend, gate])?;
    let bend = s.apply("Mul", &[x, bend])?;
    let slope = s.apply("Add", &[t, bend])?;
    only(s.apply("Mul", &[dy, slope])?)
}

/// y = max(0, min(1, alpha x + beta)): flat at both ends, which count as flat.
fn hard_sigmoid(s: &mut Adjoint) -> Gradients {
    let alpha = f64::from(s.op.float("alpha", 0.2));
    let (y, dy) = (s.y(0), s.dy()?);
    let (zero, one) = (s.number(0.0)?, s.number(1.0)?);
    let above = s.apply("Greater", &[y, zero])?;
    let below = s.apply("Less", &[y, one])?;
    let between = s.apply("And", &[above, below])?;
    let inner = s.masked(between, dy)?;
    only(s.scaled(inner, alpha)?)
}

/// y = x max(0, min(1, x/6 + 1/2)): slope 0 up to -3, x/3 + 1/2 up to 3, then 1.
fn hard_swish(s: &mut Adjoint) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let (zero, one, half) = (s.number(0.0)?, s.number(1.0)?, s.number(0.5)?);
    let (low, high) = (s.number(-3.0)?, s.number(3.0)?);
    let third = s.scaled(x, 1.0 / 3.0)?;
    let slope = s.apply("Add", &[third, half])?;
    let above = s.apply("Greater", &[x, low])?;
    let slope = s.apply("Where", &[above, slope, zero])?;
    let below = s.apply("Less", &[x, high])?;
    let slope = s.apply("Where", &[below, slope, one])?;
    only(s.apply("Mul", &[dy, slope])?)
}

fn clip_shape(call: &Call) -> Result<Vec<Fact>> {
    for i in (1..call.count()).filter(|&i| call.has(i)) {
        let shape = call.shape(i)?;
        if element_count(&shape) != Some(1) {
            return Err(call.error(format!("bound {i} is no scalar, but {shape:?}")));
        }
    }
    like_first(call)
}

/// The gradient passes where min < x < max; at a bound it is 0, as PyTorch has it.
fn clip(s: &mut Adjoint) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let dx = s.when(0, |s| {
        let mut inner = dy;
        for (i, comparison) in [(1, "Greater"), (2, "Less")] {
            if s.arguments.get(i).is_some_and(Option::is_some) {
                let bound = s.x(i)?;
                let inside = s.apply(comparison, &[x, bound])?;
                inner = s.masked(inside, inner)?;
            }
        }
        Ok(inner)
    })?;
    // Where the bounds cross, the upper one holds.
    let has = |s: &Adjoint, i: usize| s.arguments.get(i).is_some_and(Option::is_some);
    let low = s.when(1, |s| {
        let low = s.x(1)?;
        let below = s.apply("Less", &[x, low])?;
        let mut slope = s.masked(below, dy)?;
        if has(s, 2) {
            let high = s.x(2)?;
            let ordered = s.apply("Less", &[low, high])?;
            slope = s.masked(ordered, slope)?;
        }
        Ok(slope)
    })?;
    let high = s.when(2, |s| {
        let (mut raised, high) = (x, s.x(2)?);
        if has(s, 1) {
            let low = s.x(1)?;
            raised = s.apply("Max", &[x, low])?;
        }
        let above = s.apply("Greater", &[raised, high])?;
        s.masked(above, dy)
    })?;
    Ok(vec![dx, low, high])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn clip_takes_scalar_bounds() {
        assert_eq!(shape(case("Clip").x(&[2, 3]).scalar(0f32).absent()), [2, 3]);
        assert!(refusal(case("Clip").x(&[2]).ints(&[0, 1])).contains("no scalar"));
    }
}
