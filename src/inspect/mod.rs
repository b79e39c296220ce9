//! `advbnn inspect`: what a model is, and what can be done with it.

mod rows;
mod show;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;

use anyhow::{Context, Result};
use graphs::{DType, Dim, Graph, Kind, Model, NodeId, Role};
use passes::{Pipeline, activations, posteriors};
use serde::Serialize;

use crate::cli::Inspect;
use crate::dot::dot;
use crate::{model, print};
use rows::{Layer, Left};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    nodes: usize,
    /// Values of weights and bare tensors; means and log-stds both count.
    parameters: usize,
    opset: i64,
    ir_version: i64,
    /// What the output is for, as the file notes it, or what is wrong with the note.
    likelihood: String,
    /// Name and version of the program that wrote the file.
    producer: String,
    operators: BTreeMap<String, usize>,
    /// Layers that are variational, or would be after `convert`.
    variational: usize,
    /// True when the model is variational already.
    converted: bool,
    differentiable: bool,
    obstacles: Vec<String>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// `"free"`, or the size that the file fixes.
    batch: serde_json::Value,
    /// Bytes of the parameters in float32.
    parameter_bytes: usize,
    memory: Memory,
    layers: Vec<Layer>,
    left: Vec<Left>,
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    shape: String,
}

/// Bytes in float32.
#[derive(Debug, Serialize)]
struct Memory {
    /// Means of all random weights.
    means: usize,
    log_stds: usize,
    /// Adam keeps two for each mean and each log-std.
    moments: usize,
    /// The batch that the activations are for.
    batch: usize,
    /// The most that is alive at once in a prediction; none if shapes are not known.
    activations_peak: Option<usize>,
    /// All values of a forward pass, as a training step may keep them.
    activations_total: Option<usize>,
}

pub(crate) fn run(flags: &Inspect) -> Result<()> {
    let network = model::read_sized(&flags.model, &flags.sizes)?;
    let context = || flags.model.display().to_string();
    let summary = summarize(&network, flags.batch).with_context(context)?;
    if let Some(path) = &flags.dot {
        let text = dot(&network.graph)?;
        runtime::write_whole(path, |file| file.write_all(text.as_bytes()))?;
    }
    if flags.json { print::line(serde_json::to_string(&summary)?) } else { show::show(&summary) }
}

fn summarize(network: &Model, batch: Option<NonZeroUsize>) -> Result<Summary> {
    let graph = &network.graph;
    let own_batch = batch_of(graph);
    let batch = batch.map_or_else(|| own_batch.as_u64().unwrap_or(1) as usize, NonZeroUsize::get);
    let mut operators = BTreeMap::new();
    for id in graph.ids() {
        if let Some(op) = graph.node(id).op() {
            *operators.entry(op.op_type.clone()).or_default() += 1;
        }
    }
    let mut upgraded = network.clone();
    let upgrading = Pipeline::opening().run(&mut upgraded);
    if upgrading.is_err() {
        upgraded = network.clone();
    }
    let posteriors = posteriors(&upgraded.graph)?;
    let converted = !posteriors.is_empty();
    let survey = passes::survey(&upgraded)?;
    let layers = match converted {
        true => rows::random(&upgraded)?,
        false => rows::candidates(&upgraded.graph, &survey)?,
    };
    let left = rows::left(&upgraded.graph, &survey, converted);
    let random = match converted {
        true => posteriors.iter().map(|p| rows::elements(&upgraded.graph, p.mean)).sum(),
        false => rows::distinct(&layers),
    };
    let obstacles = obstacles(network, &upgraded, upgrading.err());
    let parameters = random * if converted { 2 } else { 1 } + rows::distinct_left(&left);
    let values = activations(network, batch).ok();
    let port =
        |name: &str, value| Port { name: name.to_owned(), shape: graph.fact(value).to_string() };
    let inputs = graph.inputs.iter().filter(|id| matches!(graph.node(**id).kind, Kind::Input(_)));
    Ok(Summary {
        nodes: operators.values().sum(),
        parameters,
        opset: network.opset(),
        ir_version: network.header.ir_version(),
        likelihood: match passes::noted_likelihood(network) {
            Ok(likelihood) => likelihood.to_string(),
            Err(error) => error.to_string(),
        },
        producer: producer(network),
        operators,
        variational: layers.len(),
        converted,
        differentiable: obstacles.is_empty(),
        obstacles,
        inputs: inputs.map(|&id| port(&graph.node(id).name, id.into())).collect(),
        outputs: graph.outputs.iter().map(|p| port(&p.name, p.value)).collect(),
        batch: own_batch,
        parameter_bytes: parameters * size_of::<f32>(),
        memory: Memory {
            means: random * size_of::<f32>(),
            log_stds: random * size_of::<f32>(),
            moments: 4 * random * size_of::<f32>(),
            batch,
            activations_peak: values.map(|values| values.peak),
            activations_total: values.map(|values| values.total),
        },
        layers,
        left,
    })
}

fn producer(network: &Model) -> String {
    let header = &network.header;
    let given = [&header.producer_name, &header.producer_version].into_iter().flatten();
    given.map(|text| String::from_utf8_lossy(text)).collect::<Vec<_>>().join(" ")
}

/// The first axis of the data input.
fn batch_of(graph: &Graph) -> serde_json::Value {
    let shape = |id: &NodeId| graph.fact((*id).into()).shape.clone();
    match data(graph).iter().find_map(shape).unwrap_or_default().first() {
        Some(Dim::Known(size)) => (*size).into(),
        Some(Dim::Named(_) | Dim::Unknown) => "free".into(),
        None => serde_json::Value::Null,
    }
}

fn data(graph: &Graph) -> Vec<NodeId> {
    let data = |id: &NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
    graph.inputs.iter().copied().filter(data).collect()
}

/// The gradient with respect to so many inputs and weights is built as a trial; all others
/// are judged by the rules of the operators alone.
const TRIED: usize = 4096;

/// Why there is no gradient with respect to the data and the weights; empty when there
/// is one.
fn obstacles(network: &Model, upgraded: &Model, error: Option<passes::Error>) -> Vec<String> {
    if let Some(error) = error {
        return vec![error.to_string()];
    }
    let mut found = passes::obstacles(upgraded);
    if found.is_empty() {
        let graph = &upgraded.graph;
        let mut targets: BTreeSet<NodeId> = data(graph).into_iter().collect();
        let weights = passes::weights(upgraded).unwrap_or_default();
        targets.extend(weights.iter().map(|weight| weight.value.node));
        let posteriors = posteriors(graph).unwrap_or_default();
        targets.extend(posteriors.iter().flat_map(|p| [p.mean.node, p.log_std.node]));
        targets.retain(|&id| graph.node(id).op().is_none());
        targets.retain(|&id| graph.fact(id.into()).dtype.is_some_and(DType::is_float));
        let names = targets.iter().take(TRIED).map(|&id| graph.node(id).name.clone());
        let names: Vec<String> = names.collect();
        found.extend(passes::loss_gradient(network, None, &names).err().map(|e| e.to_string()));
    }
    found
}
