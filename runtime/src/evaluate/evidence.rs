//! What the checks look at, from what was seen.

use std::collections::BTreeMap;

use super::EvalSettings;
use super::checks::{Evidence, Row};
use super::examples::{Found, Run};
use super::results::Worst;
use crate::attack::Norm;

/// What the results depend on beside what was seen.
pub(super) struct Asked<'e> {
    pub(super) samples: u64,
    pub(super) random: bool,
    pub(super) worst: Vec<Worst>,
    pub(super) settings: &'e EvalSettings,
}

/// The evidence of the first images: those of the probes, or all.
pub(super) fn evidence(found: &Found, asked: &Asked) -> Evidence {
    let settings = asked.settings;
    let images = settings.probing.as_ref().map_or(usize::MAX, |probing| probing.images);
    // Attacks on what others have left are not to be compared with those on all.
    let runs: Vec<Run> = match settings.cumulative {
        true => Vec::new(),
        false => found.runs.iter().map(|run| run.first(images)).collect(),
    };
    let first = settings.eps.iter().copied().find(|eps| *eps > 0.0).unwrap_or_default();
    let clean = found.clean.first(images);
    let probed = |run: &&Run| !found.probed.iter().any(|other| is_same(other, run));
    let all: Vec<&Run> = runs.iter().filter(probed).chain(&found.probed).collect();
    let everything = found.runs.iter().chain(&found.probed).flat_map(Run::tried);
    Evidence {
        eps: settings.probing.as_ref().map_or(first, |probing| probing.eps),
        rows: all.iter().filter_map(|run| row(run)).collect(),
        clean: clean.accuracy(),
        random: asked.random,
        chance: most_frequent(&clean),
        farthest: everything.map(|seen| seen.moved).reduce(f64::max),
        repeated: repeated(&all),
    }
}

fn is_same(a: &Run, b: &Run) -> bool {
    a.attack.as_ref().zip(b.attack.as_ref()).is_some_and(|(a, b)| a.is_same(b))
}

fn row(run: &Run) -> Option<Row> {
    // Radii of different norms do not compare.
    let attack = run.attack.as_ref().filter(|attack| attack.norm == Norm::Linf)?;
    Some(Row {
        method: run.method?,
        eps: attack.eps,
        steps: attack.steps,
        draws: attack.draws,
        restarts: attack.restarts,
        random_start: attack.random_start,
        accuracy: run.accuracy_of_tried(),
        unmoved: run.unmoved(),
    })
}

/// The share of the most frequent label, in percent.
fn most_frequent(run: &Run) -> f64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let judged = run.judged();
    judged.iter().for_each(|one| *counts.entry(one.label).or_default() += 1);
    let most = counts.values().max().copied().unwrap_or_default();
    100.0 * most as f64 / judged.len().max(1) as f64
}

/// Of the misclassified images, how often they are under the other seeds, in percent.
fn repeated(runs: &[&Run]) -> Option<f64> {
    let wrong = runs.iter().flat_map(|run| run.tried()).filter(|seen| !seen.judged.is_right());
    let again: Vec<bool> = wrong.flat_map(|seen| seen.seeds.iter().map(|right| !right)).collect();
    let count = again.iter().filter(|wrong| **wrong).count();
    (!again.is_empty()).then(|| 100.0 * count as f64 / again.len() as f64)
}
