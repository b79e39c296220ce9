//! Softmax, its logarithm and its limit.

use graphs::{Fact, Value};

use super::{Adjoint, Call, Def, Gradient, case, like_first, only};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Softmax",
        infer: softmax_shape,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let product = s.apply("Mul", &[dy, y])?;
            let sum = sum(s, product)?;
            let rest = s.apply("Sub", &[dy, sum])?;
            only(s.apply("Mul", &[rest, y])?)
        }),
        eval: None,
        cases: || {
            let row = |axis: i64| case("Softmax").with("axis", axis);
            vec![
                case("Softmax").x(&[2, 3, 4]),
                row(1).x(&[2, 3, 2]),
                row(0).x(&[3, 2]),
                row(-3).x(&[3, 1, 2]),
            ]
        },
    },
    Def {
        op: "LogSoftmax",
        infer: softmax_shape,
        gradient: Rule(|s| {
            let (y, dy) = (s.y(0), s.dy()?);
            let probability = s.apply("Exp", &[y])?;
            let sum = sum(s, dy)?;
            let share = s.apply("Mul", &[probability, sum])?;
            only(s.apply("Sub", &[dy, share])?)
        }),
        eval: None,
        cases: || {
            vec![
                case("LogSoftmax").x(&[2, 3, 4]),
                case("LogSoftmax").with("axis", -2i64).x(&[2, 3, 2]),
            ]
        },
    },
    Def {
        op: "Hardmax",
        infer: softmax_shape,
        gradient: Gradient::Zero,
        eval: None,
        cases: || {
            let row = || case("Hardmax");
            vec![row().distinct(&[2, 3, 4]), row().with("axis", 1i64).distinct(&[2, 3, 2])]
        },
    },
];

fn softmax_shape(call: &Call) -> Result<Vec<Fact>> {
    call.axis(call.op.int("axis", -1), call.shape(0)?.len())?;
    like_first(call)
}

/// The sum over the axis of a softmax.
fn sum(s: &mut Adjoint, x: Value) -> Result<Value> {
    let axis = s.call()?.axis(s.op.int("axis", -1), s.shape(0)?.len())?;
    s.tape.reduce_sum(x, &[axis], true)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn the_axis_is_checked() {
        assert_eq!(shape(case("Softmax").with("axis", -2i64).x(&[2, 3])), [2, 3]);
        assert!(refusal(case("Softmax").with("axis", 3i64).x(&[2, 3])).contains("axis 3"));
        assert!(refusal(case("LogSoftmax").x(&[])).contains("axis -1"));
    }
}
