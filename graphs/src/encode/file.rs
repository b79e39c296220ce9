//! Model files: written whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use bytes::Bytes;
use prost::Message;
use tempfile::NamedTempFile;

use super::check_length;
use super::external::{externalize, folder};
use crate::proto::ModelProto;
use crate::{Error, Model};

/// Above this many bytes, large tensors go to a file of their own.
const LIMIT: usize = 1_900_000_000;

/// Tensors shorter than this stay in the model file when others leave it.
const SMALL: usize = 1024;

impl Model {
    /// Writes the model file `path`, replacing one that is there. Tensors that lay in
    /// files of their own stay in these, which are copied if the model goes to another
    /// folder. Where other files have their names, and for a model beyond 1.9 GB, large
    /// tensors go to `path` + `.data`.
    ///
    /// # Errors
    /// As [`Model::encode`], and when the file cannot be written; then what was at
    /// `path` before is still there, and nothing else.
    pub fn write(&self, path: &Path) -> Result<(), Error> {
        self.write_external(path, None)
    }

    /// The same; tensors of `threshold` bytes and more go to `path` + `.data`, and all
    /// others into the model file.
    ///
    /// # Errors
    /// As [`Model::write`].
    pub fn write_external(&self, path: &Path, threshold: Option<usize>) -> Result<(), Error> {
        // A link stays a link: what is replaced is the file that it leads to.
        let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        write(self, &target, threshold, LIMIT).map_err(|e| e.at(path.display().to_string()))
    }
}

fn write(model: &Model, path: &Path, threshold: Option<usize>, limit: usize) -> Result<(), Error> {
    let mut files = Vec::new();
    let mut proto = if threshold.is_none() { model.encode()? } else { ModelProto::default() };
    let fits = threshold.is_none() && proto.encoded_len() <= limit;
    let copies = if fits { model.copies(&mut proto, path)? } else { None };
    if let Some(copies) = copies {
        for (from, to) in copies {
            let mut file = temporary(&to, &[])?;
            io::copy(&mut File::open(from)?, file.as_file_mut())?;
            files.push((file, to));
        }
    } else {
        let data = data_path(path);
        let no_name = || io::Error::new(io::ErrorKind::InvalidInput, "the file name is not UTF-8");
        let location = data.file_name().and_then(|name| name.to_str()).ok_or_else(no_name)?;
        proto = model.encode_inline()?;
        let parts = externalize(&mut proto, location, threshold.unwrap_or(SMALL));
        if !parts.is_empty() {
            files.push((temporary(&data, &parts)?, data));
        }
    }
    check_length(&proto)?;
    files.push((temporary(path, &model.pieces(proto))?, path.to_owned()));
    for (file, path) in files {
        file.persist(path).map_err(|error| error.error)?;
    }
    Ok(())
}

fn data_path(path: &Path) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(".data");
    path.into()
}

/// Writes the parts, with their padding, to a file beside `path` that is removed
/// unless it is given that name.
fn temporary(path: &Path, parts: &[Bytes]) -> Result<NamedTempFile, Error> {
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        let kind = io::ErrorKind::AlreadyExists;
        return Err(io::Error::new(kind, "there is something that is not a regular file").into());
    }
    let mut builder = tempfile::Builder::new();
    builder.prefix(".advbnn-");
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    let folder = folder(path);
    // The error itself would name the temporary file.
    let refused = |error: io::Error| {
        let folder = folder.display();
        io::Error::new(
            error.kind(),
            match error.kind() {
                io::ErrorKind::NotFound => format!("there is no folder {folder}"),
                kind => format!(
                    "nothing can be written to the folder {folder}: {}",
                    io::Error::from(kind)
                ),
            },
        )
    };
    let mut file = BufWriter::new(builder.tempfile_in(folder).map_err(refused)?);
    for part in parts {
        file.write_all(part)?;
    }
    let file = file.into_inner().map_err(io::IntoInnerError::into_error)?;
    file.as_file().sync_all()?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;
    use crate::{Fact, Graph, Op, Role, Tensor};

    #[test]
    fn a_missing_folder_is_named_and_no_file_that_the_user_does_not_know() {
        let place = tempfile::tempdir().expect("a folder");
        fs::write(place.path().join("file"), b"").expect("written");
        let error = |folder: &str| {
            let path = place.path().join(folder).join("out.onnx");
            let error = Model::new(Graph::new("g")).write(&path).expect_err("no folder");
            let text = error.to_string();
            text.replace(&format!("{}/", place.path().display()), "")
        };
        let missing = "no/such/out.onnx: there is no folder no/such; check the path";
        assert_eq!(error("no/such"), missing);
        let file = "file/out.onnx: nothing can be written to the folder file: not a directory";
        assert_eq!(error("file"), file);
    }

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
        write(&model, &path, None, 1000).expect("written");
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
