//! The files beside a model that hold its tensors.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;
use memmap2::Mmap;

use crate::Error;
use crate::proto::StringStringEntryProto;

/// Maps a regular file into memory.
pub(super) fn map(path: &Path) -> io::Result<Bytes> {
    // Asked before opening: to open a pipe is to wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let file = File::open(path)?;
    // SAFETY: the bytes are valid as long as nobody changes the file in place, which
    // `Model::read` asks of its caller; this crate replaces files, never changes them.
    #[allow(unsafe_code)]
    let map = unsafe { Mmap::map(&file) }?;
    Ok(Bytes::from_owner(map))
}

/// The files of one folder, each mapped once.
#[derive(Default)]
pub(crate) struct Files {
    folder: Option<PathBuf>,
    mapped: HashMap<PathBuf, Bytes>,
}

impl Files {
    pub(crate) fn beside(folder: Option<&Path>) -> Files {
        // The parent of a bare file name is the empty path.
        let here = |p: &Path| if p.as_os_str().is_empty() { ".".into() } else { p.to_owned() };
        Files { folder: folder.map(here), mapped: HashMap::new() }
    }

    /// The bytes that a tensor's `external_data` entries speak of.
    pub(crate) fn slice(&mut self, entries: &[StringStringEntryProto]) -> Result<Bytes, Error> {
        let text = |key: &str| {
            let entry = entries.iter().find(|e| e.key.as_deref() == Some(key))?;
            Some(String::from_utf8_lossy(entry.value.as_deref().unwrap_or_default()))
        };
        let location = text("location").unwrap_or_default().into_owned();
        let fail = |reason: String| Error::External { location: location.clone(), reason };
        let number = |key: &str| {
            let parse = |t: &str| t.parse().map_err(|_| fail(format!("{key} `{t}` is no size")));
            text(key).map(|t| parse(&t)).transpose()
        };
        let path = self.path(&location)?;
        let bytes = self.open(path).map_err(|error| fail(error.to_string()))?;
        let offset: usize = number("offset")?.unwrap_or(0);
        let length = match number("length")? {
            Some(length) => length,
            None => bytes.len().saturating_sub(offset),
        };
        match offset.checked_add(length) {
            Some(end) if end <= bytes.len() => Ok(bytes.slice(offset..end)),
            _ => {
                Err(fail(format!("{length} bytes from {offset} on are not in its {}", bytes.len())))
            }
        }
    }

    /// The file of that name, links followed.
    pub(crate) fn path(&self, location: &str) -> Result<PathBuf, Error> {
        let fail = |reason: String| Error::External { location: location.to_owned(), reason };
        let no_folder = || fail("the model was not read from a folder".to_owned());
        let folder = self.folder.as_deref().ok_or_else(no_folder)?;
        let inside = |c: Component| matches!(c, Component::Normal(_) | Component::CurDir);
        if location.is_empty() || !Path::new(location).components().all(inside) {
            return Err(fail("not a path inside the model's folder".to_owned()));
        }
        // Links are followed first, because one may lead out of the folder.
        let canonical = |path: &Path| path.canonicalize().map_err(|e| fail(e.to_string()));
        let (folder, path) = (canonical(folder)?, canonical(&folder.join(location))?);
        if !path.starts_with(folder) {
            return Err(fail("a link that leads out of the model's folder".to_owned()));
        }
        Ok(path)
    }

    fn open(&mut self, path: PathBuf) -> io::Result<Bytes> {
        if let Some(bytes) = self.mapped.get(&path) {
            return Ok(bytes.clone());
        }
        let bytes = map(&path)?;
        self.mapped.insert(path, bytes.clone());
        Ok(bytes)
    }
}
