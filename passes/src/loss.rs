//! What a classifier's outputs lose: cross-entropies, and divergences of probabilities.

use graphs::{DType, Graph, Op, Value};

use crate::{Error, Result, Tape};

/// What a classifier computes before the Softmax at its end, if it has one: its first
/// output, of any shape; and the element type, if known.
///
/// # Errors
/// When there is no output.
pub(crate) fn logits_of(graph: &Graph) -> Result<(Value, Option<DType>)> {
    let none = || Error::Model("the model has no output; a classifier needs one".to_owned());
    let value = graph.outputs.first().ok_or_else(none)?.value;
    let dtype = |value: Value| graph.fact(value).dtype;
    let mut known = dtype(value);
    let mut at = value;
    while let Some((op, x)) = graph.node(at.node).op().zip(graph.argument(at.node, 0)) {
        if is_float_cast(op) {
            known = None;
        } else if !op.is("Identity") {
            return Ok(match before_softmax(graph, at, value) {
                Some(logits) => (logits, dtype(logits).or(known)),
                None => (value, dtype(value)),
            });
        }
        at = x;
    }
    Ok((value, dtype(value)))
}

fn is_float_cast(op: &Op) -> bool {
    let to = || i32::try_from(op.int("to", 0)).ok().and_then(DType::from_code);
    op.is("Cast") && to().is_some_and(DType::is_float)
}

/// The argument of a Softmax over the last axis; `output` has the rank of its result.
fn before_softmax(graph: &Graph, value: Value, output: Value) -> Option<Value> {
    let argument = |value: Value, slot| graph.argument(value.node, slot);
    let op = |value: Value| graph.node(value.node).op();
    let shape = |value: Value| graph.fact(value).shape.as_ref();
    let x = argument(value, 0)?;
    let softmax = op(value)?;
    if softmax.is("Softmax") || softmax.is("LogSoftmax") {
        let rank = shape(value).or_else(|| shape(output)).map_or(0, Vec::len) as i64;
        return [-1, rank - 1].contains(&softmax.int("axis", -1)).then_some(x);
    }
    // Before opset 13 it went over rows: where the rank was not known, the upgrade wrote
    // Reshape(Softmax(Flatten(x)), Shape(x)).
    let (rows, to) = (softmax.is("Reshape").then_some(x)?, argument(value, 1)?);
    let flat = before_softmax(graph, rows, rows)?;
    let inner = op(flat).filter(|op| op.is("Flatten") && op.int("axis", 1) == 1);
    let logits = inner.and_then(|_| argument(flat, 0))?;
    let same = shape(logits).is_some() && shape(logits) == shape(value);
    let restored = op(to).is_some_and(|op| op.is("Shape")) && argument(to, 0) == Some(logits);
    (same || restored).then_some(logits)
}

/// The logits of a classifier as `[N, classes]`, in float32 if they are of a smaller type.
///
/// # Errors
/// When the output is not of that shape (trailing axes of size 1 apart).
pub(crate) fn logits(tape: &mut Tape) -> Result<Value> {
    let (value, _) = logits_of(tape.graph)?;
    let shape = tape.shape(value)?;
    match *shape.as_slice() {
        [n, classes, ref rest @ ..] if rest.iter().all(|&d| d == 1) => {
            let matrix = tape.reshape(value, &[n, classes])?;
            let dtype = tape.dtype(matrix)?;
            let small = dtype.is_float() && dtype.bits() < DType::F32.bits();
            if small { tape.cast(matrix, DType::F32) } else { Ok(matrix) }
        }
        _ => Err(tape.error(
            value,
            format!("the first output has shape {shape:?}; a classifier's is [N, classes]"),
        )),
    }
}

/// Cross-entropy of each example, `[N]`: `-log softmax(logits)[label]`, for labels int64
/// `[N]`.
///
/// # Errors
/// When the logits are not of shape `[N, classes]`.
pub(crate) fn cross_entropy(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    let log = tape.op(Op::new("LogSoftmax").with("axis", -1), &[logits])?;
    let picked = pick(tape, log, labels)?;
    tape.apply("Neg", &[picked])
}

/// Cross-entropy of each example to the uniform distribution, `[N]`: the mean over the classes
/// of `-log softmax(logits)`.
///
/// # Errors
/// When the logits are not of shape `[N, classes]`.
pub(crate) fn uniform_cross_entropy(tape: &mut Tape, logits: Value) -> Result<Value> {
    let log = tape.op(Op::new("LogSoftmax").with("axis", -1), &[logits])?;
    let axis = tape.ints(&[1]);
    let mean = tape.op(Op::new("ReduceMean").with("keepdims", 0), &[log, axis])?;
    tape.apply("Neg", &[mean])
}

/// KL(softmax(p) || softmax(q)) of each example, `[N]`, for logits p and q `[N, classes]`. A
/// class that p leaves no probability, as one with a logit of -inf, adds nothing.
///
/// # Errors
/// When they are not of one shape.
pub(crate) fn divergence(tape: &mut Tape, p: Value, q: Value) -> Result<Value> {
    let log_softmax = || Op::new("LogSoftmax").with("axis", -1);
    let [log_p, log_q] = [tape.op(log_softmax(), &[p])?, tape.op(log_softmax(), &[q])?];
    let weights = tape.apply("Exp", &[log_p])?;
    let zero = tape.number(0.0, weights)?;
    let counts = tape.apply("Greater", &[weights, zero])?;
    let difference = tape.apply("Sub", &[log_p, log_q])?;
    let difference = tape.apply("Where", &[counts, difference, zero])?;
    let products = tape.apply("Mul", &[weights, difference])?;
    tape.reduce_sum(products, &[1], false)
}

/// The value of each example at a class, `[N]`, of values `[N, classes]` and indices int64 `[N]`.
/// The others do not count, whatever they are: a logit of -inf is that of a class that a model
/// rules out.
///
/// # Errors
/// When the values are not of a known float type and shape `[N, classes]`.
pub(crate) fn pick(tape: &mut Tape, values: Value, indices: Value) -> Result<Value> {
    let classes = tape.shape(values)?.get(1).copied().unwrap_or(0);
    let all: Vec<i64> = (0..classes as i64).collect();
    let all = tape.ints(&all);
    let count = tape.shape(indices)?.first().copied().unwrap_or(0);
    let column = tape.reshape(indices, &[count, 1])?;
    let equal = tape.apply("Equal", &[column, all])?;
    let zero = tape.number(0.0, values)?;
    let picked = tape.apply("Where", &[equal, values, zero])?;
    tape.reduce_sum(picked, &[1], false)
}

/// The number of examples whose greatest logit is at the label, a float32 scalar.
///
/// # Errors
/// When the logits are not of shape `[N, classes]`.
pub(crate) fn correct(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    let best = tape.op(Op::new("ArgMax").with("axis", 1).with("keepdims", 0), &[logits])?;
    let equal = tape.apply("Equal", &[best, labels])?;
    let hits = tape.cast(equal, DType::F32)?;
    tape.reduce_sum(hits, &[0], false)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{Fact, Model, Role, Tensor};

    use super::*;
    use crate::{Pass, Upgrade};

    /// A graph on `x` with one call after the other, and no shapes.
    fn chain(calls: &[Op]) -> (Graph, Value) {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact { dtype: Some(DType::F32), shape: None });
        let mut value = x;
        for op in calls {
            value = graph.op("call", op.clone(), &[Some(value)], vec![Fact::default()]).into();
        }
        graph.output("y", value);
        (graph, x)
    }

    fn logits(graph: &Graph) -> Value {
        logits_of(graph).expect("an output").0
    }

    #[test]
    fn a_softmax_at_the_end_is_not_taken_twice() {
        let softmax = || Op::new("Softmax").with("axis", -1);
        let half = || Op::new("Cast").with("to", i64::from(DType::F16.code()));
        for calls in [
            vec![softmax()],
            vec![Op::new("LogSoftmax")],
            vec![softmax(), Op::new("Identity")],
            vec![softmax(), half(), Op::new("Identity")],
        ] {
            let (graph, x) = chain(&calls);
            assert_eq!(logits_of(&graph).expect("an output"), (x, Some(DType::F32)), "{calls:?}");
        }
        let whole = Op::new("Cast").with("to", i64::from(DType::I64.code()));
        for calls in [
            vec![half()],
            vec![Op::new("Identity"), Op::new("Relu")],
            vec![softmax(), whole],
            vec![Op::new("Softmax").with("axis", 0)],
        ] {
            let (graph, _) = chain(&calls);
            assert_eq!(logits(&graph), graph.outputs[0].value, "{calls:?}");
        }
    }

    #[test]
    fn neither_is_one_of_an_older_opset_over_rows() {
        let (graph, x) = chain(&[Op::new("Softmax").with("axis", 1)]);
        let mut model = Model::new(graph);
        model.opsets.insert(String::new(), 11);
        Upgrade.run(&mut model).expect("a rule");
        assert_eq!(logits(&model.graph), x);

        // Another shape than that of the logits is something else.
        let reshape = model.graph.outputs[0].value.node;
        let shape = model.graph.initializer("shape", Tensor::vector(&[1i64, -1]));
        model.graph.set_argument(reshape, 1, Some(shape));
        assert_eq!(logits(&model.graph), reshape.into());
    }
}
