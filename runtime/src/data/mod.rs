//! Labelled images: reading them from disk and cutting them into batches.
//!
//! A format is recognised by what its files hold. A new format is one file of
//! this folder and one row of `FORMATS`.

mod augment;
mod batch;
mod cifar;
mod dataset;
mod folder;
mod idx;
mod listing;
mod npy;
mod npz;
mod parquet;
mod picture;
mod stl10;
mod targets;

use std::path::Path;

use crate::{Error, Result};

pub use augment::Augment;
pub use batch::{Batch, Batches, Layout};
pub use dataset::Dataset;
use listing::Listing;
pub use picture::load_images;
pub use targets::{Answer, Targets};

/// Which part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Split {
    /// The images to train on.
    Train,
    /// The images to evaluate on.
    Test,
}

impl std::fmt::Display for Split {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Split::Train => "train",
            Split::Test => "test",
        })
    }
}

/// What to load, and how to report on it.
pub struct Request<'a> {
    /// The part to load.
    pub split: Split,
    /// The `[C, H, W]` that the model takes; without it, that of the files. Only the
    /// channels of pictures are converted, nothing is ever resized.
    pub shape: Option<[usize; 3]>,
    /// Load only this many images, the first in the format's order (see [`load`]).
    pub limit: Option<usize>,
    /// Whether the targets are numbers, those of a regression, rather than classes.
    pub numbers: bool,
    /// Called with (images done, images in all), from several threads.
    pub progress: &'a (dyn Fn(usize, usize) + Sync),
}

impl Request<'_> {
    /// All images of `split`, of whatever shape.
    pub fn new(split: Split) -> Request<'static> {
        Request { split, shape: None, limit: None, numbers: false, progress: &|_, _| {} }
    }
}

struct Format {
    name: &'static str,
    /// Whether it can hold the numbers of a regression.
    numbers: bool,
    matches: fn(&Listing) -> bool,
    load: fn(&Listing, &Request) -> Result<Dataset>,
}

/// Tried from the top: the first that matches loads.
const FORMATS: &[Format] =
    &[idx::FORMAT, stl10::FORMAT, cifar::FORMAT, npz::FORMAT, parquet::FORMAT, folder::FORMAT];

/// Loads the images at `path`, whose format is recognised by content:
///
/// - IDX, gzipped or not: a file of images and one of labels for each split, told
///   apart by the words `train`, and `t10k` or `test`, in their names;
/// - CIFAR-10 binary: `data_batch_*.bin` and `test_batch.bin`;
/// - STL-10 binary: `train_X.bin`, `train_y.bin`, `test_X.bin` and `test_y.bin`;
/// - `.npz`: `train.npz` and `test.npz`, or one file, with arrays `x` and `y` (or `x_train`,
///   `y_train`, `x_test`, `y_test`): `x` uint8, or floats of [0, 1], which take the nearest of 256
///   levels; `[N, H, W]`, `[N, C, H, W]`, `[N, H, W, C]`, or `[N, F]`, one row of F pixels; `y` the
///   integers of classes, or where numbers are asked for any of `[N]` or `[N, K]`;
/// - `.parquet`: files of each split, here or in a folder `data`, with a column of encoded
///   pictures and one of labels, as Hugging Face's data sets have them, compressed by Snappy, gzip
///   or not at all;
/// - folders `train` and `test` (or `val`) of class folders, or one folder of class
///   folders that then serves as either split. Labels count the class names in byte order.
///   The images come in an order in which every beginning holds the classes in
///   proportion, so that a limit keeps them all.
///
/// Files that name no split serve as either.
///
/// # Errors
/// An error names the file or folder, and what is wrong: an unknown format, a missing
/// split, a truncated or corrupt file, counts that disagree, images of differing
/// sizes, numbers asked of a format that has only classes, or a shape that is not the requested one.
pub fn load(path: &Path, request: &Request) -> Result<Dataset> {
    if request.limit == Some(0) {
        return Err(Error::Data("a limit of 0 images leaves none; ask for at least 1".into()));
    }
    let listing = Listing::read(path)?;
    let format = FORMATS.iter().find(|format| (format.matches)(&listing)).ok_or_else(|| {
        let known: Vec<_> = FORMATS.iter().map(|format| format.name).collect();
        Error::file(path, format!("no data recognised here; known formats: {}", known.join(", ")))
    })?;
    if request.numbers && !format.numbers {
        let can: Vec<_> = FORMATS.iter().filter(|f| f.numbers).map(|format| format.name).collect();
        let (name, wanted) = (format.name, can.join(", "));
        let reason =
            format!("{name} has only classes; the numbers of a regression come as {wanted}");
        return Err(Error::file(path, reason));
    }
    let mut dataset = (format.load)(&listing, request)?;
    dataset.truncate(request.limit.unwrap_or(usize::MAX));
    if let Some(wanted) = request.shape.filter(|&wanted| wanted != dataset.shape()) {
        let [found, wanted] = [dataset.shape(), wanted].map(dataset::describe);
        let reason = format!("the images are {found}, but the model takes {wanted}; convert them");
        return Err(Error::file(path, reason));
    }
    tracing::debug!(format = format.name, images = dataset.len(), "data loaded");
    Ok(dataset)
}
