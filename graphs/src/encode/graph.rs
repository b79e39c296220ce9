//! Graphs: edges become names.

use std::collections::{HashMap, HashSet};

use super::attribute::{encode_attribute, encode_tensor};
use super::names::Names;
use crate::form::{restore_node, restore_tensor};
use crate::proto::{GraphProto, NodeProto, SparseTensorProto, ValueInfoProto};
use crate::{Attribute, Dim, Error, Fact, Form, Graph, Node, NodeId, Op, Tensor, Value};

/// Encodes a graph. For a body, `captured` are the names of the outer values that it
/// reads and `outer` those that it must not use. What the file kept in other files stays
/// there if `external` is true and it is unchanged.
pub(super) fn encode_graph(
    graph: &Graph,
    captured: &[String],
    outer: Option<&Names<'_>>,
    external: bool,
) -> Result<GraphProto, Error> {
    let (names, ports) = Names::new(graph, captured, outer)?;
    let extras = &graph.extras;
    let mut proto = GraphProto {
        name: (extras.empty_name || !graph.name.is_empty()).then(|| graph.name.clone()),
        doc_string: extras.doc_string.clone(),
        metadata_props: extras.metadata.clone(),
        input: graph.inputs.iter().map(|&id| info(graph, id.into(), names.of(id.into()))).collect(),
        quantization_annotation: extras.quantization.clone(),
        ..GraphProto::default()
    };
    // Messages are large: a list that grows is moved, and its new pages are cleared, again and again.
    let initializers = initializers(graph);
    proto.initializer.reserve_exact(initializers.len());
    for (id, tensor) in initializers {
        let extras = &graph.node(id).extras;
        let mut tensor = encode_tensor(Some(names.of(id.into())), tensor);
        if let Some(Form::Tensor(form)) = extras.form.as_deref() {
            restore_tensor(&mut tensor, form, external);
        }
        tensor.doc_string.clone_from(&extras.doc_string);
        tensor.metadata_props.clone_from(&extras.metadata);
        proto.initializer.push(tensor);
    }
    let calls = calls(graph)?;
    proto.node.reserve_exact(calls.len() + graph.outputs.len());
    for (id, op) in calls {
        let was_sparse = graph.node(id).extras.form.as_deref() == Some(&Form::Sparse);
        if let Some(mut tensor) = sparse(op).filter(|_| was_sparse) {
            let values = tensor.values.get_or_insert_default();
            values.name = Some(names.of(id.into()).to_owned());
            proto.sparse_initializer.push(tensor);
        } else {
            proto.node.push(encode_node(graph, id, op, &names, external)?);
        }
    }
    let listed = extras.outputs.iter().map(|info| (info.name(), info));
    let listed: HashMap<&str, &ValueInfoProto> = listed.collect();
    for (port, name) in graph.outputs.iter().zip(ports) {
        if names.of(port.value) != name {
            proto.node.push(identity(names.of(port.value), &name));
        }
        let own = listed.get(&*name).filter(|info| says(info, graph.fact(port.value)));
        let info = own.map_or_else(|| info(graph, port.value, &name), |&info| info.clone());
        proto.output.push(info);
    }
    proto.value_info = value_infos(graph, &names, &proto);
    Ok(proto)
}

/// The constants in the file's order, new ones last.
fn initializers(graph: &Graph) -> Vec<(NodeId, &Tensor)> {
    let mut ids: Vec<_> =
        graph.ids().filter_map(|id| Some((id, graph.node(id).tensor()?))).collect();
    ids.sort_by_key(|(id, _)| graph.node(*id).extras.place.unwrap_or(usize::MAX));
    ids
}

/// The calls in the file's order; new ones stand right before the first of the file's
/// that needs them.
fn calls(graph: &Graph) -> Result<Vec<(NodeId, &Op)>, Error> {
    let place = |id: &NodeId| graph.node(*id).extras.place;
    let mut old: Vec<NodeId> = graph.ids().filter(|id| place(id).is_some()).collect();
    old.sort_by_key(place);
    let order = graph.order_along(old.into_iter().chain(graph.ids()))?;
    Ok(order.into_iter().filter_map(|id| Some((id, graph.node(id).op()?))).collect())
}

/// The tensor of a Constant node that holds a sparse one.
fn sparse(op: &Op) -> Option<SparseTensorProto> {
    match op.attributes.get("sparse_value").filter(|_| op.is("Constant"))? {
        Attribute::Other(proto) => proto.sparse_tensor.as_deref().cloned(),
        _ => None,
    }
}

fn encode_node(
    graph: &Graph,
    id: NodeId,
    op: &Op,
    names: &Names<'_>,
    external: bool,
) -> Result<NodeProto, Error> {
    let Node { name, outputs, extras, .. } = graph.node(id);
    let named = |value: Option<Value>| value.map_or("", |v| names.of(v)).to_owned();
    let mut input: Vec<String> = graph.arguments(id).into_iter().map(named).collect();
    let captured = input.split_off(op.arity);
    let attribute = |(name, value): (&String, &Attribute)| {
        encode_attribute(name, value, &captured, names, external)
    };
    let mut proto = NodeProto {
        input,
        output: (0..outputs.len()).map(|slot| names.of(Value { node: id, slot }).into()).collect(),
        name: (!name.is_empty()).then(|| name.clone()),
        op_type: (!op.op_type.is_empty()).then(|| op.op_type.clone()),
        attribute: op.attributes.iter().map(attribute).collect::<Result<_, _>>()?,
        doc_string: extras.doc_string.clone(),
        domain: (!op.domain.is_empty()).then(|| op.domain.clone()),
        overload: (!op.overload.is_empty()).then(|| op.overload.clone()),
        metadata_props: extras.metadata.clone(),
        device_configurations: extras.devices.clone(),
    };
    if let Some(Form::Node(form)) = extras.form.as_deref() {
        restore_node(&mut proto, form, external);
    }
    Ok(proto)
}

fn identity(from: &str, to: &str) -> NodeProto {
    NodeProto {
        input: vec![from.to_owned()],
        output: vec![to.to_owned()],
        name: Some(to.to_owned()),
        op_type: Some("Identity".to_owned()),
        ..NodeProto::default()
    }
}

/// What is known of a value, under `name`: the file's own entry while that still says it.
fn info(graph: &Graph, value: Value, name: &str) -> ValueInfoProto {
    let node = graph.node(value.node);
    let fact = graph.fact(value);
    let mut info = node.extras.infos.get(&value.slot).cloned().unwrap_or_default();
    // A tensor says itself what it is, so an entry of it may say less.
    let holds = if node.tensor().is_some() { allows(&info, fact) } else { says(&info, fact) };
    if !holds {
        info.r#type = fact.to_type();
    }
    if info.name() != name {
        info.name = Some(name.to_owned());
    }
    info
}

fn stated(info: &ValueInfoProto) -> Option<Fact> {
    info.r#type.as_ref().map_or(Ok(Fact::default()), Fact::from_type).ok()
}

/// True if an entry says just what is known.
fn says(info: &ValueInfoProto, fact: &Fact) -> bool {
    stated(info).is_some_and(|stated| stated == *fact)
}

/// True if an entry says nothing else than what is known.
fn allows(info: &ValueInfoProto, fact: &Fact) -> bool {
    let Some(stated) = stated(info) else { return false };
    let fits = |(stated, known): (&Dim, &Dim)| !matches!(stated, Dim::Known(_)) || stated == known;
    let shape = stated.shape.as_ref().zip(fact.shape.as_ref());
    stated.dtype.is_none_or(|dtype| fact.dtype == Some(dtype))
        && shape.is_none_or(|(a, b)| a.len() == b.len() && a.iter().zip(b).all(fits))
}

/// The type entries of the values for which the file had one, and those that it had
/// besides (unless the value has another type since), in the file's order.
fn value_infos(graph: &Graph, names: &Names<'_>, proto: &GraphProto) -> Vec<ValueInfoProto> {
    let ports = proto.input.iter().chain(&proto.output).filter_map(|info| info.name.as_deref());
    let listed: HashSet<&str> = ports.collect();
    let stated = graph.ids().flat_map(|node| {
        graph.node(node).extras.infos.keys().map(move |&slot| Value { node, slot })
    });
    let named = stated.filter(|&v| !names.of(v).is_empty() && !listed.contains(names.of(v)));
    let own: Vec<ValueInfoProto> = named.map(|v| info(graph, v, names.of(v))).collect();
    let besides = &graph.extras.infos;
    let values = if besides.is_empty() { HashMap::new() } else { names.inverse(graph) };
    let holds = |info: &&ValueInfoProto| {
        values.get(info.name()).is_none_or(|&value| {
            let own = graph.node(value.node).extras.infos.get(&value.slot);
            own.into_iter().chain([*info]).any(|info| says(info, graph.fact(value)))
        })
    };
    let besides = besides.iter().filter(holds).cloned();
    let mut infos: Vec<ValueInfoProto> = besides.chain(own).collect();
    let order = graph.extras.info_order.iter().enumerate().rev();
    let order: HashMap<&str, usize> = order.map(|(place, name)| (name.as_str(), place)).collect();
    infos.sort_by_key(|info| order.get(info.name()).copied().unwrap_or(usize::MAX));
    infos
}
