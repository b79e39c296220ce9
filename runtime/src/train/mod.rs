//! Adversarial training: attack a batch, learn it, and again.

mod averages;
mod epoch;
mod holdout;
mod log;
mod metrics;
mod position;
mod quality;
mod schedule;
mod settings;
mod spread;
mod tensorboard;
#[cfg(test)]
mod tests;
mod trainer;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread;

use graphs::Tensor;

use crate::data::{Batch, Dataset, Layout};
use crate::engine::Engine;
use crate::sessions::Compile;
use crate::{Error, Result};

pub use averages::averaged;
pub use holdout::{Holdout, OnCollapse};
pub use metrics::{Metrics, Span, Standing};
pub use schedule::Schedule;
pub use settings::Settings;
pub use spread::Spread;
use trainer::Trainer;

/// The settings in a run folder.
pub const CONFIG: &str = "config.toml";
/// The checkpoint in a run folder that a run is resumed from.
pub const LAST: &str = "last.safetensors";
/// The checkpoint of the best epoch: that with the best accuracy, of a regression the least error,
/// under attack of the images that are held out, or else of the training images.
pub const BEST: &str = "best.safetensors";

/// What to train, on what, and where to keep it.
pub struct Job<'a> {
    /// What runs the programs.
    pub engine: &'a dyn Engine,
    /// Makes them.
    pub compile: &'a Compile<'a>,
    /// Makes the programs that attack the cross-entropy of the images held out, and predict.
    pub judge: &'a Compile<'a>,
    /// The parameters and running statistics to begin with, by the names of the inputs.
    pub initial: &'a BTreeMap<String, Tensor>,
    /// The training images.
    pub dataset: &'a Dataset,
    /// How to train.
    pub settings: &'a Settings,
    /// The run folder: gets `last.safetensors`, `best.safetensors`, `metrics.jsonl` and
    /// `tensorboard/`.
    pub folder: &'a Path,
    /// What the folder's `config.toml` is to say, if it is to have one.
    pub config: Option<&'a str>,
    /// Go on from the folder's `last.safetensors`; the result is to the bit that of a
    /// run that was never interrupted.
    pub resume: bool,
    /// Once true, the run saves a checkpoint and ends after the step it is at.
    pub stop: &'a AtomicBool,
}

/// What happens during a run.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// The programs are loaded and training begins.
    Start {
        /// Steps taken before, by the run that is resumed.
        step: u64,
        /// Steps in all.
        steps: u64,
        /// Steps in an epoch.
        per_epoch: u64,
    },
    /// A step was taken.
    Step {
        /// Steps taken so far.
        step: u64,
        /// What it minimised.
        loss: f64,
    },
    /// A line was added to `metrics.jsonl`.
    Metrics(&'a Metrics),
    /// A checkpoint was written.
    Saved(&'a Path),
    /// The accuracy under attack of the images held out has fallen to almost nothing.
    Collapsed {
        /// The epoch, counted from 1.
        epoch: u64,
        /// That of the best epoch, in percent.
        best: f64,
        /// What is left of it.
        now: f64,
    },
}

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Whether all epochs are done; otherwise it was stopped and can be resumed, or ended early.
    pub finished: bool,
    /// Whether it ended because it had collapsed.
    pub collapsed: bool,
    /// Steps taken since the run began.
    pub step: u64,
    /// Parameters, running statistics and the optimizer's state at the end, which
    /// `last.safetensors` holds too.
    pub tensors: BTreeMap<String, Tensor>,
}

/// Trains, and keeps checkpoints and metrics in the run folder.
///
/// Everything random is a function of the seed and the number of the step: the result
/// depends neither on when the run was interrupted nor on the number of threads of the
/// host's own work. State that only the optimizer reads (`NAME.velocity`,
/// `NAME.moment1`, `NAME.moment2`) starts at zero, averages (`NAME.ema`) at what they average.
///
/// # Errors
/// When a setting makes no sense, it, the data or the first weights differ from the resumed
/// run's, the images do not fit the model, the folder already holds a run, a file cannot be written, a program
/// cannot be compiled or run, or the loss or a parameter is no longer finite. The
/// checkpoints that are there then stay as they are, and a run that is refused leaves the
/// folder as it was.
pub fn train(job: &Job, on_event: &mut dyn FnMut(Event)) -> Result<Outcome> {
    let all = job.dataset;
    let (training, held_out) = holdout::split(all, job.settings)?;
    let job = &Job { dataset: &training, ..*job };
    let trainer = Trainer::new(job, all, held_out, on_event)?;
    let (step, layout) = (trainer.step(), trainer.layout());
    thread::scope(|scope| {
        // Two batches ahead keep the engine busy and memory small.
        let (sender, batches) = sync_channel(2);
        let (dataset, settings) = (job.dataset, job.settings);
        thread::Builder::new()
            .name("batches".to_owned())
            .spawn_scoped(scope, move || load(dataset, settings, layout, step, &sender))
            .map_err(|error| Error::Training(format!("no thread for loading: {error}")))?;
        trainer.run(batches)
    })
}

/// Sends every batch from number `step` of the run on, until nobody takes them.
fn load(
    dataset: &Dataset,
    settings: &Settings,
    layout: Layout,
    step: u64,
    sender: &SyncSender<Batch>,
) {
    let per_epoch = dataset.batches(settings.batch).len() as u64;
    let mut done = (step % per_epoch) as usize;
    for epoch in step / per_epoch..settings.epochs {
        let mut batches =
            dataset.batches(settings.batch).layout(layout).shuffled(settings.seed, epoch);
        if let Some(augment) = settings.augment() {
            batches = batches.augmented(augment, settings.seed, epoch);
        }
        for batch in batches.skip(std::mem::take(&mut done)) {
            if sender.send(batch).is_err() {
                return;
            }
        }
    }
}
