//! Model-local functions for variational nodes and noise layers, so that any runtime that
//! inlines functions runs the file.

use std::collections::HashMap;

use graphs::{Attribute, Fact, Graph, Model, NodeId, Op, Role, Value};

use super::{DOMAIN, SLOTS, expand, random_arguments};
use crate::normal::normal_like;
use crate::{Result, noise_layers};

/// Writes one model-local function per kind of call of our domain into the model, and
/// drops those that nothing calls any more.
///
/// # Errors
/// When the graph has a cycle.
pub fn refresh_functions(model: &mut Model) -> Result<()> {
    model.functions.retain(|function| function.domain() != DOMAIN);
    let opset = model.opset();
    let mut attributes: HashMap<(String, String), HashMap<String, i32>> = HashMap::new();
    let mut first: Vec<NodeId> = Vec::new();
    for id in model.graph.op_order()? {
        let Some(op) = model.graph.node(id).op().filter(|op| op.domain == DOMAIN) else { continue };
        let key = (op.op_type.clone(), op.overload.clone());
        if !attributes.contains_key(&key) {
            first.push(id);
        }
        let known = attributes.entry(key).or_default();
        for (name, value) in &op.attributes {
            known.insert(name.clone(), value.code());
        }
    }
    for id in first {
        let Some(op) = model.graph.node(id).op().cloned() else { continue };
        let key = (op.op_type.clone(), op.overload.clone());
        let Some(known) = attributes.get(&key) else { continue };
        let body = match noise_layers::is_noise_layer(&model.graph, id) {
            true => noise_layers::function_body(),
            false => function_body(&model.graph, id, known)?,
        };
        let mut names: Vec<&str> = known.keys().map(String::as_str).collect();
        names.sort_unstable();
        let opsets = [(String::new(), opset)].into();
        let function = graphs::encode::encode_function(
            &body,
            DOMAIN,
            &op.op_type,
            &op.overload,
            &names,
            &opsets,
        )?;
        model.functions.push(function);
    }
    if model.functions.iter().any(|function| function.domain() == DOMAIN) {
        model.opsets.insert(DOMAIN.to_owned(), 1);
        model.header.ir_version = Some(model.header.ir_version().max(graphs::IR_VERSION));
    }
    Ok(())
}

/// The body of the function that a variational node calls: the node itself, expanded,
/// between inputs of its arguments' names and its outputs.
fn function_body(graph: &Graph, id: NodeId, known: &HashMap<String, i32>) -> Result<Graph> {
    let Some(mut op) = graph.node(id).op().cloned() else { return Ok(Graph::default()) };
    let random = random_arguments(graph, id).unwrap_or_default();
    let mut body = Graph::new(&op.op_type);
    let name = |slot: usize| {
        let random = random.iter().enumerate().find_map(|(shift, &(plain, ..))| {
            let suffix = match slot.checked_sub(plain + shift)? {
                0 => "mean",
                1 => "log_std",
                _ => return None,
            };
            Some(format!("argument{plain}.{suffix}"))
        });
        random.unwrap_or_else(|| format!("argument{slot}"))
    };
    let arguments: Vec<_> = (0..op.arity)
        .map(|slot| Some(body.input(&name(slot), Role::Data, Fact::default())))
        .collect();
    for (name, value) in &mut op.attributes {
        if name != SLOTS {
            let code = known.get(name).copied().unwrap_or_default();
            *value = Attribute::Reference { name: name.clone(), code };
        }
    }
    // An attribute that only other calls of this function give is forwarded as well.
    for (name, &code) in known {
        let reference = Attribute::Reference { name: name.clone(), code };
        op.attributes.entry(name.clone()).or_insert(reference);
    }
    let outputs = graph.node(id).outputs.len();
    let call = body.op("", op, &arguments, vec![Fact::default(); outputs]);
    for slot in 0..outputs {
        body.output(&format!("y{slot}"), Value { node: call, slot });
    }
    expand(&mut body, |body, posterior| {
        let normal = normal_like(body, &posterior.name, posterior.mean);
        let arguments = [Some(normal), Some(posterior.mean)];
        Ok(Some(body.op("", Op::new("CastLike"), &arguments, vec![Fact::default()]).into()))
    })?;
    Ok(body)
}
