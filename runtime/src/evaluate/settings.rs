//! What to evaluate, and on what.

use super::budget::Probing;
use super::journal::Notes;
use crate::attack::{AttackSpec, Norm, check_radius};
use crate::data::Dataset;
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
    /// worst case needs; the figures of an attack are then those after all of them so far.
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

/// The most draws of a prediction, and the most seeds.
pub const MOST_DRAWS: u64 = 100_000;

/// How far an evaluation is.
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// The attack in progress and its radius; `None` while no attack runs.
    pub attack: Option<(String, f64)>,
    /// Images done under this attack.
    pub done: usize,
    /// Of them, those that are classified right; `None` of a regression.
    pub correct: Option<usize>,
    /// The share of the whole work that is done, 0 to 1.
    pub share: f64,
}

impl EvalSettings {
    /// Every attack at every radius, each once though it was asked for twice.
    pub(super) fn runs(&self) -> Vec<(&AttackSpec, f64)> {
        let mut runs: Vec<(&AttackSpec, f64)> = Vec::new();
        let all = self.attacks.iter().flat_map(|spec| self.eps.iter().map(move |&eps| (spec, eps)));
        for (spec, eps) in all {
            if !runs.iter().any(|(other, at)| *at == eps && other.is_same(spec)) {
                runs.push((spec, eps));
            }
        }
        runs
    }

    /// The norm and the radius at which attacks are compared: those of the probes, or of the
    /// first attack.
    pub(super) fn compared(&self) -> Option<(Norm, f64)> {
        match &self.probing {
            Some(probing) => Some((probing.norm, probing.eps)),
            None => {
                let first = self.runs().into_iter().find(|(_, eps)| *eps > 0.0);
                first.map(|(spec, eps)| (spec.norm(), eps))
            }
        }
    }
}

/// # Errors
/// When a setting makes no sense.
pub(super) fn check(settings: &EvalSettings) -> Result<()> {
    if settings.batch == 0 || settings.samples == 0 || settings.seeds == 0 {
        let reason = "the batch size, the samples and the seeds must be at least 1";
        return Err(Error::Setting(reason.to_owned()));
    }
    if settings.samples.max(settings.seeds) > MOST_DRAWS {
        let reason = format!("the samples and the seeds are at most {MOST_DRAWS}");
        return Err(Error::Setting(reason));
    }
    let probes = settings.probing.iter().flat_map(|probing| &probing.runs);
    let mut runs = settings.runs().into_iter().chain(probes.map(|(spec, eps)| (spec, *eps)));
    runs.try_for_each(|(spec, eps)| check_radius(spec.norm(), eps))
}
