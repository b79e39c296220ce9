//! Operator calls whose arguments are still names.

use std::collections::HashMap;
use std::sync::Arc;

use super::attribute::decode_attribute;
use super::external::Files;
use crate::proto::{AttributeProto, AttributeType, NodeProto, SparseTensorProto};
use crate::{Attribute, Error, Extras, Fact, Form, Kind, Node, Op};

/// The outer values that the bodies of one node read, by index.
#[derive(Default)]
pub(super) struct Captures {
    indices: HashMap<String, usize>,
    /// The value's name, and who reads it first.
    pub(super) reads: Vec<(String, String)>,
}

impl Captures {
    pub(super) fn index(&mut self, name: &str, reader: &str) -> usize {
        *self.indices.entry(name.to_owned()).or_insert_with(|| {
            self.reads.push((name.to_owned(), reader.to_owned()));
            self.reads.len() - 1
        })
    }
}

/// A sparse initializer as the Constant node that means the same.
pub(super) fn constant(tensor: SparseTensorProto) -> NodeProto {
    let name = tensor.values.as_ref().and_then(|values| values.name.clone());
    let attribute = AttributeProto {
        name: Some("sparse_value".to_owned()),
        r#type: Some(AttributeType::SparseTensor as i32),
        sparse_tensor: Some(Box::new(tensor)),
        ..AttributeProto::default()
    };
    NodeProto {
        op_type: Some("Constant".to_owned()),
        output: vec![name.unwrap_or_default()],
        attribute: vec![attribute],
        ..NodeProto::default()
    }
}

/// An operator call whose arguments are still names.
pub(super) struct Call {
    pub(super) node: Node,
    pub(super) arguments: Vec<String>,
    pub(super) captures: Captures,
}

impl Call {
    pub(super) fn decode(proto: NodeProto, files: &mut Files, depth: usize) -> Result<Call, Error> {
        let empty = |text: &Option<String>| text.clone().filter(String::is_empty);
        let mut form = NodeProto {
            name: empty(&proto.name),
            op_type: empty(&proto.op_type),
            domain: empty(&proto.domain),
            overload: empty(&proto.overload),
            ..NodeProto::default()
        };
        let op = Op {
            domain: proto.domain.unwrap_or_default(),
            op_type: proto.op_type.unwrap_or_default(),
            overload: proto.overload.unwrap_or_default(),
            arity: proto.input.len(),
            ..Op::default()
        };
        let extras = Extras {
            names: proto.output,
            doc_string: proto.doc_string,
            metadata: proto.metadata_props,
            devices: proto.device_configurations,
            ..Extras::default()
        };
        let outputs = vec![Fact::default(); extras.names.len()];
        let name = proto.name.unwrap_or_default();
        let mut node = Node { name, kind: Kind::Op(op), outputs, extras: extras.into() };
        let mut captures = Captures::default();
        for attribute in proto.attribute {
            let name = attribute.name.clone().unwrap_or_default();
            let decoded = decode_attribute(attribute, &mut captures, files, depth).and_then(
                |(value, left)| {
                    form.attribute.push(left);
                    insert(&mut node, name, value)
                },
            );
            decoded.map_err(|error| error.at(node.describe()))?;
        }
        if form != NodeProto::default() {
            node.extras.form = Some(Arc::new(Form::Node(form)));
        }
        Ok(Call { node, arguments: proto.input, captures })
    }

    /// The names that the call and its bodies read, each with who reads it.
    pub(super) fn reads(&self) -> impl Iterator<Item = (&str, String)> {
        let present = self.arguments.iter().filter(|name| !name.is_empty());
        let own = present.map(|name| (name.as_str(), self.node.describe()));
        let captured = self.captures.reads.iter();
        own.chain(captured.map(|(name, reader)| (name.as_str(), reader.clone())))
    }
}

fn insert(node: &mut Node, name: String, value: Attribute) -> Result<(), Error> {
    let Kind::Op(op) = &mut node.kind else { return Ok(()) };
    if name.is_empty() {
        return Err(Error::Unnamed("an attribute"));
    }
    if op.attributes.contains_key(&name) {
        return Err(Error::DuplicateName { name, what: "attributes" });
    }
    op.attributes.insert(name, value);
    Ok(())
}
