//! Figures of many images, from what was seen of each.

use serde::{Deserialize, Serialize};

use super::results::{BySamples, Foreign, Measured, Separation};
use crate::uncertainty::{Judged, Spread, Uncertainty, auroc, reliability, wilson};

/// What was seen of one image under one attack, or without one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// What all draws say.
    pub(super) judged: Judged,
    /// What the first of them say, for each of some numbers of draws.
    pub(super) by_samples: Vec<(u64, Judged)>,
    /// Whether it is right under other seeds.
    pub(super) seeds: Vec<bool>,
    /// How far the attack moved it, as a share of the radius.
    pub(super) moved: f64,
}

impl Measured {
    /// Of some images; `None` of none.
    pub(super) fn of(seen: &[&Seen]) -> Option<Measured> {
        let judged: Vec<Judged> = seen.iter().map(|one| one.judged).collect();
        let right = judged.iter().filter(|one| one.is_right()).count();
        let uncertainty = Uncertainty::of(&judged)?;
        Some(Measured {
            accuracy: uncertainty.accuracy,
            interval: wilson(right, judged.len()),
            single_draw_accuracy: 100.0 * mean(&judged, |one| one.single),
            spread: spread(seen),
            uncertainty,
            by_samples: by_samples(seen),
            reliability: reliability(&judged),
        })
    }
}

fn mean(judged: &[Judged], value: fn(&Judged) -> f64) -> f64 {
    judged.iter().map(value).sum::<f64>() / judged.len().max(1) as f64
}

/// Over the seeds, the first one included.
fn spread(seen: &[&Seen]) -> Option<Spread> {
    let seeds = seen.first().map_or(0, |one| one.seeds.len());
    let share = |right: &dyn Fn(&Seen) -> bool| {
        100.0 * seen.iter().filter(|one| right(one)).count() as f64 / seen.len().max(1) as f64
    };
    let mut accuracies = vec![share(&|one| one.judged.is_right())];
    accuracies.extend((0..seeds).map(|seed| share(&|one| one.seeds.get(seed) == Some(&true))));
    Spread::of(&accuracies)
}

fn by_samples(seen: &[&Seen]) -> Vec<BySamples> {
    let counts = seen.first().map(|one| one.by_samples.as_slice()).unwrap_or_default();
    let of = |(place, &(samples, _)): (usize, &(u64, Judged))| {
        let judged: Vec<Judged> =
            seen.iter().filter_map(|one| one.by_samples.get(place)).map(|(_, j)| *j).collect();
        Some(BySamples { samples, uncertainty: Uncertainty::of(&judged)? })
    };
    counts.iter().enumerate().filter_map(of).collect()
}

impl Separation {
    /// Of `positives`, which should be uncertain, from `negatives`.
    pub(super) fn of(positives: &[Judged], negatives: &[Judged]) -> Option<Separation> {
        let area = |score: fn(&Judged) -> f64| {
            let of = |judged: &[Judged]| judged.iter().map(score).collect::<Vec<f64>>();
            auroc(&of(positives), &of(negatives))
        };
        Some(Separation {
            predictive_entropy: area(|one| one.predictive_entropy)?,
            mutual_information: area(Judged::mutual_information)?,
            confidence: area(|one| 1.0 - one.confidence)?,
        })
    }
}

impl Foreign {
    /// Of foreign images beside clean ones; `None` of none.
    pub(super) fn of(foreign: &[Judged], clean: &[Judged]) -> Option<Foreign> {
        Some(Foreign {
            images: foreign.len(),
            predictive_entropy: mean(foreign, |one| one.predictive_entropy),
            expected_entropy: mean(foreign, |one| one.expected_entropy),
            mutual_information: mean(foreign, Judged::mutual_information),
            disagreement: mean(foreign, |one| one.disagreement),
            auroc: Separation::of(foreign, clean)?,
        })
    }
}
