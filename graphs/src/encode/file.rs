//! Model files: written whole or not at all.

use std::fs;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use tempfile::NamedTempFile;

use super::to_bytes;
use crate::proto::{DataLocation, ModelProto, StringStringEntryProto, TensorProto};
use crate::{Error, Model};

/// Above this many bytes, large initializers go to a file of their own.
const LIMIT: usize = 1_900_000_000;

/// Initializers shorter than this stay in the model file.
const SMALL: usize = 1024;

/// External tensors begin at multiples of this, so that they can be mapped.
const ALIGNMENT: usize = 4096;

impl Model {
    /// Writes the model file `path`, replacing one that is there. Large initializers
    /// of a model beyond 1.9 GB go to `path` + `.data`.
    ///
    /// # Errors
    /// As [`Model::encode`], and when the file cannot be written; then what was at
    /// `path` before is still there, and nothing else.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        // A link stays a link: what is replaced is the file that it leads to.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        write(&mut self.encode()?, &target, LIMIT).map_err(|e| e.at(path.display().to_string()))
    }
}

fn write(proto: &mut ModelProto, path: &Path, limit: usize) -> Result<(), Error> {
    let mut data = None;
    if proto.encoded_len() > limit {
        let mut path = path.as_os_str().to_owned();
        path.push(".data");
        let path = PathBuf::from(path);
        let blobs = externalize(proto, &path)?;
        data = Some((temporary(&path, &blobs)?, path));
    }
    let model = temporary(path, &[Bytes::from(to_bytes(proto)?)])?;
    if let Some((file, path)) = data {
        file.persist(path).map_err(|error| error.error)?;
    }
    model.persist(path).map_err(|error| error.error)?;
    Ok(())
}

/// Writes the parts, with their padding, to a file beside `path` that is removed
/// unless it is given that name.
fn temporary(path: &Path, parts: &[Bytes]) -> Result<NamedTempFile, Error> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let kind = io::ErrorKind::AlreadyExists;
        return Err(io::Error::new(kind, "there is something that is not a regular file").into());
    }
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".advbnn-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let mut file = BufWriter::new(builder.tempfile_in(folder)?);
    for part in parts {
        file.write_all(part)?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    Ok(file)
}

/// Moves the large initializers out of the message; what comes back is to be written
/// one after the other to `path`.
fn externalize(proto: &mut ModelProto, path: &Path) -> Result<Vec<Bytes>, Error> {
    static PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];
    let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the file name is not UTF-8");
    let location = path.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
    let (mut parts, mut end) = (Vec::new(), 0usize);
    for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= SMALL) else { continue };
        let start = end.next_multiple_of(ALIGNMENT);
        parts.push(Bytes::from_static(&PADDING[..start - end]));
        end = start + raw.len();
        point(tensor, location, start, raw.len());
        parts.push(raw);
    }
    Ok(parts)
}

fn point(tensor: &mut TensorProto, location: &str, offset: usize, length: usize) {
    let entry = |key: &str, value: String| StringStringEntryProto {
        key: Some(key.to_owned()),
        value: Some(Bytes::from(value)),
    };
    tensor.set_data_location(DataLocation::External);
    tensor.external_data = vec![
        entry("location", location.to_owned()),
        entry("offset", offset.to_string()),
        entry("length", length.to_string()),
    ];
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;
    use crate::{Fact, Graph, Op, Role, Tensor};

    #[test]
    fn large_initializers_go_beside_a_large_model() {
        let mut graph = Graph::new("g");
        let mut sum = graph.input("x", Role::Data, Fact::default());
        for (name, size) in [("small", 3usize), ("large", 600), ("larger", 2000)] {
            let values = (0..size).map(|i| i as f32).collect();
            let value = graph.initializer(name, Tensor::new(&[size], values).expect("fits"));
            let facts = vec![Fact::default()];
            sum = graph.op("", Op::new("Add"), &[Some(sum), Some(value)], facts).into();
        }
        graph.output("y", sum);
        let model = Model::new(graph);

        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("model.onnx");
        let mut proto = model.encode().expect("a valid graph");
        write(&mut proto, &path, 1000).expect("written");
        let names = fs::read_dir(folder.path()).expect("a folder");
        let mut names: Vec<_> = names.map(|e| e.expect("an entry").file_name()).collect();
        names.sort();
        assert_eq!(names, ["model.onnx", "model.onnx.data"]);
        let data = fs::metadata(folder.path().join("model.onnx.data")).expect("there").len();
        assert_eq!(data, 4096 + 8000);
        assert!(fs::metadata(&path).expect("there").len() < 1000);

        let again = Model::read(&path).expect("readable");
        assert_eq!(again.to_string(), model.to_string());
        for name in ["small", "large", "larger"] {
            let tensor = |m: &Model| m.graph.tensor(m.graph.source(name)?).cloned();
            assert_eq!(tensor(&again), tensor(&model));
        }
    }
}
