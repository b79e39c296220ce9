//! Figures of a regression, from what was said of each image.

use serde::Serialize;

use super::attack::Attack;
use crate::attack::Norm;
use crate::uncertainty::{Densities, Numbers, Spread, Z};

/// What all draws say of one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answered {
    /// The squared error of the mean, the mean over the numbers of the image.
    pub(super) error: f64,
    /// The variance over the draws, the mean over the numbers.
    variance: f64,
    nll: f64,
    /// The share of the numbers that lie in their intervals.
    covered: f64,
}

/// How far a regression is from its targets. All but `nll` and `coverage` in their units.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Errors {
    /// The root of the mean over images and numbers of the squared error of the mean of the draws.
    pub rmse: f64,
    /// The 95 % interval of it, over images: from the normal approximation to the mean of the
    /// squared errors. One image has none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
    /// The same error of one draw, the mean square taken over the draws.
    pub single_draw_rmse: f64,
    /// `-log` of the density of an image's targets, averaged over the draws; the mean over images.
    pub nll: f64,
    /// The standard deviation over the draws, the root of the mean variance: how much they disagree.
    pub std: f64,
    /// Targets within 1.96 standard deviations, of draws and residual together, of the mean, in
    /// percent: 95 where the uncertainty is right.
    pub coverage: f64,
    /// `rmse` under several seeds of the draws.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spread: Option<Spread>,
}

/// What is left under one attack at one radius.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttackedErrors {
    /// The attack.
    #[serde(flatten)]
    pub attack: Attack,
    /// The figures of the attacked images.
    #[serde(flatten)]
    pub errors: Errors,
}

/// What is left under all attacks at one norm and radius.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WorstErrors {
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius.
    pub eps: f64,
    /// How many attacks there were.
    pub attacks: usize,
    /// The root mean square over the images of the greatest error, clean or under any attack.
    pub rmse: f64,
    /// Its 95 % interval, of two images or more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval: Option<[f64; 2]>,
}

/// What was measured of a regression.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RegressionReport {
    /// Grows when a field goes or changes its meaning.
    pub schema: u32,
    /// How many images.
    pub images: usize,
    /// How many numbers the model says of each.
    pub outputs: usize,
    /// Draws that a prediction averaged.
    pub samples: u64,
    /// Of the images as they are.
    pub clean: Errors,
    /// Of every attack at every radius.
    pub attacks: Vec<AttackedErrors>,
    /// Of all attacks of each norm and radius together.
    pub worst: Vec<WorstErrors>,
}

/// What the draws say of the images of these `targets` `[N, width]`, with a residual of `std`.
pub(super) fn answered(
    numbers: &Numbers,
    densities: &Densities,
    targets: &[f32],
    std: f64,
) -> Vec<Answered> {
    let width = numbers.width().max(1);
    let variances = numbers.variances();
    let rows = numbers.means().chunks_exact(width).zip(variances.chunks_exact(width));
    let rows = rows.zip(targets.chunks_exact(width));
    let figures = numbers.squared_errors(targets).into_iter().zip(densities.nll());
    rows.zip(figures)
        .map(|(((means, variances), targets), (error, nll))| {
            let inside = means.iter().zip(variances).zip(targets).filter(|((mean, v), target)| {
                (*mean - f64::from(**target)).abs() <= Z * (*v + std * std).sqrt()
            });
            let covered = inside.count() as f64 / width as f64;
            let variance = variances.iter().sum::<f64>() / width as f64;
            Answered { error, variance, nll, covered }
        })
        .collect()
}

impl Errors {
    /// Of some images, whose errors under other seeds are `others`.
    pub(super) fn of(answered: &[Answered], others: &[f64]) -> Errors {
        let mean = |value: fn(&Answered) -> f64| {
            answered.iter().map(value).sum::<f64>() / answered.len().max(1) as f64
        };
        let errors: Vec<f64> = answered.iter().map(|one| one.error).collect();
        let (rmse, interval) = root_mean(&errors);
        let seeds = [&[rmse], others].concat();
        Errors {
            rmse,
            interval,
            single_draw_rmse: mean(|one| one.error + one.variance).sqrt(),
            nll: mean(|one| one.nll),
            std: mean(|one| one.variance).sqrt(),
            coverage: 100.0 * mean(|one| one.covered),
            spread: Spread::of(&seeds),
        }
    }
}

/// The root of the mean of squared errors, and its 95 % interval where there are several.
pub(super) fn root_mean(errors: &[f64]) -> (f64, Option<[f64; 2]>) {
    let n = errors.len().max(1) as f64;
    let mean = errors.iter().sum::<f64>() / n;
    let squares: f64 = errors.iter().map(|error| (error - mean).powi(2)).sum();
    let half = (n > 1.0).then(|| Z * (squares / (n - 1.0) / n).sqrt());
    let interval = half.map(|half| [mean - half, mean + half].map(|end| end.max(0.0).sqrt()));
    (mean.sqrt(), interval)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_what_their_definitions_say() {
        let targets = [0.0f32, 1.0, 2.0, 5.0];
        let draws = [[0.0f32, 1.0, 4.0, 4.0], [0.0, 3.0, 2.0, 4.0]];
        let (mut numbers, mut densities) = (Numbers::default(), Densities::new(&targets, 1.0));
        for draw in &draws {
            numbers.add(draw, 2);
            densities.add(draw, 2);
        }
        let found = Errors::of(&answered(&numbers, &densities, &targets, 1.0), &[1.0]);
        let near = |a: f64, b: f64| assert!((a - b).abs() < 1e-12, "{a}, {b}");
        // Means 0, 2, 3, 4 and variances 0, 1, 1, 0.
        near(found.rmse, (3.0f64 / 4.0).sqrt());
        near(found.single_draw_rmse, (5.0f64 / 4.0).sqrt());
        near(found.std, 0.5f64.sqrt());
        near(found.coverage, 100.0);
        // The errors of the two images are 1 / 2 and 1.
        let half = Z * (0.125f64 / 2.0).sqrt();
        let [low, high] = found.interval.unwrap_or_default();
        near(low, (0.75 - half).sqrt());
        near(high, (0.75 + half).sqrt());
        assert_eq!(root_mean(&[4.0]), (2.0, None));
        assert_eq!(found.spread.map(|spread| (spread.seeds, spread.max)), Some((2, 1.0)));
    }
}
