//! Attacks on images within a ball around them.
//!
//! Plain PGD under L-infinity, the attack of training, runs whole as a program, so that
//! images never come back to the host between its steps. Every other attack asks a
//! program for losses and slopes (`queries.rs`) and moves on the host, row by row.

mod apgd;
mod ascent;
mod ball;
mod parse;
mod queries;
mod restarts;
mod spec;
mod square;
#[cfg(test)]
mod tests;

use graphs::{Tensor, names};
use serde::{Deserialize, Serialize};

use crate::draws::Draws;
use crate::engine::State;
use crate::noise::{fill_uniform, hash_name};
use crate::sessions::{Purpose, Sessions};
use crate::shard::Shards;
use crate::target::Target;
use crate::{Error, Result};

pub(crate) use ball::Ball;
pub use ball::Norm;
pub(crate) use restarts::strongest;
pub use spec::{AttackSpec, Method};

/// Projected gradient descent (Madry et al. 2018) on the loss averaged over draws of the
/// weights (EOT, Athalye et al. 2018): steps along the sign of the gradient, each clipped to the
/// ball, then to [0, 1]; the result is the last iterate.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pgd {
    /// The radius in units of the images, 0 to 1.
    pub eps: f64,
    /// Steps.
    pub steps: u64,
    /// The size of a step in units of the images.
    pub step_size: f64,
    /// Start uniformly at random in the ball rather than at the clean images.
    pub random_start: bool,
    /// Draws of the weights over which each step averages the gradient. A model without
    /// noise takes one.
    pub draws: u64,
}

impl Default for Pgd {
    /// As the published code trains: 8/255, 10 steps of 0.007, one draw.
    fn default() -> Pgd {
        Pgd { eps: 8.0 / 255.0, steps: 10, step_size: 0.007, random_start: false, draws: 1 }
    }
}

impl Pgd {
    /// # Errors
    /// Names the first setting that makes no sense.
    pub(crate) fn check(&self) -> Result<()> {
        const MOST: u64 = 100_000;
        check_radius(Norm::Linf, self.eps)?;
        if !(1..=MOST).contains(&self.steps) {
            let steps = self.steps;
            return Err(Error::Setting(format!("attack: {steps} steps; give 1 to {MOST}")));
        }
        if !(1..=MOST).contains(&self.draws) {
            let draws = self.draws;
            return Err(Error::Setting(format!("attack: {draws} draws; give 1 to {MOST}")));
        }
        if !(self.step_size.is_finite() && self.step_size > 0.0) {
            let size = self.step_size;
            return Err(Error::Setting(format!("attack: the step size {size} is not positive")));
        }
        Ok(())
    }

    /// Attacks a batch; leaves the attacked images in the state, as the other programs
    /// read them. Takes its noise from `draws`.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(crate) fn run(
        &self,
        sessions: &mut Sessions,
        state: &mut State,
        target: &Target,
        draws: &mut Draws,
    ) -> Result<()> {
        let start = match self.random_start {
            true => self.start(&target.clean, draws)?,
            false => target.clean.clone(),
        };
        self.run_from(&start, sessions, state, target, draws)
    }

    /// The same from given points of the ball.
    ///
    /// # Errors
    /// As [`Pgd::run`].
    pub(crate) fn run_from(
        &self,
        start: &Tensor,
        sessions: &mut Sessions,
        state: &mut State,
        target: &Target,
        draws: &mut Draws,
    ) -> Result<()> {
        target.place(state, start)?;
        let batch = target.len();
        let read = [names::IMAGES, names::CLEAN, names::LABELS, names::GRADIENT];
        let mut shards = Shards::cut(state, &sessions.shards(Purpose::Attack, batch), &read)?;
        for _ in 0..self.steps {
            let random = sessions.get(Purpose::Attack, batch)?.is_random();
            let count = if random { self.draws } else { 1 };
            for draw in 1..=count {
                let scalars = [
                    (names::RADIUS, self.eps),
                    (names::KEEP, if draw == 1 { 0.0 } else { 1.0 }),
                    (names::STEP_SIZE, if draw == count { self.step_size } else { 0.0 }),
                ];
                sessions.run(Purpose::Attack, batch, shards.states(), &scalars, draws)?;
            }
        }
        shards.join(state, names::IMAGES)
    }

    /// How many draws one run takes at most, the random start's counted.
    pub(crate) fn draws_per_run(&self) -> u64 {
        self.steps * self.draws + u64::from(self.random_start)
    }

    /// A point of the ball around each image, within [0, 1].
    fn start(&self, clean: &Tensor, draws: &mut Draws) -> Result<Tensor> {
        let mut images = vec![0.0; clean.len()];
        fill_uniform(draws.draw().key(hash_name("start")), &mut images);
        for (image, clean) in images.iter_mut().zip(clean.values::<f32>()?.iter()) {
            *image = (clean + *image * self.eps as f32).clamp(0.0, 1.0);
        }
        Ok(Tensor::new(clean.shape(), images)?)
    }
}

/// # Errors
/// When `eps` is no radius of a ball of images.
pub(crate) fn check_radius(norm: Norm, eps: f64) -> Result<()> {
    Ball { norm, eps }.check()
}
