//! A second forward pass in the same graph, with the same draw of the weights.

use std::collections::HashMap;

use graphs::{Graph, Node, NodeExtras, Value};

use crate::Result;

/// Computes everything that depends on the keys of `twins` once more, from their values in
/// place of the keys; what does not depend on them is shared. Returns the twin of every value
/// that has one.
///
/// # Errors
/// When the graph has a cycle.
pub(super) fn twin(
    graph: &mut Graph,
    mut twins: HashMap<Value, Value>,
) -> Result<HashMap<Value, Value>> {
    for id in graph.op_order()? {
        let arguments = graph.arguments(id);
        if !arguments.iter().flatten().any(|value| twins.contains_key(value)) {
            continue;
        }
        let node = graph.node(id);
        let (name, outputs) = (format!("{}/twin", node.name), node.outputs.len());
        let copy = Node { name, extras: NodeExtras::default(), ..node.clone() };
        let new = graph.add(copy);
        for (slot, argument) in arguments.into_iter().enumerate() {
            if let Some(value) = argument {
                graph.connect(twins.get(&value).copied().unwrap_or(value), new, slot);
            }
        }
        let value = |node| move |slot| Value { node, slot };
        twins.extend((0..outputs).map(value(id)).zip((0..outputs).map(value(new))));
    }
    Ok(twins)
}
