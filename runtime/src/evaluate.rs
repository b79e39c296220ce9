//! Accuracy on clean and on attacked images.

use std::collections::BTreeMap;

use graphs::Tensor;
use serde::Serialize;

use crate::attack::{AttackSpec, Method, Norm, check_radius, strongest};
use crate::data::Dataset;
use crate::engine::Engine;
use crate::network::{Network, Running, target};
use crate::sessions::Draws;
use crate::{Error, Result};

/// What to evaluate.
#[derive(Clone, Debug)]
pub struct EvalSettings {
    /// The attacks, each at every radius.
    pub attacks: Vec<AttackSpec>,
    /// The radii, in units of the images, for L-infinity 0 to 1; 0 is no attack.
    pub eps: Vec<f64>,
    /// Draws of the weights over which probabilities are averaged before the class is
    /// chosen. A model without noise takes one.
    pub samples: u64,
    /// Images in a batch; the last batch may have fewer.
    pub batch: usize,
    /// Fixes every draw and random start.
    pub seed: u64,
    /// Attack only what every attack before at that radius and norm has left right, as the
    /// worst case needs; the accuracy under an attack is then that after all of them so far.
    pub cumulative: bool,
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
    /// For every norm and radius, images that no attack at all has changed the class of.
    pub worst: Vec<Worst>,
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
    /// The method: `pgd`, `fgsm`, `noise`, ...
    pub attack: String,
    /// The attack as it was asked for, with its options.
    pub spec: String,
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius.
    pub eps: f64,
    /// Steps, or the queries of an attack without gradients.
    pub steps: u64,
    /// The size of one step, of the first where the attack adapts it.
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

/// The result under all attacks of one norm and radius together.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Worst {
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius.
    pub eps: f64,
    /// How many attacks there were.
    pub attacks: usize,
    /// Images that are classified right without an attack and under every one, in percent.
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

/// Measures the accuracy of `network` on `dataset`. An attack from another model finds that
/// among `surrogates`, under the name that its spec gives.
///
/// The predicted class is the argmax of the mean probabilities over `samples` draws,
/// which are never the draws that an attack has seen, and the same for every attack. Calls
/// `on_progress` after each batch.
///
/// # Errors
/// When a setting makes no sense, the images do not fit a model, a program cannot be
/// compiled or run, or an attack leaves its ball.
pub fn evaluate<'a>(
    engine: &'a dyn Engine,
    network: Network<'a>,
    surrogates: BTreeMap<String, Network<'a>>,
    dataset: &Dataset,
    settings: &EvalSettings,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Report> {
    check(settings)?;
    let network = Running::new(engine, network, dataset, settings.batch)?;
    let open = |(name, other)| Ok((name, Running::new(engine, other, dataset, settings.batch)?));
    let surrogates: Result<BTreeMap<String, Running>> = surrogates.into_iter().map(open).collect();
    let mut evaluation =
        Evaluation { network, surrogates: surrogates?, dataset, settings, on_progress };
    let clean = evaluation.right(None, &vec![true; dataset.len()])?;
    let mut standing: Vec<Standing> = Vec::new();
    let mut attacks = Vec::new();
    for spec in &settings.attacks {
        for &eps in &settings.eps {
            let place = standing.iter().position(|s| (s.norm, s.eps) == (spec.norm(), eps));
            let place = place.unwrap_or_else(|| {
                standing.push(Standing {
                    norm: spec.norm(),
                    eps,
                    attacks: 0,
                    right: clean.clone(),
                });
                standing.len() - 1
            });
            let Some(standing) = standing.get_mut(place) else { continue };
            let all = vec![true; dataset.len()];
            let attacked = if settings.cumulative { &standing.right } else { &all };
            let right = evaluation.right(Some((spec, eps)), attacked)?;
            standing.attacks += 1;
            standing.right.iter_mut().zip(&right).for_each(|(stands, right)| *stands &= right);
            attacks.push(Attacked {
                attack: spec.method().to_string(),
                spec: spec.text().to_owned(),
                norm: spec.norm(),
                eps,
                steps: spec.steps(),
                step_size: spec.step_size(eps),
                draws: evaluation.attacked(spec)?.draws(spec.draws()),
                restarts: spec.restarts(),
                random_start: spec.random_start(),
                accuracy: percent(&right),
            });
        }
    }
    Ok(Report {
        images: dataset.len(),
        samples: evaluation.network.draws(settings.samples),
        clean: Clean { accuracy: percent(&clean) },
        attacks,
        worst: standing.iter().map(Standing::worst).collect(),
    })
}

fn check(settings: &EvalSettings) -> Result<()> {
    if settings.batch == 0 || settings.samples == 0 {
        return Err(Error::Setting("the batch size and the samples must be at least 1".to_owned()));
    }
    let norms = settings.attacks.iter().map(AttackSpec::norm);
    let mut pairs = norms.flat_map(|norm| settings.eps.iter().map(move |&eps| (norm, eps)));
    pairs.try_for_each(|(norm, eps)| check_radius(norm, eps))
}

/// The images that are right so far at one norm and radius.
struct Standing {
    norm: Norm,
    eps: f64,
    attacks: usize,
    right: Vec<bool>,
}

impl Standing {
    fn worst(&self) -> Worst {
        let Standing { norm, eps, attacks, ref right } = *self;
        Worst { norm, eps, attacks, accuracy: percent(right) }
    }
}

fn percent(right: &[bool]) -> f64 {
    let count = right.iter().filter(|right| **right).count();
    100.0 * count as f64 / right.len() as f64
}

struct Evaluation<'a, 'e> {
    network: Running<'a>,
    surrogates: BTreeMap<String, Running<'a>>,
    dataset: &'e Dataset,
    settings: &'e EvalSettings,
    on_progress: &'e mut dyn FnMut(Progress),
}

impl<'a> Evaluation<'a, '_> {
    /// Which images are classified right under an attack, or without one; those that are
    /// not `asked` for count as wrong.
    fn right(&mut self, attack: Option<(&AttackSpec, f64)>, asked: &[bool]) -> Result<Vec<bool>> {
        let Evaluation { dataset, settings, .. } = *self;
        let asked: Vec<usize> = (0..).zip(asked).filter(|(_, a)| **a).map(|(i, _)| i).collect();
        let mut right = vec![false; dataset.len()];
        let mut done = 0;
        for batch in dataset.batches(settings.batch).only(&asked) {
            let indices = batch.indices.clone();
            let first = indices.first().copied().unwrap_or(0) as u64;
            // So many draws that no attack on one batch reaches the next one's.
            let draws = |stream| Draws::new(settings.seed, stream, first << 32);
            let images = self.images(attack, &indices, draws("evaluate/attack"))?;
            let mean =
                self.network.predict(&images, settings.samples, &mut draws("evaluate/judge"))?;
            for (index, class) in indices.iter().zip(mean.classes()) {
                let label = dataset.labels().get(*index);
                if let Some(right) = right.get_mut(*index) {
                    *right = label.is_some_and(|label| *label == class as i64);
                }
            }
            done += indices.len();
            (self.on_progress)(Progress {
                attack: attack.map(|(spec, _)| spec.method()),
                eps: attack.map_or(0.0, |(_, eps)| eps),
                done,
                correct: right.iter().filter(|right| **right).count(),
                images: asked.len(),
            });
        }
        Ok(right)
    }

    /// The images at `indices` after the attack, as the network takes them.
    fn images(
        &mut self,
        attack: Option<(&AttackSpec, f64)>,
        indices: &[usize],
        draws: Draws,
    ) -> Result<Tensor> {
        let Some((spec, eps)) = attack.filter(|(_, eps)| *eps > 0.0) else {
            return Ok(target(&self.network, self.dataset, indices)?.clean);
        };
        let dataset = self.dataset;
        let attacked = self.attacked(spec)?;
        let target = target(attacked, dataset, indices)?;
        let images = strongest(attacked, spec, eps, &target, draws)?;
        let from = attacked.form.clone();
        from.convert(&images, &self.network.form)
    }

    /// The network whose gradients the attack sees.
    fn attacked(&mut self, spec: &AttackSpec) -> Result<&mut Running<'a>> {
        match spec.from() {
            None => Ok(&mut self.network),
            Some(name) => self.surrogates.get_mut(name).ok_or_else(|| {
                let text = spec.text();
                Error::Setting(format!("attack `{text}`: the model `{name}` was not given"))
            }),
        }
    }
}

#[cfg(test)]
mod tests;
