//! Batches in the form in which a program takes them.

use graphs::{Tensor, names};

use crate::data::{Batch, Dataset, Layout};
use crate::engine::State;
use crate::{Error, Result};

/// How a model takes its images.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Without the first dimension, the batch.
    shape: Vec<usize>,
    pub(crate) layout: Layout,
}

impl Form {
    /// The form that puts images of `dataset` into an input of `shape`, `[N, ...]`:
    /// channels first, channels last, or flat.
    ///
    /// # Errors
    /// When the images fit none of them.
    pub(crate) fn new(shape: &[usize], dataset: &Dataset) -> Result<Form> {
        let shape = shape.get(1..).unwrap_or_default().to_vec();
        let [channels, height, width] = dataset.shape();
        let flat = [channels * height * width];
        let layout = if shape == [channels, height, width] || shape == flat {
            Layout::Nchw
        } else if shape == [height, width, channels] {
            Layout::Nhwc
        } else {
            return Err(Error::Data(format!(
                "the images are {channels}x{height}x{width} (channels, height, width), but the \
                 model takes {shape:?}; give images of that size"
            )));
        };
        Ok(Form { shape, layout })
    }

    /// # Errors
    /// When a batch is not of the images that this form was made for.
    pub(crate) fn target(&self, batch: Batch) -> Result<Target> {
        let mut shape = vec![batch.len()];
        shape.extend(&self.shape);
        let labels = Tensor::new(&[batch.len()], batch.labels)?;
        Ok(Target { clean: Tensor::new(&shape, batch.images)?, labels })
    }
}

/// A batch that is to be classified, attacked or learnt.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `[N, ...]`, in [0, 1].
    pub(crate) clean: Tensor,
    /// `[N]`
    pub(crate) labels: Tensor,
}

impl Target {
    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Puts everything that programs read of a batch into the state: the images are
    /// those of `start`, the gradient is zero.
    ///
    /// # Errors
    /// When the engine has no memory for it.
    pub(crate) fn place(&self, state: &mut State, start: &Tensor) -> Result<()> {
        state.put(names::IMAGES, start)?;
        state.put(names::CLEAN, &self.clean)?;
        state.put(names::LABELS, &self.labels)?;
        // Zeros, because 0 times what a failed attack left could be NaN.
        state.put(names::GRADIENT, &Tensor::full(self.clean.shape(), 0f32)?)
    }
}
