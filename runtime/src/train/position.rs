//! Where a run stands, and whether another can go on from there.

use std::collections::BTreeMap;
use std::path::Path;

use crc32c::{crc32c, crc32c_append};
use graphs::Tensor;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::metrics::Sums;
use crate::data::Dataset;
use crate::{Error, Result};

/// Where a run stands, beside its tensors.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Position {
    /// Steps taken; with the settings this gives epoch, place in it, and every draw.
    pub(super) step: u64,
    settings: Settings,
    images: usize,
    /// CRC-32C of the targets in order.
    labels: u32,
    /// [`Dataset::identity`] of all images, those held out too; checkpoints of versions before
    /// have none.
    #[serde(default)]
    data: Option<String>,
    /// CRC-32C of the names and values that the run began with; checkpoints of versions before
    /// have none.
    #[serde(default)]
    initial: Option<u32>,
    pub(super) epoch: Sums,
    pub(super) group: Sums,
    /// [`super::quality::Quality::rank`] of the best epoch: of the images held out under attack, or else of the
    /// attacked training images.
    pub(super) best: Option<f64>,
    /// Whether the training has collapsed.
    #[serde(default)]
    pub(super) collapsed: bool,
}

impl Position {
    /// Where a run on `dataset`, what is not held out of `all`, begins.
    pub(super) fn start(
        settings: &Settings,
        dataset: &Dataset,
        all: &Dataset,
        initial: &BTreeMap<String, Tensor>,
    ) -> Position {
        let sum = |sum, (name, tensor): (&String, &Tensor)| {
            crc32c_append(crc32c_append(sum, name.as_bytes()), tensor.bytes())
        };
        Position {
            step: 0,
            settings: settings.clone(),
            images: dataset.len(),
            labels: crc32c(dataset.targets().bytes()),
            data: Some(all.identity()),
            initial: Some(initial.iter().fold(0, sum)),
            epoch: Sums::default(),
            group: Sums::default(),
            best: None,
            collapsed: false,
        }
    }

    /// The position of a run like `self` that is to go on where `old` stands.
    ///
    /// # Errors
    /// When the settings, the images or the weights to begin with differ.
    pub(super) fn continued(self, old: Position) -> Result<Position> {
        self.settings.check_continues(&old.settings)?;
        if (self.images, self.labels) != (old.images, old.labels) {
            return Err(Error::Setting(format!(
                "data: the run to resume has {} images, and these are {} or have other labels; \
                 give the same data and limit",
                old.images, self.images
            )));
        }
        if let Some((old, new)) = old.data.as_ref().zip(self.data.as_ref())
            && old != new
        {
            return Err(Error::Setting(format!(
                "data: the run to resume has {old}, and these are {new}; give the same data and \
                 limit, or start a run in another folder"
            )));
        }
        // The weights come from the checkpoint: another model would count for nothing.
        if old.initial.is_some_and(|old| Some(old) != self.initial) {
            return Err(Error::Setting(
                "model: the run to resume began with other weights; give the model that it began \
                 with, or start a run in another folder"
                    .to_owned(),
            ));
        }
        Ok(Position { settings: self.settings, ..old })
    }
}

/// Checks that a checkpoint holds the state of this model and optimizer.
pub(super) fn check_tensors<'b>(
    path: &Path,
    found: &BTreeMap<String, Tensor>,
    expected: impl Iterator<Item = (&'b String, &'b Tensor)>,
) -> Result<()> {
    let mut count = 0;
    for (name, tensor) in expected {
        count += 1;
        let same =
            |found: &Tensor| (found.dtype(), found.shape()) == (tensor.dtype(), tensor.shape());
        if !found.get(name).is_some_and(same) {
            let reason = format!(
                "it holds no `{name}` as {tensor:?}: it is of another model or optimizer; \
                 give the same ones"
            );
            return Err(Error::file(path, reason));
        }
    }
    match found.len() {
        n if n == count => Ok(()),
        n => Err(Error::file(path, format!("it holds {n} tensors, but the model has {count}"))),
    }
}
