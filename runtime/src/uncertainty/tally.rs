//! What several draws of the weights say of some images.

use serde::{Deserialize, Serialize};

/// Sums over draws.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    classes: usize,
    draws: u64,
    /// Of the probabilities, `[N, classes]`.
    probabilities: Vec<f64>,
    /// Of the entropies of each draw's probabilities, `[N]`.
    entropies: Vec<f64>,
    /// How many draws chose each class, `[N, classes]`.
    votes: Vec<u64>,
}

/// What is said of one image whose label is known. Entropies are in nats.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The right class.
    pub label: i64,
    /// The class of the greatest mean probability, the first of equals.
    pub class: i64,
    /// The class that most draws choose (appendix A of Adv-BNN); of equals the one of the
    /// greatest mean probability.
    pub vote: i64,
    /// The mean probability of `class`.
    pub confidence: f64,
    /// The mean probability of the label.
    pub probability: f64,
    /// The sum over classes of (mean probability - truth)^2, 0 to 2 (Brier 1950).
    pub brier: f64,
    /// The entropy of the mean probabilities.
    pub predictive_entropy: f64,
    /// The mean of the entropies of the draws' probabilities.
    pub expected_entropy: f64,
    /// The share of pairs of draws that choose different classes; 0 of one draw.
    pub disagreement: f64,
    /// The share of draws that choose the label.
    pub single: f64,
}

impl Tally {
    /// Takes in the probabilities `[N, classes]` of one more draw.
    pub fn add(&mut self, probabilities: &[f32], classes: usize) {
        self.classes = classes.max(1);
        self.draws += 1;
        self.probabilities.resize(probabilities.len(), 0.0);
        self.votes.resize(probabilities.len(), 0);
        self.entropies.resize(probabilities.len() / self.classes, 0.0);
        for (sum, &p) in self.probabilities.iter_mut().zip(probabilities) {
            *sum += f64::from(p);
        }
        let rows = probabilities.chunks_exact(self.classes);
        let sums = self.entropies.iter_mut().zip(self.votes.chunks_exact_mut(self.classes));
        for ((entropy_sum, votes), row) in sums.zip(rows) {
            *entropy_sum += entropy(row.iter().copied().map(f64::from));
            if let Some(votes) = votes.get_mut(greatest(row.iter().copied().map(f64::from))) {
                *votes += 1;
            }
        }
    }

    /// How many draws there were.
    pub fn draws(&self) -> u64 {
        self.draws
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// The mean probabilities of every image, each `[classes]`.
    pub fn means(&self) -> impl Iterator<Item = Vec<f64>> {
        let draws = self.draws.max(1) as f64;
        let rows = self.probabilities.chunks_exact(self.classes.max(1));
        rows.map(move |row| row.iter().map(|sum| sum / draws).collect())
    }

    /// The mean of the entropies of the draws, of every image.
    pub fn expected_entropies(&self) -> impl Iterator<Item = f64> {
        self.entropies.iter().map(|sum| sum / self.draws.max(1) as f64)
    }

    /// The class of the greatest mean probability of every image, the first of equals.
    pub fn chosen(&self) -> impl Iterator<Item = usize> {
        self.probabilities
            .chunks_exact(self.classes.max(1))
            .map(|row| greatest(row.iter().copied()))
    }

    /// What the draws so far say of the first images, whose labels are `labels`.
    pub fn judge(&self, labels: &[i64]) -> Vec<Judged> {
        let votes = self.votes.chunks_exact(self.classes.max(1));
        let rows = self.means().zip(self.expected_entropies()).zip(votes).zip(labels);
        rows.map(|(((mean, expected_entropy), votes), &label)| {
            let own = usize::try_from(label).ok();
            let class = greatest(mean.iter().copied());
            let of = |class: usize| mean.get(class).copied().unwrap_or_default();
            let squares = mean.iter().enumerate().map(|(i, p)| {
                let truth = f64::from(u8::from(Some(i) == own));
                (p - truth).powi(2)
            });
            let own_votes = own.and_then(|own| votes.get(own)).copied().unwrap_or_default();
            Judged {
                label,
                class: class as i64,
                vote: majority(votes, &mean) as i64,
                confidence: of(class),
                probability: own.map(of).unwrap_or_default(),
                brier: squares.sum(),
                predictive_entropy: entropy(mean.iter().copied()),
                expected_entropy,
                disagreement: disagreement(votes),
                single: own_votes as f64 / self.draws.max(1) as f64,
            }
        })
        .collect()
    }
}

impl Judged {
    /// Whether the class is the label.
    pub fn is_right(&self) -> bool {
        self.class == self.label
    }

    /// The negative log-likelihood of the label. A probability of 0 counts as the least
    /// difference from 1 that float64 knows, as scikit-learn's `log_loss` has it.
    pub fn nll(&self) -> f64 {
        // Not the negative, which of certainty is -0.
        0.0 - self.probability.clamp(f64::EPSILON, 1.0).ln()
    }

    /// What the label would tell of the weights (BALD, Houlsby et al. 2011).
    pub fn mutual_information(&self) -> f64 {
        // Rounding alone can make it negative.
        (self.predictive_entropy - self.expected_entropy).max(0.0)
    }
}

/// The class of the most votes, of equals that of the greatest mean probability.
fn majority(votes: &[u64], mean: &[f64]) -> usize {
    let most = votes.iter().copied().max().unwrap_or_default();
    greatest(votes.iter().zip(mean).map(|(&n, &p)| if n == most { p } else { f64::NEG_INFINITY }))
}

/// Of n draws, the pairs that differ among n (n - 1) / 2.
fn disagreement(votes: &[u64]) -> f64 {
    let draws: u64 = votes.iter().sum();
    if draws < 2 {
        return 0.0;
    }
    let equal: f64 = votes.iter().map(|&n| n as f64 * (n as f64 - 1.0)).sum();
    1.0 - equal / (draws as f64 * (draws as f64 - 1.0))
}

/// The place of the greatest, the first of equals.
fn greatest(row: impl Iterator<Item = f64>) -> usize {
    let first = (0, f64::NEG_INFINITY);
    let greater = |best: (usize, f64), (i, p)| if p > best.1 { (i, p) } else { best };
    row.enumerate().fold(first, greater).0
}

/// In nats; 0 log 0 is 0.
pub(crate) fn entropy(probabilities: impl Iterator<Item = f64>) -> f64 {
    // Not the negative, which of nothing is -0.
    0.0 - probabilities.filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}
