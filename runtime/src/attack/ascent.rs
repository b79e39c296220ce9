//! PGD in any norm, with momentum.

use rayon::prelude::*;

use super::ball::{Ball, Stride};
use super::queries::Queries;
use crate::Result;
use crate::sessions::Loss;
use crate::target::Target;

/// Projected gradient ascent of the cross-entropy (Madry et al. 2018); the result is the
/// last iterate. Under L-infinity and without momentum the same as [`super::Pgd`], which is
/// quicker.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ascent {
    pub(crate) ball: Ball,
    pub(crate) steps: u64,
    pub(crate) stride: Stride,
}

impl Ascent {
    /// The images of `target` after the attack, from `starts`.
    ///
    /// # Errors
    /// When a program cannot be compiled or run.
    pub(crate) fn run(
        &self,
        queries: &mut Queries,
        target: &Target,
        mut images: Vec<f32>,
    ) -> Result<Vec<f32>> {
        let (clean, size) = (target.clean.values::<f32>()?, target.size());
        let mut previous = images.clone();
        for _ in 0..self.steps {
            let slopes = queries.slopes(Loss::CrossEntropy, target, &images, &[])?;
            let rows = images.par_chunks_exact_mut(size).zip(previous.par_chunks_exact_mut(size));
            let asked = clean.par_chunks_exact(size).zip(slopes.gradient.par_chunks_exact(size));
            rows.zip(asked).for_each(|((image, previous), (clean, gradient))| {
                self.ball.advance([image, previous], clean, gradient, self.stride);
            });
        }
        Ok(images)
    }
}
