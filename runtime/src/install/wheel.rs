//! Unpacking files of a wheel (PEP 427), each checked against `RECORD`.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Component, Path};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use zip::ZipArchive;

use crate::{Error, Result};

/// The largest `RECORD` that is read, in bytes.
const LARGEST_RECORD: u64 = 16 << 20;
/// The largest file that is unpacked, in bytes; cuBLAS and cuDNN have some of 600 MB.
const LARGEST_FILE: u64 = 4 << 30;

/// What `RECORD` says of one file.
struct Entry {
    /// `sha256=`, and the digest in the unpadded URL-safe base 64 of PEP 376.
    hash: String,
    /// Length in bytes.
    size: u64,
}

/// Unpacks every file of `wheel` that `place` gives a path in `folder`.
///
/// # Errors
/// The file is no wheel, a path in it leads out of it, or a file differs from what
/// `RECORD` says; what was unpacked until then stays in `folder`.
pub(super) fn unpack(
    wheel: &Path,
    folder: &Path,
    place: &dyn Fn(&str) -> Option<String>,
) -> Result<()> {
    let bad = |reason: String| Error::file(wheel, format!("{reason}; download the wheel again"));
    let file = File::open(wheel).map_err(|error| Error::file(wheel, error))?;
    let mut archive = ZipArchive::new(file).map_err(|error| bad(error.to_string()))?;
    let names = names(&archive).map_err(bad)?;
    let record = read_record(&mut archive, &names).map_err(bad)?;
    // A name that ends in a slash is a folder's.
    for name in names.iter().filter(|name| !name.ends_with('/')) {
        let Some(place) = place(name) else { continue };
        let entry = record.get(name).ok_or_else(|| bad(format!("{name} is not in RECORD")))?;
        let source = archive.by_name(name).map_err(|error| bad(error.to_string()))?;
        let target = folder.join(place);
        if let Some(parent) = target.parent() {
            std::fs::create_dir_all(parent).map_err(|error| Error::file(parent, error))?;
        }
        if !copy(source.take(entry.size + 1), &target, entry)? {
            return Err(bad(format!("{name} does not match RECORD")));
        }
    }
    Ok(())
}

/// Every path in the archive; one that is not plainly inside it condemns the whole.
fn names(archive: &ZipArchive<File>) -> Result<Vec<String>, String> {
    let inside = |name: &str| {
        let mut parts = Path::new(name).components();
        !name.contains('\\') && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    archive
        .file_names()
        .map(|name| match name {
            Ok(name) if inside(&name) => Ok(name.into_owned()),
            Ok(name) => Err(format!("unsafe path '{name}'")),
            Err(error) => Err(error.to_string()),
        })
        .collect()
}

/// The lines `path,sha256=digest,size` of the wheel's `RECORD`, by path.
fn read_record(
    archive: &mut ZipArchive<File>,
    names: &[String],
) -> Result<HashMap<String, Entry>, String> {
    let is_record = |name: &&String| {
        name.strip_suffix(".dist-info/RECORD").is_some_and(|package| !package.contains('/'))
    };
    let name = names.iter().find(is_record).ok_or("no RECORD, so not a wheel")?;
    let file = archive.by_name(name).map_err(|error| error.to_string())?;
    let mut text = String::new();
    file.take(LARGEST_RECORD).read_to_string(&mut text).map_err(|error| error.to_string())?;
    let entry = |line: &str| {
        let mut fields = line.rsplitn(3, ',');
        let size = fields.next()?.parse().ok().filter(|size| *size <= LARGEST_FILE)?;
        let hash = fields.next()?.to_owned();
        Some((fields.next()?.to_owned(), Entry { hash, size }))
    };
    Ok(text.lines().filter_map(entry).collect())
}

/// The file name of a shared library that ONNX Runtime loads; `None` for all else.
pub(super) fn library(path: &str) -> Option<String> {
    let (folder, name) = path.rsplit_once('/')?;
    let wanted = folder == "onnxruntime/capi" || folder.starts_with("nvidia/");
    let library = name.ends_with(".so")
        || name.contains(".so.")
        || name.ends_with(".dylib")
        || name.ends_with(".dll");
    let binding = name.starts_with("onnxruntime_pybind11_state");
    (wanted && library && !binding).then(|| name.to_owned())
}

/// Writes `source` to the new file `target`; whether it is what `entry` says.
fn copy(mut source: impl Read, target: &Path, entry: &Entry) -> Result<bool> {
    let failed = |error| Error::file(target, error);
    let mut file = File::create_new(target).map_err(failed)?;
    let (mut digest, mut size) = (Sha256::new(), 0);
    let mut buffer = vec![0; 1 << 16];
    loop {
        let read = source.read(&mut buffer).map_err(failed)?;
        let Some(bytes) = buffer.get(..read).filter(|bytes| !bytes.is_empty()) else { break };
        digest.update(bytes);
        size += bytes.len() as u64;
        file.write_all(bytes).map_err(failed)?;
    }
    let hash = format!("sha256={}", URL_SAFE_NO_PAD.encode(digest.finalize()));
    Ok(size == entry.size && hash == entry.hash)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::PathBuf;

    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    use super::*;

    const LIBRARY: &str = "onnxruntime/capi/libonnxruntime.so.1.31.1";

    /// A wheel of `files`, and a RECORD whose line of each is made by `line`.
    fn wheel(folder: &Path, files: &[(&str, &[u8])], line: fn(&str, &[u8]) -> String) -> PathBuf {
        let path = folder.join("made_up.whl");
        let mut zip = ZipWriter::new(File::create(&path).unwrap());
        let mut record = String::new();
        for (name, bytes) in files {
            zip.start_file(*name, SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
            record += &line(name, bytes);
        }
        zip.start_file("made_up-1.dist-info/RECORD", SimpleFileOptions::default()).unwrap();
        zip.write_all(record.as_bytes()).unwrap();
        zip.finish().unwrap();
        path
    }

    fn honest(name: &str, bytes: &[u8]) -> String {
        let hash = URL_SAFE_NO_PAD.encode(Sha256::digest(bytes));
        format!("{name},sha256={hash},{}\n", bytes.len())
    }

    fn refusal(files: &[(&str, &[u8])], line: fn(&str, &[u8]) -> String) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = wheel(folder.path(), files, line);
        let target = folder.path().join("out");
        std::fs::create_dir(&target).unwrap();
        unpack(&path, &target, &library).unwrap_err().to_string()
    }

    #[test]
    fn only_the_libraries_are_unpacked_and_flat() {
        let folder = tempfile::tempdir().unwrap();
        let files: &[(&str, &[u8])] = &[
            (LIBRARY, b"runtime"),
            ("onnxruntime/capi/onnxruntime_pybind11_state.cpython-311.so", b"binding"),
            ("onnxruntime/capi/training/x.py", b"python"),
            ("nvidia/cu13/lib/libcudart.so.13", b"cuda"),
            ("nvidia/cu13/include/cuda.h", b"header"),
        ];
        let path = wheel(folder.path(), files, honest);
        let target = folder.path().join("out");
        std::fs::create_dir(&target).unwrap();
        unpack(&path, &target, &library).unwrap();
        let mut names: Vec<_> =
            std::fs::read_dir(&target).unwrap().map(|f| f.unwrap().file_name()).collect();
        names.sort();
        assert_eq!(names, ["libcudart.so.13", "libonnxruntime.so.1.31.1"]);
        assert_eq!(std::fs::read(target.join("libonnxruntime.so.1.31.1")).unwrap(), b"runtime");
    }

    #[test]
    fn a_path_out_of_the_archive_is_refused() {
        for name in ["../evil.so", "onnxruntime/capi/../../../x.so", "/etc/x.so", "a\\..\\x.so"] {
            let error = refusal(&[(LIBRARY, b"x"), (name, b"x")], honest);
            assert!(error.contains("unsafe path"), "{name}: {error}");
        }
    }

    #[test]
    fn a_library_that_differs_from_record_is_refused() {
        let other = |name: &str, bytes: &[u8]| honest(name, &[bytes, b"!"].concat());
        let longer = |name: &str, bytes: &[u8]| honest(name, bytes).replace(",7\n", ",6\n");
        let none = |_: &str, _: &[u8]| String::new();
        let files: &[(&str, &[u8])] = &[(LIBRARY, b"runtime")];
        assert!(refusal(files, other).contains("does not match RECORD"));
        assert!(refusal(files, longer).contains("does not match RECORD"));
        assert!(refusal(files, none).contains("is not in RECORD"));
    }

    #[test]
    fn a_file_that_is_no_wheel_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.whl");
        std::fs::write(&path, b"not a zip").unwrap();
        assert!(unpack(&path, folder.path(), &library).unwrap_err().to_string().contains("x.whl"));
    }
}
