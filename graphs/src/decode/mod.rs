//! Reads ONNX files.
//!
//! A file is untrusted: whatever its bytes are, the answer is a model or an [`Error`]
//! that names the place, and no more memory is taken than the file's messages need.
//! Tensors share the file's bytes, which are mapped, not read.

mod attribute;
mod call;
mod external;
mod function;
mod graph;
mod tensor;

use std::collections::BTreeMap;
use std::path::Path;

use bytes::Bytes;
use prost::Message;

pub use function::decode_function;

use crate::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{Error, Model};
use external::Files;
use graph::decode_graph;

/// The longest message that protobuf's readers accept.
pub(crate) const MESSAGE_LIMIT: usize = i32::MAX as usize;

impl Model {
    /// Reads a model file and the files of external data beside it, all of them
    /// mapped into memory: they must not be changed in place while the model lives.
    ///
    /// # Errors
    /// When the file cannot be read or is not a valid model; the error names the file.
    pub fn read(path: &Path) -> Result<Model, Error> {
        let read = || Model::decode(external::map(path)?, path.parent());
        read().map_err(|error| error.at(path.display().to_string()))
    }

    /// Decodes the bytes of a model file. External data is looked for in `folder`.
    ///
    /// # Errors
    /// When the bytes are not a valid model.
    pub fn decode(bytes: Bytes, folder: Option<&Path>) -> Result<Model, Error> {
        if bytes.len() > MESSAGE_LIMIT {
            return Err(Error::TooLarge { bytes: bytes.len(), limit: MESSAGE_LIMIT });
        }
        Model::from_proto(ModelProto::decode(bytes)?, folder)
    }

    /// Makes a model of a decoded message. External data is looked for in `folder`.
    ///
    /// # Errors
    /// When the message is not a valid model.
    pub fn from_proto(mut proto: ModelProto, folder: Option<&Path>) -> Result<Model, Error> {
        let graph = proto.graph.take().ok_or(Error::NoGraph)?;
        let opsets = opsets(std::mem::take(&mut proto.opset_import))?;
        let (metadata, unreadable) = metadata(std::mem::take(&mut proto.metadata_props));
        proto.metadata_props = unreadable;
        let functions = std::mem::take(&mut proto.functions);
        let graph = decode_graph(graph, None, &mut Files::beside(folder), 0)?;
        Ok(Model { graph, opsets, functions, metadata, header: proto })
    }
}

fn opsets(imports: Vec<OperatorSetIdProto>) -> Result<BTreeMap<String, i64>, Error> {
    let mut opsets = BTreeMap::new();
    for import in imports {
        let domain = import.domain.unwrap_or_default();
        if opsets.insert(domain.clone(), import.version.unwrap_or_default()).is_some() {
            return Err(Error::DuplicateName { name: domain, what: "operator sets" });
        }
    }
    Ok(opsets)
}

/// Takes apart what a map of strings can hold, and what it cannot.
fn metadata(
    entries: Vec<StringStringEntryProto>,
) -> (BTreeMap<String, String>, Vec<StringStringEntryProto>) {
    let (mut map, mut rest) = (BTreeMap::new(), Vec::new());
    for entry in entries {
        let key = entry.key.clone().unwrap_or_default();
        let value = entry.value.as_deref().unwrap_or_default();
        match std::str::from_utf8(value) {
            Ok(value) if !map.contains_key(&key) => _ = map.insert(key, value.to_owned()),
            _ => rest.push(entry),
        }
    }
    (map, rest)
}
