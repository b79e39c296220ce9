//! Reading models: files and run folders, with what the flags put in front.

use std::path::Path;

use anyhow::{Context, Result, bail};
use graphs::Model;
use passes::{FixSizes, Likelihood, Normalize, Pipeline};

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

/// Reads a model and gives `--dim NAME=SIZE` to what its file leaves open.
pub(crate) fn read_sized(path: &Path, flags: &Sizes) -> Result<Model> {
    let pass = FixSizes::parse(&flags.dim).map_err(|e| crate::misuse(format!("--dim {e}")))?;
    let mut model = read(path)?;
    Pipeline::new().then(pass).run(&mut model).with_context(|| path.display().to_string())?;
    Ok(model)
}

/// Reads a model and puts `--normalize MEAN/STD` in front.
pub(crate) fn read_normalized(path: &Path, flag: Option<&str>) -> Result<Model> {
    let pass = normalization(flag)?;
    let mut model = read(path)?;
    if let Some(pass) = pass {
        Pipeline::new().then(pass).run(&mut model).with_context(|| path.display().to_string())?;
    }
    Ok(model)
}

/// Notes in a model what `--likelihood` says of it, if anything; returns what the model's output is
/// for.
pub(crate) fn note_likelihood(model: &mut Model, flag: Option<Likelihood>) -> Result<Likelihood> {
    if let Some(likelihood) = flag {
        passes::note_likelihood(model, likelihood);
    }
    Ok(passes::noted_likelihood(model)?)
}

/// # Errors
/// When the model is a regression, of which `command` can say nothing.
pub(crate) fn needs_classes(model: &Model, path: &Path, command: &str) -> Result<()> {
    match passes::noted_likelihood(model)? {
        Likelihood::Categorical => Ok(()),
        likelihood => Err(crate::misuse(format!(
            "{}: `{command}` is about classes, and the model is a regression ({likelihood})",
            path.display()
        ))),
    }
}

/// What `--normalize MEAN/STD` asks for.
pub(crate) fn normalization(flag: Option<&str>) -> Result<Option<Normalize>> {
    let parse = |text: &str| text.parse().map_err(|e| crate::misuse(format!("--normalize: {e}")));
    flag.map(parse).transpose()
}
