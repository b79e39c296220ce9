//! How likely the draws of the weights make the targets of a regression.

/// The density of the targets of some images, averaged over draws.
#[derive(Clone, Debug)]
pub struct Densities<'t> {
    /// `[N, width]`
    targets: &'t [f32],
    /// Of the residual.
    std: f64,
    draws: u64,
    /// The logarithm of the sum of the densities over the draws, `[N]`.
    logs: Vec<f64>,
}

impl Densities<'_> {
    /// Of `targets` `[N, width]` under N(output, std^2) each.
    pub fn new(targets: &[f32], std: f64) -> Densities<'_> {
        Densities { targets, std, draws: 0, logs: Vec::new() }
    }

    /// Takes in the outputs of one more draw, `[N, width]`.
    pub fn add(&mut self, outputs: &[f32], width: usize) {
        let (width, variance) = (width.max(1), self.std * self.std);
        let constant = 0.5 * width as f64 * (std::f64::consts::TAU * variance).ln();
        self.draws += 1;
        self.logs.resize(self.targets.len() / width, f64::NEG_INFINITY);
        let rows = outputs.chunks_exact(width).zip(self.targets.chunks_exact(width));
        for (log, (outputs, targets)) in self.logs.iter_mut().zip(rows) {
            let pairs = outputs.iter().zip(targets);
            let squares: f64 = pairs.map(|(o, t)| (f64::from(*o) - f64::from(*t)).powi(2)).sum();
            *log = add_logs(*log, -0.5 * squares / variance - constant);
        }
    }

    /// `-log` of the mean density of each image's targets, `[N]`: of one draw the loss of training.
    pub fn nll(&self) -> impl Iterator<Item = f64> {
        let count = (self.draws.max(1) as f64).ln();
        self.logs.iter().map(move |log| count - log)
    }
}

/// `log(exp(a) + exp(b))`.
pub(crate) fn add_logs(a: f64, b: f64) -> f64 {
    let (low, high) = if a < b { (a, b) } else { (b, a) };
    match low == f64::NEG_INFINITY {
        true => high,
        false => high + (low - high).exp().ln_1p(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_density_of_two_draws_is_that_of_their_mixture() {
        let (targets, std) = ([1.0f32, -1.0, 300.0, 0.0], 0.5f64);
        let draws = [[0.5f32, -1.0, 0.0, 0.0], [1.5, 0.0, 1.0, 0.0]];
        let mut densities = Densities::new(&targets, std);
        for draw in &draws {
            densities.add(draw, 2);
        }
        let density = |x: f64| (-0.5 * (x / std).powi(2)).exp() / (std * 2.506_628_274_631_000_5);
        let of = |draw: &[f32; 4]| {
            let factor = |k: usize| density(f64::from(draw[k]) - f64::from(targets[k]));
            factor(0) * factor(1)
        };
        let expected = -(0.5 * (of(&draws[0]) + of(&draws[1]))).ln();
        let found: Vec<f64> = densities.nll().collect();
        assert!((found[0] - expected).abs() < 1e-12, "{found:?}, {expected}");
        // Too unlikely for a float64.
        let square = 299.0f64.powi(2) / (2.0 * std * std);
        let expected = square + (std::f64::consts::TAU * std * std).ln() + 2f64.ln();
        assert!((found[1] - expected).abs() < 1e-6, "{found:?}, {expected}");
    }
}
