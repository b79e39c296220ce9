//! Sums and factors that belong to the layer in front of them: the bias that a product
//! gets from an Add, and scale and shift of a normalization that is spelled out.

use graphs::{Graph, NodeId, Value};

use crate::layers::Layer;
use crate::sources::{self, is_view};
use crate::variational;

/// More views than exporters put between a layer and what they add to it.
const VIEWS: usize = 8;

/// The call behind a value, seen through views and casts.
fn behind(graph: &Graph, mut value: Value) -> Option<NodeId> {
    for _ in 0..VIEWS {
        let op = graph.node(value.node).op()?;
        if !is_view(op) && !op.is("Cast") {
            return Some(value.node);
        }
        value = graph.argument(value.node, 0)?;
    }
    None
}

/// The product without a bias of its own behind argument `slot` of an Add, and the
/// layer that the sum is part of.
pub(crate) fn biased_product(graph: &Graph, add: NodeId, slot: usize) -> Option<(NodeId, Layer)> {
    let id = behind(graph, graph.argument(add, slot)?)?;
    let bare = variational::plain_arguments(graph, id) <= 2;
    match variational::plain_type(graph.node(id).op()?) {
        "MatMul" | "Einsum" => Some((id, Layer::Linear)),
        "Gemm" => bare.then_some((id, Layer::Linear)),
        "Conv" | "ConvTranspose" => bare.then_some((id, Layer::Conv)),
        _ => None,
    }
}

/// True if argument `slot` of a Mul is a normalized value, so that the other one is the
/// scale of the normalization.
pub(crate) fn scales(graph: &Graph, mul: NodeId, slot: usize) -> bool {
    let id = graph.argument(mul, slot).and_then(|value| behind(graph, value));
    id.is_some_and(|id| normalizes(graph, id))
}

/// True if argument `slot` of an Add is a normalized value that was scaled, so that the
/// other one is its shift.
pub(crate) fn shifts(graph: &Graph, add: NodeId, slot: usize) -> bool {
    let id = graph.argument(add, slot).and_then(|value| behind(graph, value));
    let mul =
        id.filter(|&id| graph.node(id).op().is_some_and(|op| variational::plain_type(op) == "Mul"));
    mul.is_some_and(|mul| (0..graph.arguments(mul).len()).any(|slot| scales(graph, mul, slot)))
}

/// True for a normalization whose scale follows: `x / sqrt(..)`, `x * (1 / sqrt(..))`,
/// or an InstanceNormalization that stands in for one over groups.
fn normalizes(graph: &Graph, id: NodeId) -> bool {
    let Some(op) = graph.node(id).op() else { return false };
    let is = |slot, test: fn(&Graph, NodeId) -> bool| {
        let id = graph.argument(id, slot).and_then(|value| behind(graph, value));
        id.is_some_and(|id| test(graph, id))
    };
    match op.op_type.as_str() {
        "InstanceNormalization" => op.in_onnx_domain(),
        "Div" => is(1, is_root),
        "Mul" => is(0, is_inverse_root) || is(1, is_inverse_root),
        _ => false,
    }
}

fn is_root(graph: &Graph, id: NodeId) -> bool {
    graph.node(id).op().is_some_and(|op| op.is("Sqrt"))
}

fn is_inverse_root(graph: &Graph, id: NodeId) -> bool {
    let Some(op) = graph.node(id).op() else { return false };
    let argument = |slot| graph.argument(id, slot);
    let root = |slot| argument(slot).is_some_and(|v: Value| is_root(graph, v.node));
    let power = || argument(1).and_then(|v| graph.tensor(v)?.floats().ok()?.first().copied());
    (op.is("Reciprocal") && root(0))
        || (op.is("Div") && root(1))
        || (op.is("Pow") && power() == Some(-0.5))
}

/// True for an InstanceNormalization whose own scale is but a placeholder: it is 1, and
/// a Mul by another one follows.
pub(crate) fn is_rescaled(graph: &Graph, id: NodeId) -> bool {
    let scale = graph.argument(id, 1).and_then(|v| graph.tensor(sources::stored(graph, v)));
    let ones = scale.and_then(|scale| Some(scale.floats().ok()?.iter().all(|&v| v == 1.0)));
    if ones != Some(true) {
        return false;
    }
    let mut value = Value::from(id);
    for _ in 0..VIEWS {
        let readers = graph.readers(value);
        let &[(reader, slot)] = readers.as_slice() else { return false };
        let Some(op) = graph.node(reader).op() else { return false };
        if variational::plain_type(op) == "Mul" {
            return true;
        }
        if !(is_view(op) || op.is("Cast")) || slot != 0 {
            return false;
        }
        value = reader.into();
    }
    false
}
