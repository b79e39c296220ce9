//! What stands in the way of a gradient, found before anything runs.

use std::collections::HashSet;

use graphs::{Kind, Model, NodeId, Role};

use crate::ops::{self, Gradient};
use crate::variational;

/// Every node between a data input and an output that has no gradient rule, as a
/// sentence that names it. Empty for what the reverse-mode driver can differentiate.
pub fn obstacles(model: &Model) -> Vec<String> {
    let graph = &model.graph;
    let order = match graph.op_order() {
        Ok(order) => order,
        Err(cycle) => return vec![cycle.to_string()],
    };
    let above = graph.ancestors(graph.outputs.iter().take(1).map(|port| port.value));
    let mut below: HashSet<NodeId> = graph
        .inputs
        .iter()
        .copied()
        .filter(|&id| matches!(graph.node(id).kind, Kind::Input(Role::Data)))
        .collect();
    let mut found = Vec::new();
    for id in order.into_iter().filter(|id| above.contains(id)) {
        let reached = graph.arguments(id).iter().flatten().any(|v| below.contains(&v.node));
        if !reached {
            continue;
        }
        let node = graph.node(id);
        let Some(op) = node.op() else { continue };
        if variational::is_variational(graph, id) {
            below.insert(id);
            continue;
        }
        match ops::find(op).map(|def| def.gradient) {
            Some(Gradient::Rule(_) | Gradient::Body(_)) => _ = below.insert(id),
            Some(Gradient::Zero) => {}
            Some(Gradient::Missing) => {
                found.push(format!("{}: no gradient rule for {}", node.describe(), op.op_type));
            }
            None => found.push(format!("{}: no rule for {}", node.describe(), op.op_type)),
        }
    }
    found
}
