//! The images that an attacker may choose from.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::noise::{Key, fill_normal, fill_uniform};
use crate::{Error, Result};

/// How far float32 may round a pixel out of the ball.
const ROUNDING: f64 = 1e-6;

/// How the size of a change is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Norm {
    /// The greatest change of any value of a pixel.
    Linf,
    /// The Euclidean length of the change.
    L2,
}

impl fmt::Display for Norm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Norm::Linf => "linf",
            Norm::L2 => "l2",
        })
    }
}

/// All images within `eps` of a clean one, and within [0, 1].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Ball {
    pub(crate) norm: Norm,
    /// The radius, in units of the images.
    pub(crate) eps: f64,
}

/// How far a step goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stride {
    /// In units of the images.
    pub(crate) size: f64,
    /// The share of the step before that is taken again, 0 to 1.
    pub(crate) momentum: f64,
}

impl Ball {
    /// # Errors
    /// When the radius is none.
    pub(crate) fn check(&self) -> Result<()> {
        let Ball { norm, eps } = *self;
        match norm {
            Norm::Linf if !(0.0..=1.0).contains(&eps) => Err(Error::Setting(format!(
                "the radius {eps} is not between 0 and 1, the range of the pixels"
            ))),
            Norm::L2 if !(eps.is_finite() && eps >= 0.0) => {
                Err(Error::Setting(format!("the L2 radius {eps} is not a length")))
            }
            _ => Ok(()),
        }
    }

    /// Moves `image` by `size` in the direction of steepest ascent: along the sign of the
    /// gradient, or for L2 along the gradient itself.
    pub(crate) fn step(&self, image: &mut [f32], gradient: &[f32], size: f64) {
        match self.norm {
            Norm::Linf => {
                for (pixel, &slope) in image.iter_mut().zip(gradient) {
                    // Not `signum`, which makes 1 of 0.
                    let sign = f64::from(i8::from(slope > 0.0) - i8::from(slope < 0.0));
                    *pixel += (sign * size) as f32;
                }
            }
            Norm::L2 => {
                let length = length(gradient.iter().copied());
                // No direction can be told where there is no slope, or none that is a number.
                if length > 0.0 && length.is_finite() {
                    for (pixel, &slope) in image.iter_mut().zip(gradient) {
                        *pixel += (f64::from(slope) * size / length) as f32;
                    }
                }
            }
        }
    }

    /// Brings `image` back: into the ball, then into [0, 1]. For L2 that is inside both,
    /// though not always the nearest such image.
    pub(crate) fn project(&self, image: &mut [f32], clean: &[f32]) {
        let eps = self.eps as f32;
        let pairs = || image.iter().zip(clean).map(|(image, clean)| image - clean);
        let shrink = match self.norm {
            Norm::Linf => 1.0,
            Norm::L2 => (self.eps / length(pairs()).max(f64::MIN_POSITIVE)).min(1.0) as f32,
        };
        for (pixel, &clean) in image.iter_mut().zip(clean) {
            let inside = match self.norm {
                Norm::Linf => pixel.max(clean - eps).min(clean + eps),
                Norm::L2 if shrink < 1.0 => clean + (*pixel - clean) * shrink,
                Norm::L2 => *pixel,
            };
            *pixel = inside.clamp(0.0, 1.0);
        }
    }

    /// One step of PGD with momentum (Croce and Hein, ICML 2020, algorithm 1): `image` goes
    /// to `P(x + (1 - momentum) (z - x) + momentum (x - previous))`, where `z = P(x + step)`
    /// and `P` brings back into the ball; `previous` becomes what `image` was.
    pub(crate) fn advance(
        &self,
        [image, previous]: [&mut [f32]; 2],
        clean: &[f32],
        gradient: &[f32],
        Stride { size, momentum }: Stride,
    ) {
        let mut next = image.to_vec();
        self.step(&mut next, gradient, size);
        self.project(&mut next, clean);
        if momentum > 0.0 {
            let momentum = momentum as f32;
            let pairs = image.iter().zip(&*previous);
            for (next, (x, previous)) in next.iter_mut().zip(pairs) {
                *next = x + (1.0 - momentum) * (*next - x) + momentum * (x - previous);
            }
            self.project(&mut next, clean);
        }
        previous.copy_from_slice(image);
        image.copy_from_slice(&next);
    }

    /// A point of the ball around `clean` (uniformly, before it is cut to [0, 1]).
    pub(crate) fn random(&self, key: Key, clean: &[f32]) -> Vec<f32> {
        let mut image = vec![0f32; clean.len()];
        let scale = match self.norm {
            Norm::Linf => {
                fill_uniform(key, &mut image);
                self.eps
            }
            Norm::L2 => {
                fill_normal(key, &mut image);
                let [word, ..] = key.words(u64::MAX >> 1);
                let share = (f64::from(word) + 0.5) / 2f64.powi(32);
                let radius = self.eps * share.powf(1.0 / clean.len().max(1) as f64);
                radius / length(image.iter().copied()).max(f64::MIN_POSITIVE)
            }
        };
        for (pixel, clean) in image.iter_mut().zip(clean) {
            *pixel = clean + *pixel * scale as f32;
        }
        self.project(&mut image, clean);
        image
    }

    /// Whether an image so far from the clean one is inside, but for the rounding of pixels.
    pub(crate) fn reaches(&self, distance: f64) -> bool {
        distance <= self.eps + ROUNDING * self.eps.max(1.0)
    }

    /// # Errors
    /// When a pixel is no number or not in [0, 1], or an image is too far from the clean
    /// one; images are `size` values each.
    pub(crate) fn check_images(&self, images: &[f32], clean: &[f32], size: usize) -> Result<()> {
        for (image, clean) in images.chunks_exact(size).zip(clean.chunks_exact(size)) {
            let change = || image.iter().zip(clean).map(|(image, clean)| image - clean);
            let far = match self.norm {
                Norm::Linf => change().fold(0f64, |far, change| far.max(f64::from(change.abs()))),
                Norm::L2 => length(change()),
            };
            let in_range = image.iter().all(|pixel| (0.0..=1.0).contains(pixel));
            if !in_range || !self.reaches(far) {
                return Err(Error::Program(format!(
                    "the attack left the ball: an image is {far} from the clean one under {}, \
                     radius {}, and its pixels are {}in [0, 1]",
                    self.norm,
                    self.eps,
                    if in_range { "" } else { "not " }
                )));
            }
        }
        Ok(())
    }
}

/// The Euclidean length.
fn length(values: impl Iterator<Item = f32>) -> f64 {
    values.map(|value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const LINF: Ball = Ball { norm: Norm::Linf, eps: 0.1 };
    const L2: Ball = Ball { norm: Norm::L2, eps: 0.5 };

    #[test]
    fn images_outside_the_ball_or_the_range_are_refused() {
        let clean = [0.0f32, 0.5, 1.0];
        let at = |pixels: [f32; 3]| LINF.check_images(&pixels, &clean, 3);
        at([0.1, 0.4, 0.9]).unwrap();
        at([0.1 + 5e-7, 0.4, 1.0]).unwrap();
        for bad in [[0.11, 0.5, 1.0], [0.0, f32::NAN, 1.0], [-0.01, 0.5, 1.0], [0.0, 0.5, 1.01]] {
            assert!(at(bad).is_err(), "{bad:?}");
        }
        L2.check_images(&[0.3, 0.1, 1.0], &clean, 3).unwrap();
        assert!(L2.check_images(&[0.3, 0.1, 0.9], &clean, 3).is_err());
    }

    #[test]
    fn projections_and_random_points_are_inside_and_reach_the_edge() {
        for ball in [LINF, L2] {
            let clean: Vec<f32> = (0..50).map(|i| i as f32 / 49.0).collect();
            let mut far: Vec<f32> = clean.iter().map(|pixel| 1.0 - pixel).collect();
            ball.project(&mut far, &clean);
            ball.check_images(&far, &clean, 50).unwrap();
            let smaller = Ball { eps: ball.eps * 0.99, ..ball };
            assert!(smaller.check_images(&far, &clean, 50).is_err(), "{ball:?} stops short");
            let points: Vec<Vec<f32>> =
                (0..20).map(|step| ball.random(Key::new(1, step, 2), &clean)).collect();
            for point in &points {
                ball.check_images(point, &clean, 50).unwrap();
            }
            assert!(points[0] != points[1]);
        }
    }

    #[test]
    fn a_step_has_its_size_and_none_is_taken_without_a_slope() {
        let mut image = [0.5f32; 3];
        LINF.step(&mut image, &[2.0, -1e-9, 0.0], 0.1);
        assert_eq!(image, [0.6, 0.4, 0.5]);
        let mut image = [0.5f32; 3];
        L2.step(&mut image, &[3e20, 0.0, -4e20], 0.1);
        assert!((image[0] - 0.56).abs() < 1e-6 && (image[2] - 0.42).abs() < 1e-6);
        for bad in [[0.0; 3], [f32::NAN; 3], [f32::INFINITY; 3]] {
            let mut image = [0.5f32; 3];
            L2.step(&mut image, &bad, 0.1);
            assert_eq!(image, [0.5; 3], "{bad:?}");
        }
    }
}
