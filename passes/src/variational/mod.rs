//! Variational nodes: every weight w ~ N(mean, exp(log_std)^2) (Adv-BNN, section 3.2).
//!
//! A variational node has domain `advbnn`, the operator's name behind `Variational`,
//! and the attribute `variational`: the arguments of the plain operator that are
//! random. Each of those is given as two arguments, mean and log-std; the others are
//! as they were. [`expand`] turns the node back into the plain operator reading
//! `mean + exp(log_std) * noise`; the bodies of the model-local functions that let any
//! runtime run a converted file are made by the same code.
//!
//! A weight that one layer reads as it is stored becomes part of that node. One that
//! several nodes share, or see through views or a Cast, is drawn once for all of them by
//! a `VariationalIdentity`, which stands where the stored tensor stood.

mod convert;
mod functions;
mod local;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};

use graphs::{Graph, Kind, Model, NodeId, Op, Value, names};

use crate::{Error, Result, affine, layers, noise_layers};

pub use convert::{Convert, InitStd};
pub use functions::refresh_functions;
pub(crate) use local::draw_activations;

/// The domain of variational nodes.
pub const DOMAIN: &str = "advbnn";
const PREFIX: &str = "Variational";
const SLOTS: &str = "variational";
const SAMPLE: &str = "VariationalIdentity";
/// The metadata key of the prior's standard deviation.
pub(crate) const PRIOR: &str = "advbnn.prior";

/// Replaces the operator and all arguments of a node.
pub(crate) fn set_call(graph: &mut Graph, id: NodeId, mut op: Op, arguments: &[Option<Value>]) {
    for slot in 0..graph.arguments(id).len() {
        graph.set_argument(id, slot, None);
    }
    op.arity = arguments.len();
    graph.node_mut(id).kind = Kind::Op(op);
    for (slot, argument) in arguments.iter().enumerate() {
        graph.set_argument(id, slot, *argument);
    }
}

/// A Gaussian posterior over one weight tensor.
#[derive(Clone, Debug, PartialEq)]
pub struct Posterior {
    /// The weight's name.
    pub name: String,
    /// The means.
    pub mean: Value,
    /// The logarithms of the standard deviations, of the same shape.
    pub log_std: Value,
}

/// The random arguments of a variational node: (argument of the plain operator,
/// mean, log-std), or `None` if the node is not variational.
fn random_arguments(graph: &Graph, id: NodeId) -> Option<Vec<(usize, Value, Value)>> {
    let op = graph.node(id).op().filter(|op| op.domain == DOMAIN)?;
    let arguments = graph.arguments(id);
    let mut found = Vec::new();
    for (shift, &slot) in op.ints(SLOTS)?.iter().enumerate() {
        let slot = usize::try_from(slot).ok()?;
        let mean = (*arguments.get(slot.checked_add(shift)?)?)?;
        let log_std = (*arguments.get(slot.checked_add(shift)?.checked_add(1)?)?)?;
        found.push((slot, mean, log_std));
    }
    Some(found)
}

/// True for a node that this module made.
pub fn is_variational(graph: &Graph, id: NodeId) -> bool {
    random_arguments(graph, id).is_some()
}

/// True for a node that draws a weight for others.
pub(crate) fn is_sample(graph: &Graph, id: NodeId) -> bool {
    let op = graph.node(id).op();
    op.is_some_and(|op| op.domain == DOMAIN && op.op_type == SAMPLE) && is_variational(graph, id)
}

/// The operator's name before it became variational.
pub(crate) fn plain_type(op: &Op) -> &str {
    let plain = op.op_type.strip_prefix(PREFIX).filter(|_| op.domain == DOMAIN);
    plain.unwrap_or(&op.op_type)
}

/// The argument of the plain operator that argument `slot` of a node is or belongs to.
pub(crate) fn plain_slot(graph: &Graph, id: NodeId, slot: usize) -> usize {
    let random = random_arguments(graph, id).unwrap_or_default();
    let before = random.iter().enumerate().filter(|(shift, (plain, ..))| plain + shift < slot);
    slot - before.count()
}

/// How many arguments a node gives its plain operator.
pub(crate) fn plain_arguments(graph: &Graph, id: NodeId) -> usize {
    let given = graph.arguments(id).iter().flatten().count();
    given - random_arguments(graph, id).unwrap_or_default().len()
}

/// The layers with random weights, in order, and what they draw: variational nodes, and
/// plain ones that read a sample.
///
/// # Errors
/// When the graph has a cycle.
pub fn random_layers(model: &Model) -> Result<Vec<(NodeId, Vec<Posterior>)>> {
    let graph = &model.graph;
    let mut samples: HashMap<NodeId, Vec<NodeId>> = HashMap::new();
    for weight in layers::weights(model)? {
        if is_sample(graph, weight.value.node) {
            samples.entry(weight.node).or_default().push(weight.value.node);
        }
    }
    let drawn = |id: NodeId| {
        let own = (!is_sample(graph, id)).then_some(id);
        let sources = samples.get(&id).into_iter().flatten().copied().chain(own);
        (id, once(sources.flat_map(|id| of_node(graph, id))))
    };
    let layers = graph.op_order()?.into_iter().map(drawn);
    Ok(layers.filter(|(_, posteriors)| !posteriors.is_empty()).collect())
}

/// Every posterior of the graph once, however many nodes share it.
///
/// # Errors
/// When the graph has a cycle.
pub fn posteriors(graph: &Graph) -> Result<Vec<Posterior>> {
    Ok(once(graph.op_order()?.into_iter().flat_map(|id| of_node(graph, id))))
}

fn once(posteriors: impl Iterator<Item = Posterior>) -> Vec<Posterior> {
    let mut seen = HashSet::new();
    posteriors.filter(|posterior| seen.insert((posterior.mean, posterior.log_std))).collect()
}

/// The posteriors of the last layer, together with those of the product whose bias it adds.
///
/// # Errors
/// When the graph has a cycle.
pub(crate) fn last_layer(model: &Model) -> Result<Vec<Posterior>> {
    let graph = &model.graph;
    let mut layers = random_layers(model)?;
    let Some((last, mut found)) = layers.pop() else { return Ok(Vec::new()) };
    if graph.node(last).op().is_some_and(|op| plain_type(op) == "Add") {
        let slots = 0..graph.arguments(last).len();
        let product = slots.rev().find_map(|slot| affine::biased_product(graph, last, slot));
        let product = layers.into_iter().find(|(id, _)| product.is_some_and(|(p, _)| p == *id));
        found.extend(product.into_iter().flat_map(|(_, posteriors)| posteriors));
    }
    Ok(once(found.into_iter()))
}

fn of_node(graph: &Graph, id: NodeId) -> Vec<Posterior> {
    let posterior = |(_, mean, log_std): (usize, Value, Value)| {
        let full = &graph.node(mean.node).name;
        let name = full.strip_suffix(names::MEAN).unwrap_or(full).to_owned();
        Posterior { name, mean, log_std }
    };
    random_arguments(graph, id).unwrap_or_default().into_iter().map(posterior).collect()
}

/// Makes every variational node plain again (noise layers stay), reading weights `mean + exp(log_std) *
/// noise`, where `noise` is called once per posterior and gives standard normal values
/// of the posterior's shape, or `None` for the mean itself.
///
/// # Errors
/// When the graph has a cycle, or a node of the domain is malformed.
pub(crate) fn expand(
    graph: &mut Graph,
    mut noise: impl FnMut(&mut Graph, &Posterior) -> Result<Option<Value>>,
) -> Result<()> {
    expand_draws(graph, |graph, posterior| {
        Ok(noise(graph, posterior)?.map_or(Draw::Mean, Draw::Noise))
    })
}

/// Makes a graph plain and deterministic: every random weight its mean, no noise in layers.
///
/// # Errors
/// As [`expand`], and where a noise layer is malformed.
pub(crate) fn expand_means(graph: &mut Graph) -> Result<()> {
    expand(graph, |_, _| Ok(None))?;
    noise_layers::expand(graph, |_, _| Ok(None))
}

/// What stands for a posterior in a graph without variational nodes.
#[derive(Clone, Copy)]
pub(crate) enum Draw {
    /// Its mean.
    Mean,
    /// Its mean and so many standard deviations.
    Noise(Value),
    /// Weights that somebody else has drawn.
    Weight(Value),
}

/// As [`expand`], with draws of any kind.
///
/// # Errors
/// As [`expand`].
pub(crate) fn expand_draws(
    graph: &mut Graph,
    mut draw: impl FnMut(&mut Graph, &Posterior) -> Result<Draw>,
) -> Result<()> {
    let mut samples: HashMap<Value, Value> = HashMap::new();
    for posterior in posteriors(graph)? {
        let sample = match draw(graph, &posterior)? {
            Draw::Mean => posterior.mean,
            Draw::Noise(noise) => sample(graph, &posterior, noise),
            Draw::Weight(weight) => weight,
        };
        samples.insert(posterior.mean, sample);
    }
    for id in graph.op_order()? {
        let Some(mut op) = graph.node(id).op().filter(|op| op.domain == DOMAIN).cloned() else {
            continue;
        };
        if noise_layers::is_noise_layer(graph, id) {
            continue;
        }
        let Some(random) = random_arguments(graph, id) else {
            let reason = format!("is of domain `{DOMAIN}`, but not a variational node");
            return Err(Error::Node { node: graph.node(id).describe(), reason });
        };
        let mut arguments = graph.arguments(id);
        for &(slot, mean, _) in &random {
            // Earlier pairs are already single again, so the slot is the plain one.
            arguments.splice(slot..slot + 2, [samples.get(&mean).copied()]);
        }
        if let (true, [Some(sample)]) = (op.op_type == SAMPLE, arguments.as_slice()) {
            // What is left of the node is dead.
            graph.rewire(id.into(), *sample);
        }
        op.attributes.remove(SLOTS);
        op.op_type = plain_type(&op).to_owned();
        op.domain = String::new();
        op.overload = String::new();
        set_call(graph, id, op, &arguments);
    }
    Ok(())
}

/// `mean + exp(log_std) * noise`. Facts are left to inference: inside a function body
/// no shape is known.
fn sample(graph: &mut Graph, posterior: &Posterior, noise: Value) -> Value {
    let fact = graph.fact(posterior.mean).clone();
    let mut call = |op: &str, arguments: &[Value]| -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        let name = format!("{}.{}", posterior.name, op.to_lowercase());
        graph.op(&name, Op::new(op), &arguments, vec![fact.clone()]).into()
    };
    let std = call("Exp", &[posterior.log_std]);
    let deviation = call("Mul", &[std, noise]);
    call("Add", &[posterior.mean, deviation])
}
