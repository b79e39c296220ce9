//! Static shapes: infers every value's type and shape, and computes what depends on
//! constants alone (the shape arithmetic that exporters leave behind).

use graphs::{Fact, Graph, Model, NodeId, Tensor, Value};

use crate::control;
use crate::naming::Names;
use crate::ops::{self, Call};
use crate::pass::Pass;
use crate::splice::splice;
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
        let mut names = Names::of(&model.graph);
        fold(&mut model.graph, &mut names)
    }
}

/// Folds a graph: an If whose condition turns out constant is replaced by its branch.
pub(crate) fn fold(graph: &mut Graph, names: &mut Names) -> Result<()> {
    let ids = graph.op_order()?;
    fold_nodes(graph, names, ids)
}

fn fold_nodes(graph: &mut Graph, names: &mut Names, ids: Vec<NodeId>) -> Result<()> {
    for id in ids {
        if let Some(branch) = control::chosen(graph, id)? {
            let added = splice(graph, names, id, branch)?;
            fold_nodes(graph, names, added)?;
        } else if graph.node(id).op().is_some_and(|op| ops::find(op).is_none()) {
            without_row(graph, id)?;
        } else {
            infer_node(graph, id)?;
        }
    }
    Ok(())
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

/// What no row speaks of may stay if bodies or the file say what it gives.
fn without_row(graph: &mut Graph, id: NodeId) -> Result<()> {
    control::infer(graph, id);
    let read = |slot: usize| !graph.readers(Value { node: id, slot }).is_empty();
    let node = graph.node(id);
    let known = |fact: &Fact| fact.dtype.is_some() && fact.known_shape().is_some();
    let mut unknown = node.outputs.iter().enumerate().filter(|(_, fact)| !known(fact));
    match node.op() {
        Some(op) if unknown.any(|(slot, _)| read(slot)) => ops::row(op, &node.name).map(|_| ()),
        _ => Ok(()),
    }
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
