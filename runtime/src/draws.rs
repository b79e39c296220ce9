//! Which numbers the noise of a run is made of.

use std::sync::Arc;

use crate::noise::{Key, fill_normal, fill_weights, hash_name};

/// A stream of draws of the noise: each run of a program takes the next one.
#[derive(Clone, Debug)]
pub(crate) struct Draws {
    seed: u64,
    stream: u64,
    first: u64,
    taken: u64,
    kind: Kind,
    images: Option<Arc<[usize]>>,
}

/// Which draws of the weights an attacker looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A new one at every run.
    Fresh,
    /// The same so many, again and again.
    Frozen(u64),
    /// No noise: the mean weights.
    Mean,
}

impl Draws {
    /// The draws from number `first` on of the stream that is called `stream`.
    pub(crate) fn new(seed: u64, stream: &str, first: u64) -> Draws {
        Draws { seed, stream: hash_name(stream), first, taken: 0, kind: Kind::Fresh, images: None }
    }

    /// Draws of another kind from the same stream.
    pub(crate) fn of(self, kind: Kind) -> Draws {
        Draws { kind, ..self }
    }

    /// From now on the rows of a run are the images `indices` of a data set, and beyond them
    /// the same again: noise of images is each image's own, in whatever batch it is. Without
    /// them it belongs to the place in the batch.
    pub(crate) fn show(&mut self, indices: &[usize]) {
        self.images = Some(indices.into());
    }

    /// The numbers of the next draw.
    pub(crate) fn draw(&mut self) -> Draw {
        let Draws { seed, stream, first, taken, kind, .. } = *self;
        let images = self.images.clone();
        self.taken += 1;
        let number = match kind {
            Kind::Frozen(count) => taken % count.max(1),
            Kind::Fresh | Kind::Mean => taken,
        };
        Draw { seed, stream, step: first.wrapping_add(number), mean: kind == Kind::Mean, images }
    }

    /// What the attack on image `index` of the data set decides by lot at its start
    /// number `start`: the same in whatever batch the image is.
    pub(crate) fn lot(&self, index: usize, start: u64) -> Key {
        Key::new(self.seed, start, self.stream ^ hash_image(index))
    }
}

/// The numbers of one draw.
#[derive(Clone, Debug)]
pub(crate) struct Draw {
    seed: u64,
    stream: u64,
    step: u64,
    mean: bool,
    images: Option<Arc<[usize]>>,
}

impl Draw {
    /// Those for the tensor whose name has the hash `tensor`.
    pub(crate) fn key(&self, tensor: u64) -> Key {
        Key::new(self.seed, self.step, tensor ^ self.stream)
    }

    /// Fills `out` with the noise for that tensor.
    pub(crate) fn fill(&self, tensor: u64, out: &mut [f32]) {
        match self.mean {
            true => out.fill(0.0),
            false => fill_normal(self.key(tensor), out),
        }
    }

    /// Fills `out` with the noise of images for that tensor, `size` numbers for each.
    pub(crate) fn fill_images(&self, tensor: u64, size: usize, out: &mut [f32]) {
        let Some(images) = self.images.as_ref().filter(|_| !self.mean) else {
            return self.fill(tensor, out);
        };
        for (&index, row) in images.iter().cycle().zip(out.chunks_mut(size.max(1))) {
            fill_normal(self.key(tensor ^ hash_image(index)), row);
        }
    }

    /// Fills `out` with the weights that this noise draws from a posterior.
    pub(crate) fn weights(&self, tensor: u64, mean: &[f32], log_std: &[f32], out: &mut [f32]) {
        match self.mean {
            true => out.copy_from_slice(mean),
            false => fill_weights(self.key(tensor), mean, log_std, out),
        }
    }
}

/// Tells the images of a data set apart, as [`hash_name`] tells tensors.
fn hash_image(index: usize) -> u64 {
    hash_name(&format!("image {index}"))
}
