//! Images that are kept out of the training, to see after each epoch how robust the network
//! has become.

use std::borrow::Cow;

use graphs::names;
use serde::{Deserialize, Serialize};

use super::Settings;
use crate::attack::Pgd;
use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::noise::permutation;
use crate::predict::tally;
use crate::sessions::{Compile, Purpose, Sessions};
use crate::target::Form;
use crate::{Error, Result};

/// What is held out, and how it is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdout {
    /// How many of the training images, chosen by the seed.
    pub images: usize,
    /// The attack, on the cross-entropy whatever loss is trained with.
    pub attack: Pgd,
    /// Draws of the weights that a prediction averages. A model without noise takes one.
    pub samples: u64,
}

/// How many of the images that are held out are classified right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Score {
    pub(super) images: u64,
    pub(super) clean: u64,
    pub(super) robust: u64,
}

impl Score {
    /// In percent.
    pub(super) fn percent(&self, count: u64) -> f64 {
        100.0 * count as f64 / self.images.max(1) as f64
    }
}

/// The images to train on, and those that are held out.
///
/// # Errors
/// When none would be left to train on.
pub(super) fn split<'a>(
    dataset: &'a Dataset,
    settings: &Settings,
) -> Result<(Cow<'a, Dataset>, Option<Dataset>)> {
    let Some(holdout) = &settings.holdout else { return Ok((Cow::Borrowed(dataset), None)) };
    let (count, all) = (holdout.images, dataset.len());
    if count == 0 || count >= all {
        let text = format!("holdout: {count} of {all} images; give at least 1 and fewer than all");
        return Err(Error::Setting(text));
    }
    // No epoch has this number, so that no epoch's order tells which images are held out.
    let mut order = permutation(settings.seed, u64::MAX, all);
    let mut rest = order.split_off(count);
    order.sort_unstable();
    rest.sort_unstable();
    Ok((Cow::Owned(dataset.select(&rest)?), Some(dataset.select(&order)?)))
}

/// Classifies the images that are held out, clean and attacked.
pub(super) struct Judge<'a> {
    sessions: Sessions<'a>,
    images: Dataset,
    holdout: Holdout,
    form: Form,
    seed: u64,
    batch: usize,
}

impl<'a> Judge<'a> {
    /// `compile` makes programs that attack the cross-entropy and predict.
    ///
    /// # Errors
    /// When the images do not fit the model, or a program cannot be compiled.
    pub(super) fn new(
        engine: &'a dyn Engine,
        compile: &'a Compile<'a>,
        images: Dataset,
        holdout: Holdout,
        settings: &Settings,
    ) -> Result<Judge<'a>> {
        let mut sessions = Sessions::new(engine, compile);
        let batch = settings.batch.min(images.len());
        let form = Form::new(&sessions.get(Purpose::Predict, batch)?.images()?, &images)?;
        Ok(Judge { sessions, images, holdout, form, seed: settings.seed, batch })
    }

    /// The same images, draws and random starts every time, so that epochs compare.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(super) fn score(&mut self, state: &State) -> Result<Score> {
        let mut state = state.share();
        let mut attack_draws = Draws::new(self.seed, "holdout/attack", 0);
        let mut judge_draws = Draws::new(self.seed, "holdout/judge", 0);
        let mut score = Score { images: self.images.len() as u64, clean: 0, robust: 0 };
        for batch in self.images.batches(self.batch).layout(self.form.layout) {
            let target = self.form.target(batch)?;
            let labels = target.labels.values::<i64>()?.into_owned();
            let (count, samples) = (target.len(), self.holdout.samples);
            let mut right = |sessions: &mut Sessions, state: &State| -> Result<u64> {
                let tally = tally(sessions, state, count, samples, &mut judge_draws)?;
                let hits = tally.chosen().zip(&labels);
                Ok(hits.filter(|(class, label)| *class as i64 == **label).count() as u64)
            };
            state.put(names::IMAGES, &target.clean)?;
            score.clean += right(&mut self.sessions, &state)?;
            let attack = &self.holdout.attack;
            attack.run(&mut self.sessions, &mut state, &target, &mut attack_draws)?;
            score.robust += right(&mut self.sessions, &state)?;
        }
        Ok(score)
    }
}

/// What a run does when the training has collapsed: when fewer than a fifth of the images that
/// the best epoch had right under attack are left, as happens to single-step training that
/// learns to mask its gradient (Wong et al. 2020).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnCollapse {
    /// It ends; what the best epoch left is the result.
    #[default]
    Stop,
    /// It says so and goes on.
    Warn,
}

/// Whether training has collapsed from `best` to `now` of the images that are held out. So few
/// that chance decides are no sign.
pub(super) fn collapsed(best: u64, now: u64) -> bool {
    const FEW: u64 = 8;
    best >= FEW && 5 * now < best
}
