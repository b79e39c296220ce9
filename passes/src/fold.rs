//! Static shapes: infers every value's type and shape, and computes what depends on
//! constants alone (the shape arithmetic that exporters leave behind).

use graphs::{Fact, Graph, Model, NodeId, Tensor, Value};

use crate::ops::{self, Call};
use crate::pass::Pass;
use crate::{Error, Result};

/// Infers all facts in order and replaces constant shape arithmetic by its result.
/// Every input must have a fully known shape.
#[derive(Clone, Copy, Debug)]
pub struct Fold;

impl Pass for Fold {
    fn name(&self) -> &'static str {
        "fold"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        for id in graph.op_order()? {
            infer_node(graph, id)?;
        }
        Ok(())
    }
}

/// Infers the facts of one node, or puts constants in its place. Those of its arguments
/// must be known.
///
/// # Errors
/// When its operator has no row, or the row refuses the arguments.
pub(crate) fn infer_node(graph: &mut Graph, id: NodeId) -> Result<()> {
    let Some(call) = Call::of(graph, id) else { return Ok(()) };
    let def = ops::row(call.op, &graph.node(id).name)?;
    let constants = match def.eval {
        Some(eval) => eval(&call)?,
        None => None,
    };
    if let Some(tensors) = constants {
        replace(graph, id, tensors);
        return Ok(());
    }
    let mut facts = ops::infer(&call)?;
    let node = graph.node_mut(id);
    if facts.len() < node.outputs.len() {
        let reason = format!("has {} outputs, not {}", facts.len(), node.outputs.len());
        return Err(Error::Node { node: node.describe(), reason });
    }
    facts.truncate(node.outputs.len());
    node.outputs = facts;
    Ok(())
}

/// Puts constants in the place of a node's outputs.
fn replace(graph: &mut Graph, id: NodeId, tensors: Vec<Tensor>) {
    for (slot, tensor) in tensors.into_iter().enumerate() {
        let old = Value { node: id, slot };
        let named = graph.node(id).extras.names.get(slot).filter(|n| !n.is_empty()).cloned();
        let name = named.unwrap_or_else(|| format!("folded/{}_{slot}", id.index()));
        if let Some(fact) = graph.node_mut(id).outputs.get_mut(slot) {
            *fact = Fact::of(&tensor);
            let new = graph.initializer(&name, tensor);
            graph.rewire(old, new);
        }
    }
}
