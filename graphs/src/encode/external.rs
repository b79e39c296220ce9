//! Tensors in files of their own.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use super::entry;
use crate::decode::Files;
use crate::form::inline;
use crate::proto::{DataLocation, ModelProto, TensorProto, tensors_mut};
use crate::{Error, Model};

/// External tensors begin at multiples of this, so that they can be mapped.
const ALIGNMENT: usize = 4096;

impl Model {
    /// The model as a message that needs no other file.
    pub(super) fn encode_inline(&self) -> Result<ModelProto, Error> {
        let mut proto = self.encode_with(false)?;
        let mut files = Files::beside(self.origin.folder.as_deref());
        let mut result = Ok(());
        tensors_mut(&mut proto, &mut |tensor| {
            if result.is_ok() && tensor.data_location() == DataLocation::External {
                result = files.slice(&tensor.external_data).map(|raw| inline(tensor, raw));
            }
        });
        result.map(|()| proto)
    }

    /// The files that the tensors of `proto` lie in, from where to where they have to be
    /// copied so that they lie beside the model at `path`; `None` if that cannot be,
    /// because there are other files of these names.
    pub(super) fn copies(
        &self,
        proto: &mut ModelProto,
        path: &Path,
    ) -> Result<Option<Vec<(PathBuf, PathBuf)>>, Error> {
        let mut locations = BTreeSet::new();
        tensors_mut(proto, &mut |tensor| {
            if tensor.data_location() == DataLocation::External {
                let location = tensor.external_data.iter().find(|e| e.key() == "location");
                let location = location.and_then(|e| e.value.as_deref()).unwrap_or_default();
                locations.insert(String::from_utf8_lossy(location).into_owned());
            }
        });
        let files = Files::beside(self.origin.folder.as_deref());
        let mut copies = Vec::new();
        for location in locations {
            let from = files.path(&location)?;
            let to = folder(path).join(&location);
            if to.canonicalize().is_ok_and(|to| to == from) && to != path {
                continue;
            }
            let nested = Path::new(&location).components().count() != 1
                || !matches!(Path::new(&location).components().next(), Some(Component::Normal(_)));
            if nested || to == path {
                return Ok(None);
            }
            match fs::symlink_metadata(&to) {
                Err(_) => copies.push((from, to)),
                Ok(_) if same_content(&from, &to)? => {}
                Ok(_) => return Ok(None),
            }
        }
        Ok(Some(copies))
    }
}

/// The folder of a file.
pub(super) fn folder(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn same_content(a: &Path, b: &Path) -> io::Result<bool> {
    let (of_a, of_b) = (fs::metadata(a)?, fs::metadata(b)?);
    if !of_b.is_file() || of_a.len() != of_b.len() {
        return Ok(false);
    }
    let open = |path| Ok::<_, io::Error>(BufReader::with_capacity(1 << 20, File::open(path)?));
    let (mut a, mut b) = (open(a)?, open(b)?);
    loop {
        let (left, right) = (a.fill_buf()?, b.fill_buf()?);
        let length = left.len().min(right.len());
        if left.get(..length) != right.get(..length) {
            return Ok(false);
        }
        if length == 0 {
            return Ok(left.len() == right.len());
        }
        a.consume(length);
        b.consume(length);
    }
}

/// Moves the tensors of `threshold` bytes and more out of the message, which has all of
/// them raw; what comes back is to be written one after the other to the file `location`
/// beside the model.
pub(super) fn externalize(proto: &mut ModelProto, location: &str, threshold: usize) -> Vec<Bytes> {
    static PADDING: [u8; ALIGNMENT] = [0; ALIGNMENT];
    let (mut parts, mut end) = (Vec::new(), 0usize);
    for tensor in proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer) {
        let long = |raw: &mut Bytes| raw.len() >= threshold && !raw.is_empty();
        let Some(raw) = tensor.raw_data.take_if(long) else { continue };
        let start = end.next_multiple_of(ALIGNMENT);
        parts.push(Bytes::from_static(&PADDING[..start - end]));
        end = start + raw.len();
        point(tensor, location, start, raw.len());
        parts.push(raw);
    }
    parts
}

fn point(tensor: &mut TensorProto, location: &str, offset: usize, length: usize) {
    tensor.set_data_location(DataLocation::External);
    tensor.external_data = vec![
        entry("location", location),
        entry("offset", &offset.to_string()),
        entry("length", &length.to_string()),
    ];
}
