//! What stands in the way of a gradient, found before anything runs.

use graphs::{Kind, Model, NodeId, NodeSet, Role};

use crate::ops::{self, Gradient};
use crate::{Error, Result, layers, noise_layers, variational};

/// Every node between a data input or a weight and an output that has no gradient rule,
/// as a sentence that names it, in the order of the nodes. Empty for what the
/// reverse-mode driver can differentiate.
pub fn obstacles(model: &Model) -> Vec<String> {
    found(model).unwrap_or_else(|error| vec![error.to_string()])
}

fn found(model: &Model) -> Result<Vec<String>> {
    let graph = &model.graph;
    let above = graph.ancestors(graph.outputs.iter().take(1).map(|port| port.value));
    let data = |id: &NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
    let mut below: NodeSet = graph.inputs.iter().copied().filter(data).collect();
    below.extend(layers::weights(model)?.into_iter().map(|weight| weight.value.node));
    let mut found = Vec::new();
    for id in graph.op_order()?.into_iter().filter(|&id| above.contains(id)) {
        let node = graph.node(id);
        let Some(op) = node.op() else { continue };
        if noise_layers::is_noise_layer(graph, id) {
            below.insert(id);
            continue;
        }
        let random = variational::is_variational(graph, id);
        let reached = graph.arguments(id).iter().flatten().any(|v| below.contains(v.node));
        if !reached && !random {
            continue;
        }
        let name = variational::plain_type(op);
        let def = if random { ops::find(&graphs::Op::new(name)) } else { ops::find(op) };
        match def.map(|def| def.gradient) {
            Some(Gradient::Missing) | None if ops::rounds(op) => {
                found.push(Error::Rounded { node: node.describe() }.to_string());
            }
            Some(Gradient::Rule(_) | Gradient::Body(_)) => _ = below.insert(id),
            Some(Gradient::Zero) => {}
            Some(Gradient::Missing) => {
                found.push(format!("{}: no gradient rule for {name}", node.describe()));
            }
            None => found.push(format!("{}: no rule for {name}", node.describe())),
        }
    }
    Ok(found)
}
