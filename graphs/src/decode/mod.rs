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
use crate::{Error, Model, Origin};
pub(crate) use external::Files;
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
        let mut model = Model::from_proto(ModelProto::decode(bytes.clone())?, folder)?;
        model.origin.file = Some(bytes);
        Ok(model)
    }

    /// Makes a model of a decoded message. External data is looked for in `folder`.
    ///
    /// # Errors
    /// When the message is not a valid model.
    pub fn from_proto(mut proto: ModelProto, folder: Option<&Path>) -> Result<Model, Error> {
        let graph = proto.graph.take().ok_or(Error::NoGraph)?;
        let opsets = opsets(&proto.opset_import)?;
        let metadata = metadata(&proto.metadata_props);
        let functions = std::mem::take(&mut proto.functions);
        let graph = decode_graph(graph, None, &mut Files::beside(folder), 0)?;
        let (nodes, folder) = (graph.len(), folder.map(Path::to_owned));
        let origin = Origin { file: None, nodes, folder };
        Ok(Model { graph, opsets, functions, metadata, header: proto, origin })
    }
}

fn opsets(imports: &[OperatorSetIdProto]) -> Result<BTreeMap<String, i64>, Error> {
    let mut opsets = BTreeMap::new();
    for import in imports {
        let domain = import.domain.clone().unwrap_or_default();
        if opsets.insert(domain.clone(), import.version.unwrap_or_default()).is_some() {
            return Err(Error::DuplicateName { name: domain, what: "operator sets" });
        }
    }
    Ok(opsets)
}

/// The entries that a map of strings can hold: the first of each key whose value is text.
fn metadata(entries: &[StringStringEntryProto]) -> BTreeMap<String, String> {
    let mut map = BTreeMap::new();
    for entry in entries {
        if let Some((key, value)) = readable(entry) {
            map.entry(key.to_owned()).or_insert_with(|| value.to_owned());
        }
    }
    map
}

/// Key and value of an entry whose value is UTF-8.
pub(crate) fn readable(entry: &StringStringEntryProto) -> Option<(&str, &str)> {
    let value = std::str::from_utf8(entry.value.as_deref().unwrap_or_default()).ok()?;
    Some((entry.key.as_deref().unwrap_or_default(), value))
}
