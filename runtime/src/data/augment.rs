//! Where an image lands in its batch: shifted, mirrored, in the model's layout.

use super::Layout;
use crate::noise::{Key, hash_name};

/// Random changes to training images, drawn anew each epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Augment {
    /// Pads the image with this many zeros on each side and cuts a random part of its
    /// own size, as torchvision's `RandomCrop(size, padding)`.
    pub padding: usize,
    /// Mirrors every second image left to right, at random.
    pub flip: bool,
}

impl Augment {
    /// The placement of image `index`, a function of seed, epoch and index alone.
    pub(super) fn draw(self, seed: u64, epoch: u64, index: usize) -> Placement {
        let [down, right, flip, _] =
            Key::new(seed, epoch, hash_name("augment")).words(index as u64);
        let shift = |word: u32| {
            let choices = 2 * self.padding as u64 + 1;
            ((u64::from(word) * choices) >> 32) as isize - self.padding as isize
        };
        Placement { down: shift(down), right: shift(right), flip: self.flip && flip >> 31 == 1 }
    }
}

/// Output pixel `(y, x)` is input pixel `(y + down, x + right)`, mirrored afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Placement {
    pub(super) down: isize,
    pub(super) right: isize,
    pub(super) flip: bool,
}

impl Placement {
    /// Writes `pixels` / 255, `[C, H, W]` as `shape` says, to the zeros of `out`.
    pub(super) fn place(self, pixels: &[u8], shape: [usize; 3], layout: Layout, out: &mut [f32]) {
        let [channels, height, width] = shape;
        for (row, pixels) in pixels.chunks_exact(width).enumerate() {
            let (channel, y) = (row / height, row % height);
            let Some(y) = moved(y, -self.down, height) else { continue };
            let (start, stride) = match layout {
                Layout::Nchw => ((channel * height + y) * width, 1),
                Layout::Nhwc => (y * width * channels + channel, channels),
            };
            for (x, &pixel) in pixels.iter().enumerate() {
                let Some(x) = moved(x, -self.right, width) else { continue };
                let x = if self.flip { width - 1 - x } else { x };
                out[start + x * stride] = f32::from(pixel) / 255.0;
            }
        }
    }
}

fn moved(position: usize, by: isize, size: usize) -> Option<usize> {
    position.checked_add_signed(by).filter(|&position| position < size)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2 channels of 2x3 pixels, 51 k / 255 = k / 5.
    const PIXELS: [u8; 12] = [0, 51, 102, 153, 204, 255, 255, 204, 153, 102, 51, 0];

    fn placed(placement: Placement, layout: Layout) -> Vec<f32> {
        let mut out = vec![0.0; 12];
        placement.place(&PIXELS, [2, 2, 3], layout, &mut out);
        out.iter().map(|value| value * 5.0).collect()
    }

    #[test]
    fn layouts_hold_the_same_pixels() {
        let same = Placement::default();
        assert_eq!(placed(same, Layout::Nchw), [0., 1., 2., 3., 4., 5., 5., 4., 3., 2., 1., 0.]);
        assert_eq!(placed(same, Layout::Nhwc), [0., 5., 1., 4., 2., 3., 3., 2., 4., 1., 5., 0.]);
    }

    #[test]
    fn shifts_leave_zeros_and_flips_come_after() {
        let shifted = Placement { down: 1, right: -1, flip: false };
        let expected = [0., 3., 4., 0., 0., 0., 0., 2., 1., 0., 0., 0.];
        assert_eq!(placed(shifted, Layout::Nchw), expected);
        let flipped = Placement { flip: true, ..shifted };
        let expected = [4., 3., 0., 0., 0., 0., 1., 2., 0., 0., 0., 0.];
        assert_eq!(placed(flipped, Layout::Nchw), expected);
        let away = Placement { down: 5, right: 0, flip: false };
        assert_eq!(placed(away, Layout::Nchw), [0.0; 12]);
    }

    /// 18 placements, 18,000 draws: each within five standard errors of 1,000.
    #[test]
    fn placements_are_equally_likely_and_fixed_by_their_key() {
        let augment = Augment { padding: 1, flip: true };
        let mut counts = std::collections::HashMap::new();
        for index in 0..18_000 {
            let Placement { down, right, flip } = augment.draw(1, 2, index);
            *counts.entry((down, right, flip)).or_insert(0i32) += 1;
        }
        assert_eq!(counts.len(), 18);
        assert!(counts.values().all(|count| (count - 1000).abs() < 160), "{counts:?}");
        assert_eq!(augment.draw(1, 2, 3), augment.draw(1, 2, 3));
        let differ =
            |seed, epoch| (0..99).any(|i| augment.draw(1, 2, i) != augment.draw(seed, epoch, i));
        assert!(differ(1, 3) && differ(2, 2));
        assert!((0..99).all(|index| Augment::default().draw(1, 2, index) == Placement::default()));
    }
}
