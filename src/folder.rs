//! The folders that results go to.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// Makes a folder, with those above it, unless it is there.
///
/// # Errors
/// When that name is a file's, or nothing can be written there.
pub(crate) fn create(path: &Path) -> Result<()> {
    let failed = || format!("{}: the folder cannot be made; name another", path.display());
    fs::create_dir_all(path).with_context(failed)
}
