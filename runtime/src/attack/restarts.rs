//! The strongest of several attacks on each image, and the check that it is allowed.

use graphs::{Tensor, names};

use super::AttackSpec;
use crate::engine::State;
use crate::predict::each_draw;
use crate::sessions::{Draws, Sessions};
use crate::target::Target;
use crate::{Error, Result};

/// How far float32 may round a pixel out of the ball.
const ROUNDING: f32 = 1e-6;

/// The images `[N, ...]` after the attack `spec` at radius `eps`: of several restarts,
/// for each image the one with the greatest loss, averaged over as many draws of the
/// weights as the attack itself takes. One lucky draw is no success, so the caller
/// judges them on draws of its own.
///
/// # Errors
/// When a program cannot be compiled or run, or an attacked image is not in the ball.
pub(crate) fn strongest(
    sessions: &mut Sessions,
    state: &mut State,
    spec: &AttackSpec,
    eps: f64,
    target: &Target,
    draws: &mut Draws,
) -> Result<Tensor> {
    let attack = spec.at(eps);
    let size = target.clean.len() / target.len().max(1);
    let mut best = Tensor::full(target.clean.shape(), 0f32)?.values::<f32>()?.into_owned();
    let mut best_losses = vec![f64::NEG_INFINITY; target.len()];
    for _ in 0..spec.restarts() {
        attack.run(sessions, state, target, draws)?;
        let images = attacked(state)?;
        check(&images, &target.clean, eps)?;
        if spec.restarts() == 1 {
            return Ok(images);
        }
        let losses = mean_losses(sessions, state, target, attack.draws, draws)?;
        let images = images.values::<f32>()?;
        let found = images.chunks_exact(size).zip(losses);
        let kept = best.chunks_exact_mut(size).zip(&mut best_losses);
        for ((kept, best), (image, loss)) in kept.zip(found) {
            if loss > *best {
                kept.copy_from_slice(image);
                *best = loss;
            }
        }
    }
    Ok(Tensor::new(target.clean.shape(), best)?)
}

/// The cross-entropy of each of the images in the state, averaged over draws.
fn mean_losses(
    sessions: &mut Sessions,
    state: &State,
    target: &Target,
    samples: u64,
    draws: &mut Draws,
) -> Result<Vec<f64>> {
    let labels = target.labels.values::<i64>()?;
    let mut losses = vec![0.0; target.len()];
    each_draw(sessions, state, target.len(), samples, draws, |probabilities, classes| {
        let rows = probabilities.chunks_exact(classes).zip(labels.iter());
        for (loss, (row, &label)) in losses.iter_mut().zip(rows) {
            let label = usize::try_from(label).ok().and_then(|label| row.get(label));
            let probability = label.copied().unwrap_or_default();
            *loss -= f64::from(probability.max(f32::MIN_POSITIVE)).ln();
        }
    })?;
    Ok(losses)
}

fn attacked(state: &State) -> Result<Tensor> {
    state.get(names::IMAGES)?.ok_or_else(|| Error::Program("the attack left no images".to_owned()))
}

/// # Errors
/// When a pixel is no number, not in [0, 1], or further than `eps` from the clean one.
fn check(images: &Tensor, clean: &Tensor, eps: f64) -> Result<()> {
    let farthest = eps as f32 + ROUNDING;
    let (images, clean) = (images.values::<f32>()?, clean.values::<f32>()?);
    let bad = |(image, clean): (&f32, &f32)| {
        !((image - clean).abs() <= farthest && (0.0..=1.0).contains(image))
    };
    let Some(pixel) = images.iter().zip(clean.iter()).position(bad) else { return Ok(()) };
    let pair = images.get(pixel).zip(clean.get(pixel));
    let (image, clean) = pair.unwrap_or((&f32::NAN, &f32::NAN));
    Err(Error::Program(format!(
        "the attack moved a pixel from {clean} to {image}, which radius {eps} does not allow"
    )))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pixels_outside_the_ball_or_the_range_are_refused() {
        let clean = Tensor::vector(&[0.0f32, 0.5, 1.0]);
        let at = |pixels: [f32; 3]| check(&Tensor::vector(&pixels), &clean, 0.1);
        at([0.1, 0.4, 0.9]).unwrap();
        at([0.1 + 5e-7, 0.4, 1.0]).unwrap();
        for bad in [[0.11, 0.5, 1.0], [0.0, f32::NAN, 1.0], [-0.01, 0.5, 1.0], [0.0, 0.5, 1.01]] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
    }
}
