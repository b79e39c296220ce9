//! If, Loop and Scan: which branch a constant condition chooses, and what the others give.

use graphs::{Attribute, DType, Dim, Fact, Graph, Kind, NodeId, Op};

use crate::fold::fold;
use crate::naming::Names;
use crate::{Error, Result};

/// The branch of an If whose condition is constant.
///
/// # Errors
/// When the If has no such branch, or its condition is not one bool.
pub(crate) fn chosen(graph: &Graph, id: NodeId) -> Result<Option<Graph>> {
    let Some(op) = graph.node(id).op().filter(|op| op.is("If")) else { return Ok(None) };
    let condition = graph.argument(id, 0).and_then(|condition| graph.tensor(condition));
    let Some(condition) = condition else { return Ok(None) };
    let error = |reason: &str| {
        Err(Error::Node { node: graph.node(id).describe(), reason: reason.to_owned() })
    };
    let name = match (condition.dtype(), condition.bytes().as_ref()) {
        (DType::Bool, [0]) => "else_branch",
        (DType::Bool, [_]) => "then_branch",
        _ => return error("its condition is not one bool"),
    };
    match op.attributes.get(name) {
        Some(Attribute::Graph(branch)) => Ok(Some(branch.as_ref().clone())),
        _ => error(&format!("it has no {name}")),
    }
}

/// Writes down what can be told of the outputs of an If, Loop or Scan, and of what its bodies
/// capture.
pub(crate) fn infer(graph: &mut Graph, id: NodeId) {
    let Some(op) = graph.node(id).op().filter(|op| op.in_onnx_domain()).cloned() else { return };
    let arguments: Vec<Fact> = graph
        .arguments(id)
        .into_iter()
        .map(|value| value.map_or_else(Fact::default, |value| graph.fact(value).clone()))
        .collect();
    let (given, captured) = arguments.split_at(op.arity.min(arguments.len()));
    if let Kind::Op(op) = &mut graph.node_mut(id).kind {
        for attribute in op.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                fill(body, captured);
            }
        }
    }
    let facts = match op.op_type.as_str() {
        "If" => branches(graph, id),
        "Loop" => iterated(graph, id, given),
        "Scan" => scanned(graph, id, &op, given),
        _ => None,
    };
    let node = graph.node_mut(id);
    for (output, fact) in node.outputs.iter_mut().zip(facts.unwrap_or_default()) {
        output.dtype = fact.dtype.or(output.dtype);
        output.shape = sharper(fact.shape, output.shape.take());
    }
}

/// What was told, with the sizes that the file states where nothing is told.
fn sharper(told: Option<Vec<Dim>>, stated: Option<Vec<Dim>>) -> Option<Vec<Dim>> {
    let (mut told, stated) = match (told, stated) {
        (Some(told), Some(stated)) => (told, stated),
        (told, stated) => return told.or(stated),
    };
    if told.len() == stated.len() {
        for (told, stated) in told.iter_mut().zip(stated) {
            if !matches!(told, Dim::Known(_)) {
                *told = stated;
            }
        }
    }
    Some(told)
}

/// Tells a body what is known of the values that it captures.
fn fill(body: &mut Graph, captured: &[Fact]) {
    let ids: Vec<NodeId> = body.ids().collect();
    for id in ids {
        let node = body.node_mut(id);
        if let Kind::Capture(i) = node.kind
            && let Some(fact) = captured.get(i)
        {
            node.outputs = vec![fact.clone()];
        }
    }
}

/// What a body gives when its inputs are of these facts.
fn given(graph: &Graph, id: NodeId, name: &str, inputs: &[Fact]) -> Option<Vec<Fact>> {
    let Some(Attribute::Graph(body)) = graph.node(id).op()?.attributes.get(name) else {
        return None;
    };
    let mut body = body.as_ref().clone();
    for (&input, fact) in body.inputs.clone().iter().zip(inputs) {
        body.node_mut(input).outputs = vec![fact.clone()];
    }
    let mut names = Names::of(&body);
    fold(&mut body, &mut names).ok()?;
    Some(body.outputs.iter().map(|port| body.fact(port.value).clone()).collect())
}

/// What both branches agree on.
fn branches(graph: &Graph, id: NodeId) -> Option<Vec<Fact>> {
    let [yes, no] = ["then_branch", "else_branch"].map(|name| given(graph, id, name, &[]));
    let agree = |(yes, no): (Fact, Fact)| match yes == no {
        true => yes,
        false => Fact { dtype: yes.dtype.filter(|_| yes.dtype == no.dtype), shape: None },
    };
    Some(yes?.into_iter().zip(no?).map(agree).collect())
}

/// States keep their facts if one iteration does; how often it iterates is not known.
fn iterated(graph: &Graph, id: NodeId, arguments: &[Fact]) -> Option<Vec<Fact>> {
    let states = arguments.get(2..)?;
    let mut inputs = vec![Fact::new(DType::I64, &[]), Fact::new(DType::Bool, &[])];
    inputs.extend_from_slice(states);
    let outputs = given(graph, id, "body", &inputs)?;
    let mut facts = Vec::new();
    for (i, fact) in outputs.into_iter().skip(1).enumerate() {
        facts.push(match states.get(i) {
            Some(state) if *state == fact => fact,
            Some(_) => Fact { dtype: fact.dtype, shape: None },
            None => stacked(fact, Dim::Unknown, 0),
        });
    }
    Some(facts)
}

fn scanned(graph: &Graph, id: NodeId, op: &Op, arguments: &[Fact]) -> Option<Vec<Fact>> {
    let sequences = usize::try_from(op.int("num_scan_inputs", 0)).ok()?;
    let (states, sequences) = arguments.split_at(arguments.len().checked_sub(sequences)?);
    let axis = |name: &str, i: usize| op.ints(name).and_then(|axes| axes.get(i).copied());
    let mut inputs = states.to_vec();
    let mut length = Dim::Unknown;
    for (i, sequence) in sequences.iter().enumerate() {
        let mut slice = sequence.clone();
        if let Some(shape) = &mut slice.shape {
            let at = position(axis("scan_input_axes", i).unwrap_or(0), shape.len())?;
            length = shape.remove(at);
        }
        inputs.push(slice);
    }
    let outputs = given(graph, id, "body", &inputs)?;
    let scan = |(i, fact): (usize, Fact)| match i.checked_sub(states.len()) {
        None => fact,
        Some(i) => {
            let rank = fact.shape.as_ref().map_or(0, Vec::len) + 1;
            let at = position(axis("scan_output_axes", i).unwrap_or(0), rank);
            stacked(fact, length.clone(), at.unwrap_or(0))
        }
    };
    Some(outputs.into_iter().enumerate().map(scan).collect())
}

fn position(axis: i64, rank: usize) -> Option<usize> {
    let axis = if axis < 0 { axis.checked_add(i64::try_from(rank).ok()?)? } else { axis };
    usize::try_from(axis).ok().filter(|axis| *axis < rank)
}

/// Many values of that fact along a new axis.
fn stacked(mut fact: Fact, length: Dim, axis: usize) -> Fact {
    if let Some(shape) = &mut fact.shape {
        shape.insert(axis.min(shape.len()), length);
    }
    fact
}
