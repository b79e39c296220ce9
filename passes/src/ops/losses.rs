//! Losses that a model may end in.

use graphs::{DType, Fact, Op, Tensor, Value};

use super::body::Site;
use super::{Call, Case, Def, Gradient, case};
use crate::{Result, signed};
use Gradient::Body;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "NegativeLogLikelihoodLoss",
        infer: |call| Ok(vec![loss(call)?]),
        gradient: Body(|s| {
            let x = s.x(0)?;
            Ok(vec![likelihood(s, x)?])
        }),
        eval: None,
        cases: || cases("NegativeLogLikelihoodLoss", 1),
    },
    Def {
        op: "SoftmaxCrossEntropyLoss",
        infer: |call| Ok(vec![loss(call)?, Fact::new(call.dtype(0)?, &call.shape(0)?)]),
        gradient: Body(|s| {
            let x = s.x(0)?;
            let log = s.tape.op(Op::new("LogSoftmax").with("axis", 1), &[x])?;
            Ok(vec![likelihood(s, log)?, log])
        }),
        eval: None,
        cases: || cases("SoftmaxCrossEntropyLoss", 2),
    },
];

fn cases(op: &str, outputs: usize) -> Vec<Case> {
    let flat = |case: Case| case.x(&[4, 3]).ints(&[0, 2, 1, 2]);
    let by = |reduction: &str| case(op).with("reduction", reduction);
    let spatial = Tensor::new(&[2, 2, 2], vec![0i32, 1, 2, 2, 1, 0, 1, 2]);
    let mut cases = vec![
        flat(case(op)),
        flat(by("sum")).outputs(outputs),
        flat(by("none")),
        flat(case(op)).within(&[3], 0.5, 1.5),
        flat(case(op).with("ignore_index", 2i64)),
        flat(by("none").with("ignore_index", 2i64)).within(&[3], 0.5, 1.5),
        case(op).with("ignore_index", -1i64).x(&[3, 2]).ints(&[0, -1, 1]).within(&[2], 0.5, 1.5),
    ];
    cases.extend(spatial.ok().map(|labels| {
        case(op).x(&[2, 3, 2, 2]).constant(labels).within(&[3], 0.5, 1.5).outputs(outputs)
    }));
    cases
}

/// Of one number, or with `reduction` none of the labels' shape.
fn loss(call: &Call) -> Result<Fact> {
    let (scores, labels) = (call.shape(0)?, call.shape(1)?);
    let [batch, classes, rest @ ..] = scores.as_slice() else {
        return Err(call.error(format!("the scores {scores:?} are no [N, C, ...]")));
    };
    if labels != [&[*batch], rest].concat() {
        return Err(call.error(format!("labels {labels:?} do not fit scores {scores:?}")));
    }
    if call.has(2) && call.shape(2)? != [*classes] {
        return Err(call.error(format!("the weights are not one for each of {classes} classes")));
    }
    match call.op.string("reduction") {
        Some("none") => Ok(Fact::new(call.dtype(0)?, &labels)),
        None | Some("mean" | "sum") => Ok(Fact::new(call.dtype(0)?, &[])),
        Some(other) => Err(call.error(format!("`reduction` is `{other}`"))),
    }
}

/// The weighted negative of `log[label]`; a mean is over the weights. What has the label
/// `ignore_index` weighs nothing.
fn likelihood(s: &mut Site, log: Value) -> Result<Value> {
    let shape = s.shape(1)?;
    let dtype = s.tape.dtype(log)?;
    let mut labels = s.tape.cast(s.x(1)?, DType::I64)?;
    let mut weight = None;
    if s.op.attributes.contains_key("ignore_index") {
        let (zero, ignored) = (s.tape.scalar(0i64), s.op.int("ignore_index", 0));
        let ignored = s.tape.scalar(ignored);
        let ignored = s.apply("Equal", &[labels, ignored])?;
        labels = s.apply("Where", &[ignored, zero, labels])?;
        let counts = s.apply("Not", &[ignored])?;
        weight = Some(s.tape.cast(counts, dtype)?);
    }
    if s.call().has(2) {
        let own = s.apply("Gather", &[s.x(2)?, labels])?;
        weight = Some(match weight {
            Some(counts) => s.apply("Mul", &[own, counts])?,
            None => own,
        });
    }
    let axis = s.tape.ints(&[1]);
    let indices = s.apply("Unsqueeze", &[labels, axis])?;
    let picked = s.tape.op(Op::new("GatherElements").with("axis", 1), &[log, indices])?;
    let picked = s.tape.reshape(picked, &shape)?;
    let mut losses = s.apply("Neg", &[picked])?;
    if let Some(weight) = weight {
        losses = s.apply("Mul", &[losses, weight])?;
    }
    let axes: Vec<usize> = (0..shape.len()).collect();
    match (s.op.string("reduction"), weight) {
        (Some("none"), _) => Ok(losses),
        (Some("sum"), _) => s.tape.reduce_sum(losses, &axes, false),
        (_, Some(weight)) => {
            let total = s.tape.reduce_sum(losses, &axes, false)?;
            let weight = s.tape.reduce_sum(weight, &axes, false)?;
            s.apply("Div", &[total, weight])
        }
        (_, None) => {
            let axes = s.tape.ints(&signed(&axes));
            s.tape.op(Op::new("ReduceMean").with("keepdims", 0), &[losses, axes])
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn labels_and_weights_fit_the_scores() {
        let call = || case("SoftmaxCrossEntropyLoss");
        assert_eq!(shape(call().with("reduction", "none").x(&[2, 3]).ints(&[0, 1])), [2]);
        assert!(refusal(call().x(&[2, 3]).ints(&[0])).contains("do not fit"));
        assert!(refusal(call().x(&[2, 3]).ints(&[0, 1]).x(&[2])).contains("3 classes"));
        assert!(refusal(call().x(&[2]).ints(&[0, 1])).contains("[N, C"));
        let odd = call().with("reduction", "max").x(&[1, 2]).ints(&[0]);
        assert!(refusal(odd).contains("`max`"));
    }
}
