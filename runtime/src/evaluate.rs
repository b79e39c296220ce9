//! Accuracy and uncertainty on clean, attacked and foreign images, and whether to believe them.

mod budget;
mod checks;
mod evidence;
mod examples;
mod identity;
mod journal;
mod measure;
mod plan;
mod results;
mod runner;

use std::collections::BTreeMap;

use crate::attack::{AttackSpec, Norm, check_radius};
use crate::data::Dataset;
use crate::engine::Engine;
use crate::network::{Network, Running};
use crate::uncertainty::wilson;
use crate::{Error, Result};

pub use budget::{Budget, Probing};
pub use checks::{Check, Verdict};
pub use examples::{Evaluation, Pictured};
pub use journal::Notes;
pub use results::{
    Attack, Attacked, BySamples, Foreign, Measured, Probe, Probes, Report, SCHEMA, Separation,
    Worst,
};

use examples::Run;
use journal::Journal;
use measure::Seen;
use plan::Plan;
use runner::Runner;

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
    /// Seeds under which every prediction is made, the first one included.
    pub seeds: u64,
    /// The attacks that the checks compare; without them they look at what there is.
    pub probing: Option<Probing>,
}

/// What is evaluated on.
#[derive(Debug)]
pub struct Subject<'e> {
    /// Images of the kind that the model was trained on.
    pub dataset: &'e Dataset,
    /// Images of another kind, whose labels mean nothing.
    pub foreign: Option<&'e Dataset>,
    /// Where finished ranges of images are noted.
    pub notes: Option<Notes<'e>>,
}

/// How far an evaluation is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The attack in progress and its radius; `None` while no attack runs.
    pub attack: Option<(String, f64)>,
    /// Images done under this attack.
    pub done: usize,
    /// Of them, those that are classified right.
    pub correct: usize,
    /// The share of the whole work that is done, 0 to 1.
    pub share: f64,
}

/// Measures `network` on the images of `subject`. An attack from another model finds that
/// among `surrogates`, under the name that its spec gives.
///
/// The predicted class is the argmax of the mean probabilities over `samples` draws,
/// which are never the draws that an attack has seen, and the same for every attack. Calls
/// `on_progress` after each batch.
///
/// # Errors
/// When a setting makes no sense, the images do not fit a model, a program cannot be
/// compiled or run, an attack leaves its ball, or the journal cannot be written.
pub fn evaluate<'a>(
    engine: &'a dyn Engine,
    network: Network<'a>,
    surrogates: BTreeMap<String, Network<'a>>,
    subject: Subject,
    settings: &EvalSettings,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Evaluation> {
    check(settings)?;
    let Subject { dataset, foreign, notes } = subject;
    let mut network = Running::new(engine, network, dataset, settings.batch)?;
    let open = |(name, other)| Ok((name, Running::new(engine, other, dataset, settings.batch)?));
    let surrogates: Result<BTreeMap<String, Running>> = surrogates.into_iter().map(open).collect();
    let mut surrogates = surrogates?;
    let size = settings.batch.min(dataset.len());
    let sum = |(name, network): (&String, &mut Running<'a>)| {
        Ok((name.clone(), identity::model(network, size)?))
    };
    let sums: BTreeMap<String, u32> = surrogates.iter_mut().map(sum).collect::<Result<_>>()?;
    if let Some(foreign) = foreign {
        network.check(foreign).map_err(|error| Error::Data(format!("foreign images: {error}")))?;
    }
    let datasets: Vec<&Dataset> = [Some(dataset), foreign].into_iter().flatten().collect();
    let journal = match notes {
        Some(Notes { path, about, resume }) => {
            let identity = identity::identity(&mut network, &datasets, settings, about)?;
            Some(Journal::open(path, &identity, resume)?)
        }
        None => None,
    };
    let plan = Plan::new(settings, dataset.len(), foreign.map_or(0, Dataset::len), network.random);
    let mut runner = Runner { network, surrogates, sums, settings, journal, plan, on_progress };

    let all = vec![true; dataset.len()];
    let clean = runner.run(dataset, "images", None, &all)?;
    let right = right(&clean);
    let mut standing: Vec<Standing> = Vec::new();
    let mut runs = Vec::new();
    for (spec, eps) in settings.runs() {
        let place = standing.iter().position(|s| (s.norm, s.eps) == (spec.norm(), eps));
        let place = place.unwrap_or_else(|| {
            standing.push(Standing { norm: spec.norm(), eps, attacks: 0, right: right.clone() });
            standing.len() - 1
        });
        let Some(standing) = standing.get_mut(place) else { continue };
        let asked = if settings.cumulative { &standing.right } else { &all };
        let seen = runner.run(dataset, "images", Some((spec, eps)), asked)?;
        standing.attacks += 1;
        for (stands, seen) in standing.right.iter_mut().zip(&seen) {
            *stands &= seen.as_ref().is_some_and(|seen| seen.judged.is_right());
        }
        let attack = Attack::new(spec, eps, runner.attacked(spec)?.draws(spec.draws()));
        runs.push(Run { attack: Some(attack), method: Some(spec.method()), seen });
    }
    let probed = probe(&mut runner, dataset, &runs)?;
    let foreign = match foreign {
        Some(foreign) => runner.run(foreign, "foreign images", None, &vec![true; foreign.len()])?,
        None => Vec::new(),
    };
    if let Some(journal) = &mut runner.journal {
        journal.finish()?;
    }
    let samples = runner.network.draws(settings.samples);
    let random = runner.network.random;
    let clean = Run { attack: None, method: None, seen: clean };
    let worst = standing.iter().map(Standing::worst).collect();
    let pictures = runner.plan.pictures;
    Evaluation::new(
        examples::Found { clean, runs, probed, foreign, pictures },
        evidence::Asked { samples, random, worst, settings },
    )
}

/// Runs what the checks compare and the evaluation itself did not.
fn probe(runner: &mut Runner, dataset: &Dataset, runs: &[Run]) -> Result<Vec<Run>> {
    let Some(probing) = &runner.settings.probing else { return Ok(Vec::new()) };
    let asked: Vec<bool> = (0..dataset.len()).map(|index| index < probing.images).collect();
    let mut probed: Vec<Run> = Vec::new();
    for (spec, eps) in &probing.runs {
        let draws = runner.attacked(spec)?.draws(spec.draws());
        let attack = Attack::new(spec, *eps, draws);
        let same = |run: &&Run| run.attack.as_ref().is_some_and(|other| other.is_same(&attack));
        // Without noise, all of a sweep over draws is one attack.
        if probed.iter().any(|run| same(&run)) {
            continue;
        }
        let known = runs.iter().filter(|_| !runner.settings.cumulative).find(same);
        let run = match known {
            Some(run) => run.first(probing.images),
            None => Run {
                attack: Some(attack),
                method: Some(spec.method()),
                seen: runner.run(dataset, "images", Some((spec, *eps)), &asked)?,
            },
        };
        probed.push(run);
    }
    Ok(probed)
}

impl EvalSettings {
    /// Every attack at every radius.
    fn runs(&self) -> impl Iterator<Item = (&AttackSpec, f64)> {
        self.attacks.iter().flat_map(|spec| self.eps.iter().map(move |&eps| (spec, eps)))
    }
}

fn check(settings: &EvalSettings) -> Result<()> {
    if settings.batch == 0 || settings.samples == 0 || settings.seeds == 0 {
        let reason = "the batch size, the samples and the seeds must be at least 1";
        return Err(Error::Setting(reason.to_owned()));
    }
    let probes = settings.probing.iter().flat_map(|probing| &probing.runs);
    let mut runs = settings.runs().chain(probes.map(|(spec, eps)| (spec, *eps)));
    runs.try_for_each(|(spec, eps)| check_radius(spec.norm(), eps))
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
        let count = right.iter().filter(|right| **right).count();
        let accuracy = 100.0 * count as f64 / right.len().max(1) as f64;
        Worst { norm, eps, attacks, accuracy, interval: wilson(count, right.len()) }
    }
}

/// Which images are classified right; those that were not seen are not.
fn right(seen: &[Option<Seen>]) -> Vec<bool> {
    seen.iter().map(|seen| seen.as_ref().is_some_and(|seen| seen.judged.is_right())).collect()
}

#[cfg(test)]
mod tests;
