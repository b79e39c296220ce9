//! Where a network keeps its weights: which argument of which operator is a
//! parameter, and of which kind of layer.

use std::fmt;
use std::str::FromStr;

use graphs::{Graph, Model, NodeId, Op, Value};

use crate::{Error, Result};

/// The kinds of layers that can be made variational.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Conv and ConvTranspose.
    Conv,
    /// Gemm, and MatMul with the Add of its bias.
    Linear,
    /// BatchNormalization.
    BatchNorm,
}

impl Layer {
    /// Every kind.
    pub const ALL: [Layer; 3] = [Layer::Conv, Layer::Linear, Layer::BatchNorm];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Conv => "conv",
            Layer::Linear => "linear",
            Layer::BatchNorm => "batchnorm",
        })
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layer> {
        let found = Layer::ALL.into_iter().find(|layer| layer.to_string() == text);
        found.ok_or_else(|| {
            Error::Model(format!("no layer kind `{text}`; use conv, linear, batchnorm"))
        })
    }
}

/// One parameter of one layer.
#[derive(Clone, Copy, Debug)]
pub struct Weight {
    /// The node that reads it.
    pub node: NodeId,
    /// Which of its arguments it is.
    pub slot: usize,
    /// The constant.
    pub value: Value,
    /// The kind of layer.
    pub layer: Layer,
    /// True for a bias or BatchNormalization's beta.
    pub bias: bool,
    /// The number of values summed into one output: fixes the scale of fresh weights.
    pub fan_in: usize,
}

/// Every weight that is a float constant, in the order of the nodes.
///
/// # Errors
/// When the graph has a cycle.
pub fn weights(model: &Model) -> Result<Vec<Weight>> {
    let graph = &model.graph;
    let mut found = Vec::new();
    for id in graph.op_order()? {
        let Some(op) = graph.node(id).op() else { continue };
        for (slot, layer, bias) in parameters(graph, id, op) {
            let value = graph.argument(id, slot);
            let Some((value, tensor)) = value.and_then(|v| Some((v, graph.tensor(v)?))) else {
                continue;
            };
            if tensor.dtype().is_float() {
                let fan_in = fan_in(graph, id, op);
                found.push(Weight { node: id, slot, value, layer, bias, fan_in });
            }
        }
    }
    Ok(found)
}

/// The parameter slots of a node: (argument, layer, is a bias).
fn parameters(graph: &Graph, id: NodeId, op: &Op) -> Vec<(usize, Layer, bool)> {
    if !op.in_onnx_domain() {
        return Vec::new();
    }
    match op.op_type.as_str() {
        "Conv" | "ConvTranspose" => vec![(1, Layer::Conv, false), (2, Layer::Conv, true)],
        "Gemm" => {
            vec![(0, Layer::Linear, false), (1, Layer::Linear, false), (2, Layer::Linear, true)]
        }
        "MatMul" => vec![(0, Layer::Linear, false), (1, Layer::Linear, false)],
        "BatchNormalization" => vec![(1, Layer::BatchNorm, false), (2, Layer::BatchNorm, true)],
        "Add" => {
            let product = |slot: usize| {
                let value = graph.argument(id, 1 - slot)?;
                let op = graph.node(value.node).op()?;
                matches!(op.op_type.as_str(), "MatMul" | "VariationalMatMul").then_some(slot)
            };
            let slot = product(0).or_else(|| product(1));
            slot.map(|slot| (slot, Layer::Linear, true)).into_iter().collect()
        }
        _ => Vec::new(),
    }
}

/// How many values a layer sums into one output.
fn fan_in(graph: &Graph, id: NodeId, op: &Op) -> usize {
    let weight = (0..2).rev().find_map(|slot| graph.tensor(graph.argument(id, slot)?));
    let Some(shape) = weight.map(|tensor| tensor.shape()) else { return 1 };
    match (op.op_type.as_str(), shape) {
        ("Conv", [_, rest @ ..]) => rest.iter().product(),
        ("ConvTranspose", [_, rest @ ..]) => rest.iter().product(),
        ("Gemm", &[rows, columns]) => {
            if op.int("transB", 0) == 1 {
                columns
            } else {
                rows
            }
        }
        ("MatMul", &[.., rows, _]) => rows,
        _ => 1,
    }
}
