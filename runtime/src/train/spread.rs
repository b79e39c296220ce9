//! How large the noise of the weights is beside the weights: a posterior whose standard
//! deviations shrink to nothing has become a point, and defends no more than one.

use std::collections::BTreeMap;

use graphs::{Tensor, names};
use serde::{Deserialize, Serialize};

use crate::Result;

/// Quantiles of `exp(log_std) / |mean|` over all random weights.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Spread {
    /// Five in a hundred weights have less.
    pub p5: f64,
    /// The lower quartile.
    pub p25: f64,
    /// The median.
    pub p50: f64,
    /// The upper quartile.
    pub p75: f64,
    /// Five in a hundred weights have more.
    pub p95: f64,
}

impl Spread {
    /// Of every pair `NAME.mean`, `NAME.log_std` among the tensors; `None` if there is none.
    ///
    /// # Errors
    /// When a tensor of such a name does not hold floats.
    pub(super) fn of(tensors: &BTreeMap<String, Tensor>) -> Result<Option<Spread>> {
        let mut ratios = Vec::new();
        for (name, log_std) in tensors {
            let Some(base) = name.strip_suffix(names::LOG_STD) else { continue };
            let Some(mean) = tensors.get(&format!("{base}{}", names::MEAN)) else { continue };
            let (log_std, mean) = (log_std.floats()?, mean.floats()?);
            // JSON has no infinity for a mean of zero.
            let ratio = |(s, mean): (&f32, &f32)| (s.exp() / mean.abs()).min(f32::MAX);
            ratios.extend(log_std.iter().zip(mean.iter()).map(ratio));
        }
        if ratios.is_empty() {
            return Ok(None);
        }
        let last = ratios.len() - 1;
        let mut at = |share: f64| {
            let place = (share * last as f64).round() as usize;
            f64::from(*ratios.select_nth_unstable_by(place, f32::total_cmp).1)
        };
        let [p5, p25, p50, p75, p95] = [0.05, 0.25, 0.5, 0.75, 0.95].map(&mut at);
        Ok(Some(Spread { p5, p25, p50, p75, p95 }))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn quantiles_are_of_all_pairs_together() {
        // Ratios 0, 1, ..., 100 over two weights, and one mean that is zero beyond them.
        let pair = |ratios: std::ops::RangeInclusive<u8>| {
            let logs: Vec<f32> = ratios.map(|r| (2.0 * f32::from(r)).ln()).collect();
            let means = vec![-2f32; logs.len()];
            [Tensor::vector(&means), Tensor::vector(&logs)]
        };
        let [[mean_a, log_a], [mean_b, log_b]] = [pair(0..=40), pair(41..=100)];
        let mut tensors = BTreeMap::from([
            ("a.mean".to_owned(), mean_a),
            ("a.log_std".to_owned(), log_a),
            ("b.mean".to_owned(), mean_b),
            ("b.log_std".to_owned(), log_b),
            ("bias".to_owned(), Tensor::vector(&[7f32])),
        ]);
        let spread = Spread::of(&tensors).unwrap().unwrap();
        let found = [spread.p5, spread.p25, spread.p50, spread.p75, spread.p95];
        for (found, expected) in found.iter().zip([5.0, 25.0, 50.0, 75.0, 95.0]) {
            assert!((found - expected).abs() < 1e-4 * expected, "{spread:?}");
        }
        tensors.retain(|name, _| name == "bias");
        assert_eq!(Spread::of(&tensors).unwrap(), None);
        let zero = [("z.mean", 0f32), ("z.log_std", -1f32)];
        let zero = zero.map(|(name, value)| (name.to_owned(), Tensor::vector(&[value])));
        let spread = Spread::of(&BTreeMap::from(zero)).unwrap().unwrap();
        assert_eq!(spread.p50, f64::from(f32::MAX));
    }
}
