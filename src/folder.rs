//! The folders that results go to.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Makes a folder, with those above it, unless it is there.
///
/// # Errors
/// When that name is a file's, or nothing can be written there.
pub(crate) fn create(path: &Path) -> Result<()> {
    let failed = || format!("{}: the folder cannot be made; name another", path.display());
    fs::create_dir_all(path).with_context(failed)
}

/// A folder for results that may not come: what was made of it and of those above it goes
/// again with this, unless something lies in it by then.
pub(crate) struct Tentative {
    /// The innermost first.
    made: Vec<PathBuf>,
}

/// Makes a folder as [`create`] does, before it is known whether there will be results.
///
/// # Errors
/// Those of [`create`].
pub(crate) fn tentative(path: &Path) -> Result<Tentative> {
    let missing = |folder: &&Path| !folder.as_os_str().is_empty() && !folder.exists();
    let made = path.ancestors().take_while(missing).map(Path::to_owned).collect();
    let tentative = Tentative { made };
    create(path)?;
    Ok(tentative)
}

impl Drop for Tentative {
    fn drop(&mut self) {
        // The system refuses to remove a folder that is not empty.
        _ = self.made.iter().try_for_each(fs::remove_dir);
    }
}
