//! Variational nodes: every weight w ~ N(mean, exp(log_std)^2) (Adv-BNN, section 3.2).
//!
//! A variational node has domain `advbnn`, the operator's name behind `Variational`,
//! and the attribute `variational`: the arguments of the plain operator that are
//! random. Each of those is given as two arguments, mean and log-std; the others are
//! as they were. [`expand`] turns the node back into the plain operator reading
//! `mean + exp(log_std) * noise`; the bodies of the model-local functions that let any
//! runtime run a converted file are made by the same code.

mod functions;

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

use graphs::{Attribute, Graph, Model, NodeId, Op, Tensor, Value};
use regex::Regex;

use crate::layers::{self, Layer, Weight};
use crate::pass::Pass;
use crate::{Error, Result};

pub use functions::refresh_functions;

/// The domain of variational nodes.
pub const DOMAIN: &str = "advbnn";
const PREFIX: &str = "Variational";
const SLOTS: &str = "variational";
/// The metadata key of the prior's standard deviation.
pub(crate) const PRIOR: &str = "advbnn.prior";

/// The first standard deviation of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitStd {
    /// The same for every weight (the published code: that of the prior).
    Constant(f32),
    /// In proportion to the pretrained weight, `delta * |w|` (MOPED, Krishnan et al.
    /// 2020).
    Moped(f32),
}

/// Replaces layers by variational nodes.
#[derive(Clone, Debug)]
pub struct Convert {
    /// Which kinds of layers.
    pub layers: BTreeSet<Layer>,
    /// Only the nodes or weights whose name matches.
    pub include: Option<Regex>,
    /// Not the nodes or weights whose name matches.
    pub exclude: Option<Regex>,
    /// The first standard deviations.
    pub init: InitStd,
    /// The standard deviation of the prior N(0, prior^2).
    pub prior: f32,
    /// Biases (and beta of BatchNormalization) too.
    pub bias: bool,
}

impl Convert {
    fn selects(&self, model: &Model, weight: &Weight) -> bool {
        let node = &model.graph.node(weight.node).name;
        let name = &model.graph.node(weight.value.node).name;
        let matches = |regex: &Regex| regex.is_match(node) || regex.is_match(name);
        self.layers.contains(&weight.layer)
            && (self.bias || !weight.bias)
            && self.include.as_ref().is_none_or(matches)
            && !self.exclude.as_ref().is_some_and(matches)
    }

    fn log_std(&self, mean: &Tensor) -> Result<Tensor> {
        // exp(-20): far below any float32 weight's last bit, so "no noise", yet finite.
        const LEAST: f32 = 2e-9;
        let log = |w: &f32| match self.init {
            InitStd::Constant(std) => std.ln(),
            InitStd::Moped(delta) => (delta * w.abs()).max(LEAST).ln(),
        };
        Ok(Tensor::new(mean.shape(), mean.floats()?.iter().map(log).collect())?)
    }
}

impl Pass for Convert {
    fn name(&self) -> &'static str {
        "convert"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let mut posteriors: HashMap<Value, (Value, Value)> = HashMap::new();
        let mut nodes: Vec<(NodeId, Vec<(usize, Value)>)> = Vec::new();
        for weight in layers::weights(model)? {
            if !self.selects(model, &weight) {
                continue;
            }
            match nodes.last_mut() {
                Some((id, slots)) if *id == weight.node => slots.push((weight.slot, weight.value)),
                _ => nodes.push((weight.node, vec![(weight.slot, weight.value)])),
            }
        }
        for (id, slots) in nodes {
            for &(_, value) in &slots {
                if let Entry::Vacant(place) = posteriors.entry(value) {
                    place.insert(self.posterior(&mut model.graph, value)?);
                }
            }
            make_variational(&mut model.graph, id, &slots, &posteriors);
        }
        model.metadata.insert(PRIOR.to_owned(), self.prior.to_string());
        refresh_functions(model)
    }
}

impl Convert {
    /// Mean and log-std for a weight, each a constant of the weight's shape.
    fn posterior(&self, graph: &mut Graph, value: Value) -> Result<(Value, Value)> {
        let node = graph.node(value.node);
        let (name, describe) = (node.name.clone(), node.describe());
        let Some(tensor) = node.tensor().cloned() else {
            return Err(Error::Node { node: describe, reason: "is not a constant".to_owned() });
        };
        let mean = Tensor::new(tensor.shape(), tensor.floats()?.into_owned())?;
        let log_std = self.log_std(&mean)?;
        let mut add = |suffix: &str, tensor| {
            let name = format!("{name}.{suffix}");
            match graph.source(&name) {
                Some(_) => Err(Error::Node {
                    node: describe.clone(),
                    reason: format!("`{name}` is already taken; rename it before converting"),
                }),
                None => Ok(graph.initializer(&name, tensor)),
            }
        };
        Ok((add("mean", mean)?, add("log_std", log_std)?))
    }
}

/// Turns a node into a variational one in place.
fn make_variational(
    graph: &mut Graph,
    id: NodeId,
    slots: &[(usize, Value)],
    posteriors: &HashMap<Value, (Value, Value)>,
) {
    let mut arguments = Vec::new();
    for (slot, argument) in graph.arguments(id).into_iter().enumerate() {
        match slots.iter().find(|(s, _)| *s == slot).and_then(|(_, v)| posteriors.get(v)) {
            Some(&(mean, log_std)) => arguments.extend([Some(mean), Some(log_std)]),
            None => arguments.push(argument),
        }
    }
    let Some(mut op) = graph.node(id).op().cloned() else { return };
    let mut slots: Vec<i64> = slots.iter().map(|&(slot, _)| slot as i64).collect();
    slots.sort_unstable();
    op.overload = slots.iter().map(i64::to_string).collect::<Vec<_>>().join("_");
    op.overload = format!("{}of{}", op.overload, op.arity);
    op.op_type = format!("{PREFIX}{}", op.op_type);
    op.domain = DOMAIN.to_owned();
    op.attributes.insert(SLOTS.to_owned(), Attribute::Ints(slots));
    set_call(graph, id, op, &arguments);
}

/// Replaces the operator and all arguments of a node.
fn set_call(graph: &mut Graph, id: NodeId, mut op: Op, arguments: &[Option<Value>]) {
    for slot in 0..graph.arguments(id).len() {
        graph.set_argument(id, slot, None);
    }
    op.arity = arguments.len();
    graph.node_mut(id).kind = graphs::Kind::Op(op);
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

/// Every posterior of the graph once, however many nodes share it.
///
/// # Errors
/// When the graph has a cycle.
pub fn posteriors(graph: &Graph) -> Result<Vec<Posterior>> {
    let mut found: Vec<Posterior> = Vec::new();
    for id in graph.op_order()? {
        for posterior in of_node(graph, id) {
            if !found.contains(&posterior) {
                found.push(posterior);
            }
        }
    }
    Ok(found)
}

/// The posteriors of the last layer: the last variational node, together with the
/// product whose bias it adds.
///
/// # Errors
/// When the graph has a cycle.
pub(crate) fn last_layer(graph: &Graph) -> Result<Vec<Posterior>> {
    let mut found = Vec::new();
    for id in graph.op_order()?.into_iter().rev().filter(|&id| is_variational(graph, id)) {
        found.extend(of_node(graph, id));
        if graph.node(id).op().is_none_or(|op| op.op_type != "VariationalAdd") {
            break;
        }
    }
    Ok(found)
}

fn of_node(graph: &Graph, id: NodeId) -> Vec<Posterior> {
    let posterior = |(_, mean, log_std): (usize, Value, Value)| {
        let full = &graph.node(mean.node).name;
        let name = full.strip_suffix(".mean").unwrap_or(full).to_owned();
        Posterior { name, mean, log_std }
    };
    random_arguments(graph, id).unwrap_or_default().into_iter().map(posterior).collect()
}

/// Makes every variational node plain again, reading weights `mean + exp(log_std) *
/// noise`, where `noise` is called once per posterior and gives standard normal values
/// of the posterior's shape, or `None` for the mean itself.
///
/// # Errors
/// When the graph has a cycle, or a node of the domain is malformed.
pub(crate) fn expand(
    graph: &mut Graph,
    mut noise: impl FnMut(&mut Graph, &Posterior) -> Result<Option<Value>>,
) -> Result<()> {
    let mut samples: HashMap<Value, Value> = HashMap::new();
    for posterior in posteriors(graph)? {
        let sample = match noise(graph, &posterior)? {
            None => posterior.mean,
            Some(noise) => sample(graph, &posterior, noise),
        };
        samples.insert(posterior.mean, sample);
    }
    for id in graph.op_order()? {
        let Some(mut op) = graph.node(id).op().filter(|op| op.domain == DOMAIN).cloned() else {
            continue;
        };
        let Some(random) = random_arguments(graph, id) else {
            let reason = format!("is of domain `{DOMAIN}`, but not a variational node");
            return Err(Error::Node { node: graph.node(id).describe(), reason });
        };
        let mut arguments = graph.arguments(id);
        for &(slot, mean, _) in &random {
            // Earlier pairs are already single again, so the slot is the plain one.
            arguments.splice(slot..slot + 2, [samples.get(&mean).copied()]);
        }
        op.attributes.remove(SLOTS);
        op.domain = String::new();
        op.overload = String::new();
        op.op_type = op.op_type.trim_start_matches(PREFIX).to_owned();
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
