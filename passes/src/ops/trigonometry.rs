//! Circular and hyperbolic functions and their inverses.

use graphs::Value;

use super::{Adjoint, Def, Gradient, Gradients, case, like_first, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Sin",
        infer: like_first,
        gradient: Rule(|s| slope(s, "Cos", 1.0)),
        eval: None,
        cases: || vec![case("Sin").x(&[2, 3])],
    },
    Def {
        op: "Cos",
        infer: like_first,
        gradient: Rule(|s| slope(s, "Sin", -1.0)),
        eval: None,
        cases: || vec![case("Cos").x(&[2, 3])],
    },
    Def {
        op: "Sinh",
        infer: like_first,
        gradient: Rule(|s| slope(s, "Cosh", 1.0)),
        eval: None,
        cases: || vec![case("Sinh").x(&[2, 3])],
    },
    Def {
        op: "Cosh",
        infer: like_first,
        gradient: Rule(|s| slope(s, "Sinh", 1.0)),
        eval: None,
        cases: || vec![case("Cosh").x(&[2, 3])],
    },
    Def {
        op: "Tan",
        infer: like_first,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let slope = quadratic(s, y, 1.0, 1.0)?;
            only(s.apply("Mul", &[dy, slope])?)
        }),
        eval: None,
        cases: || vec![case("Tan").x(&[2, 3])],
    },
    Def {
        op: "Asin",
        infer: like_first,
        gradient: Rule(|s| over_root(s, -1.0, 1.0, 1.0)),
        eval: None,
        cases: || vec![case("Asin").within(&[2, 3], -0.7, 0.7)],
    },
    Def {
        op: "Acos",
        infer: like_first,
        gradient: Rule(|s| over_root(s, -1.0, 1.0, -1.0)),
        eval: None,
        cases: || vec![case("Acos").within(&[2, 3], -0.7, 0.7)],
    },
    Def {
        op: "Atan",
        infer: like_first,
        gradient: Rule(|s| over(s, 1.0, 1.0)),
        eval: None,
        cases: || vec![case("Atan").within(&[2, 3], -2.0, 2.0)],
    },
    Def {
        op: "Asinh",
        infer: like_first,
        gradient: Rule(|s| over_root(s, 1.0, 1.0, 1.0)),
        eval: None,
        cases: || vec![case("Asinh").within(&[2, 3], -2.0, 2.0)],
    },
    Def {
        op: "Acosh",
        infer: like_first,
        gradient: Rule(|s| over_root(s, 1.0, -1.0, 1.0)),
        eval: None,
        cases: || vec![case("Acosh").within(&[2, 3], 1.5, 3.0)],
    },
    Def {
        op: "Atanh",
        infer: like_first,
        gradient: Rule(|s| over(s, -1.0, 1.0)),
        eval: None,
        cases: || vec![case("Atanh").within(&[2, 3], -0.7, 0.7)],
    },
];

/// `dy f(x) sign` for the function `op`.
fn slope(s: &mut Adjoint, op: &str, sign: f64) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let slope = s.apply(op, &[x])?;
    let product = s.apply("Mul", &[dy, slope])?;
    only(s.scaled(product, sign)?)
}

/// `factor v^2 + offset`.
fn quadratic(s: &mut Adjoint, v: Value, factor: f64, offset: f64) -> Result<Value> {
    let square = s.apply("Mul", &[v, v])?;
    let (square, offset) = (s.scaled(square, factor)?, s.number(offset)?);
    s.apply("Add", &[square, offset])
}

/// `dy / (factor x^2 + offset)`.
fn over(s: &mut Adjoint, factor: f64, offset: f64) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let divisor = quadratic(s, x, factor, offset)?;
    only(s.apply("Div", &[dy, divisor])?)
}

/// `sign dy / sqrt(factor x^2 + offset)`.
fn over_root(s: &mut Adjoint, factor: f64, offset: f64, sign: f64) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let square = quadratic(s, x, factor, offset)?;
    let root = s.apply("Sqrt", &[square])?;
    let quotient = s.apply("Div", &[dy, root])?;
    only(s.scaled(quotient, sign)?)
}
