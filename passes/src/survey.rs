//! What conversion would do to a model: the weights that it finds, and the constants
//! that it leaves, each with the reason.

use std::collections::{HashMap, HashSet};

use graphs::{Attribute, Graph, Kind, Model, NodeId, Tensor, Value};

use crate::Result;
use crate::layers::{self, Layer, Weight};
use crate::sources::{Sources, is_setting};
use crate::variational;

/// The weights of a model.
#[derive(Clone, Debug)]
pub struct Survey {
    /// Those that can become variational, as [`crate::weights`] gives them.
    pub weights: Vec<Weight>,
    /// The constants that no kind of layer takes for weights.
    pub left: Vec<Left>,
}

/// A constant that stays as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Left {
    /// The first node that joins it with what is computed from the inputs.
    pub node: NodeId,
    /// Its name; empty for all constants of a body.
    pub name: String,
    /// Its shape.
    pub shape: Vec<usize>,
    /// The number of its elements.
    pub parameters: usize,
    /// Why it stays.
    pub reason: String,
}

/// Operators that compute with integer weights, and the slots of those.
#[rustfmt::skip]
const INTEGER: &[(&str, usize)] = &[
    ("ConvInteger", 1), ("MatMulInteger", 1), ("QLinearConv", 3), ("QLinearMatMul", 3),
];

/// Looks for the weights of a model.
///
/// # Errors
/// When the graph has a cycle.
pub fn survey(model: &Model) -> Result<Survey> {
    let graph = &model.graph;
    let sources = Sources::of(graph)?;
    let mut survey = Survey { weights: Vec::new(), left: Vec::new() };
    let mut reasons: HashMap<(NodeId, usize), String> = HashMap::new();
    for (place, origins) in layers::arguments(graph, &sources)? {
        match origins {
            Ok(values) => {
                survey.weights.extend(values.into_iter().map(|value| Weight { value, ..place }));
            }
            Err(reason) => _ = reasons.insert((place.node, place.slot), reason),
        }
    }
    let mut known = graph.ancestors(survey.weights.iter().map(|w| w.value));
    for posterior in variational::posteriors(graph)? {
        known.extend([posterior.mean.node, posterior.log_std.node]);
    }
    let meetings = meetings(graph, &sources)?;
    let mut seen = HashSet::new();
    for id in graph.order()?.into_iter().filter(|&id| !known.contains(id)) {
        let node = graph.node(id);
        let Some(tensor) = node.tensor().filter(|tensor| tensor.len() > 1) else { continue };
        for (reader, slot) in graph.readers(id.into()) {
            let meeting = if sources.is_constant(reader.into()) {
                meetings.get(&reader).copied()
            } else {
                Some((reader, slot))
            };
            let Some((reader, slot)) = meeting.filter(|_| !is_setting(graph, reader, slot)) else {
                continue;
            };
            if let Some(reason) = reason(graph, tensor, (reader, slot), &reasons)
                && seen.insert((id, reader))
            {
                let (name, shape) = (node.name.clone(), tensor.shape().to_vec());
                let parameters = tensor.len();
                survey.left.push(Left { node: reader, name, shape, parameters, reason });
            }
        }
    }
    survey.left.extend(graph.op_order()?.into_iter().filter_map(|id| in_bodies(graph, id)));
    Ok(survey)
}

impl Survey {
    /// Why a weight of this kind stays when `convert` is not told otherwise.
    pub fn unasked(layer: Layer) -> Option<String> {
        let asked = Layer::DEFAULT.contains(&layer);
        (!asked).then(|| format!("{layer} is converted when --layers names it"))
    }
}

/// For every call that depends on constants alone, the first place where its result
/// meets the data.
fn meetings(graph: &Graph, sources: &Sources) -> Result<HashMap<NodeId, (NodeId, usize)>> {
    let mut meetings = HashMap::new();
    for id in graph.op_order()?.into_iter().rev().filter(|&id| sources.is_constant(id.into())) {
        let outputs = 0..graph.node(id).outputs.len();
        let readers = outputs.flat_map(|slot| graph.readers(Value { node: id, slot }));
        let meeting = |(reader, slot): (NodeId, usize)| {
            if sources.is_constant(reader.into()) {
                meetings.get(&reader).copied()
            } else {
                Some((reader, slot))
            }
        };
        if let Some(place) = readers.filter_map(meeting).next() {
            meetings.insert(id, place);
        }
    }
    Ok(meetings)
}

/// Why a constant that node `id` reads at `slot` is no weight; nothing for one that
/// could not be trained anyway.
fn reason(
    graph: &Graph,
    tensor: &Tensor,
    (id, slot): (NodeId, usize),
    reasons: &HashMap<(NodeId, usize), String>,
) -> Option<String> {
    let op = graph.node(id).op()?;
    if op.in_onnx_domain() && INTEGER.contains(&(op.op_type.as_str(), slot)) {
        let advice = "quantize with QuantizeLinear and DequantizeLinear instead";
        return Some(format!("computes with integers, which have no gradient; {advice}"));
    }
    if !tensor.dtype().is_float() && !reasons.contains_key(&(id, slot)) {
        return None;
    }
    Some(match op.op_type.as_str() {
        _ if slot >= op.arity => format!("is read inside the body of this {}", op.op_type),
        _ if !op.in_onnx_domain() => {
            format!("operators of domain `{}` stay as they are", op.domain)
        }
        _ if reasons.contains_key(&(id, slot)) => reasons.get(&(id, slot))?.clone(),
        "Gather" | "GatherElements" | "GatherND" if slot == 0 => {
            "a table that is looked up stays deterministic".to_owned()
        }
        "Conv" | "ConvTranspose" | "Gemm" | "MatMul" | "Einsum" => {
            "takes part in a weight that is computed".to_owned()
        }
        _ => "a bare tensor (embedding, token, scale, constant) stays deterministic".to_owned(),
    })
}

/// The float constants in the bodies of a node.
fn in_bodies(graph: &Graph, id: NodeId) -> Option<Left> {
    let op = graph.node(id).op()?;
    let parameters = count(op.attributes.values());
    let reason = format!("weights in the body of this {} stay as they are", op.op_type);
    let left = Left { node: id, name: String::new(), shape: Vec::new(), parameters, reason };
    (parameters > 0).then_some(left)
}

fn count<'a>(attributes: impl Iterator<Item = &'a Attribute>) -> usize {
    let mut total = 0;
    let mut bodies: Vec<&Graph> = attributes.filter_map(body).collect();
    while let Some(graph) = bodies.pop() {
        for id in graph.ids() {
            match &graph.node(id).kind {
                Kind::Initializer(tensor) if tensor.dtype().is_float() && tensor.len() > 1 => {
                    total += tensor.len();
                }
                Kind::Op(op) => bodies.extend(op.attributes.values().filter_map(body)),
                _ => {}
            }
        }
    }
    total
}

fn body(attribute: &Attribute) -> Option<&Graph> {
    if let Attribute::Graph(body) = attribute { Some(body) } else { None }
}
