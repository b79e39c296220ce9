//! Labelled images in memory, a byte a pixel.

use std::path::Path;

use crc32c::{crc32c, crc32c_append};

use super::{Answer, Targets};
use crate::{Error, Result};

/// More than this many bytes of pixels are refused before anything is allocated.
const MAX_BYTES: u64 = 16 << 30;

/// Images `[N, C, H, W]` as bytes, with their labels or other targets.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    shape: [usize; 3],
    pixels: Vec<u8>,
    targets: Targets,
    class_names: Vec<String>,
}

impl Dataset {
    /// A data set of at least one image: `pixels` are `[N, C, H, W]` for the `[C, H, W]` of
    /// `shape`, and `targets` are those of N images. `class_names` may be empty.
    ///
    /// # Errors
    /// When there is no image, a label is negative, a number not finite, or the counts disagree.
    pub fn new(
        shape: [usize; 3],
        pixels: Vec<u8>,
        targets: impl Into<Targets>,
        class_names: Vec<String>,
    ) -> Result<Dataset> {
        let targets = targets.into();
        let expected =
            [targets.len()].iter().chain(&shape).try_fold(1usize, |n, &d| n.checked_mul(d));
        let shown = describe(shape);
        if expected == Some(0) {
            return Err(Error::Data(format!("no images: {} of {shown}", targets.len())));
        }
        if expected != Some(pixels.len()) {
            let (labels, pixels) = (targets.len(), pixels.len());
            return Err(Error::Data(format!(
                "{labels} labels for {pixels} bytes of {shown} images"
            )));
        }
        targets.check()?;
        Ok(Dataset { shape, pixels, targets, class_names })
    }

    /// How many images there are, at least 1.
    pub fn len(&self) -> usize {
        self.targets.len()
    }

    /// Never true; here because [`Dataset::len`] is.
    pub fn is_empty(&self) -> bool {
        self.targets.is_empty()
    }

    /// `[C, H, W]` of every image.
    pub fn shape(&self) -> [usize; 3] {
        self.shape
    }

    /// What is to be said of every image.
    pub fn targets(&self) -> &Targets {
        &self.targets
    }

    /// The class indices, `[N]`; none of a regression.
    #[cfg(test)]
    pub(crate) fn labels(&self) -> &[i64] {
        match &self.targets {
            Targets::Classes(labels) => labels,
            Targets::Numbers { .. } => &[],
        }
    }

    /// The name of every class, where the format has names, else empty.
    pub fn class_names(&self) -> &[String] {
        &self.class_names
    }

    /// The pixels of image `index`, `[C, H, W]`; `None` past the end.
    pub fn image(&self, index: usize) -> Option<&[u8]> {
        let size = self.image_size();
        self.pixels.get(index.checked_mul(size)?..)?.get(..size)
    }

    /// How many images, their shape, and a CRC-32C of pixels and targets in order: a text that
    /// tells data sets apart, as in `10000 images 1x28x28 0f3c92aa`.
    pub(crate) fn identity(&self) -> String {
        let sum = crc32c_append(crc32c(&self.pixels), self.targets.bytes());
        format!("{} images {} {sum:08x}", self.len(), describe(self.shape))
    }

    /// The images of these numbers, in this order.
    ///
    /// # Errors
    /// When there is none of a number, or no number.
    pub fn select(&self, indices: &[usize]) -> Result<Dataset> {
        let mut pixels = Vec::new();
        for &index in indices {
            let lacking = || Error::Data(format!("there is no image {index}"));
            pixels.extend_from_slice(self.image(index).ok_or_else(lacking)?);
        }
        let lacking = || Error::Data("there are no such images".to_owned());
        let targets = self.targets.select(indices).ok_or_else(lacking)?;
        Dataset::new(self.shape, pixels, targets, self.class_names.clone())
    }

    /// Keeps the first `count` images, and at least one.
    pub fn truncate(&mut self, count: usize) {
        let count = count.clamp(1, self.len());
        self.targets.truncate(count);
        self.pixels.truncate(count * self.image_size());
        self.pixels.shrink_to_fit();
    }

    /// Checks that a model that answers so can be compared with the targets.
    ///
    /// # Errors
    /// Names the first image whose label is too large, or says that they are of another kind.
    pub fn check(&self, answer: Answer) -> Result<()> {
        self.targets.check_answer(answer, &self.class_names)
    }

    pub(super) fn image_size(&self) -> usize {
        self.shape.iter().product()
    }
}

/// The bytes that `count` images of `shape` take, for data at `path`.
///
/// # Errors
/// When they are none, or more than can be held in memory.
pub(super) fn byte_count(path: &Path, count: usize, shape: [usize; 3]) -> Result<usize> {
    let bytes = shape.iter().try_fold(count as u64, |bytes, &d| bytes.checked_mul(d as u64));
    let shape = describe(shape);
    if bytes == Some(0) {
        return Err(Error::file(path, format!("{count} x {shape} pixels are no images")));
    }
    let bytes = bytes.filter(|&bytes| bytes <= MAX_BYTES);
    bytes.and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(|| {
        let limit = MAX_BYTES >> 30;
        let reason = format!(
            "{count} x {shape} pixels are more than {limit} GiB; use smaller or fewer images"
        );
        Error::file(path, reason)
    })
}

/// `3x32x32`.
pub(super) fn describe([channels, height, width]: [usize; 3]) -> String {
    format!("{channels}x{height}x{width}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_identity_changes_with_pixels_labels_their_order_and_the_shape() {
        let of = |shape, pixels: [u8; 8], labels: [i64; 2]| {
            Dataset::new(shape, pixels.to_vec(), labels.to_vec(), Vec::new()).unwrap().identity()
        };
        let texts = [
            of([1, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8], [0, 1]),
            of([1, 4, 1], [1, 2, 3, 4, 5, 6, 7, 8], [0, 1]),
            of([1, 2, 2], [1, 2, 3, 4, 5, 6, 7, 9], [0, 1]),
            of([1, 2, 2], [5, 6, 7, 8, 1, 2, 3, 4], [0, 1]),
            of([1, 2, 2], [1, 2, 3, 4, 5, 6, 7, 8], [1, 0]),
        ];
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text), "{text}");
        }
        assert!(texts[0].starts_with("2 images 1x2x2 "), "{}", texts[0]);
    }
}
