//! Writes ONNX files.

mod attribute;
mod file;
mod function;
mod graph;
mod names;

pub use function::encode_function;

use bytes::Bytes;
use prost::Message;

use crate::decode::MESSAGE_LIMIT;
use crate::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{Error, Model};
use graph::encode_graph;

impl Model {
    /// The model as a message. Ports give their values their names; other values keep
    /// the file's names where those are free. Where a port cannot name its value (two
    /// ports share it, or it is an input or a constant of another name), an Identity
    /// stands between.
    ///
    /// # Errors
    /// When the graph breaks an invariant, or an output has the name of an input.
    pub fn encode(&self) -> Result<ModelProto, Error> {
        self.graph.check()?;
        let mut proto = self.header.clone();
        proto.graph = Some(encode_graph(&self.graph, &[], None)?);
        proto.functions = self.functions.clone();
        proto.opset_import = opset_imports(&self.opsets);
        let entry = |(key, value): (&String, &String)| StringStringEntryProto {
            key: Some(key.clone()),
            value: Some(Bytes::copy_from_slice(value.as_bytes())),
        };
        proto.metadata_props = self.metadata.iter().map(entry).collect();
        proto.metadata_props.extend(self.header.metadata_props.iter().cloned());
        Ok(proto)
    }

    /// The bytes of the model as one file.
    ///
    /// # Errors
    /// As [`Model::encode`], and [`Error::TooLarge`] above 2 GiB, where only
    /// [`Model::write`] helps.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        to_bytes(&self.encode()?)
    }
}

fn to_bytes(proto: &ModelProto) -> Result<Vec<u8>, Error> {
    let bytes = proto.encoded_len();
    if bytes > MESSAGE_LIMIT {
        return Err(Error::TooLarge { bytes, limit: MESSAGE_LIMIT });
    }
    Ok(proto.encode_to_vec())
}

fn opset_imports(opsets: &std::collections::BTreeMap<String, i64>) -> Vec<OperatorSetIdProto> {
    let import = |(domain, version): (&String, &i64)| OperatorSetIdProto {
        domain: Some(domain.clone()),
        version: Some(*version),
    };
    opsets.iter().map(import).collect()
}
