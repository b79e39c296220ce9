//! Graphs: edges become names.

use super::attribute::{encode_attribute, encode_tensor};
use super::names::Names;
use crate::proto::{GraphProto, NodeProto, TensorAnnotation, ValueInfoProto};
use crate::{Error, Fact, Graph, Kind, Node, NodeId, Op, Value};

/// Encodes a graph. For a body, `captured` are the names of the outer values that it
/// reads and `outer` those that it must not use.
pub(super) fn encode_graph(
    graph: &Graph,
    captured: &[String],
    outer: Option<&Names<'_>>,
) -> Result<GraphProto, Error> {
    let (names, ports) = Names::new(graph, captured, outer)?;
    let mut proto = GraphProto {
        name: Some(graph.name.clone()),
        doc_string: graph.extras.doc_string.clone(),
        metadata_props: graph.extras.metadata.clone(),
        input: graph.inputs.iter().map(|&id| info(graph, id.into(), names.of(id.into()))).collect(),
        ..GraphProto::default()
    };
    for id in graph.order()? {
        let node = graph.node(id);
        match &node.kind {
            Kind::Input(_) | Kind::Capture(_) => {}
            Kind::Initializer(tensor) => {
                let mut tensor = encode_tensor(Some(names.of(id.into())), tensor);
                tensor.doc_string.clone_from(&node.extras.doc_string);
                tensor.metadata_props.clone_from(&node.extras.metadata);
                proto.initializer.push(tensor);
            }
            Kind::Op(op) => proto.node.push(encode_node(graph, id, op, &names)?),
        }
    }
    for (port, name) in graph.outputs.iter().zip(ports) {
        if names.of(port.value) != name {
            proto.node.push(identity(names.of(port.value), &name));
        }
        proto.output.push(info(graph, port.value, &name));
    }
    proto.value_info = value_infos(graph, &names, &proto);
    let used = |a: &&TensorAnnotation| a.tensor_name.as_deref().is_some_and(|n| names.has(n));
    proto.quantization_annotation =
        graph.extras.quantization.iter().filter(used).cloned().collect();
    Ok(proto)
}

fn encode_node(graph: &Graph, id: NodeId, op: &Op, names: &Names<'_>) -> Result<NodeProto, Error> {
    let Node { name, outputs, extras, .. } = graph.node(id);
    let named = |value: Option<Value>| value.map_or("", |v| names.of(v)).to_owned();
    let mut input: Vec<String> = graph.arguments(id).into_iter().map(named).collect();
    let captured = input.split_off(op.arity);
    let attribute = |(name, value): (&String, &crate::Attribute)| {
        encode_attribute(name, value, &captured, names)
    };
    Ok(NodeProto {
        input,
        output: (0..outputs.len()).map(|slot| names.of(Value { node: id, slot }).into()).collect(),
        name: (!name.is_empty()).then(|| name.clone()),
        op_type: Some(op.op_type.clone()),
        attribute: op.attributes.iter().map(attribute).collect::<Result<_, _>>()?,
        doc_string: extras.doc_string.clone(),
        domain: (!op.domain.is_empty()).then(|| op.domain.clone()),
        overload: (!op.overload.is_empty()).then(|| op.overload.clone()),
        metadata_props: extras.metadata.clone(),
        device_configurations: extras.devices.clone(),
    })
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
    let fact = graph.fact(value);
    let mut info =
        graph.node(value.node).extras.infos.get(&value.slot).cloned().unwrap_or_default();
    let stated = info.r#type.as_ref().map(Fact::from_type);
    if !matches!(stated, Some(Ok(stated)) if stated == *fact) {
        info.r#type = fact.to_type();
    }
    ValueInfoProto { name: Some(name.to_owned()), ..info }
}

/// The type entries of the values for which the file had one, and of those it had
/// for names that are no values.
fn value_infos(graph: &Graph, names: &Names<'_>, proto: &GraphProto) -> Vec<ValueInfoProto> {
    let ports = proto.input.iter().chain(&proto.output).filter_map(|info| info.name.as_deref());
    let listed: std::collections::HashSet<&str> = ports.collect();
    let stated = graph.ids().flat_map(|node| {
        graph.node(node).extras.infos.keys().map(move |&slot| Value { node, slot })
    });
    let named = stated.filter(|&v| !names.of(v).is_empty() && !listed.contains(names.of(v)));
    let mut infos: Vec<ValueInfoProto> = named.map(|v| info(graph, v, names.of(v))).collect();
    infos.extend(graph.extras.infos.iter().cloned());
    infos
}
