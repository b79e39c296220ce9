//! Loading the images that a command names, as its model takes them.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use graphs::{Kind, Model, Role};
use passes::Likelihood;
use runtime::data::{Dataset, Request, Split, load as load_images};

use crate::programs::Programs;
use crate::{misuse, progress};

pub(crate) fn split(text: &str) -> Result<Split> {
    match text {
        "train" => Ok(Split::Train),
        "test" => Ok(Split::Test),
        other => Err(misuse(format!("--split {other}: use train or test"))),
    }
}

/// The images of `split`, with the channels that the model takes and labels that it knows, or as
/// many numbers as it gives.
pub(crate) fn load(
    path: &Path,
    split: Split,
    model: &Model,
    limit: Option<NonZeroUsize>,
    quiet: bool,
) -> Result<Dataset> {
    let dataset = load_foreign(path, split, model, limit, quiet)?;
    let answer = Programs::new(model).answer()?;
    dataset.check(answer).with_context(|| path.display().to_string())?;
    Ok(dataset)
}

/// The images of `split`, with the channels that the model takes, whatever their labels.
pub(crate) fn load_foreign(
    path: &Path,
    split: Split,
    model: &Model,
    limit: Option<NonZeroUsize>,
    quiet: bool,
) -> Result<Dataset> {
    let bar = progress::bar(0, "images", quiet);
    bar.set_prefix(format!("load {split}"));
    let report = |done: usize, all: usize| {
        bar.set_length(all as u64);
        bar.set_position(done as u64);
    };
    let request = Request {
        split,
        shape: image_shape(model),
        limit: limit.map(NonZeroUsize::get),
        numbers: passes::noted_likelihood(model)? != Likelihood::Categorical,
        progress: &report,
    };
    let dataset = load_images(path, &request);
    bar.finish_and_clear();
    Ok(dataset?)
}

/// The `[C, H, W]` of the model's images, if its file tells: `[N, C, H, W]`, or
/// `[N, H, W, C]` when only the last axis can hold channels.
pub(crate) fn image_shape(model: &Model) -> Option<[usize; 3]> {
    let graph = &model.graph;
    let data = |id: &&graphs::NodeId| matches!(graph.node(**id).kind, Kind::Input(Role::Data));
    let input = graph.inputs.iter().find(data)?;
    let shape = graph.fact((*input).into()).shape.as_ref()?;
    let known = |dim: &graphs::Dim| if let graphs::Dim::Known(n) = dim { Some(*n) } else { None };
    let sizes: Option<Vec<usize>> = shape.iter().skip(1).map(known).collect();
    match *sizes?.as_slice() {
        [a, b, c] if c <= 4 && a > 4 => Some([c, a, b]),
        [a, b, c] => Some([a, b, c]),
        _ => None,
    }
}
