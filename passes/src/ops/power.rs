//! Powers, roots, exponentials and logarithms.

use graphs::{DType, Value};

use super::broadcast::first_type;
use super::{Adjoint, Def, Gradient, Gradients, case, eval, like_first, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Pow",
        infer: first_type,
        gradient: Rule(pow),
        eval: None,
        cases: || {
            vec![
                case("Pow").x(&[2, 3]).scalar(2f32),
                case("Pow").x(&[2, 3]).scalar(3i64),
                case("Pow").within(&[2, 3], 0.5, 1.5).scalar(-0.5f32),
                case("Pow").within(&[2, 3], 0.5, 1.5).within(&[3], -2.0, 2.0),
                case("Pow").x(&[2]).scalar(1f32),
                case("Pow").x(&[2]).scalar(0f32),
            ]
        },
    },
    Def {
        op: "Sqrt",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let half = s.scaled(dy, 0.5)?;
            only(s.apply("Div", &[half, y])?)
        }),
        eval: Some(|call| eval::map(call, |_| None, f64::sqrt)),
        cases: || vec![case("Sqrt").within(&[2, 3], 0.2, 1.5)],
    },
    Def {
        op: "Exp",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            only(s.apply("Mul", &[dy, y])?)
        }),
        eval: None,
        cases: || vec![case("Exp").x(&[2, 3])],
    },
    Def {
        op: "Log",
        infer: like_first,
        gradient: Rule(|s| {
            let (x, dy) = (s.x(0)?, s.dy()?);
            only(s.apply("Div", &[dy, x])?)
        }),
        eval: None,
        cases: || vec![case("Log").within(&[2, 3], 0.2, 1.5)],
    },
    Def {
        op: "Reciprocal",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let square = s.apply("Mul", &[y, y])?;
            let product = s.apply("Mul", &[dy, square])?;
            only(s.apply("Neg", &[product])?)
        }),
        eval: None,
        cases: || vec![case("Reciprocal").within(&[2, 3], 0.5, 1.5)],
    },
];

/// (x^p)' = p x^(p-1) dx + x^p ln(x) dp, each 0 where PyTorch says so: the first where
/// p is 0, the second where x is 0 and p is not negative.
fn pow(s: &mut Adjoint) -> Gradients {
    Ok(vec![s.when(0, pow_base)?, s.when(1, pow_exponent)?])
}

fn pow_base(s: &mut Adjoint) -> Result<Value> {
    let (x, dy) = (s.x(0)?, s.dy()?);
    if let Some(exponent) = constant_exponent(s)? {
        let power = match exponent {
            1.0 => return Ok(dy),
            2.0 => x,
            _ => {
                let less = s.number(exponent - 1.0)?;
                s.apply("Pow", &[x, less])?
            }
        };
        let slope = s.scaled(power, exponent)?;
        return s.apply("Mul", &[dy, slope]);
    }
    let dtype = s.tape.dtype(x)?;
    let p = s.x(1)?;
    let p = s.tape.cast(p, dtype)?;
    let (zero, one) = (s.number(0.0)?, s.number(1.0)?);
    let less = s.apply("Sub", &[p, one])?;
    let power = s.apply("Pow", &[x, less])?;
    let slope = s.apply("Mul", &[p, power])?;
    let flat = s.apply("Equal", &[p, zero])?;
    let slope = s.apply("Where", &[flat, zero, slope])?;
    s.apply("Mul", &[dy, slope])
}

fn pow_exponent(s: &mut Adjoint) -> Result<Value> {
    let (x, p, y, dy, zero) = (s.x(0)?, s.x(1)?, s.y(0), s.dy()?, s.number(0.0)?);
    let log = s.apply("Log", &[x])?;
    let slope = s.apply("Mul", &[y, log])?;
    let at_zero = s.apply("Equal", &[x, zero])?;
    let rising = s.apply("GreaterOrEqual", &[p, zero])?;
    let flat = s.apply("And", &[at_zero, rising])?;
    let slope = s.apply("Where", &[flat, zero, slope])?;
    s.apply("Mul", &[dy, slope])
}

/// The exponent, if it is one constant other than 0.
fn constant_exponent(s: &Adjoint) -> Result<Option<f64>> {
    let call = s.call()?;
    let Some(tensor) = call.constant(1).filter(|t| t.len() == 1) else { return Ok(None) };
    let value = match tensor.dtype() {
        DType::F64 => tensor.values::<f64>()?.first().copied(),
        dtype if dtype.is_float() => tensor.floats()?.first().map(|&v| v.into()),
        _ => tensor.integers()?.first().map(|&v| v as f64),
    };
    Ok(value.filter(|&v| v != 0.0))
}
