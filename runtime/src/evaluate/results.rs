//! What an evaluation finds: `results.json`.

use serde::Serialize;

use super::attack::Attack;
use super::checks::Check;
use crate::attack::Norm;
use crate::uncertainty::{ReliabilityBin, Spread, Uncertainty};

/// The version of this layout: it grows by one when a field goes or changes its meaning.
pub const SCHEMA: u32 = 1;

/// Everything that was measured. Accuracies are in percent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// How many images were classified.
    pub images: usize,
    /// Draws of the weights for each prediction.
    pub samples: u64,
    /// Without any attack.
    pub clean: Measured,
    /// Every attack at every radius, in the order of the settings.
    pub attacks: Vec<Attacked>,
    /// For every norm and radius, images that no attack at all has changed the class of.
    pub worst: Vec<Worst>,
    /// Images of another kind than the model was trained on, where some were given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ood: Option<Foreign>,
    /// What makes the accuracies believable, or not.
    pub checks: Vec<Check>,
    /// The attacks that the checks compare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probes: Option<Probes>,
    /// The place among `attacks` of the one that pictures and charts show.
    #[serde(skip)]
    pub shown: Option<usize>,
}

/// What predictions of some images were worth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Images that are classified right, in percent.
    pub accuracy: f64,
    /// The 95 % interval of the accuracy, for images drawn as these were (Wilson 1927).
    pub interval: [f64; 2],
    /// The accuracy of one draw of the weights alone, the mean over the draws.
    pub single_draw_accuracy: f64,
    /// The accuracy under other seeds of the prediction, on the same images.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
    /// Scores of the probabilities.
    pub uncertainty: Uncertainty,
    /// The same for fewer draws of the weights.
    pub by_samples: Vec<BySamples>,
    /// The reliability diagram.
    pub reliability: Vec<ReliabilityBin>,
}

/// Scores of predictions over so many draws.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct BySamples {
    /// Draws of the weights.
    pub samples: u64,
    /// The scores.
    #[serde(flatten)]
    pub uncertainty: Uncertainty,
}

/// The result under one attack at one radius.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attacked {
    /// Which attack.
    #[serde(flatten)]
    pub attack: Attack,
    /// On how many images it was tried: fewer than all where it was to attack only what the
    /// attacks before had left right.
    pub tried: usize,
    /// What all images are worth after it. One on which it was not tried is as the attack
    /// that broke it has left it, or as it was where it is misclassified without an attack.
    #[serde(flatten)]
    pub measured: Measured,
    /// How well uncertainty tells these images from clean ones.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub auroc: Option<Separation>,
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
    /// Its 95 % interval.
    pub interval: [f64; 2],
}

/// How images of another kind are met.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Foreign {
    /// How many.
    pub images: usize,
    /// The mean entropy of the mean probabilities, in nats.
    pub predictive_entropy: f64,
    /// The mean of the draws' entropies.
    pub expected_entropy: f64,
    /// The difference of the two.
    pub mutual_information: f64,
    /// The share of pairs of draws that choose different classes.
    pub disagreement: f64,
    /// How well each score tells them from the clean images.
    pub auroc: Separation,
}

/// Areas under the receiver operating characteristic, 0.5 for a score that tells nothing, 1
/// for one that tells every pair apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Separation {
    /// By the entropy of the mean probabilities.
    pub predictive_entropy: f64,
    /// By the mutual information.
    pub mutual_information: f64,
    /// By one less the greatest probability.
    pub confidence: f64,
}

/// Attacks on the first images of the data set.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probes {
    /// How many images.
    pub images: usize,
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius at which attacks are compared.
    pub eps: f64,
    /// The accuracies.
    pub rows: Vec<Probe>,
}

/// What one attack left of these images.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Probe {
    /// Which attack.
    #[serde(flatten)]
    pub attack: Attack,
    /// Images that are still classified right, in percent.
    pub accuracy: f64,
    /// Images that are what they were before, in percent.
    pub unmoved: f64,
}

impl Report {
    /// The attack that stands for all in pictures and charts.
    pub(crate) fn shown(&self) -> Option<&Attacked> {
        self.attacks.get(self.shown?)
    }

    /// The figure to take away: the worst case over all attacks, of the norm and at the radius
    /// at which attacks are compared.
    pub(crate) fn headline(&self) -> Option<&Worst> {
        let Attack { norm, eps, .. } = self.shown()?.attack;
        self.worst.iter().find(|worst| (worst.norm, worst.eps) == (norm, eps))
    }

    /// As a table or a legend names one of the attacks: by its title, or where others have
    /// the same one as it was asked for.
    pub fn title(&self, attack: &Attack) -> String {
        let title = attack.title();
        let other = |row: &Attacked| row.attack.spec != attack.spec && row.attack.title() == title;
        if self.attacks.iter().any(other) { attack.spec.text().to_owned() } else { title }
    }
}
