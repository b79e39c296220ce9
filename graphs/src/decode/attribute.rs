//! Attributes, and the bodies in them.

use super::call::Captures;
use super::external::Files;
use super::graph::decode_graph;
use super::tensor::decode_tensor;
use crate::proto::{AttributeProto, AttributeType};
use crate::{Attribute, Error};

/// Decodes an attribute of a node at `depth`; what its bodies read of the outer graphs
/// is added to `captures`. What is left of the message is the attribute's form.
pub(super) fn decode_attribute(
    mut proto: AttributeProto,
    captures: &mut Captures,
    files: &mut Files,
    depth: usize,
) -> Result<(Attribute, AttributeProto), Error> {
    let name = proto.name.clone().unwrap_or_default();
    let code = proto.r#type.unwrap_or_default();
    if let Some(name) = proto.ref_attr_name.clone().filter(|name| !name.is_empty()) {
        return Ok((Attribute::Reference { name, code }, proto));
    }
    let fail = |reason: &str| Error::Attribute { name: name.clone(), reason: reason.to_owned() };
    let kind = match AttributeType::try_from(code) {
        Ok(AttributeType::Undefined) => guess(&proto),
        Ok(kind) => kind,
        Err(_) => return Err(fail(&format!("is of type {code}, which ONNX does not have"))),
    };
    let value = match kind {
        AttributeType::Float => Attribute::Float(proto.f.unwrap_or_default()),
        AttributeType::Int => Attribute::Int(proto.i.unwrap_or_default()),
        AttributeType::String => Attribute::String(proto.s.clone().unwrap_or_default()),
        AttributeType::Floats => Attribute::Floats(proto.floats.clone()),
        AttributeType::Ints => Attribute::Ints(proto.ints.clone()),
        AttributeType::Strings => Attribute::Strings(proto.strings.clone()),
        AttributeType::Tensor => {
            let tensor = proto.t.take().ok_or_else(|| fail("has no tensor"))?;
            let tensor = decode_tensor(*tensor, files);
            let (tensor, form) = tensor.map_err(|e| e.at(format!("attribute `{name}`")))?;
            proto.t = Some(Box::new(form));
            Attribute::Tensor(tensor)
        }
        AttributeType::Graph => {
            let body = *proto.g.take().ok_or_else(|| fail("has no graph"))?;
            Attribute::Graph(Box::new(decode_graph(body, Some(captures), files, depth + 1)?))
        }
        AttributeType::Undefined => return Err(fail("has no value")),
        _ => {
            let form = AttributeProto { name: proto.name.clone(), ..AttributeProto::default() };
            return Ok((Attribute::Other(Box::new(proto)), form));
        }
    };
    Ok((value, proto))
}

/// The type of an attribute of IR versions that did not state it.
fn guess(proto: &AttributeProto) -> AttributeType {
    let set = [
        (proto.f.is_some(), AttributeType::Float),
        (proto.i.is_some(), AttributeType::Int),
        (proto.s.is_some(), AttributeType::String),
        (proto.t.is_some(), AttributeType::Tensor),
        (proto.g.is_some(), AttributeType::Graph),
        (!proto.floats.is_empty(), AttributeType::Floats),
        (!proto.ints.is_empty(), AttributeType::Ints),
        (!proto.strings.is_empty(), AttributeType::Strings),
        (!proto.tensors.is_empty(), AttributeType::Tensors),
        (!proto.graphs.is_empty(), AttributeType::Graphs),
    ];
    set.into_iter().find(|(set, _)| *set).map_or(AttributeType::Undefined, |(_, kind)| kind)
}
