//! Where a run reports: `metrics.jsonl`, and the same for TensorBoard.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::metrics::{Metrics, Span};
use super::spread::Spread;
use super::tensorboard;
use crate::whole_file::write_whole;
use crate::{Error, Result};

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
    let noise_to_mean = metrics.state.noise_to_mean;
    let spread = |quantile: fn(Spread) -> f64| noise_to_mean.map(quantile);
    let scalars = [
        ("loss", Some(metrics.loss)),
        ("cross_entropy", metrics.cross_entropy),
        ("nll", metrics.nll),
        ("kl", metrics.kl),
        ("divergence", metrics.divergence),
        ("holdout_accuracy", metrics.state.holdout_accuracy),
        ("holdout_robust", metrics.state.holdout_robust),
        ("holdout_rmse", metrics.state.holdout_rmse),
        ("holdout_robust_rmse", metrics.state.holdout_robust_rmse),
        ("noise_to_mean/p5", spread(|spread| spread.p5)),
        ("noise_to_mean/p25", spread(|spread| spread.p25)),
        ("noise_to_mean/p50", spread(|spread| spread.p50)),
        ("noise_to_mean/p75", spread(|spread| spread.p75)),
        ("noise_to_mean/p95", spread(|spread| spread.p95)),
        ("train_accuracy", metrics.train_accuracy),
        ("train_rmse", metrics.train_rmse),
        ("learning_rate", Some(metrics.learning_rate)),
        ("images_per_s", Some(metrics.images_per_s)),
    ];
    let named = |(name, value): (&str, Option<f64>)| Some((format!("{group}/{name}"), value?));
    scalars.into_iter().filter_map(named).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::metrics::Sums;
    use super::*;

    fn metrics(step: u64) -> Metrics {
        Sums::default().metrics(Span::Epoch, 1, step, 0.1)
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
