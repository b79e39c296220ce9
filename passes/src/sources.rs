//! From an argument back to the stored tensors that it shows: through views, casts,
//! dequantization and whatever else is computed from constants alone.

use std::collections::{HashMap, HashSet};

use graphs::{Attribute, DType, Graph, Kind, NodeId, NodeSet, Op, Value};

use crate::Result;
use crate::variational;

/// Operators whose output shows elements of argument 0 and nothing else: a weight may
/// stand behind them, and is drawn before they see it.
#[rustfmt::skip]
const VIEWS: &[&str] = &[
    "Expand", "Flatten", "Gather", "Identity", "Reshape", "Slice", "Split", "Squeeze",
    "Transpose", "Unsqueeze",
];

/// True for an operator that only shows its argument 0 under another shape or order.
pub(crate) fn is_view(op: &Op) -> bool {
    op.in_onnx_domain() && VIEWS.contains(&op.op_type.as_str())
}

/// What a graph computes from constants alone.
pub(crate) struct Sources<'g> {
    graph: &'g Graph,
    /// Constants, and calls that depend on nothing else. A variational Identity, the
    /// sample of a weight, counts as the weight that it stands for.
    constant: NodeSet,
    /// The first of several calls that compute the same from the same constants:
    /// quantizers give every reader of one weight a DequantizeLinear of its own.
    first: HashMap<NodeId, NodeId>,
    /// The same, the other way round.
    twins: HashMap<NodeId, Vec<NodeId>>,
}

impl<'g> Sources<'g> {
    /// # Errors
    /// When the graph has a cycle.
    pub(crate) fn of(graph: &'g Graph) -> Result<Sources<'g>> {
        let (constant, first) = (NodeSet::default(), HashMap::new());
        let mut sources = Sources { graph, constant, first, twins: HashMap::new() };
        let mut calls: HashMap<String, NodeId> = HashMap::new();
        for id in graph.order()? {
            match &graph.node(id).kind {
                Kind::Initializer(_) => _ = sources.constant.insert(id),
                Kind::Op(op) if variational::is_sample(graph, id) || sources.folds(id, op) => {
                    sources.constant.insert(id);
                    if let Some(key) = sources.key(id, op) {
                        let first = *calls.entry(key).or_insert(id);
                        sources.first.insert(id, first);
                        sources.twins.entry(first).or_default().push(id);
                    }
                }
                Kind::Op(_) | Kind::Input(_) | Kind::Capture(_) => {}
            }
        }
        Ok(sources)
    }

    fn folds(&self, id: NodeId, op: &Op) -> bool {
        let name = op.op_type.as_str();
        let random = name.starts_with("Random") || ["Bernoulli", "Multinomial"].contains(&name);
        let mut arguments = self.graph.arguments(id).into_iter().flatten().peekable();
        let known = arguments.peek().is_some() || name == "Constant";
        known && op.in_onnx_domain() && !random && arguments.all(|v| self.is_constant(v))
    }

    /// What tells a call from others, unless it holds tensors or bodies.
    fn key(&self, id: NodeId, op: &Op) -> Option<String> {
        let simple = |attribute: &Attribute| {
            !matches!(attribute, Attribute::Tensor(_) | Attribute::Graph(_) | Attribute::Other(_))
        };
        let first = |v: Value| Value { node: *self.first.get(&v.node).unwrap_or(&v.node), ..v };
        let arguments: Vec<Option<Value>> =
            self.graph.arguments(id).into_iter().map(|v| v.map(first)).collect();
        let told = !arguments.is_empty() && op.attributes.values().all(simple);
        told.then(|| format!("{op:?} {arguments:?}"))
    }

    /// True for a value that depends on constants alone.
    pub(crate) fn is_constant(&self, value: Value) -> bool {
        self.constant.contains(value.node)
    }

    /// The values on which the weight behind `value` has its posterior: stored float
    /// tensors where everything between is a view or another differentiable function
    /// of them; else the float value computed from integers.
    ///
    /// # Errors
    /// Why there is none, as half a sentence.
    pub(crate) fn origins(&self, value: Value) -> std::result::Result<Vec<Value>, String> {
        let mut found = Vec::new();
        let mut seen = HashSet::new();
        let mut stack = vec![value];
        while let Some(value) = stack.pop() {
            if !self.is_constant(value) {
                return Err("is computed from an input".to_owned());
            }
            if !seen.insert(value) {
                continue;
            }
            let node = self.graph.node(value.node);
            match &node.kind {
                Kind::Initializer(tensor) if tensor.dtype().is_float() => found.push(value),
                Kind::Op(_) if variational::is_sample(self.graph, value.node) => found.push(value),
                Kind::Op(op) if is_view(op) || self.casts_floats(value.node, op) => {
                    stack.extend(self.graph.argument(value.node, 0));
                }
                Kind::Op(op) if op.is("Concat") => {
                    // The first part on top.
                    stack.extend(self.graph.arguments(value.node).into_iter().rev().flatten());
                }
                Kind::Op(op) if is_decoding(op) => {
                    let first = self.first.get(&value.node).unwrap_or(&value.node);
                    found.push(Value::from(*first));
                }
                Kind::Op(_) => found.push(self.largest(value)?),
                _ => return Err(format!("is held as {}", self.graph.fact(value))),
            }
        }
        let mut known = HashSet::new();
        found.retain(|value| known.insert(*value));
        Ok(found)
    }

    /// True for a Cast between float types, which a sample passes as it would a view.
    fn casts_floats(&self, id: NodeId, op: &Op) -> bool {
        let from = self.graph.argument(id, 0).and_then(|x| self.dtype(x));
        op.is("Cast") && from.is_some_and(DType::is_float)
    }

    /// The element type of a constant value, also where the file does not say it.
    pub(crate) fn dtype(&self, mut value: Value) -> Option<DType> {
        /// More than exporters put between a tensor and its use.
        const CALLS: usize = 64;
        for _ in 0..CALLS {
            let node = self.graph.node(value.node);
            let known = node.tensor().map(graphs::Tensor::dtype).or(self.graph.fact(value).dtype);
            let op = match known {
                Some(dtype) => return Some(dtype),
                None => node.op()?,
            };
            let slot = match op.op_type.as_str() {
                "Cast" => return DType::from_code(i32::try_from(op.int("to", 0)).ok()?),
                "DequantizeLinear" => 1,
                _ => 0,
            };
            value = self.graph.argument(value.node, slot)?;
        }
        None
    }

    /// The one largest float tensor that a function of constants reads: of weight and
    /// gain the weight, of a matrix and its low-rank correction the matrix.
    fn largest(&self, value: Value) -> std::result::Result<Value, String> {
        let above = self.graph.ancestors([value]);
        if above.iter().any(|id| self.graph.node(id).op().is_some_and(is_decoding)) {
            return Err("is computed from an integer tensor and others".to_owned());
        }
        let size = |id: NodeId| match self.graph.node(id).tensor() {
            Some(tensor) if tensor.dtype().is_float() => Some((tensor.len(), id)),
            Some(_) => None,
            None if variational::is_sample(self.graph, id) => {
                let sizes = self.graph.fact(id.into()).known_shape()?;
                Some((sizes.iter().product(), id))
            }
            None => None,
        };
        let mut sizes: Vec<(usize, NodeId)> = above.iter().filter_map(size).collect();
        sizes.sort_unstable();
        match sizes.as_slice() {
            [.., (second, _), (first, _)] if first == second => {
                Err("is computed from several tensors of one size".to_owned())
            }
            [.., (_, id)] => Ok((*id).into()),
            [] => Err("is computed from no float tensor".to_owned()),
        }
    }

    /// Every value that shows the same as `origin`.
    pub(crate) fn twins(&self, origin: Value) -> Vec<Value> {
        let nodes = self.twins.get(&origin.node).cloned().unwrap_or_else(|| vec![origin.node]);
        nodes.into_iter().map(|node| Value { node, ..origin }).collect()
    }
}

/// True for an operator that makes numbers out of their integer code.
fn is_decoding(op: &Op) -> bool {
    ["DequantizeLinear", "QuantizeLinear", "Cast"].iter().any(|name| op.is(name))
}

/// True for an argument that no gradient is taken for: a statistic, a bound, a factor
/// of quantization. It may share its constant with a weight, for exporters store equal
/// tensors once, but it is not that weight.
pub(crate) fn is_setting(graph: &Graph, id: NodeId, slot: usize) -> bool {
    let Some(op) = graph.node(id).op() else { return false };
    let slot = variational::plain_slot(graph, id, slot);
    match variational::plain_type(op) {
        "BatchNormalization" => slot >= 3,
        "Clip" | "Dropout" | "Pad" | "Resize" | "Upsample" | "QuantizeLinear"
        | "DequantizeLinear" => slot >= 1,
        _ => false,
    }
}

/// The first constant behind a value: what argument 0 leads to.
pub fn stored(graph: &Graph, mut value: Value) -> Value {
    while graph.node(value.node).op().is_some() {
        match graph.argument(value.node, 0) {
            Some(argument) => value = argument,
            None => break,
        }
    }
    value
}

/// The name of that constant.
pub fn stored_name(graph: &Graph, value: Value) -> &str {
    &graph.node(stored(graph, value).node).name
}
