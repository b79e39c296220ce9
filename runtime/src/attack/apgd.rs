//! Auto-PGD (Croce and Hein, "Reliable evaluation of adversarial robustness with an
//! ensemble of diverse parameter-free attacks", ICML 2020, algorithm 1).

use rayon::prelude::*;

use super::ball::{Ball, Stride};
use super::queries::Queries;
use crate::Result;
use crate::sessions::Loss;
use crate::target::Target;

/// The share of the step before that is taken again, 1 - alpha.
const MOMENTUM: f64 = 0.25;
/// The share of steps that must raise the loss, or else the step size is halved.
const RHO: f64 = 0.75;

/// PGD that halves an image's own step size where it no longer gets on, and then goes on
/// from the best point so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Apgd {
    pub(crate) ball: Ball,
    pub(crate) loss: Loss,
    pub(crate) steps: u64,
}

impl Apgd {
    /// The images of `target` after the attack, from `starts`; a targeted loss goes towards
    /// `goals`. Of the points of each image it is the one of the greatest mean loss. Where
    /// the model has no noise, a point that is misclassified is enough.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(crate) fn run(
        &self,
        queries: &mut Queries,
        target: &Target,
        starts: &[f32],
        goals: &[i64],
    ) -> Result<Vec<f32>> {
        let (clean, size) = (target.clean.values::<f32>()?, target.size());
        let certain = !queries.network.random;
        let checkpoints = checkpoints(self.steps);
        let step_size = 2.0 * self.ball.eps;
        let mut climbs: Vec<Climb> =
            starts.chunks_exact(size).map(|start| Climb::new(start, step_size)).collect();
        for k in 0..=self.steps {
            let going = climbs.iter().enumerate().filter(|(_, climb)| !climb.done);
            let rows: Vec<usize> = going.map(|(row, _)| row).collect();
            if rows.is_empty() {
                break;
            }
            let asked = target.rows(&rows)?;
            let images: Vec<f32> =
                climbs.iter().filter(|climb| !climb.done).flat_map(|c| c.image.clone()).collect();
            let goals: Vec<i64> = rows.iter().filter_map(|&row| goals.get(row).copied()).collect();
            let slopes = queries.slopes(self.loss, &asked, &images, &goals)?;
            let answers = slopes.gradient.par_chunks_exact(size).zip(&slopes.losses);
            let answers = answers.zip(&slopes.margins);
            let mut going: Vec<_> = climbs
                .iter_mut()
                .zip(clean.chunks_exact(size))
                .filter(|(climb, _)| !climb.done)
                .collect();
            going.par_iter_mut().zip(answers).for_each(|(going, ((gradient, &loss), &margin))| {
                let (climb, clean) = going;
                climb.see(k, &checkpoints, gradient, loss);
                climb.done = certain && margin > 0.0;
                if !climb.done && k < self.steps {
                    climb.step(k, &self.ball, clean);
                }
            });
        }
        Ok(climbs.into_iter().flat_map(Climb::result).collect())
    }
}

/// One image on its way up.
struct Climb {
    /// Misclassified for certain: `image` is the result.
    done: bool,
    image: Vec<f32>,
    previous: Vec<f32>,
    gradient: Vec<f32>,
    loss: f64,
    best: Vec<f32>,
    best_gradient: Vec<f32>,
    best_loss: f64,
    step_size: f64,
    /// At the last checkpoint: its number, the best loss, and whether the step was halved.
    checkpoint: (u64, f64, bool),
    /// Steps since then that raised the loss.
    rises: u64,
}

impl Climb {
    fn new(start: &[f32], step_size: f64) -> Climb {
        Climb {
            done: false,
            image: start.to_vec(),
            previous: start.to_vec(),
            gradient: Vec::new(),
            loss: f64::NEG_INFINITY,
            best: start.to_vec(),
            best_gradient: Vec::new(),
            best_loss: f64::NEG_INFINITY,
            step_size,
            checkpoint: (0, f64::NEG_INFINITY, false),
            rises: 0,
        }
    }

    /// Learns the loss and its slope at the present point, number `k`: the result of step
    /// `k - 1`, which may be a checkpoint.
    fn see(&mut self, k: u64, checkpoints: &[u64], gradient: &[f32], loss: f64) {
        let before = self.loss;
        self.loss = loss;
        self.gradient = gradient.to_vec();
        if k == 0 || loss > self.best_loss {
            self.best_loss = loss;
            self.best.clone_from(&self.image);
            self.best_gradient.clone_from(&self.gradient);
        }
        let Some(step) = k.checked_sub(1) else {
            self.checkpoint.1 = loss;
            return;
        };
        if checkpoints.contains(&step) {
            let (last, best_loss, halved) = self.checkpoint;
            let few_rises = (self.rises as f64) < RHO * (step - last) as f64;
            let stuck = !halved && best_loss == self.best_loss;
            let halve = few_rises || stuck;
            if halve {
                self.step_size /= 2.0;
                self.image.clone_from(&self.best);
                self.gradient.clone_from(&self.best_gradient);
                self.loss = self.best_loss;
            }
            self.checkpoint = (step, self.best_loss, halve);
            self.rises = 0;
        }
        self.rises += u64::from(self.loss > before);
    }

    /// Takes step number `k`.
    fn step(&mut self, k: u64, ball: &Ball, clean: &[f32]) {
        let momentum = if k == 0 { 0.0 } else { MOMENTUM };
        let stride = Stride { size: self.step_size, momentum };
        ball.advance([&mut self.image, &mut self.previous], clean, &self.gradient, stride);
    }

    fn result(self) -> Vec<f32> {
        if self.done { self.image } else { self.best }
    }
}

/// The steps after which the step size is looked at: `w_j = ceil(p_j steps)`, where `p_1`
/// is 0.22 and each next period is 0.03 shorter, but at least 0.06 (section 3.1).
fn checkpoints(steps: u64) -> Vec<u64> {
    let (mut percent, mut period) = (22, 22);
    let mut found = Vec::new();
    while percent < 100 {
        found.push((percent * steps).div_ceil(100));
        period = (period - 3).max(6);
        percent += period;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_those_of_the_paper() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(10), [3, 5, 6, 7, 8, 9, 10, 10]);
    }

    /// Losses as they come, and the step size after each.
    fn sizes(losses: &[f64]) -> Vec<f64> {
        let mut climb = Climb::new(&[0.5], 1.0);
        let mut sizes = Vec::new();
        for (k, &loss) in losses.iter().enumerate() {
            climb.image = vec![loss as f32];
            climb.see(k as u64, &[4, 8], &[1.0], loss);
            sizes.push(climb.step_size);
        }
        sizes
    }

    #[test]
    fn the_step_is_halved_when_few_steps_rise_or_the_best_stays() {
        // Always up: never.
        assert_eq!(sizes(&[0., 1., 2., 3., 4., 5., 6., 7., 8., 9.]), [1.0; 10]);
        // Two rises of the four before step 4.
        let mut expected = [1.0; 6];
        expected[5] = 0.5;
        assert_eq!(sizes(&[0., 1., 0., 1., 0., 5.]), expected);
        // Up in all four before step 8, but never above the best, which step 4 has seen.
        let losses = [0., 1., 2., 3., 9., 1., 2., 3., 4., 5.];
        assert_eq!(sizes(&losses)[9], 0.5);
    }

    #[test]
    fn after_halving_it_goes_on_from_the_best_point() {
        let mut climb = Climb::new(&[0.0], 1.0);
        for (k, loss) in [0.0, 2.0, 1.0, 0.5, 0.25, 0.1].into_iter().enumerate() {
            climb.image = vec![loss as f32];
            climb.see(k as u64, &[4], &[loss as f32], loss);
        }
        assert_eq!((climb.image, climb.gradient, climb.loss), (vec![2.0], vec![2.0], 2.0));
    }
}
