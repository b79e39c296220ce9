//! The terms of the ELBO: cross-entropy of the labels and KL to the prior.

use graphs::{DType, Graph, Op, Value};

use crate::variational::Posterior;
use crate::{Error, Result, Tape};

/// What a classifier computes before the Softmax at its end, if it has one: its first
/// output, of any shape.
///
/// # Errors
/// When there is no output.
pub(crate) fn logits_of(graph: &Graph) -> Result<Value> {
    let port = graph.outputs.first();
    let none = || Error::Model("the model has no output; a classifier needs one".to_owned());
    Ok(before_softmax(graph, port.ok_or_else(none)?.value))
}

/// The logits of a classifier as `[N, classes]`.
///
/// # Errors
/// When the output is not of that shape (trailing axes of size 1 apart).
pub(crate) fn logits(tape: &mut Tape) -> Result<Value> {
    let value = logits_of(tape.graph)?;
    let shape = tape.shape(value)?;
    match *shape.as_slice() {
        [n, classes, ref rest @ ..] if rest.iter().all(|&d| d == 1) => {
            tape.reshape(value, &[n, classes])
        }
        _ => Err(tape.error(
            value,
            format!("the first output has shape {shape:?}; a classifier's is [N, classes]"),
        )),
    }
}

fn before_softmax(graph: &Graph, value: Value) -> Value {
    let node = graph.node(value.node);
    let last = |op: &Op| {
        let rank = graph.fact(value).shape.as_ref().map_or(0, Vec::len) as i64;
        [-1, rank - 1].contains(&op.int("axis", -1))
    };
    match node.op() {
        Some(op) if op.is("Identity") => {
            graph.argument(value.node, 0).map_or(value, |x| before_softmax(graph, x))
        }
        Some(op) if (op.is("Softmax") || op.is("LogSoftmax")) && last(op) => {
            graph.argument(value.node, 0).unwrap_or(value)
        }
        _ => value,
    }
}

/// Cross-entropy of each example, `[N]`: `-log softmax(logits)[label]`, for labels int64
/// `[N]`.
///
/// # Errors
/// When the logits are not of shape `[N, classes]`.
pub(crate) fn cross_entropy(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    let shape = tape.shape(logits)?;
    let classes = shape.get(1).copied().unwrap_or(0);
    let log = tape.op(Op::new("LogSoftmax").with("axis", -1), &[logits])?;
    let hot = one_hot(tape, labels, classes, logits)?;
    let picked = tape.apply("Mul", &[log, hot])?;
    let sum = tape.reduce_sum(picked, &[1], false)?;
    tape.apply("Neg", &[sum])
}

/// `[N, classes]` of the type of `like`: 1 at the label, 0 elsewhere.
///
/// # Errors
/// When `like` is not of a known type.
pub(crate) fn one_hot(
    tape: &mut Tape,
    labels: Value,
    classes: usize,
    like: Value,
) -> Result<Value> {
    let all: Vec<i64> = (0..classes as i64).collect();
    let all = tape.ints(&all);
    let count = tape.shape(labels)?.first().copied().unwrap_or(0);
    let column = tape.reshape(labels, &[count, 1])?;
    let equal = tape.apply("Equal", &[column, all])?;
    let dtype = tape.dtype(like)?;
    tape.cast(equal, dtype)
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

/// KL(N(mean, exp(log_std)^2) || N(0, prior^2)), summed over the elements of every
/// posterior: `log(prior) - s + (exp(2 s) + mean^2) / (2 prior^2) - 1/2` (Adv-BNN,
/// section 3.2).
///
/// # Errors
/// When there is no posterior.
pub(crate) fn kl(tape: &mut Tape, posteriors: &[Posterior], prior: f32) -> Result<Value> {
    let prior = f64::from(prior);
    let mut total: Option<Value> = None;
    for posterior in posteriors {
        let (mean, s) = (posterior.mean, posterior.log_std);
        let two = tape.number(2.0, s)?;
        let double = tape.apply("Mul", &[s, two])?;
        let variance = tape.apply("Exp", &[double])?;
        let square = tape.apply("Mul", &[mean, mean])?;
        let sum = tape.apply("Add", &[variance, square])?;
        let precision = tape.number(0.5 / (prior * prior), s)?;
        let scaled = tape.apply("Mul", &[sum, precision])?;
        let difference = tape.apply("Sub", &[scaled, s])?;
        // The constant enters per element: added to the sum, it would cost the sum's
        // float32 digits.
        let constant = tape.number(prior.ln() - 0.5, s)?;
        let element = tape.apply("Add", &[difference, constant])?;
        let axes: Vec<usize> = (0..tape.shape(mean)?.len()).collect();
        let part = tape.reduce_sum(element, &axes, false)?;
        total = Some(match total {
            None => part,
            Some(total) => tape.apply("Add", &[total, part])?,
        });
    }
    total.ok_or_else(|| {
        Error::Model(
            "there is no variational node, so no KL; run `advbnn convert` first".to_owned(),
        )
    })
}
