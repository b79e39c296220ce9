//! The layers of a model and their weights, one row each.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::Result;
use graphs::{Graph, Model, NodeId, Tensor, Value};
use passes::{Survey, Weight, random_layers};
use serde::Serialize;

/// Of the layers that share a weight, no more are named with each of them.
const NAMED: usize = 8;

/// A node that is or becomes variational.
#[derive(Debug, Serialize)]
pub(super) struct Layer {
    pub(super) node: String,
    pub(super) op: String,
    /// conv, linear, ...; none for what is variational already.
    pub(super) layer: Option<String>,
    pub(super) weights: Vec<Parameter>,
}

/// A random weight of a layer.
#[derive(Debug, Serialize)]
pub(super) struct Parameter {
    pub(super) name: String,
    pub(super) shape: Vec<usize>,
    pub(super) parameters: usize,
    /// The number of layers that read it.
    pub(super) readers: usize,
    /// The others of them, the first few by name.
    pub(super) shared_with: Vec<String>,
    /// Tells weights apart that have the same name.
    #[serde(skip)]
    value: usize,
}

/// A constant that stays as it is.
#[derive(Debug, Serialize)]
pub(super) struct Left {
    pub(super) node: String,
    pub(super) op: String,
    pub(super) weight: String,
    pub(super) shape: Vec<usize>,
    pub(super) parameters: usize,
    pub(super) reason: String,
}

/// The layers that `convert` makes variational if nothing else is asked.
pub(super) fn candidates(graph: &Graph, survey: &Survey) -> Result<Vec<Layer>> {
    let asked = |weight: &&Weight| Survey::unasked(weight.layer).is_none();
    let weights: Vec<&Weight> = survey.weights.iter().filter(asked).collect();
    let mut kinds: HashMap<NodeId, String> = HashMap::new();
    let mut read: Vec<(NodeId, Vec<Value>)> = Vec::new();
    for weight in weights {
        kinds.insert(weight.node, weight.layer.to_string());
        match read.last_mut() {
            Some((id, values)) if *id == weight.node => values.push(weight.value),
            _ => read.push((weight.node, vec![weight.value])),
        }
    }
    let mut layers = rows(graph, &read, |value| passes::stored_name(graph, value).to_owned());
    for (layer, (id, _)) in layers.iter_mut().zip(&read) {
        layer.layer = kinds.get(id).cloned();
    }
    Ok(layers)
}

/// The layers that are variational already.
pub(super) fn random(model: &Model) -> Result<Vec<Layer>> {
    let graph = &model.graph;
    let found = random_layers(model)?;
    let names: HashMap<Value, String> =
        found.iter().flat_map(|(_, drawn)| drawn).map(|p| (p.mean, p.name.clone())).collect();
    let read: Vec<(NodeId, Vec<Value>)> =
        found.iter().map(|(id, drawn)| (*id, drawn.iter().map(|p| p.mean).collect())).collect();
    Ok(rows(graph, &read, |value| names.get(&value).cloned().unwrap_or_default()))
}

fn rows(
    graph: &Graph,
    read: &[(NodeId, Vec<Value>)],
    name: impl Fn(Value) -> String,
) -> Vec<Layer> {
    let mut readers: HashMap<Value, Vec<NodeId>> = HashMap::new();
    for (id, values) in read {
        for value in values {
            readers.entry(*value).or_default().push(*id);
        }
    }
    let row = |(id, values): &(NodeId, Vec<Value>)| {
        let parameter = |&value: &Value| {
            let readers = readers.get(&value).map_or(&[][..], Vec::as_slice);
            let others = readers.iter().filter(|other| *other != id).take(NAMED);
            Parameter {
                name: name(value),
                shape: shape(graph, value),
                parameters: elements(graph, value),
                readers: readers.len(),
                shared_with: others.map(|&id| label(graph, id)).collect(),
                value: value.node.index(),
            }
        };
        Layer {
            node: label(graph, *id),
            op: op_type(graph, *id),
            layer: None,
            weights: values.iter().map(parameter).collect(),
        }
    };
    read.iter().map(row).collect()
}

/// What no random layer holds.
pub(super) fn left(graph: &Graph, survey: &Survey, converted: bool) -> Vec<Left> {
    let mut left: Vec<Left> = Vec::new();
    for weight in &survey.weights {
        let reason = match (converted, Survey::unasked(weight.layer)) {
            (true, _) if graph.node(weight.value.node).tensor().is_none() => continue,
            (true, _) => "was not converted".to_owned(),
            (false, Some(reason)) => reason,
            (false, None) => continue,
        };
        left.push(Left {
            node: label(graph, weight.node),
            op: op_type(graph, weight.node),
            weight: passes::stored_name(graph, weight.value).to_owned(),
            shape: shape(graph, weight.value),
            parameters: elements(graph, weight.value),
            reason,
        });
    }
    left.extend(survey.left.iter().map(|found| Left {
        node: label(graph, found.node),
        op: op_type(graph, found.node),
        weight: found.name.clone(),
        shape: found.shape.clone(),
        parameters: found.parameters,
        reason: found.reason.clone(),
    }));
    left
}

/// The number of values in all weights, shared ones once.
pub(super) fn distinct(layers: &[Layer]) -> usize {
    let weights = layers.iter().flat_map(|layer| &layer.weights);
    weights.map(|w| (w.value, w.parameters)).collect::<BTreeMap<_, _>>().values().sum()
}

/// The same for what is left.
pub(super) fn distinct_left(left: &[Left]) -> usize {
    let named = left.iter().filter(|row| !row.weight.is_empty());
    let once: BTreeSet<(&str, usize)> =
        named.map(|row| (row.weight.as_str(), row.parameters)).collect();
    let bodies = left.iter().filter(|row| row.weight.is_empty()).map(|row| row.parameters);
    once.iter().map(|(_, count)| count).sum::<usize>() + bodies.sum::<usize>()
}

/// The number of elements of a weight, computed ones included.
pub(super) fn elements(graph: &Graph, value: Value) -> usize {
    shape(graph, value).iter().product()
}

/// The shape of a weight; that of the integers for one that is computed from them.
fn shape(graph: &Graph, value: Value) -> Vec<usize> {
    let stored = passes::stored(graph, value);
    let known = graph.fact(value).known_shape();
    known.or_else(|| graph.tensor(stored).map(|t: &Tensor| t.shape().to_vec())).unwrap_or_default()
}

fn label(graph: &Graph, id: NodeId) -> String {
    let node = graph.node(id);
    let output = node.extras.names.first().filter(|_| node.name.is_empty());
    output.unwrap_or(&node.name).clone()
}

fn op_type(graph: &Graph, id: NodeId) -> String {
    graph.node(id).op().map_or_else(String::new, |op| op.op_type.clone())
}
