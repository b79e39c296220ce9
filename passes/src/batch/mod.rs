//! The batch size: fixes it for programs, whatever the file said, and frees it for
//! exports.
//!
//! Exporters bake the batch size of their example into input shapes and into the
//! constants of Reshape, Expand and others. [`free`] finds and frees what depends on it
//! by shapes alone: it follows the batch through the graph at the file's size and at a
//! size that no model has, and rewrites each constant that keeps the two from agreeing.

mod adapt;
mod axis;
mod demand;
mod free;
mod gather;
#[cfg(test)]
mod tests;
mod vector;

use graphs::{Dim, Graph, Kind, Model, Role, Value};

use crate::pass::Pass;
use crate::sizes::refuse_open;
use crate::{Error, Result};

/// Gives every data and label input the batch size `0`-th dimension `self.0`, and refuses
/// inputs of which another one is open (see [`FixSizes`](crate::FixSizes)).
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
        set_batch(&mut model.graph, &Dim::Known(self.0))?;
        refuse_open(&model.graph)
    }
}

impl Pass for FreeBatch {
    fn name(&self) -> &'static str {
        "free-batch"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        set_batch(&mut model.graph, &Dim::Named("N".to_owned()))
    }
}

/// Frees the batch size where that can be done, otherwise leaves the model as it is and
/// returns the reason.
pub fn try_free_batch(model: &mut Model) -> Option<Error> {
    let mut freed = model.clone();
    match crate::Pipeline::new().then(FreeBatch).run(&mut freed) {
        Ok(()) => *model = freed,
        Err(error) => return Some(error),
    }
    None
}

/// The batch size that a graph fixes; `None` when it takes any.
pub fn fixed_batch(graph: &Graph) -> Option<usize> {
    let shape = |value: &Value| graph.fact(*value).shape.clone();
    match inputs(graph).iter().find_map(shape)?.first()? {
        Dim::Known(n) => Some(*n),
        Dim::Named(_) | Dim::Unknown => None,
    }
}

/// The data and label inputs.
fn inputs(graph: &Graph) -> Vec<Value> {
    let batched =
        |id: &graphs::NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data | Role::Label));
    graph.inputs.iter().copied().filter(batched).map(Value::from).collect()
}

fn set_batch(graph: &mut Graph, batch: &Dim) -> Result<()> {
    let inputs = inputs(graph);
    for &input in &inputs {
        if graph.fact(input).shape.as_ref().and_then(|shape| shape.first()).is_none() {
            let node = graph.node(input.node).describe();
            let reason = "has no batch axis; give the model an input of shape [N, ...]".to_owned();
            return Err(Error::Node { node, reason });
        }
    }
    match fixed_batch(graph) {
        Some(baked) if *batch == Dim::Known(baked) => {}
        Some(baked) => free::free(graph, &inputs, baked)?,
        None => {}
    }
    for value in inputs.into_iter().chain(graph.outputs.clone().into_iter().map(|p| p.value)) {
        set_first(graph, value, batch);
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
