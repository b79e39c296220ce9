//! Accuracy on clean and on attacked images.

use graphs::{Tensor, names};
use serde::Serialize;

use crate::attack::{AttackSpec, Method, check_radius, strongest};
use crate::data::Dataset;
use crate::engine::{Engine, State};
use crate::predict::mean;
use crate::sessions::{Compile, Draws, Purpose, Sessions};
use crate::target::{Form, Target};
use crate::{Error, Result};

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct EvalSettings {
    /// The attacks, each at every radius.
    pub attacks: Vec<AttackSpec>,
    /// The radii, L-infinity, in units of the images, 0 to 1; 0 is no attack.
    pub eps: Vec<f64>,
    /// Draws of the weights over which probabilities are averaged before the class is
    /// chosen. A model without noise takes one.
    pub samples: u64,
    /// Images in a batch; the last batch may have fewer.
    pub batch: usize,
    /// Fixes every draw and random start.
    pub seed: u64,
}

/// The accuracies, in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// How many images were classified.
    pub images: usize,
    /// Draws of the weights for each prediction.
    pub samples: u64,
    /// Without any attack.
    pub clean: Clean,
    /// Every attack at every radius, in the order of the settings.
    pub attacks: Vec<Attacked>,
}

/// The result on clean images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Clean {
    /// Images that are classified right, in percent.
    pub accuracy: f64,
}

/// The result under one attack at one radius.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// The method: `pgd`, `fgsm`, `noise`.
    pub attack: String,
    /// The radius.
    pub eps: f64,
    /// Steps.
    pub steps: u64,
    /// The size of one step.
    pub step_size: f64,
    /// Draws of the weights that each step's gradient is averaged over.
    pub draws: u64,
    /// Attacks on each image, of which the strongest counts.
    pub restarts: u64,
    /// Whether the attack starts at a random point of the ball.
    pub random_start: bool,
    /// Images that are still classified right, in percent.
    pub accuracy: f64,
}

/// How far an evaluation is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Progress {
    /// The attack in progress; `None` while the clean images are classified.
    pub attack: Option<Method>,
    /// Its radius.
    pub eps: f64,
    /// Images done under this attack.
    pub done: usize,
    /// Of them, those that are classified right.
    pub correct: usize,
    /// Images in all.
    pub images: usize,
}

/// Measures the accuracy of the parameters in `state` on `dataset`.
///
/// The predicted class is the argmax of the mean probabilities over `samples` draws,
/// which are never the draws that an attack has seen. Calls `on_progress` after each
/// batch.
///
/// # Errors
/// When a setting makes no sense, the images do not fit the model, a program cannot be
/// compiled or run, or an attack leaves its ball.
pub fn evaluate(
    engine: &dyn Engine,
    compile: &Compile,
    state: &mut State,
    dataset: &Dataset,
    settings: &EvalSettings,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report> {
    check(settings)?;
    let mut sessions = Sessions::new(engine, compile);
    let batch = settings.batch.min(dataset.len());
    let predict = sessions.get(Purpose::Predict, batch)?;
    let form = Form::new(&predict.images()?, dataset)?;
    let random = predict.is_random();
    if let Some(classes) = predict.classes() {
        dataset.check(classes)?;
    }
    let mut evaluation = Evaluation { sessions, state, dataset, settings, form, on_progress };
    let accuracy = evaluation.accuracy(None)?;
    let mut attacks = Vec::new();
    for spec in &settings.attacks {
        for &eps in &settings.eps {
            let attack = spec.at(eps);
            attacks.push(Attacked {
                attack: spec.method().to_string(),
                eps,
                steps: attack.steps,
                step_size: attack.step_size,
                draws: if random { attack.draws } else { 1 },
                restarts: spec.restarts(),
                random_start: attack.random_start,
                accuracy: evaluation.accuracy(Some((spec, eps)))?,
            });
        }
    }
    let samples = if random { settings.samples } else { 1 };
    Ok(Report { images: dataset.len(), samples, clean: Clean { accuracy }, attacks })
}

fn check(settings: &EvalSettings) -> Result<()> {
    if settings.batch == 0 || settings.samples == 0 {
        return Err(Error::Setting("the batch size and the samples must be at least 1".to_owned()));
    }
    settings.eps.iter().try_for_each(|&eps| check_radius(eps))
}

struct Evaluation<'a> {
    sessions: Sessions<'a>,
    state: &'a mut State,
    dataset: &'a Dataset,
    settings: &'a EvalSettings,
    form: Form,
    on_progress: &'a mut dyn FnMut(Progress),
}

impl Evaluation<'_> {
    /// The accuracy under an attack, or on the clean images, in percent.
    fn accuracy(&mut self, attack: Option<(&AttackSpec, f64)>) -> Result<f64> {
        let Evaluation { dataset, settings, .. } = *self;
        let mut attack_draws = Draws::new(settings.seed, "evaluate/attack", 0);
        let mut judge_draws = Draws::new(settings.seed, "evaluate/judge", 0);
        let (mut done, mut correct) = (0, 0);
        let batch = settings.batch.min(dataset.len());
        for batch in dataset.batches(batch).layout(self.form.layout) {
            let target = self.form.target(batch)?;
            let attacked = match attack {
                Some((spec, eps)) if eps > 0.0 => {
                    let (sessions, state) = (&mut self.sessions, &mut *self.state);
                    strongest(sessions, state, spec, eps, &target, &mut attack_draws)?
                }
                _ => target.clean.clone(),
            };
            correct += self.judge(&attacked, &target, &mut judge_draws)?;
            done += target.len();
            (self.on_progress)(Progress {
                attack: attack.map(|(spec, _)| spec.method()),
                eps: attack.map_or(0.0, |(_, eps)| eps),
                done,
                correct,
                images: dataset.len(),
            });
        }
        Ok(100.0 * correct as f64 / done as f64)
    }

    /// How many of `images` are classified as the labels of `target` say.
    fn judge(&mut self, images: &Tensor, target: &Target, draws: &mut Draws) -> Result<usize> {
        self.state.put(names::IMAGES, images)?;
        let samples = self.settings.samples;
        let mean = mean(&mut self.sessions, self.state, target.len(), samples, draws)?;
        let labels = target.labels.values::<i64>()?;
        Ok(mean
            .classes()
            .zip(labels.iter())
            .filter(|(class, label)| *class as i64 == **label)
            .count())
    }
}

#[cfg(test)]
mod tests;
