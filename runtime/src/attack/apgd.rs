//! Auto-PGD (Croce and Hein, "Reliable evaluation of adversarial robustness with an
//! ensemble of diverse parameter-free attacks", ICML 2020, algorithm 1).
//!
//! Where the paper and its published code differ, this is the code: its windows, rounded
//! down, are much shorter than the paper's when there are few steps, so that the step size is
//! halved earlier and the attack is stronger.

use rayon::prelude::*;

use super::ball::{Ball, Stride};
use super::queries::Queries;
use crate::Result;
use crate::sessions::Loss;
use crate::target::Target;

/// The share of the step before that is taken again, 1 - alpha.
const MOMENTUM: f64 = 0.25;
/// The step size is halved if no greater share of the steps than this has raised the loss.
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
            // Nothing is said of the first window's best loss.
            checkpoint: (0, f64::NEG_INFINITY, true),
            rises: 0,
        }
    }

    /// Learns the loss and its slope at the present point, which `k` steps have led to.
    fn see(&mut self, k: u64, checkpoints: &[u64], gradient: &[f32], loss: f64) {
        self.rises += u64::from(loss > self.loss);
        self.loss = loss;
        self.gradient = gradient.to_vec();
        if k == 0 || loss > self.best_loss {
            self.best_loss = loss;
            self.best.clone_from(&self.image);
            self.best_gradient.clone_from(&self.gradient);
        }
        if k == 0 {
            self.rises = 0;
            self.checkpoint.1 = loss;
        } else if checkpoints.contains(&k) {
            let (last, best_loss, halved) = self.checkpoint;
            let few_rises = (self.rises as f64) <= RHO * (k - last) as f64;
            let stuck = !halved && best_loss >= self.best_loss;
            let halve = few_rises || stuck;
            if halve {
                self.step_size /= 2.0;
                // The next step counts as a rise over the loss of the point that is left, as in
                // the published code.
                self.image.clone_from(&self.best);
                self.gradient.clone_from(&self.best_gradient);
            }
            self.checkpoint = (k, self.best_loss, halve);
            self.rises = 0;
        }
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

/// The numbers of steps after which the step size is looked at: a first window of 0.22
/// `steps`, each next one shorter by 0.03 `steps`, but none below 0.06 `steps`; all three rounded
/// down to whole steps, and at least one.
fn checkpoints(steps: u64) -> Vec<u64> {
    let share = |percent: u64| (percent * steps / 100).max(1);
    let (mut window, mut found) = (share(22), Vec::new());
    let mut next = window;
    while next <= steps {
        found.push(next);
        window = window.saturating_sub(share(3)).max(share(6));
        next += window;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_those_of_the_published_code() {
        assert_eq!(checkpoints(100), [22, 41, 57, 70, 80, 87, 93, 99]);
        assert_eq!(checkpoints(20), [4, 7, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20]);
        assert_eq!(checkpoints(1), [1]);
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
        // Three rises of the four before checkpoint 4 are a share of 0.75, which is too few.
        assert_eq!(sizes(&[0., 1., 2., 1., 2., 5.]), [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
        // Up in all four before checkpoint 8, over the loss of the point that is left, but never
        // above the best: only a step that was not halved at the checkpoint before is then.
        assert_eq!(sizes(&[0., 9., 1., 2., 3., 4., 5., 6., 7.])[8], 0.5);
        let mut climb = Climb::new(&[0.5], 1.0);
        (climb.checkpoint, climb.best_loss, climb.loss) = ((4, 9.0, false), 9.0, 3.0);
        for (k, loss) in [(5, 4.0), (6, 5.0), (7, 6.0), (8, 7.0)] {
            climb.see(k, &[4, 8], &[1.0], loss);
        }
        assert_eq!(climb.step_size, 0.5);
    }

    #[test]
    fn after_halving_it_goes_on_from_the_best_point() {
        let mut climb = Climb::new(&[0.0], 1.0);
        for (k, loss) in [0.0, 2.0, 1.0, 0.5, 0.25].into_iter().enumerate() {
            climb.image = vec![loss as f32];
            climb.see(k as u64, &[4], &[loss as f32], loss);
        }
        assert_eq!((climb.image, climb.gradient), (vec![2.0], vec![2.0]));
        assert_eq!((climb.loss, climb.step_size), (0.25, 0.5));
    }
}
