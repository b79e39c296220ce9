//! What a run reports: `metrics.jsonl`, and the same for TensorBoard.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::spread::Spread;
use super::tensorboard;
use crate::whole_file::write_whole;
use crate::{Error, Result};

/// What one line of `metrics.jsonl` spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// The steps since the last line of this kind.
    Steps,
    /// A whole epoch.
    Epoch,
}

/// One line of `metrics.jsonl`: means over the images of its span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// What it spans.
    pub span: Span,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps taken since the run began.
    pub step: u64,
    /// What is minimised: the cross-entropy + alpha / images * KL.
    pub loss: f64,
    /// On the attacked images; of TRADES on the clean ones.
    pub cross_entropy: f64,
    /// The mean KL between clean and attacked probabilities, of TRADES.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// Without its factor; `None` when the model has no variational node.
    pub kl: Option<f64>,
    /// Attacked training images that are classified right, in percent.
    pub train_accuracy: f64,
    /// Of the last step.
    pub learning_rate: f64,
    /// The time that it took.
    pub seconds: f64,
    /// Images trained on in one second.
    pub images_per_s: f64,
    /// What an epoch left behind.
    #[serde(flatten)]
    pub state: Standing,
}

/// How the network stands at the end of an epoch; nothing for other spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Clean images of those held out that are classified right, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_accuracy: Option<f64>,
    /// The same under attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_robust: Option<f64>,
    /// True once the training has collapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<bool>,
    /// Of models with random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_to_mean: Option<Spread>,
}

/// Sums over some steps, from which [`Metrics`] are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    images: u64,
    pub(super) correct: u64,
    loss: f64,
    cross_entropy: f64,
    kl: Option<f64>,
    #[serde(default)]
    divergence: Option<f64>,
    seconds: f64,
}

/// What one training step returned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) images: u64,
    pub(super) correct: u64,
    pub(super) loss: f64,
    pub(super) cross_entropy: f64,
    pub(super) kl: Option<f64>,
    pub(super) divergence: Option<f64>,
    pub(super) seconds: f64,
}

impl Sums {
    pub(super) fn add(&mut self, step: &Step) {
        let images = step.images as f64;
        self.images += step.images;
        self.correct += step.correct;
        self.loss += images * step.loss;
        self.cross_entropy += images * step.cross_entropy;
        let sum = |sum: Option<f64>, part: Option<f64>| {
            part.map(|part| sum.unwrap_or_default() + images * part)
        };
        self.kl = sum(self.kl, step.kl);
        self.divergence = sum(self.divergence, step.divergence);
        self.seconds += step.seconds;
    }

    pub(super) fn metrics(&self, span: Span, epoch: u64, step: u64, learning_rate: f64) -> Metrics {
        let images = self.images.max(1) as f64;
        Metrics {
            span,
            epoch,
            step,
            loss: self.loss / images,
            cross_entropy: self.cross_entropy / images,
            kl: self.kl.map(|kl| kl / images),
            divergence: self.divergence.map(|divergence| divergence / images),
            train_accuracy: 100.0 * self.correct as f64 / images,
            learning_rate,
            seconds: self.seconds,
            images_per_s: self.images as f64 / self.seconds.max(f64::MIN_POSITIVE),
            state: Standing::default(),
        }
    }
}

/// Appends metrics to the files of a run folder.
pub(super) struct Log {
    path: PathBuf,
    lines: File,
    events: tensorboard::Writer,
}

impl Log {
    /// The log of a run in `folder` that goes on after `step`; what it said of later
    /// steps, which will be taken anew, is removed.
    pub(super) fn open(folder: &Path, step: u64) -> Result<Log> {
        let path = folder.join("metrics.jsonl");
        let kept = match fs::read(&path) {
            Ok(text) => until(&String::from_utf8_lossy(&text), step),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(Error::file(&path, format!("cannot be read: {error}"))),
        };
        write_whole(&path, |file| file.write_all(kept.as_bytes()))?;
        let lines = OpenOptions::new().append(true).open(&path);
        let lines = lines.map_err(|error| Error::file(&path, error))?;
        let events = tensorboard::Writer::create(&folder.join("tensorboard"), step)?;
        Ok(Log { path, lines, events })
    }

    pub(super) fn write(&mut self, metrics: &Metrics) -> Result<()> {
        let failed =
            |error: io::Error| Error::file(&self.path, format!("cannot be written: {error}"));
        let mut line = serde_json::to_vec(metrics).map_err(|error| failed(error.into()))?;
        line.push(b'\n');
        self.lines.write_all(&line).map_err(failed)?;
        self.events.scalars(metrics.step, scalars(metrics)).map_err(failed)
    }

    /// Puts the lines on the disk, so that no checkpoint is ahead of them.
    pub(super) fn sync(&self) -> Result<()> {
        self.lines.sync_data().map_err(|error| Error::file(&self.path, error))
    }
}

/// The whole lines about steps up to `step`.
fn until(text: &str, step: u64) -> String {
    let early =
        |line: &&str| serde_json::from_str(line).is_ok_and(|metrics: Metrics| metrics.step <= step);
    text.split_inclusive('\n').filter(|line| line.ends_with('\n')).filter(early).collect()
}

fn scalars(metrics: &Metrics) -> Vec<(String, f64)> {
    let group = match metrics.span {
        Span::Steps => "steps",
        Span::Epoch => "epochs",
    };
    let Standing { holdout_accuracy, holdout_robust, noise_to_mean, .. } = metrics.state;
    let spread = |quantile: fn(Spread) -> f64| noise_to_mean.map(quantile);
    let scalars = [
        ("loss", Some(metrics.loss)),
        ("cross_entropy", Some(metrics.cross_entropy)),
        ("kl", metrics.kl),
        ("divergence", metrics.divergence),
        ("holdout_accuracy", holdout_accuracy),
        ("holdout_robust", holdout_robust),
        ("noise_to_mean/p5", spread(|spread| spread.p5)),
        ("noise_to_mean/p25", spread(|spread| spread.p25)),
        ("noise_to_mean/p50", spread(|spread| spread.p50)),
        ("noise_to_mean/p75", spread(|spread| spread.p75)),
        ("noise_to_mean/p95", spread(|spread| spread.p95)),
        ("train_accuracy", Some(metrics.train_accuracy)),
        ("learning_rate", Some(metrics.learning_rate)),
        ("images_per_s", Some(metrics.images_per_s)),
    ];
    let named = |(name, value): (&str, Option<f64>)| Some((format!("{group}/{name}"), value?));
    scalars.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn metrics(step: u64) -> Metrics {
        let mut sums = Sums::default();
        for (images, correct, loss) in [(3, 1, 2.0), (1, 1, 6.0)] {
            let step =
                Step { images, correct, loss, kl: Some(10.0), seconds: 0.5, ..Step::default() };
            sums.add(&step);
        }
        sums.metrics(Span::Epoch, 1, step, 0.1)
    }

    #[test]
    fn means_are_over_images() {
        let found = metrics(2);
        assert_eq!((found.loss, found.kl, found.train_accuracy), (3.0, Some(10.0), 50.0));
        assert_eq!((found.seconds, found.images_per_s), (1.0, 4.0));
    }

    #[test]
    fn a_resumed_log_ends_at_its_step_even_after_a_torn_line() {
        let folder = tempfile::tempdir().unwrap();
        let mut log = Log::open(folder.path(), 0).unwrap();
        for step in 1..=3 {
            log.write(&metrics(step)).unwrap();
        }
        let path = folder.path().join("metrics.jsonl");
        let whole = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("{whole}{{\"span\":\"ep")).unwrap();
        let mut log = Log::open(folder.path(), 2).unwrap();
        log.write(&metrics(3)).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), whole);
        assert_eq!(fs::read_dir(folder.path().join("tensorboard")).unwrap().count(), 2);
    }
}
