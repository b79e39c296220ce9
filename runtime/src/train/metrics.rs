//! What a run reports, and what it is made from.

use serde::{Deserialize, Serialize};

use super::quality::Quality;
use super::spread::Spread;

/// What one line of `metrics.jsonl` spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    /// The steps since the last line of this kind.
    Steps,
    /// A whole epoch.
    Epoch,
}

/// One line of `metrics.jsonl`: means over the images of its span.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    /// What it spans.
    pub span: Span,
    /// The epoch, counted from 1.
    pub epoch: u64,
    /// Steps taken since the run began.
    pub step: u64,
    /// What is minimised: the cross-entropy + alpha / images * KL.
    pub loss: f64,
    /// On the attacked images; of TRADES on the clean ones. A regression has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cross_entropy: Option<f64>,
    /// The negative log-likelihood of the attacked images, of a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nll: Option<f64>,
    /// The mean KL between clean and attacked probabilities, of TRADES.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub divergence: Option<f64>,
    /// Without its factor; `None` when the model has no variational node.
    pub kl: Option<f64>,
    /// Attacked training images that are classified right, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_accuracy: Option<f64>,
    /// The root mean square error on the attacked training images, of a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub train_rmse: Option<f64>,
    /// Of the last step.
    pub learning_rate: f64,
    /// The time that it took.
    pub seconds: f64,
    /// Images trained on in one second.
    pub images_per_s: f64,
    /// What an epoch left behind.
    #[serde(flatten)]
    pub state: Standing,
}

/// How the network stands at the end of an epoch; nothing for other spans.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Standing {
    /// Clean images of those held out that are classified right, in percent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_accuracy: Option<f64>,
    /// The same under attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_robust: Option<f64>,
    /// The root mean square error on the clean images of those held out, of a regression.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_rmse: Option<f64>,
    /// The same under attack.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub holdout_robust_rmse: Option<f64>,
    /// True once the training has collapsed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub collapsed: Option<bool>,
    /// Of models with random weights.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub noise_to_mean: Option<Spread>,
}

impl Standing {
    /// Notes how the images held out are answered, clean and attacked.
    pub(super) fn note(&mut self, [clean, robust]: [Quality; 2]) {
        let figures = (Some(clean.figure()), Some(robust.figure()));
        match robust {
            Quality::Right { .. } => (self.holdout_accuracy, self.holdout_robust) = figures,
            Quality::Error { .. } => (self.holdout_rmse, self.holdout_robust_rmse) = figures,
        }
    }
}

/// Sums over some steps, from which [`Metrics`] are made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Sums {
    images: u64,
    correct: Option<u64>,
    loss: f64,
    cross_entropy: Option<f64>,
    kl: Option<f64>,
    #[serde(default)]
    divergence: Option<f64>,
    #[serde(default)]
    nll: Option<f64>,
    #[serde(default)]
    squared_error: Option<f64>,
    seconds: f64,
}

/// What one training step returned.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Step {
    pub(super) images: u64,
    pub(super) correct: Option<u64>,
    pub(super) loss: f64,
    pub(super) cross_entropy: Option<f64>,
    pub(super) kl: Option<f64>,
    pub(super) divergence: Option<f64>,
    pub(super) nll: Option<f64>,
    pub(super) squared_error: Option<f64>,
    pub(super) seconds: f64,
}

impl Sums {
    pub(super) fn add(&mut self, step: &Step) {
        let images = step.images as f64;
        self.images += step.images;
        self.correct = step.correct.map(|count| self.correct.unwrap_or_default() + count);
        self.loss += images * step.loss;
        let sum = |sum: Option<f64>, part: Option<f64>| {
            part.map(|part| sum.unwrap_or_default() + images * part)
        };
        self.cross_entropy = sum(self.cross_entropy, step.cross_entropy);
        self.kl = sum(self.kl, step.kl);
        self.divergence = sum(self.divergence, step.divergence);
        self.nll = sum(self.nll, step.nll);
        self.squared_error = sum(self.squared_error, step.squared_error);
        self.seconds += step.seconds;
    }

    /// How the images were answered.
    pub(super) fn quality(&self) -> Quality {
        match self.squared_error {
            Some(squares) => Quality::Error { squares, images: self.images },
            None => Quality::Right { right: self.correct.unwrap_or_default(), images: self.images },
        }
    }

    pub(super) fn metrics(&self, span: Span, epoch: u64, step: u64, learning_rate: f64) -> Metrics {
        let images = self.images.max(1) as f64;
        let mean = |sum: Option<f64>| sum.map(|sum| sum / images);
        let figure = self.quality().figure();
        Metrics {
            span,
            epoch,
            step,
            loss: self.loss / images,
            cross_entropy: mean(self.cross_entropy),
            nll: mean(self.nll),
            kl: mean(self.kl),
            divergence: mean(self.divergence),
            train_accuracy: self.correct.map(|_| figure),
            train_rmse: self.squared_error.map(|_| figure),
            learning_rate,
            seconds: self.seconds,
            images_per_s: self.images as f64 / self.seconds.max(f64::MIN_POSITIVE),
            state: Standing::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn metrics(step: u64) -> Metrics {
        let mut sums = Sums::default();
        for (images, correct, loss) in [(3, 1, 2.0), (1, 1, 6.0)] {
            let (correct, kl) = (Some(correct), Some(10.0));
            let step = Step { images, correct, loss, kl, seconds: 0.5, ..Step::default() };
            sums.add(&step);
        }
        sums.metrics(Span::Epoch, 1, step, 0.1)
    }

    #[test]
    fn means_are_over_images() {
        let found = metrics(2);
        assert_eq!((found.loss, found.kl, found.train_accuracy), (3.0, Some(10.0), Some(50.0)));
        assert_eq!((found.seconds, found.images_per_s), (1.0, 4.0));
        let mut sums = Sums::default();
        for (images, error) in [(3, 2.0), (1, 10.0)] {
            sums.add(&Step { images, squared_error: Some(error), ..Step::default() });
        }
        let found = sums.metrics(Span::Epoch, 1, 1, 0.1);
        assert_eq!((found.train_rmse, found.train_accuracy), (Some(2.0), None));
    }
}
