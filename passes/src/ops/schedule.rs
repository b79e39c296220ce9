//! Which form the gradients of windowed operators take. All forms of one gradient give
//! the same result; engines differ in how fast they run them.

use super::window::{Axis, volume};

/// The gradient of a convolution with respect to its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ImageForm {
    /// Conv with the weight turned round.
    Turned,
    /// ConvTranspose.
    Transposed,
}

/// The gradient of a convolution with respect to its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WeightForm {
    /// One MatMul with the image cut into tiles.
    Tiles,
    /// One MatMul with all kernel positions side by side (im2col).
    Columns,
    /// One MatMul for each kernel position.
    Taps,
    /// Conv of the image with the gradient, batch and channels exchanged.
    Exchanged,
}

/// The gradient of MaxPool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MaxForm {
    /// Compares kernel position after kernel position, in windows that tile.
    Taps,
    /// Scatters to the indices that MaxPool itself gives.
    Indices,
}

/// Columns beyond this many elements (32 MiB of float32) cost more memory traffic than
/// the one large MatMul gains.
const COLUMNS: usize = 1 << 23;

/// Kernels beyond this volume would make too many nodes.
const TAPS: usize = 64;

/// ONNX Runtime on a CPU and CUDA run Conv faster than ConvTranspose, which CUDA has only
/// for symmetric padding; but with strides a Conv would read mostly zeros.
pub(super) fn image(axes: &[Axis]) -> ImageForm {
    let turned = |axis: &Axis| {
        let widest = axis.extent() - 1;
        axis.stride == 1 && axis.before <= widest && axis.after <= widest
    };
    if axes.iter().all(turned) { ImageForm::Turned } else { ImageForm::Transposed }
}

/// The weight of `channels` input channels a group against `batch` images.
pub(super) fn weight(axes: &[Axis], batch: usize, channels: usize) -> WeightForm {
    let volume = volume(axes).unwrap_or(usize::MAX);
    let windows = axes.iter().fold(batch, |n, axis| n.saturating_mul(axis.count));
    match volume {
        2.. if axes.iter().all(Axis::tiles) => WeightForm::Tiles,
        TAPS.. => WeightForm::Exchanged,
        _ if volume.saturating_mul(channels).saturating_mul(windows) <= COLUMNS => {
            WeightForm::Columns
        }
        _ => WeightForm::Taps,
    }
}

/// MaxPool over these windows.
pub(super) fn max(axes: &[Axis]) -> MaxForm {
    let few = volume(axes).is_some_and(|volume| volume <= 16);
    if few && axes.iter().all(Axis::tiles) { MaxForm::Taps } else { MaxForm::Indices }
}
