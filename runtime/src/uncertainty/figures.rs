//! Means over images.

use serde::{Deserialize, Serialize};

use super::Judged;

/// Bins of a reliability diagram, of equal width, as Guo et al. 2017 have them.
pub const BINS: usize = 15;

/// Scores of many predictions: means over the images, entropies in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Uncertainty {
    /// Images classified right, in percent.
    pub accuracy: f64,
    /// Images of which most draws choose the label, in percent; see [`Judged::vote`].
    pub vote_accuracy: f64,
    /// The negative log-likelihood of the labels.
    pub nll: f64,
    /// The Brier score, 0 to 2.
    pub brier: f64,
    /// The expected calibration error over [`BINS`] bins, 0 to 1 (Naeini et al. 2015).
    pub ece: f64,
    /// The entropy of the mean probabilities.
    pub predictive_entropy: f64,
    /// The mean entropy of single draws: what no further draw would resolve.
    pub expected_entropy: f64,
    /// The difference of the two: what the draws do not agree on.
    pub mutual_information: f64,
    /// The share of pairs of draws that choose different classes.
    pub disagreement: f64,
}

/// The predictions whose confidence is in (`low`, `high`].
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReliabilityBin {
    /// The least confidence, excluded.
    pub low: f64,
    /// The greatest confidence.
    pub high: f64,
    /// How many predictions.
    pub count: usize,
    /// The mean of their confidences; 0 of none.
    pub confidence: f64,
    /// The share that is right; 0 of none.
    pub accuracy: f64,
}

impl Uncertainty {
    /// The means over `judged`; `None` of nothing.
    pub fn of(judged: &[Judged]) -> Option<Uncertainty> {
        let mean =
            |value: fn(&Judged) -> f64| judged.iter().map(value).sum::<f64>() / judged.len() as f64;
        (!judged.is_empty()).then(|| Uncertainty {
            accuracy: 100.0 * mean(|one| f64::from(u8::from(one.is_right()))),
            vote_accuracy: 100.0 * mean(|one| f64::from(u8::from(one.vote == one.label))),
            nll: mean(Judged::nll),
            brier: mean(|one| one.brier),
            ece: calibration_error(judged),
            predictive_entropy: mean(|one| one.predictive_entropy),
            expected_entropy: mean(|one| one.expected_entropy),
            mutual_information: mean(Judged::mutual_information),
            disagreement: mean(|one| one.disagreement),
        })
    }
}

/// The [`BINS`] bins of a reliability diagram (DeGroot and Fienberg 1983).
pub fn reliability(judged: &[Judged]) -> Vec<ReliabilityBin> {
    let bin = |index: usize| {
        let [low, high] = [index, index + 1].map(|edge| edge as f64 / BINS as f64);
        let inside: Vec<&Judged> =
            judged.iter().filter(|one| bin_of(one.confidence) == index).collect();
        let mean = |value: fn(&Judged) -> f64| {
            // From 0, since an empty sum is -0.
            inside.iter().fold(0.0, |sum, one| sum + value(one)) / inside.len().max(1) as f64
        };
        ReliabilityBin {
            low,
            high,
            count: inside.len(),
            confidence: mean(|one| one.confidence),
            accuracy: mean(|one| f64::from(u8::from(one.is_right()))),
        }
    };
    (0..BINS).map(bin).collect()
}

fn bin_of(confidence: f64) -> usize {
    let above = (confidence * BINS as f64).ceil();
    (above.max(1.0) as usize - 1).min(BINS - 1)
}

/// The mean over predictions of |confidence - accuracy| of their bin.
fn calibration_error(judged: &[Judged]) -> f64 {
    let gap = |bin: &ReliabilityBin| bin.count as f64 * (bin.confidence - bin.accuracy).abs();
    reliability(judged).iter().map(gap).sum::<f64>() / judged.len().max(1) as f64
}
