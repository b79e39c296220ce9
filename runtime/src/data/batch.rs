//! Batches of a data set, in order or shuffled, as a model takes them.

use rayon::prelude::*;

use super::augment::Augment;
use super::{Dataset, Targets};
use crate::noise::permutation;

/// Where a model wants its channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// `[N, C, H, W]`, ONNX's own.
    #[default]
    Nchw,
    /// `[N, H, W, C]`, TensorFlow's.
    Nhwc,
}

/// Some images of a data set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Batch {
    /// Pixels / 255, in [0, 1]: `[N, C, H, W]` or `[N, H, W, C]`.
    pub images: Vec<f32>,
    /// Those of the N images.
    pub targets: Targets,
    /// Where the images are in the data set, `[N]`.
    pub indices: Vec<usize>,
}

impl Batch {
    /// How many images it holds.
    pub fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.indices.is_empty()
    }
}

/// All images of a data set, once each, in batches; the last one may be smaller.
#[derive(Clone, Debug)]
pub struct Batches<'a> {
    dataset: &'a Dataset,
    size: usize,
    order: Vec<usize>,
    layout: Layout,
    augment: Option<(Augment, u64, u64)>,
    next: usize,
}

impl Dataset {
    /// Batches of `size` images (at least 1) in the order of the data set.
    pub fn batches(&self, size: usize) -> Batches<'_> {
        Batches {
            dataset: self,
            size: size.max(1),
            order: (0..self.len()).collect(),
            layout: Layout::Nchw,
            augment: None,
            next: 0,
        }
    }
}

impl Batches<'_> {
    /// Gives the images at `indices` only, in their order; what is past the end of the data
    /// set is left out.
    pub fn only(self, indices: &[usize]) -> Self {
        let known = indices.iter().copied().filter(|index| *index < self.dataset.len());
        Self { order: known.collect(), ..self }
    }

    /// Puts the images in the order that `seed` and `epoch` fix.
    pub fn shuffled(self, seed: u64, epoch: u64) -> Self {
        Self { order: permutation(seed, epoch, self.dataset.len()), ..self }
    }

    /// Changes each image as `seed`, `epoch` and its index fix, whatever batch it is in.
    pub fn augmented(self, augment: Augment, seed: u64, epoch: u64) -> Self {
        Self { augment: Some((augment, seed, epoch)), ..self }
    }

    /// Gives the images in `layout`.
    pub fn layout(self, layout: Layout) -> Self {
        Self { layout, ..self }
    }

    /// The images at `indices`, each below the data set's length, as a batch.
    fn gather(&self, indices: Vec<usize>) -> Batch {
        let (shape, size) = (self.dataset.shape(), self.dataset.image_size());
        let mut images = vec![0.0; indices.len() * size];
        images.par_chunks_exact_mut(size).zip(&indices).for_each(|(out, &index)| {
            let placement =
                self.augment.map(|(augment, seed, epoch)| augment.draw(seed, epoch, index));
            let pixels = self.dataset.image(index).unwrap_or_default();
            placement.unwrap_or_default().place(pixels, shape, self.layout, out);
        });
        let targets = self.dataset.targets().select(&indices).unwrap_or_default();
        Batch { images, targets, indices }
    }
}

impl Iterator for Batches<'_> {
    type Item = Batch;

    fn next(&mut self) -> Option<Batch> {
        self.nth(0)
    }

    /// Skipped batches cost nothing, so that a run resumes in the middle of an epoch.
    fn nth(&mut self, skipped: usize) -> Option<Batch> {
        let at = self.next.saturating_add(skipped);
        self.next = at.saturating_add(1);
        let indices = self.order.chunks(self.size).nth(at)?.to_vec();
        Some(self.gather(indices))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.order.len().div_ceil(self.size).saturating_sub(self.next);
        (left, Some(left))
    }
}

impl ExactSizeIterator for Batches<'_> {}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn seven() -> Dataset {
        let pixels = (0..7 * 12).map(|i| (i * 3) as u8).collect();
        Dataset::new([3, 2, 2], pixels, vec![0, 1, 2, 0, 1, 2, 0], Vec::new()).unwrap()
    }

    #[test]
    fn every_image_comes_once_and_the_last_batch_is_smaller() {
        let dataset = seven();
        let batches: Vec<Batch> = dataset.batches(3).collect();
        assert_eq!(batches.iter().map(Batch::len).collect::<Vec<_>>(), [3, 3, 1]);
        assert_eq!(
            (&batches[1].indices[..], &batches[1].targets),
            (&[3, 4, 5][..], &Targets::Classes(vec![0, 1, 2]))
        );
        let expected: Vec<f32> =
            dataset.image(6).unwrap().iter().map(|&p| f32::from(p) / 255.0).collect();
        assert_eq!(batches[2].images, expected);
        assert_eq!(dataset.batches(3).len(), 3);
        assert_eq!(dataset.batches(0).len(), 7);
    }

    #[test]
    fn shuffled_batches_are_the_same_images_in_another_order() {
        let dataset = seven();
        let indices = |epoch| -> Vec<usize> {
            dataset.batches(2).shuffled(1, epoch).flat_map(|batch| batch.indices).collect()
        };
        assert_eq!(indices(1), permutation(1, 1, 7));
        assert_ne!(indices(1), indices(2));
        for batch in dataset.batches(2).shuffled(1, 1) {
            assert_eq!(Some(batch.targets), dataset.targets().select(&batch.indices));
            for (i, &index) in batch.indices.iter().enumerate() {
                let first = f32::from(dataset.image(index).unwrap()[0]) / 255.0;
                assert_eq!(batch.images[i * 12], first);
            }
        }
    }

    #[test]
    fn some_of_the_images_come_in_the_order_given() {
        let dataset = seven();
        let batches: Vec<Batch> = dataset.batches(2).only(&[5, 0, 9, 3]).collect();
        let indices: Vec<&[usize]> = batches.iter().map(|batch| &batch.indices[..]).collect();
        assert_eq!(indices, [&[5, 0][..], &[3]]);
        assert_eq!(batches[0].targets, Targets::Classes(vec![2, 0]));
    }

    #[test]
    fn skipped_batches_do_not_change_the_rest() {
        let dataset = seven();
        let augment = Augment { padding: 1, flip: true };
        let batches = || dataset.batches(2).shuffled(1, 1).augmented(augment, 1, 1);
        let all: Vec<Batch> = batches().collect();
        assert_eq!(batches().skip(2).collect::<Vec<_>>(), all[2..]);
        assert_eq!(batches().skip(2).len(), 2);
        assert_eq!(batches().nth(4), None);
    }

    #[test]
    fn changes_to_an_image_do_not_depend_on_its_batch() {
        let dataset = seven();
        let augment = Augment { padding: 1, flip: true };
        let images = |size| -> Vec<f32> {
            dataset.batches(size).augmented(augment, 4, 5).flat_map(|batch| batch.images).collect()
        };
        assert_eq!(images(7), images(2));
        assert_ne!(images(7), dataset.batches(7).next().unwrap().images);
    }

    #[test]
    fn channels_last_is_the_transpose() {
        let dataset = seven();
        let first = dataset.batches(7).next().unwrap().images;
        let last = dataset.batches(7).layout(Layout::Nhwc).next().unwrap().images;
        for (i, value) in first.iter().enumerate() {
            let (image, channel, pixel) = (i / 12, i % 12 / 4, i % 4);
            assert_eq!(*value, last[image * 12 + pixel * 3 + channel]);
        }
    }

    #[test]
    fn data_that_does_not_fit_together_is_refused() {
        let new = |pixels, labels| Dataset::new([3, 2, 2], vec![0; pixels], labels, Vec::new());
        for (pixels, labels) in [(0, vec![]), (12, vec![0, 1]), (13, vec![0]), (12, vec![-1])] {
            assert!(matches!(new(pixels, labels), Err(crate::Error::Data(_))));
        }
        assert!(new(12, vec![0]).is_ok());
    }
}
