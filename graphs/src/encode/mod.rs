//! Writes ONNX files.

mod attribute;
mod external;
mod file;
mod function;
mod graph;
mod names;
mod pieces;

pub use function::encode_function;

use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use prost::Message;

use crate::decode::{MESSAGE_LIMIT, readable};
use crate::proto::{ModelProto, OperatorSetIdProto, StringStringEntryProto};
use crate::{Error, Model};
use graph::encode_graph;
use pieces::pieces;

impl Model {
    /// The model as a message, in the form of the file that it was read from: what was
    /// not changed since is as it was there. Ports give their values their names; other
    /// values keep the file's names where those are free. Where a port cannot name its
    /// value (two ports share it, or it is an input or a constant of another name), an
    /// Identity stands between.
    ///
    /// # Errors
    /// When the graph breaks an invariant, or an output has the name of an input.
    pub fn encode(&self) -> Result<ModelProto, Error> {
        self.encode_with(self.origin.folder.is_some())
    }

    /// The same; tensors stay in other files only if `external` is true.
    fn encode_with(&self, external: bool) -> Result<ModelProto, Error> {
        self.graph.check()?;
        let mut proto = self.header.clone();
        proto.graph = Some(encode_graph(&self.graph, &[], None, external)?);
        proto.functions = self.functions.clone();
        proto.opset_import = opset_imports(&self.opsets, &self.header.opset_import);
        proto.metadata_props = metadata(&self.metadata, &self.header.metadata_props);
        Ok(proto)
    }

    /// The bytes of the model as one file, which needs no other: just those that it was
    /// read from, if nothing was changed since.
    ///
    /// # Errors
    /// As [`Model::encode`], and [`Error::TooLarge`] above 2 GiB, where only
    /// [`Model::write`] helps.
    pub fn to_bytes(&self) -> Result<Vec<u8>, Error> {
        let proto = self.encode_inline()?;
        check_length(&proto)?;
        match self.source() {
            Some(_) => Ok(self.pieces(proto).concat()),
            None => Ok(proto.encode_to_vec()),
        }
    }

    /// The bytes of a message, in pieces: those of the file that the model was read
    /// from, whatever writer made it, if it says the same.
    fn pieces(&self, proto: ModelProto) -> Vec<Bytes> {
        let pieces = pieces(proto);
        let same = |file: &&Bytes| {
            let read = ModelProto::decode((*file).clone());
            read.is_ok_and(|read| pieces::pieces(read) == pieces)
        };
        match self.source().filter(same) {
            Some(file) => vec![file.clone()],
            None => pieces,
        }
    }

    /// The file that the model was read from, unless it certainly says something else.
    fn source(&self) -> Option<&Bytes> {
        self.origin.file.as_ref().filter(|_| self.graph.len() == self.origin.nodes)
    }
}

fn check_length(proto: &ModelProto) -> Result<(), Error> {
    let bytes = proto.encoded_len();
    if bytes > MESSAGE_LIMIT {
        return Err(Error::TooLarge { bytes, limit: MESSAGE_LIMIT });
    }
    Ok(())
}

/// The opsets in the order and the form of `file`, new ones last.
fn opset_imports(
    opsets: &BTreeMap<String, i64>,
    file: &[OperatorSetIdProto],
) -> Vec<OperatorSetIdProto> {
    let old = file.iter().filter_map(|import| {
        let version = *opsets.get(import.domain())?;
        let same = version == import.version();
        let new = OperatorSetIdProto { version: Some(version), ..import.clone() };
        Some(if same { import.clone() } else { new })
    });
    let known: HashSet<&str> = file.iter().map(OperatorSetIdProto::domain).collect();
    let new = opsets.iter().filter(|(domain, _)| !known.contains(domain.as_str()));
    let import = |(domain, version): (&String, &i64)| OperatorSetIdProto {
        domain: Some(domain.clone()),
        version: Some(*version),
    };
    old.chain(new.map(import)).collect()
}

/// The metadata in the order of `file`, with what no map of strings can hold; new
/// entries last.
fn metadata(
    entries: &BTreeMap<String, String>,
    file: &[StringStringEntryProto],
) -> Vec<StringStringEntryProto> {
    let mut known = HashSet::new();
    let mut proto = Vec::with_capacity(entries.len());
    for old in file {
        let Some((key, text)) = readable(old).filter(|(key, _)| known.insert(*key)) else {
            proto.push(old.clone());
            continue;
        };
        match entries.get(key) {
            Some(value) if value == text => proto.push(old.clone()),
            Some(value) => proto.push(entry(key, value)),
            None => {}
        }
    }
    let new = entries.iter().filter(|(key, _)| !known.contains(key.as_str()));
    proto.extend(new.map(|(key, value)| entry(key, value)));
    proto
}

fn entry(key: &str, value: &str) -> StringStringEntryProto {
    StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(Bytes::copy_from_slice(value.as_bytes())),
    }
}
