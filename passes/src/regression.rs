//! What a regression model says, and how far it is off.

use graphs::{DType, Graph, Value};

use crate::{Error, Result, Tape};

/// The first output of a model and its shape as `[N, K]`.
///
/// # Errors
/// When there is none, or it is neither `[N]` nor `[N, K]` (trailing axes of size 1 apart) of a
/// float type.
pub(crate) fn output(graph: &Graph) -> Result<(Value, [usize; 2])> {
    let none = || Error::Model("the model has no output; a regression model needs one".to_owned());
    let value = graph.outputs.first().ok_or_else(none)?.value;
    let fact = graph.fact(value);
    let float = fact.dtype.is_none_or(DType::is_float);
    match fact.known_shape().as_deref() {
        Some(&[n]) if float => Ok((value, [n, 1])),
        Some(&[n, k, ref rest @ ..]) if float && rest.iter().all(|&d| d == 1) => {
            Ok((value, [n, k]))
        }
        _ => Err(Error::Node {
            node: graph.node(value.node).describe(),
            reason: format!(
                "the first output is {fact}; that of a regression model is [N] or [N, K], of floats"
            ),
        }),
    }
}

/// That output as float32 `[N, K]`.
///
/// # Errors
/// As [`output`].
pub(crate) fn outputs(tape: &mut Tape) -> Result<Value> {
    let (value, shape) = output(tape.graph)?;
    let matrix = tape.reshape(value, &shape)?;
    tape.cast(matrix, DType::F32)
}

/// The squared distance of each image's outputs from its answers, `[N]`, both `[N, K]`.
///
/// # Errors
/// When they are not of one shape.
pub(crate) fn squared_errors(tape: &mut Tape, outputs: Value, answers: Value) -> Result<Value> {
    let difference = tape.apply("Sub", &[outputs, answers])?;
    let squares = tape.apply("Mul", &[difference, difference])?;
    tape.reduce_sum(squares, &[1], false)
}
