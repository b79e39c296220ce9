//! Figures of many images, from what was seen of each.

use graphs::Tensor;
use serde::{Deserialize, Serialize};

use super::attack::Attack;
use super::results::{BySamples, Foreign, Measured, Separation};
use crate::Result;
use crate::attack::Norm;
use crate::target::Target;
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

#[cfg(test)]
impl Seen {
    /// An image of class 0 that is classified right or not, under one seed and under others.
    pub(super) fn as_right(right: bool, seeds: &[bool], moved: f64) -> Seen {
        let mut tally = crate::uncertainty::Tally::default();
        tally.add(if right { &[0.7, 0.3] } else { &[0.3, 0.7] }, 2);
        let by_samples: Vec<(u64, Judged)> =
            tally.judge(&[0]).into_iter().map(|judged| (1, judged)).collect();
        Seen { judged: by_samples[0].1, by_samples, seeds: seeds.to_vec(), moved }
    }
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

/// How far each image was moved, as a share of the radius.
///
/// # Errors
/// When they are no images.
pub(super) fn moved(images: &Tensor, target: &Target, attack: Option<&Attack>) -> Result<Vec<f64>> {
    let Some(&Attack { norm, eps, .. }) = attack.filter(|attack| attack.eps > 0.0) else {
        return Ok(vec![0.0; target.len()]);
    };
    let (from, to) = (target.clean.values::<f32>()?, images.values::<f32>()?);
    let size = target.size();
    let distance = |(from, to): (&[f32], &[f32])| {
        let changes = from.iter().zip(to).map(|(from, to)| f64::from((to - from).abs()));
        let distance = match norm {
            Norm::Linf => changes.fold(0.0, f64::max),
            Norm::L2 => changes.map(|change| change * change).sum::<f64>().sqrt(),
        };
        distance / eps
    };
    Ok(from.chunks_exact(size).zip(to.chunks_exact(size)).map(distance).collect())
}
