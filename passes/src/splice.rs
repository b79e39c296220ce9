//! Puts a graph in the place of a node that stands for it: a function's body in the place of its
//! call, the chosen branch in the place of an If.

use std::collections::HashMap;

use graphs::{Attribute, Graph, Kind, Node, NodeId, Value};

use crate::naming::Names;
use crate::{Error, Result};

/// Replaces node `id` by `body`. The inputs of the body are the node's arguments in order, its
/// captures the node's captures, its outputs the node's outputs. New nodes are named after the
/// node. Returns them so that every producer stands before its readers; the node itself is dead.
///
/// # Errors
/// When the body has fewer outputs than the node, or somebody reads an output that is an absent
/// argument.
pub(crate) fn splice(
    graph: &mut Graph,
    names: &mut Names,
    id: NodeId,
    mut body: Graph,
) -> Result<Vec<NodeId>> {
    let error = |graph: &Graph, reason: String| {
        Err(Error::Node { node: graph.node(id).describe(), reason })
    };
    let call = graph.node(id);
    let scope = match (&*call.name, call.extras.names.first()) {
        ("", Some(first)) => first.clone(),
        (name, _) => name.to_owned(),
    };
    let arity = call.op().map_or(0, |op| op.arity);
    let arguments = graph.arguments(id);
    rename(&mut body, names, &scope);
    let mut values: HashMap<Value, Option<Value>> = HashMap::new();
    for (slot, &input) in body.inputs.iter().enumerate().take_while(|(slot, _)| *slot < arity) {
        values.insert(input.into(), arguments.get(slot).copied().flatten());
    }
    let mut added = Vec::new();
    for old in body.order()? {
        let node = body.node(old);
        match node.kind {
            Kind::Capture(i) => {
                values.insert(old.into(), arguments.get(arity + i).copied().flatten());
            }
            // Of a function an argument at the end may be left out.
            Kind::Input(_) => _ = values.entry(old.into()).or_insert(None),
            Kind::Initializer(_) | Kind::Op(_) => {
                let new = graph.add(node.clone());
                for (to, argument) in body.arguments(old).into_iter().enumerate() {
                    let value = argument.and_then(|value| values.get(&value).copied().flatten());
                    if let Some(value) = value {
                        graph.connect(value, new, to);
                    }
                }
                let slots = 0..graph.node(new).outputs.len();
                values.extend(
                    slots.map(|slot| (Value { node: old, slot }, Some(Value { node: new, slot }))),
                );
                added.push(new);
            }
        }
    }
    for slot in 0..graph.node(id).outputs.len() {
        let old = Value { node: id, slot };
        let read =
            !graph.readers(old).is_empty() || graph.outputs.iter().any(|port| port.value == old);
        if !read {
            continue;
        }
        match body.outputs.get(slot).map(|port| values.get(&port.value).copied().flatten()) {
            Some(Some(new)) => hand_over(graph, old, new, &added),
            Some(None) => {
                return error(graph, format!("gives out argument {slot}, which is not there"));
            }
            None => return error(graph, format!("what it stands for has no output {slot}")),
        }
    }
    Ok(added)
}

/// Makes the readers of `old` read `new`, which takes over name and type.
fn hand_over(graph: &mut Graph, old: Value, new: Value, added: &[NodeId]) {
    let call = graph.node(old.node);
    let name = call.extras.names.get(old.slot).filter(|name| !name.is_empty()).cloned();
    let (fact, info) = (graph.fact(old).clone(), call.extras.infos.get(&old.slot).cloned());
    let port = graph.outputs.iter().any(|port| port.value == old);
    graph.rewire(old, new);
    let node = graph.node_mut(new.node);
    if !added.contains(&new.node) || node.op().is_none() {
        return;
    }
    if let Some(name) = name {
        let names = &mut node.extras.names;
        names.resize(node.outputs.len().max(names.len()), String::new());
        if let Some(slot) = names.get_mut(new.slot) {
            *slot = name;
        }
    }
    if let Some(output) = node.outputs.get_mut(new.slot) {
        output.dtype = output.dtype.or(fact.dtype);
        output.shape = output.shape.take().or(fact.shape);
    }
    if let Some(info) = info.filter(|_| !port) {
        node.extras.infos.insert(new.slot, info);
    }
}

/// Gives every node and value of a body, and of the bodies in it, a name of its own.
fn rename(body: &mut Graph, names: &mut Names, scope: &str) {
    let ids: Vec<NodeId> = body.ids().collect();
    for id in ids {
        let node: &mut Node = body.node_mut(id);
        let mut fresh = |name: &str| names.claim(&format!("{scope}/{name}"));
        if !node.name.is_empty() {
            node.name = fresh(&node.name);
        }
        for name in node.extras.names.iter_mut().filter(|name| !name.is_empty()) {
            *name = fresh(name);
        }
        if let Kind::Op(op) = &mut node.kind {
            for attribute in op.attributes.values_mut() {
                if let Attribute::Graph(inner) = attribute {
                    rename(inner, names, scope);
                }
            }
        }
    }
}
