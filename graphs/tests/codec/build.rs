//! Small messages to test with.

use bytes::Bytes;
use graphs::Model;
use graphs::proto::{
    AttributeProto, AttributeType, DataLocation, GraphProto, ModelProto, NodeProto,
    OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorTypeProto, TypeProto,
    ValueInfoProto,
};

pub(crate) fn node(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    NodeProto {
        op_type: Some(op_type.to_owned()),
        name: Some(format!("{op_type}_{}", output.first().unwrap_or(&""))),
        input: input.iter().map(ToString::to_string).collect(),
        output: output.iter().map(ToString::to_string).collect(),
        ..NodeProto::default()
    }
}

pub(crate) fn with(mut node: NodeProto, attribute: AttributeProto) -> NodeProto {
    node.attribute.push(attribute);
    node
}

pub(crate) fn body(name: &str, graph: GraphProto) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(graph)),
        ..AttributeProto::default()
    }
}

pub(crate) fn info(name: &str) -> ValueInfoProto {
    let tensor = TensorTypeProto { elem_type: Some(1), shape: None };
    let r#type = Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() });
    ValueInfoProto { name: Some(name.to_owned()), r#type, ..ValueInfoProto::default() }
}

pub(crate) fn graph(inputs: &[&str], nodes: Vec<NodeProto>, outputs: &[&str]) -> GraphProto {
    GraphProto {
        name: Some("g".to_owned()),
        input: inputs.iter().map(|name| info(name)).collect(),
        output: outputs.iter().map(|name| info(name)).collect(),
        node: nodes,
        ..GraphProto::default()
    }
}

pub(crate) fn floats(name: &str, dims: &[i64], values: &[f32]) -> TensorProto {
    TensorProto {
        name: Some(name.to_owned()),
        dims: dims.to_vec(),
        data_type: Some(1),
        float_data: values.to_vec(),
        ..TensorProto::default()
    }
}

pub(crate) fn external(name: &str, dims: &[i64], entries: &[(&str, &str)]) -> TensorProto {
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto {
        key: Some((*key).to_owned()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    };
    let mut tensor = floats(name, dims, &[]);
    tensor.set_data_location(DataLocation::External);
    tensor.external_data = entries.iter().map(entry).collect();
    tensor
}

pub(crate) fn model(graph: GraphProto) -> ModelProto {
    let opset = OperatorSetIdProto { domain: Some(String::new()), version: Some(18) };
    ModelProto {
        ir_version: Some(8),
        opset_import: vec![opset],
        graph: Some(graph),
        ..ModelProto::default()
    }
}

/// Reads a graph, whose model must be valid.
pub(crate) fn read(graph: GraphProto) -> Model {
    let model = Model::from_proto(model(graph), None).expect("a valid model");
    model.graph.check().expect("every invariant");
    model
}

/// Reads a graph, whose model must be invalid.
pub(crate) fn refuse(graph: GraphProto) -> graphs::Error {
    Model::from_proto(model(graph), None).expect_err("an invalid model")
}

/// Writes a model and reads it again: it must be the same.
pub(crate) fn again(model: &Model) -> Model {
    let bytes = Bytes::from(model.to_bytes().expect("writable"));
    let again = Model::decode(bytes, None).expect("readable");
    assert_eq!(again.to_string(), model.to_string());
    again
}
