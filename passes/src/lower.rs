//! Rich operators into few plain ones, for what some engine lacks or gets wrong:
//!
//! - LogSoftmax: tract takes the logarithm of a Softmax that has underflowed;
//! - Celu: tract leaves out its `alpha` in one place;
//! - `auto_pad`: tract does not know it for ConvTranspose;
//! - BatchNormalization with parameters that are not constant: tract refuses it, and with
//!   the statistics of the batch engines disagree;
//! - Dropout in training, Bernoulli and the sources that are like an argument: tract
//!   refuses them, and what is drawn in two places has to agree;
//! - pools of a norm, and losses: tract has none, or wrong ones;
//! - Expand in front of a product: tract sums too few terms, or refuses it;
//! - products behind a Transpose in float16: ONNX Runtime crashes when it loads them;
//! - what [`ops::plain`] knows of operators that move elements.

use graphs::{Graph, Kind, Model, NodeId, Value};

use crate::half_transpose::transpose_halves_in_single;
use crate::ops::{self, Body, Call, Gradient, Site};
use crate::pass::Pass;
use crate::{Error, Result, Tape, statistics};

/// Rewrites what not every engine runs. All facts must be known (see [`crate::Fold`]).
#[derive(Clone, Copy, Debug)]
pub struct Lower;

/// Far more than anything takes that stands for something else.
const ROUNDS: usize = 64;

impl Pass for Lower {
    fn name(&self) -> &'static str {
        "lower"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        // What takes a node's place may have to be lowered in its turn, but not for ever.
        for _ in 0..ROUNDS {
            if !round(&mut model.graph)? {
                return transpose_halves_in_single(&mut model.graph);
            }
        }
        Err(Error::Model(format!("{ROUNDS} rounds of lowering came to no end; please report it")))
    }
}

/// Lowers every node that is read; false if there was none to lower.
fn round(graph: &mut Graph) -> Result<bool> {
    let live = graph.ancestors(graph.outputs.iter().map(|port| port.value));
    let mut changed = false;
    let order = graph.op_order()?;
    let mut tape = Tape::new(graph, "");
    for id in order.into_iter().filter(|&id| live.contains(id)) {
        let Some(call) = Call::of(tape.graph, id) else { continue };
        if let Some(explicit) = ops::explicit_padding(&call)? {
            tape.graph.node_mut(id).kind = Kind::Op(explicit);
            continue;
        }
        let (uses, name) = (tape.graph.uses(id.into()), tape.graph.node(id).name.clone());
        tape.set_prefix(&name);
        if let Some(y) = ops::plain(&mut tape, id)? {
            tape.graph.redirect(uses, y);
            changed = true;
            continue;
        }
        let Some(call) = Call::of(tape.graph, id) else { continue };
        if let Some(body) = body(&call, tape.graph, id)? {
            ops::replace(&mut tape, id, body)?;
            changed = true;
        }
    }
    Ok(changed)
}

/// What takes the place of a call that some engine cannot run.
fn body(call: &Call, graph: &Graph, id: NodeId) -> Result<Option<Body>> {
    if !call.op.in_onnx_domain() {
        return Ok(None);
    }
    Ok(match call.op.op_type.as_str() {
        "LogSoftmax" => Some(log_softmax),
        "BatchNormalization" if call.op.int("training_mode", 0) != 0 => Some(training),
        "BatchNormalization" if varies(graph, id) => Some(normalization),
        "Celu" if call.op.float("alpha", 1.0) != 1.0 => Some(celu),
        "Dropout" if ops::drops(call)? => Some(ops::by_uniform),
        "Bernoulli" => Some(ops::bernoulli),
        "RandomNormalLike" | "RandomUniformLike" => Some(ops::like_shaped),
        "GlobalLpPool" | "LpPool" | "NegativeLogLikelihoodLoss" | "SoftmaxCrossEntropyLoss" => {
            match ops::find(call.op).map(|def| def.gradient) {
                Some(Gradient::Body(body)) => Some(body),
                _ => None,
            }
        }
        _ => None,
    })
}

fn varies(graph: &Graph, id: NodeId) -> bool {
    let variable = |value: &Option<Value>| value.is_some_and(|v| graph.tensor(v).is_none());
    graph.arguments(id).iter().skip(1).any(variable)
}

/// `x - max - log(sum(exp(x - max)))`
fn log_softmax(s: &mut Site) -> Result<Vec<Value>> {
    let axis = s.call().axis(s.op.int("axis", -1), s.shape(0)?.len())?;
    let x = s.x(0)?;
    let most = s.reduce("ReduceMax", x, &[axis])?;
    let shifted = s.apply("Sub", &[x, most])?;
    let exponential = s.apply("Exp", &[shifted])?;
    let sum = s.reduce("ReduceSum", exponential, &[axis])?;
    let log = s.apply("Log", &[sum])?;
    Ok(vec![s.apply("Sub", &[shifted, log])?])
}

/// `alpha elu(x / alpha)`
fn celu(s: &mut Site) -> Result<Vec<Value>> {
    let (x, alpha) = (s.x(0)?, s.number(f64::from(s.op.float("alpha", 1.0)))?);
    let part = s.apply("Div", &[x, alpha])?;
    let bent = s.apply("Elu", &[part])?;
    Ok(vec![s.apply("Mul", &[bent, alpha])?])
}

/// `x * factor + offset`, where the small vectors `factor = scale / sqrt(var + epsilon)`
/// and `offset = shift - mean * factor` are computed once.
fn normalization(s: &mut Site) -> Result<Vec<Value>> {
    let (x, scale, shift) = (s.x(0)?, s.x(1)?, s.x(2)?);
    let (mean, variance) = (s.x(3)?, s.x(4)?);
    let epsilon = s.number(f64::from(s.op.float("epsilon", 1e-5)))?;
    let sum = s.apply("Add", &[variance, epsilon])?;
    let deviation = s.apply("Sqrt", &[sum])?;
    let factor = s.apply("Div", &[scale, deviation])?;
    let centre = s.apply("Mul", &[mean, factor])?;
    let offset = s.apply("Sub", &[shift, centre])?;
    Ok(vec![s.tape.scale_channels(x, factor, Some(offset))?])
}

/// By the statistics of the batch, of which the running ones take a share.
fn training(s: &mut Site) -> Result<Vec<Value>> {
    let (x, scale, shift) = (s.x(0)?, s.x(1)?, s.x(2)?);
    let (epsilon, keep) = (s.op.float("epsilon", 1e-5), f64::from(s.op.float("momentum", 0.9)));
    let [y, mean, variance] = statistics::normalize(s.tape, epsilon, [x, scale, shift])?;
    let mut outputs = vec![y];
    for (slot, batch) in [(3, mean), (4, variance)] {
        outputs.push(statistics::blend(s.tape, s.x(slot)?, batch, 1.0 - keep)?);
    }
    Ok(outputs)
}
