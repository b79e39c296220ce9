//! What a file says and no pass reads: kept, so that it can be written back.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::proto::{
    NodeDeviceConfigurationProto, StringStringEntryProto, TensorAnnotation, ValueInfoProto,
};

/// What the file said of a node and no pass reads; written back unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// The file's names of the node's outputs; an empty name is an absent output.
    pub names: Vec<String>,
    /// Free text.
    pub doc_string: Option<Bytes>,
    /// Key-value pairs.
    pub metadata: Vec<StringStringEntryProto>,
    /// The file's type entries by output slot. One is written back as it is while it
    /// still says what the output's [`Fact`](crate::Fact) says, else only its text is.
    pub infos: BTreeMap<usize, ValueInfoProto>,
    /// Which devices the node runs on.
    pub devices: Vec<NodeDeviceConfigurationProto>,
}

/// What the file said of a graph and no pass reads; written back unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphExtras {
    /// Free text.
    pub doc_string: Option<Bytes>,
    /// Key-value pairs.
    pub metadata: Vec<StringStringEntryProto>,
    /// Which tensors hold the quantization parameters of which, by name.
    pub quantization: Vec<TensorAnnotation>,
    /// Type entries of names that no value of the graph has.
    pub infos: Vec<ValueInfoProto>,
}
