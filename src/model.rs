//! Reading models: files and run folders, with what the flags put in front.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use graphs::Model;
use passes::{Normalize, Pipeline};

/// Reads an ONNX file, or the `model.onnx` of a run folder.
pub(crate) fn read(path: &Path) -> Result<Model> {
    let file = file_of(path);
    Model::read(&file).with_context(|| file.display().to_string())
}

fn file_of(path: &Path) -> PathBuf {
    if path.is_dir() { path.join("model.onnx") } else { path.to_owned() }
}

/// Writes a model, whole or not at all.
pub(crate) fn write(model: &Model, path: &Path) -> Result<()> {
    model.write(path).with_context(|| path.display().to_string())
}

/// Puts `--normalize MEAN/STD` in front of the model.
pub(crate) fn normalize(model: &mut Model, flag: Option<&str>) -> Result<()> {
    let Some(text) = flag else { return Ok(()) };
    let pass: Normalize = text.parse().map_err(|e| crate::misuse(format!("--normalize: {e}")))?;
    Ok(Pipeline::new().then(pass).run(model)?)
}
