//! Attributes and tensors.

use super::graph::encode_graph;
use super::names::Names;
use crate::proto::{AttributeProto, TensorProto};
use crate::{Attribute, DType, Error, Tensor};

/// Encodes an attribute of a node in the graph of `names`; its bodies read `captured`,
/// and keep tensors in other files if `external` is true.
pub(super) fn encode_attribute(
    name: &str,
    value: &Attribute,
    captured: &[String],
    names: &Names<'_>,
    external: bool,
) -> Result<AttributeProto, Error> {
    let mut proto = AttributeProto::default();
    match value {
        Attribute::Float(value) => proto.f = Some(*value),
        Attribute::Int(value) => proto.i = Some(*value),
        Attribute::String(value) => proto.s = Some(value.clone()),
        Attribute::Tensor(tensor) => proto.t = Some(Box::new(encode_tensor(None, tensor))),
        Attribute::Graph(body) => {
            proto.g = Some(Box::new(encode_graph(body, captured, Some(names), external)?));
        }
        Attribute::Floats(values) => proto.floats.clone_from(values),
        Attribute::Ints(values) => proto.ints.clone_from(values),
        Attribute::Strings(values) => proto.strings.clone_from(values),
        Attribute::Reference { name, .. } => proto.ref_attr_name = Some(name.clone()),
        Attribute::Other(other) => {
            return Ok(AttributeProto { name: Some(name.to_owned()), ..(**other).clone() });
        }
    }
    Ok(AttributeProto { name: Some(name.to_owned()), r#type: Some(value.code()), ..proto })
}

/// Encodes a tensor; its raw bytes are shared, not copied.
pub(super) fn encode_tensor(name: Option<&str>, tensor: &Tensor) -> TensorProto {
    let strings = tensor.dtype() == DType::String;
    TensorProto {
        name: name.map(str::to_owned),
        // A tensor in memory has no dimension beyond i64.
        dims: tensor.shape().iter().map(|&size| size as i64).collect(),
        data_type: Some(tensor.dtype().code()),
        raw_data: (!strings).then(|| tensor.bytes().clone()),
        string_data: tensor.strings().to_vec(),
        ..TensorProto::default()
    }
}
