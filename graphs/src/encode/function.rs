//! Model-local functions.

use std::collections::BTreeMap;

use super::graph::encode_graph;
use super::opset_imports;
use crate::proto::{
    AttributeProto, AttributeType, FunctionProto, NodeProto, TensorProto, ValueInfoProto,
};
use crate::{Error, Graph};

/// A graph as the model-local function `domain::name`, with the attributes of those
/// names, which its nodes read by [`Attribute::Reference`](crate::Attribute::Reference).
/// Its initializers become Constant nodes, because functions have none.
///
/// # Errors
/// As [`Model::encode`](crate::Model::encode).
pub fn encode_function(
    graph: &Graph,
    domain: &str,
    name: &str,
    overload: &str,
    attributes: &[&str],
    opsets: &BTreeMap<String, i64>,
) -> Result<FunctionProto, Error> {
    graph.check()?;
    let body = encode_graph(graph, &[], None, false)?;
    let name_of = |info: &ValueInfoProto| info.name.clone().unwrap_or_default();
    let input = body.input.iter().map(name_of).collect();
    let output = body.output.iter().map(name_of).collect();
    let typed = body.input.into_iter().chain(body.output).filter(|info| info.r#type.is_some());
    Ok(FunctionProto {
        name: Some(name.to_owned()),
        domain: Some(domain.to_owned()),
        overload: (!overload.is_empty()).then(|| overload.to_owned()),
        attribute: attributes.iter().map(|&name| name.to_owned()).collect(),
        opset_import: opset_imports(opsets, &[]),
        input,
        output,
        node: body.initializer.into_iter().map(constant).chain(body.node).collect(),
        value_info: typed.chain(body.value_info).collect(),
        doc_string: body.doc_string,
        metadata_props: body.metadata_props,
        ..FunctionProto::default()
    })
}

fn constant(mut tensor: TensorProto) -> NodeProto {
    let name = tensor.name.take().unwrap_or_default();
    let attribute = AttributeProto {
        name: Some("value".to_owned()),
        r#type: Some(AttributeType::Tensor as i32),
        t: Some(Box::new(tensor)),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some("Constant".to_owned()),
        name: Some(name.clone()),
        output: vec![name],
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}
