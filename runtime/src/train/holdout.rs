//! Images that are kept out of the training, to see after each epoch how robust the network
//! has become.

use std::borrow::Cow;

use graphs::names;
use serde::{Deserialize, Serialize};

use super::Settings;
use super::quality::Quality;
use crate::attack::Pgd;
use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::noise::permutation;
use crate::predict::over_draws;
use crate::sessions::{Compile, Purpose, Sessions};
use crate::target::{Form, Target};
use crate::uncertainty::{Numbers, Tally};
use crate::{Error, Result};

/// What is held out, and how it is attacked.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Holdout {
    /// How many of the training images, chosen by the seed.
    pub images: usize,
    /// The attack, on the cross-entropy whatever loss is trained with; of a regression on its
    /// negative log-likelihood.
    pub attack: Pgd,
    /// Draws of the weights that a prediction averages. A model without noise takes one.
    pub samples: u64,
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

/// Judges the network by the images that are held out.
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

    /// Clean and attacked. The same images, draws and random starts every time, so that epochs
    /// compare.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(super) fn score(&mut self, state: &State) -> Result<[Quality; 2]> {
        let mut state = state.share();
        let mut attack_draws = Draws::new(self.seed, "holdout/attack", 0);
        let mut judge_draws = Draws::new(self.seed, "holdout/judge", 0);
        let mut score: Option<[Quality; 2]> = None;
        for batch in self.images.batches(self.batch).layout(self.form.layout) {
            let target = self.form.target(batch)?;
            state.put(names::IMAGES, &target.clean)?;
            let (sessions, samples) = (&mut self.sessions, self.holdout.samples);
            let clean = quality(sessions, &state, &target, samples, &mut judge_draws)?;
            let attack = &self.holdout.attack;
            attack.run(sessions, &mut state, &target, &mut attack_draws)?;
            let robust = quality(sessions, &state, &target, samples, &mut judge_draws)?;
            score = Some(score.map_or([clean, robust], |[c, r]| [c.and(clean), r.and(robust)]));
        }
        score.ok_or_else(|| Error::Program("no images are held out".to_owned()))
    }
}

/// How `samples` draws answer the images in the state, those of `target`.
fn quality(
    sessions: &mut Sessions,
    state: &State,
    target: &Target,
    samples: u64,
    draws: &mut Draws,
) -> Result<Quality> {
    let (count, images) = (target.len(), target.len() as u64);
    if target.is_regression() {
        let numbers: Numbers = over_draws(sessions, state, count, samples, draws)?;
        let errors = numbers.squared_errors(&target.labels.values::<f32>()?);
        return Ok(Quality::Error { squares: errors.iter().sum(), images });
    }
    let labels = target.labels.values::<i64>()?;
    let tally: Tally = over_draws(sessions, state, count, samples, draws)?;
    let hits = tally.chosen().zip(labels.iter());
    let right = hits.filter(|(class, label)| *class as i64 == **label).count() as u64;
    Ok(Quality::Right { right, images })
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
