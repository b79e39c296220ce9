//! The batch size: fixes it for programs, whatever the file said, and frees it for
//! exports.
//!
//! Exporters bake the batch size into input shapes and into the constants of Reshape
//! and Expand. Those constants are found by what the first axis holds, not by name.

use graphs::{Dim, Graph, Kind, Model, NodeId, Op, Role, Tensor, Value};

use crate::pass::Pass;
use crate::{Error, Result};

/// Gives every data and label input the batch size `0`-th dimension `self.0`.
#[derive(Clone, Copy, Debug)]
pub struct FixBatch(pub usize);

/// Names the batch size `N` at every data and label input.
#[derive(Clone, Copy, Debug)]
pub struct FreeBatch;

impl Pass for FixBatch {
    fn name(&self) -> &'static str {
        "fix-batch"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        set_batch(&mut model.graph, Dim::Known(self.0))
    }
}

impl Pass for FreeBatch {
    fn name(&self) -> &'static str {
        "free-batch"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        set_batch(&mut model.graph, Dim::Named("N".to_owned()))
    }
}

fn set_batch(graph: &mut Graph, batch: Dim) -> Result<()> {
    for id in graph.inputs.clone() {
        let node = graph.node_mut(id);
        if !matches!(node.kind, Kind::Input(Role::Data | Role::Label)) {
            continue;
        }
        let describe = node.describe();
        let shape = node.outputs.first_mut().and_then(|fact| fact.shape.as_mut());
        let Some(first) = shape.and_then(|shape| shape.first_mut()) else {
            let reason = "has no batch axis; give the model an input of shape [N, ...]".to_owned();
            return Err(Error::Node { node: describe, reason });
        };
        if let Dim::Known(baked) = *first {
            relax_reshapes(graph, id.into(), baked)?;
        }
        set_first(graph, id.into(), &batch);
    }
    for port in graph.outputs.clone() {
        set_first(graph, port.value, &batch);
    }
    Ok(())
}

/// Records `batch` as the size of the first axis of a value whose shape is known.
fn set_first(graph: &mut Graph, value: Value, batch: &Dim) {
    let fact = graph.node_mut(value.node).outputs.get_mut(value.slot);
    let shape = fact.and_then(|fact| fact.shape.as_mut());
    if let Some(first) = shape.and_then(|shape| shape.first_mut()) {
        *first = batch.clone();
    }
}

/// Frees the constants of every Reshape after `input` whose first entry is the baked
/// batch size: 0 keeps the first axis, which holds the batch, as it is.
fn relax_reshapes(graph: &mut Graph, input: Value, baked: usize) -> Result<()> {
    for id in graph.op_order()? {
        let is_reshape = graph.node(id).op().is_some_and(|op| op.is("Reshape"));
        let Some(target) = graph.argument(id, 1).filter(|_| is_reshape) else { continue };
        if !depends(graph, id, input) {
            continue;
        }
        let Some(mut shape) = constant(graph, target) else { continue };
        if shape.first() != Some(&(baked as i64)) || graph.node(id).op().is_some_and(allow_zero) {
            continue;
        }
        if let Some(first) = shape.first_mut() {
            *first = 0;
        }
        let name = format!("{}/free_shape_{}", graph.node(id).name, id.index());
        let free = graph.initializer(&name, Tensor::vector(&shape));
        graph.set_argument(id, 1, Some(free));
    }
    Ok(())
}

fn allow_zero(op: &Op) -> bool {
    op.int("allowzero", 0) != 0
}

fn depends(graph: &Graph, id: NodeId, input: Value) -> bool {
    graph.argument(id, 0).is_some_and(|x| graph.ancestors([x]).contains(&input.node))
}

/// The integers of an initializer or a Constant node.
fn constant(graph: &Graph, value: Value) -> Option<Vec<i64>> {
    if let Some(tensor) = graph.tensor(value) {
        return tensor.integers().ok();
    }
    let op = graph.get(value.node)?.op().filter(|op| op.is("Constant"))?;
    match op.attributes.get("value")? {
        graphs::Attribute::Tensor(tensor) => tensor.integers().ok(),
        _ => None,
    }
}
