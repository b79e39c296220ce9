//! How far a measured accuracy can be trusted.

use serde::{Deserialize, Serialize};

/// The quantile of the normal distribution that leaves 2.5 % above it.
pub(crate) const Z: f64 = 1.959_963_984_540_054;

/// The 95 % interval, in percent, of a share of which `right` of `all` were observed
/// (Wilson 1927). Of nothing it is everything.
pub fn wilson(right: usize, all: usize) -> [f64; 2] {
    if all == 0 {
        return [0.0, 100.0];
    }
    let (n, share) = (all as f64, right as f64 / all as f64);
    let scale = 1.0 + Z * Z / n;
    let centre = (share + Z * Z / (2.0 * n)) / scale;
    let half = Z / scale * (share * (1.0 - share) / n + Z * Z / (4.0 * n * n)).sqrt();
    [centre - half, centre + half].map(|bound| 100.0 * bound.clamp(0.0, 1.0))
}

/// Accuracies in percent, or the errors of a regression, under several seeds of the draws.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How many seeds.
    pub seeds: usize,
    /// Their mean.
    pub mean: f64,
    /// Their standard deviation, that of a sample (n - 1).
    pub std: f64,
    /// The least.
    pub min: f64,
    /// The greatest.
    pub max: f64,
}

impl Spread {
    /// Of some figures; `None` of fewer than two.
    pub fn of(accuracies: &[f64]) -> Option<Spread> {
        let n = accuracies.len();
        let mean = accuracies.iter().sum::<f64>() / n as f64;
        let squares: f64 = accuracies.iter().map(|accuracy| (accuracy - mean).powi(2)).sum();
        (n > 1).then(|| Spread {
            seeds: n,
            mean,
            std: (squares / (n - 1) as f64).sqrt(),
            min: accuracies.iter().copied().fold(f64::INFINITY, f64::min),
            max: accuracies.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        })
    }
}
