//! Files that are there whole or not at all.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::{Error, Result};

/// Writes a file so that at every moment, even after a crash or a power failure, `path`
/// is either the file that it was or the new one: the bytes go to `path` with
/// `.partial` appended, to the disk, and only then to their name.
///
/// # Errors
/// When the file cannot be written (a full disk, say); what was at `path` is unharmed.
pub fn write_whole(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> io::Result<()>,
) -> Result<()> {
    let mut partial = path.as_os_str().to_owned();
    partial.push(".partial");
    let partial = Path::new(&partial);
    let written = fill(partial, write).and_then(|()| fs::rename(partial, path));
    written.and_then(|()| sync_folder(path)).map_err(|error| {
        // It may hold the space that the disk lacks; that it cannot be removed either
        // would hide the error that matters.
        _ = fs::remove_file(partial);
        let kept = if path.exists() { "; the file as it was before is unharmed" } else { "" };
        let full = error.kind() == io::ErrorKind::StorageFull;
        let advice = if full { "; free some space and try again" } else { "" };
        Error::file(path, format!("cannot be written: {error}{kept}{advice}"))
    })
}

fn fill(path: &Path, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(1 << 20, File::create(path)?);
    write(&mut file)?;
    file.into_inner()?.sync_all()
}

/// Makes the new name itself survive a power failure, where the system can do that.
fn sync_folder(path: &Path) -> io::Result<()> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    if cfg!(unix) { File::open(folder.unwrap_or(Path::new(".")))?.sync_all() } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        write_whole(&path, |file| file.write_all(b"old")).unwrap();
        let full = |file: &mut dyn Write| {
            file.write_all(&[0; 1 << 21])?;
            Err(io::Error::from(io::ErrorKind::StorageFull))
        };
        let error = write_whole(&path, full).unwrap_err().to_string();
        assert!(error.contains("no storage space; the file as it was before is unharmed"));
        assert!(error.ends_with("free some space and try again"), "{error}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }

    #[test]
    fn what_a_killed_write_left_is_no_obstacle() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        fs::write(folder.path().join("state.partial"), b"half a fi").unwrap();
        write_whole(&path, |file| file.write_all(b"new")).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    }
}
