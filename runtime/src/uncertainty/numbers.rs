//! What several draws of the weights say of numbers, those of a regression.

/// Means and spreads over draws.
#[derive(Clone, Debug, Default)]
pub struct Numbers {
    width: usize,
    draws: u64,
    /// Of the draws so far, `[N, width]`.
    means: Vec<f64>,
    /// The sums of squared distances from the mean, `[N, width]`.
    squares: Vec<f64>,
}

impl Numbers {
    /// Takes in the outputs `[N, width]` of one more draw, by an update that does not cancel where
    /// draws hardly differ (Welford 1962).
    pub fn add(&mut self, outputs: &[f32], width: usize) {
        self.width = width.max(1);
        self.draws += 1;
        self.means.resize(outputs.len(), 0.0);
        self.squares.resize(outputs.len(), 0.0);
        let sums = self.means.iter_mut().zip(&mut self.squares);
        for ((mean, squares), &output) in sums.zip(outputs) {
            let before = f64::from(output) - *mean;
            *mean += before / self.draws as f64;
            *squares += before * (f64::from(output) - *mean);
        }
    }

    /// How many there are for an image.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The mean over the draws, `[N, width]`.
    pub fn means(&self) -> &[f64] {
        &self.means
    }

    /// The variance over the draws, `[N, width]`: 0 of one.
    pub fn variances(&self) -> Vec<f64> {
        self.squares.iter().map(|squares| squares / self.draws.max(1) as f64).collect()
    }

    /// The squared distance of each image's means from its targets, the mean over the `width`
    /// numbers, `[N]`.
    pub fn squared_errors(&self, targets: &[f32]) -> Vec<f64> {
        let width = self.width.max(1);
        let rows = self.means.chunks_exact(width).zip(targets.chunks_exact(width));
        rows.map(|(means, targets)| {
            let squares = means.iter().zip(targets).map(|(mean, t)| (mean - f64::from(*t)).powi(2));
            squares.sum::<f64>() / width as f64
        })
        .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_variances_and_errors_are_those_of_the_draws() {
        let mut numbers = Numbers::default();
        for draw in [[1000.0, 0.0, 5.0, 1.0], [1000.5, 2.0, 5.0, 3.0], [1001.0, 4.0, 5.0, 5.0]] {
            numbers.add(&draw, 2);
        }
        assert_eq!(numbers.means(), [1000.5, 2.0, 5.0, 3.0]);
        let expected = [0.5 / 3.0, 8.0 / 3.0, 0.0, 8.0 / 3.0];
        assert!(numbers.variances().iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12));
        assert_eq!(numbers.squared_errors(&[1000.5, 4.0, 4.0, 3.0]), [2.0, 0.5]);
    }
}
