//! Batches in the form in which a program takes them.

use graphs::{DType, Tensor, names};

use crate::data::{Batch, Dataset, Layout};
use crate::engine::State;
use crate::{Error, Result};

/// How a model takes its images.
#[derive(Clone, Debug)]
pub(crate) struct Form {
    /// Without the first dimension, the batch.
    shape: Vec<usize>,
    /// `[C, H, W]`
    pub(crate) image: [usize; 3],
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
        Ok(Form { shape, image: dataset.shape(), layout })
    }

    /// # Errors
    /// When a batch is not of the images that this form was made for.
    pub(crate) fn target(&self, batch: Batch) -> Result<Target> {
        let mut shape = vec![batch.len()];
        shape.extend(&self.shape);
        let labels = batch.targets.tensor()?;
        Ok(Target { clean: Tensor::new(&shape, batch.images)?, labels, indices: batch.indices })
    }

    /// Images of this form in the form of another model of the same data.
    ///
    /// # Errors
    /// When they are not of this form.
    pub(crate) fn convert(&self, images: &Tensor, to: &Form) -> Result<Tensor> {
        let rows = images.shape().first().copied().unwrap_or(0);
        let shape = [&[rows], to.shape.as_slice()].concat();
        if self.layout == to.layout {
            return Ok(images.reshaped(&shape)?);
        }
        let ([channels, height, width], size) = (self.image, self.image.iter().product());
        let (from, mut moved) = (images.values::<f32>()?, vec![0f32; images.len()]);
        for (from, moved) in from.chunks_exact(size).zip(moved.chunks_exact_mut(size)) {
            for channel in 0..channels {
                for pixel in 0..height * width {
                    let at = |form: &Form| form.at(channel, pixel);
                    if let (Some(from), Some(to)) = (from.get(at(self)), moved.get_mut(at(to))) {
                        *to = *from;
                    }
                }
            }
        }
        Ok(Tensor::new(&shape, moved)?)
    }

    /// Where in an image the value of a channel lies at `pixel`, a row's length times the
    /// row plus the column.
    pub(crate) fn at(&self, channel: usize, pixel: usize) -> usize {
        let [channels, height, width] = self.image;
        match self.layout {
            Layout::Nchw => channel * height * width + pixel,
            Layout::Nhwc => pixel * channels + channel,
        }
    }
}

/// A batch that is to be classified or measured, attacked or learnt.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// `[N, ...]`, in [0, 1].
    pub(crate) clean: Tensor,
    /// Class indices, int64 `[N]`; of a regression numbers, float32 `[N, K]`.
    pub(crate) labels: Tensor,
    /// Where the images are in the data set, `[N]`.
    pub(crate) indices: Vec<usize>,
}

impl Target {
    /// How many images there are.
    pub(crate) fn len(&self) -> usize {
        self.indices.len()
    }

    /// Whether what is to be said of the images are numbers, those of a regression.
    pub(crate) fn is_regression(&self) -> bool {
        self.labels.dtype() == DType::F32
    }

    /// The elements of one image.
    pub(crate) fn size(&self) -> usize {
        self.clean.len() / self.len().max(1)
    }

    /// The images at `rows`, which may repeat.
    ///
    /// # Errors
    /// When there is no such row.
    pub(crate) fn rows(&self, rows: &[usize]) -> Result<Target> {
        let lacking = || Error::Program(format!("no image among {} at {rows:?}", self.len()));
        let of = |tensor: &Tensor| -> Result<Tensor> {
            let size = tensor.bytes().len() / self.len().max(1);
            let row = |row: &usize| tensor.bytes().get(row * size..(row + 1) * size);
            let parts: Option<Vec<&[u8]>> = rows.iter().map(row).collect();
            let mut shape = tensor.shape().to_vec();
            shape.iter_mut().take(1).for_each(|n| *n = rows.len());
            let bytes = parts.ok_or_else(lacking)?.concat();
            Ok(Tensor::from_bytes(tensor.dtype(), shape, bytes.into())?)
        };
        let index = |row: &usize| self.indices.get(*row).copied().ok_or_else(lacking);
        let indices = rows.iter().map(index).collect::<Result<_>>()?;
        Ok(Target { clean: of(&self.clean)?, labels: of(&self.labels)?, indices })
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
