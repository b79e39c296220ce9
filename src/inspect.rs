//! `advbnn inspect`: what a model is, and what can be done with it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use anyhow::{Context, Result};
use comfy_table::Table;
use graphs::{Graph, Kind, Model, NodeId};
use passes::{Hoist, Pipeline, Upgrade, is_variational, posteriors, weights};
use serde::Serialize;

use crate::cli::Inspect;
use crate::{model, print};

/// What `--json` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Summary {
    nodes: usize,
    /// Trainable values: means and log-stds of a variational model both count.
    parameters: usize,
    opset: i64,
    operators: BTreeMap<String, usize>,
    /// Nodes that are variational, or would be after `convert`.
    variational: usize,
    /// True when the model is variational already.
    converted: bool,
    differentiable: bool,
    obstacles: Vec<String>,
    inputs: Vec<Port>,
    outputs: Vec<Port>,
    /// Bytes of the parameters in float32.
    parameter_bytes: usize,
}

#[derive(Debug, Serialize)]
struct Port {
    name: String,
    shape: String,
}

pub(crate) fn run(flags: &Inspect) -> Result<()> {
    let network = model::read(&flags.model)?;
    let summary = summarize(&network).with_context(|| flags.model.display().to_string())?;
    if let Some(path) = &flags.dot {
        std::fs::write(path, dot(&network.graph)?).with_context(|| path.display().to_string())?;
    }
    if flags.json {
        print::line(serde_json::to_string(&summary)?)?;
    } else {
        show(&summary, &network)?;
    }
    Ok(())
}

pub(crate) fn summarize(network: &Model) -> Result<Summary> {
    let graph = &network.graph;
    let mut operators = BTreeMap::new();
    for id in graph.ids() {
        if let Some(op) = graph.node(id).op() {
            *operators.entry(op.op_type.clone()).or_default() += 1;
        }
    }
    let random = graph.ids().filter(|&id| is_variational(graph, id)).count();
    let candidates = candidates(network).unwrap_or_default();
    let obstacles = obstacles(network);
    let parameters = parameters(network)?;
    let port =
        |name: &str, value| Port { name: name.to_owned(), shape: graph.fact(value).to_string() };
    let inputs = graph.inputs.iter().filter(|id| matches!(graph.node(**id).kind, Kind::Input(_)));
    Ok(Summary {
        nodes: operators.values().sum(),
        parameters,
        opset: network.opset(),
        operators,
        variational: if random > 0 { random } else { candidates.len() },
        converted: random > 0,
        differentiable: obstacles.is_empty(),
        obstacles,
        inputs: inputs.map(|&id| port(&graph.node(id).name, id.into())).collect(),
        outputs: graph.outputs.iter().map(|p| port(&p.name, p.value)).collect(),
        parameter_bytes: parameters * 4,
    })
}

/// The model as passes see it: opset 18, constants as initializers.
fn upgraded(network: &Model) -> Result<Model> {
    let mut upgraded = network.clone();
    Pipeline::new().then(Hoist).then(Upgrade).run(&mut upgraded)?;
    Ok(upgraded)
}

/// The nodes that `convert` makes variational.
fn candidates(network: &Model) -> Result<BTreeSet<NodeId>> {
    Ok(weights(&upgraded(network)?)?.into_iter().map(|weight| weight.node).collect())
}

/// Why there is no gradient with respect to the images; empty when there is one.
fn obstacles(network: &Model) -> Vec<String> {
    let mut found = passes::obstacles(network);
    if found.is_empty() {
        found.extend(passes::loss_gradient(network, Some(1), &[]).err().map(|e| e.to_string()));
    }
    found
}

/// Trainable values, each shared one once.
fn parameters(network: &Model) -> Result<usize> {
    let upgraded = upgraded(network).unwrap_or_else(|_| network.clone());
    let graph = &upgraded.graph;
    let mut values: BTreeSet<_> = weights(&upgraded)?.into_iter().map(|w| w.value).collect();
    for posterior in posteriors(graph)? {
        values.extend([posterior.mean, posterior.log_std]);
    }
    Ok(values.into_iter().filter_map(|v| graph.tensor(v)).map(graphs::Tensor::len).sum())
}

fn show(summary: &Summary, network: &Model) -> Result<()> {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    let ports = |ports: &[Port]| {
        ports.iter().map(|p| format!("{} {}", p.name, p.shape)).collect::<Vec<_>>().join(", ")
    };
    let counts: Vec<String> =
        summary.operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
    table.add_row(["inputs", &ports(&summary.inputs)]);
    table.add_row(["outputs", &ports(&summary.outputs)]);
    table.add_row(["opset", &summary.opset.to_string()]);
    table.add_row(["nodes", &format!("{}: {}", summary.nodes, counts.join(", "))]);
    let megabytes = summary.parameter_bytes as f64 / 1e6;
    table.add_row(["parameters", &format!("{} ({megabytes:.1} MB)", summary.parameters)]);
    let variational = match summary.converted {
        true => format!("{} nodes are variational", summary.variational),
        false => format!("{} nodes would become variational", summary.variational),
    };
    table.add_row(["variational", &variational]);
    let gradient = match summary.obstacles.first() {
        None => "yes".to_owned(),
        Some(first) => format!("no: {first}"),
    };
    table.add_row(["differentiable", &gradient]);
    print::line(table)?;
    if !summary.converted {
        show_candidates(network)?;
    }
    Ok(())
}

/// One line per node with weights: what `convert` would do.
fn show_candidates(network: &Model) -> Result<()> {
    let Ok(upgraded) = upgraded(network) else { return Ok(()) };
    let found = weights(&upgraded)?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["layer", "node", "weight", "shape"]);
    for weight in found {
        let graph = &upgraded.graph;
        let source = graph.node(weight.value.node);
        let shape = format!("{:?}", graph.tensor(weight.value).map_or(&[][..], |t| t.shape()));
        let node = graph.node(weight.node).describe();
        table.add_row([weight.layer.to_string(), node, source.name.clone(), shape]);
    }
    print::line(format_args!("\n{table}"))
}

/// The graph in Graphviz's language.
fn dot(graph: &Graph) -> Result<String> {
    let mut text = String::from("digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for id in graph.order()? {
        let node = graph.node(id);
        let (label, style) = match &node.kind {
            Kind::Op(op) => (format!("{}\n{}", op.op_type, node.name), ""),
            Kind::Initializer(tensor) => (format!("{}\n{tensor:?}", node.name), ", style=dotted"),
            Kind::Input(_) | Kind::Capture(_) => {
                (format!("{}\n{}", node.name, graph.fact(id.into())), ", shape=ellipse")
            }
        };
        writeln!(text, "  n{} [label={}{style}];", id.index(), quoted(&label))?;
    }
    for (value, consumer, _) in graph.edges() {
        writeln!(text, "  n{} -> n{};", value.node.index(), consumer.index())?;
    }
    for (i, port) in graph.outputs.iter().enumerate() {
        writeln!(text, "  o{i} [label={}, shape=ellipse];", quoted(&port.name))?;
        writeln!(text, "  n{} -> o{i};", port.value.node.index())?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
