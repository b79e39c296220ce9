//! What is noted beside a file that a step makes: everything that decides about its content.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use crc32c::{crc32c, crc32c_append};
use graphs::Kind;
use serde::{Deserialize, Serialize};

use crate::model;

/// A step's identity. Of the data it has the path alone.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Mark {
    pub(super) command: String,
    /// What computes, if anything does.
    pub(super) machinery: Option<String>,
    /// CRC-32C of the models that it reads, by their paths.
    pub(super) reads: BTreeMap<String, String>,
}

impl Mark {
    /// # Errors
    /// When the file is there and no mark.
    pub(super) fn read(path: &Path) -> Result<Option<Mark>> {
        if !path.exists() {
            return Ok(None);
        }
        let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
        let unknown = || format!("{}: of another version; choose another folder", path.display());
        serde_json::from_str(&text).map(Some).with_context(unknown)
    }

    pub(super) fn write(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        Ok(runtime::write_whole(path, |file| file.write_all(text.as_bytes()))?)
    }

    /// How the step that this is of differs from `new`, and what to do.
    pub(super) fn differs(&self, new: &Mark) -> Option<String> {
        if self.command != new.command {
            return Some(format!("by `{}`; give the same flags", self.command));
        }
        if let (Some(old), Some(new)) = (&self.machinery, &new.machinery)
            && old != new
        {
            return Some(format!("by {old}, and this is {new}; ask for the same"));
        }
        // A model that is not there yet is checked once it is.
        let changed = new.reads.iter().find(|(path, sum)| self.reads.get(*path) != Some(sum));
        changed.map(|(path, _)| format!("from another {path}; bring that one back"))
    }
}

/// Of the file, or that of the run folder, and of weights that it keeps in other files.
pub(super) fn checksum(path: &Path) -> Result<String> {
    let file = if path.is_dir() { path.join("model.onnx") } else { path.to_owned() };
    let mut sum = crc32c(&std::fs::read(&file).with_context(|| file.display().to_string())?);
    let graph = model::read(path)?.graph;
    for id in graph.ids() {
        if let Kind::Initializer(tensor) = &graph.node(id).kind {
            sum = crc32c_append(sum, tensor.bytes());
        }
    }
    Ok(format!("{sum:08x}"))
}
