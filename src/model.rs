//! Reading models: files and run folders, with what the flags put in front.

use std::path::Path;

use anyhow::{Result, bail};
use graphs::Model;
use passes::{FixSizes, Normalize, Pipeline};

use crate::cli::{Sizes, Storage};

/// Reads an ONNX file, or the `model.onnx` of a run folder.
pub(crate) fn read(path: &Path) -> Result<Model> {
    if !path.is_dir() {
        return Ok(Model::read(path)?);
    }
    let file = path.join("model.onnx");
    if !file.exists() {
        bail!("{}: no model.onnx here; a run folder has one once it is trained", path.display());
    }
    Ok(Model::read(&file)?)
}

/// Writes a model, whole or not at all.
pub(crate) fn write(model: &Model, path: &Path) -> Result<()> {
    write_as(model, path, Storage::default())
}

/// The same, the weights where the flag says.
pub(crate) fn write_as(model: &Model, path: &Path, storage: Storage) -> Result<()> {
    Ok(model.write_external(path, storage.external_data)?)
}

/// Gives `--dim NAME=SIZE` to what the file leaves open.
pub(crate) fn fix_sizes(model: &mut Model, flags: &Sizes) -> Result<()> {
    let pass = FixSizes::parse(&flags.dim).map_err(|e| crate::misuse(format!("--dim {e}")))?;
    Ok(Pipeline::new().then(pass).run(model)?)
}

/// Puts `--normalize MEAN/STD` in front of the model.
pub(crate) fn normalize(model: &mut Model, flag: Option<&str>) -> Result<()> {
    let Some(text) = flag else { return Ok(()) };
    let pass: Normalize = text.parse().map_err(|e| crate::misuse(format!("--normalize: {e}")))?;
    Ok(Pipeline::new().then(pass).run(model)?)
}
