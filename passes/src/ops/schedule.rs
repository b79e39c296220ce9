//! Which form the gradients of windowed operators take. All forms of one gradient give
//! the same result; engines differ in how fast they run them. What stands here is good
//! on most of them; [`Forms`] asks for others.

use super::convolution::Convolution;
use super::window::{Axis, sizes, volume};
use super::winograd::Winograd;
use crate::Platform;

/// The gradient of a convolution with respect to its image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ImageForm {
    /// Conv with the weight turned round.
    Turned,
    /// ConvTranspose.
    Transposed,
    /// One MatMul for the batch, with all kernel positions side by side (im2col).
    Columns,
    /// Minimal filtering (see `winograd.rs`).
    Winograd,
}

/// The gradient of a convolution with respect to its weight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WeightForm {
    /// One MatMul with the image cut into tiles.
    Tiles,
    /// One MatMul with all kernel positions side by side (im2col).
    Columns,
    /// One MatMul for each kernel position.
    Taps,
    /// One product and sum for each kernel position of a depthwise convolution.
    Products,
    /// Conv of the image with the gradient, batch and channels exchanged.
    Exchanged,
}

/// The gradient of MaxPool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxForm {
    /// Compares kernel position after kernel position, in windows that tile.
    Taps,
    /// As [`MaxForm::Taps`] in rows of channels, for the place of each window's maximum; of
    /// images `[N, C, H, W]`.
    Places,
    /// Ranks the greatest elements of every window, in windows that tile.
    Ranks,
    /// Scatters to the indices that MaxPool itself gives.
    Indices,
}

/// The gradient of ReLU and its kin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepForm {
    /// The steepest HardSigmoid.
    Sigmoid,
    /// Greater, as a number.
    Comparison,
}

/// What a program runs on, and the forms to take wherever they apply, in place of those
/// that are chosen here.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Forms {
    /// What runs the program.
    pub platform: Platform,
    /// For the gradient with respect to an image.
    pub image: Option<ImageForm>,
    /// For the gradient with respect to a weight.
    pub weight: Option<WeightForm>,
    /// For the gradient of MaxPool.
    pub max: Option<MaxForm>,
}

/// Columns beyond this many elements (32 MiB of float32) cost more memory traffic than
/// the one large MatMul gains, unless the matrices are [`THIN`].
const COLUMNS: usize = 1 << 23;

/// The most elements (512 MiB of float32) of thin columns.
const THIN_COLUMNS: usize = 1 << 27;

/// A MatMul with fewer columns than this is bound by memory.
const THIN: usize = 16;

/// The fewest channels of a wide matrix.
const WIDE: usize = 64;

/// Kernels of this volume would make too many nodes.
const TAPS: usize = 64;

/// A Conv of so few windows an image that its matrices are too narrow for the CPU, which
/// multiplies an image at a time (ONNX Runtime) or leaves vectors half empty (OpenVINO):
/// products for the whole batch are faster.
pub(super) fn narrow(conv: &Convolution, platform: Platform) -> bool {
    let most = match platform {
        Platform::Any => return false,
        Platform::OnnxRuntime if small(conv) => usize::MAX,
        Platform::OnnxRuntime | Platform::OpenVino => 16,
    };
    let count = sizes(&conv.axes, |axis| axis.count).into_iter().fold(1, usize::saturating_mul);
    let wide = conv.channels.min(conv.features) >= WIDE;
    let kernel = volume(&conv.axes).unwrap_or(usize::MAX);
    conv.groups == 1 && wide && count <= most && conv.batch >= 8 && kernel < TAPS
}

/// Minimal filtering of operands that take no more memory than time, 16 MiB of float32.
fn small(conv: &Convolution) -> bool {
    Winograd::of(conv).is_some_and(|winograd| winograd.operand() <= 1 << 22)
}

/// ConvTranspose where a Conv would read mostly zeros (strides) or write few channels, and
/// where the platform is as fast with it. Elsewhere Conv is the faster one.
pub(super) fn image(conv: &Convolution, forms: Forms) -> ImageForm {
    let turns = |axis: &Axis| {
        let widest = axis.extent() - 1;
        axis.stride == 1 && axis.before <= widest && axis.after <= widest
    };
    let few = conv.groups == 1 && conv.channels < THIN;
    let transposes = forms.platform == Platform::OpenVino && conv.groups == 1;
    match forms.image {
        _ if !conv.axes.iter().all(turns) => ImageForm::Transposed,
        Some(ImageForm::Columns) if conv.groups > 1 => ImageForm::Turned,
        Some(ImageForm::Winograd) if Winograd::of(conv).is_none() => ImageForm::Turned,
        Some(form) => form,
        None if narrow(conv, forms.platform) => match Winograd::of(conv) {
            Some(_) => ImageForm::Winograd,
            None => ImageForm::Columns,
        },
        None if few || transposes => ImageForm::Transposed,
        None => ImageForm::Turned,
    }
}

/// What is quickest where the program runs: HardSigmoid keeps ONNX Runtime's blocked layout,
/// and OpenVINO compiles a comparison into the loop around it.
pub(super) fn step(forms: Forms) -> StepForm {
    match forms.platform {
        Platform::OpenVino => StepForm::Comparison,
        Platform::Any | Platform::OnnxRuntime => StepForm::Sigmoid,
    }
}

/// Whether the platform keeps the channels of images last in memory, so that windows are
/// rows of a matrix without being moved.
pub(super) fn channels_last(conv: &Convolution, forms: Forms) -> bool {
    forms.platform == Platform::OpenVino && conv.groups == 1
}

/// MatMul where the matrices are large, and no form that makes too many nodes.
pub(super) fn weight(conv: &Convolution, forms: Forms) -> WeightForm {
    let volume = volume(&conv.axes).unwrap_or(usize::MAX);
    let sizes = conv.axes.iter().map(|axis| axis.count).chain([conv.batch, conv.groups]);
    let columns = sizes.fold(volume.saturating_mul(conv.channels), usize::saturating_mul);
    let tiles = conv.axes.iter().all(Axis::tiles);
    let depthwise = conv.groups > 1 && conv.channels == 1 && conv.features == 1;
    let applies = |form: &WeightForm| match form {
        WeightForm::Tiles => tiles,
        WeightForm::Columns | WeightForm::Taps => volume < TAPS,
        WeightForm::Products => depthwise && volume < TAPS,
        WeightForm::Exchanged => true,
    };
    match forms.weight.filter(applies) {
        Some(form) => form,
        None if tiles && volume > 1 => WeightForm::Tiles,
        None if volume >= TAPS => WeightForm::Exchanged,
        None if depthwise && conv.axes.iter().all(|axis| axis.stride == 1) => WeightForm::Products,
        None if depthwise => WeightForm::Exchanged,
        None if volume == 1 => WeightForm::Columns,
        None if columns <= COLUMNS && !channels_last(conv, forms) => WeightForm::Columns,
        None if conv.channels < THIN && columns <= THIN_COLUMNS => WeightForm::Columns,
        None => WeightForm::Taps,
    }
}

/// No scattering, which engines do one element at a time, where windows tile.
pub(super) fn max(axes: &[Axis], forms: Forms) -> MaxForm {
    let volume = volume(axes).unwrap_or(usize::MAX);
    match (forms.max, forms.platform) {
        _ if volume >= TAPS || !axes.iter().all(Axis::tiles) => MaxForm::Indices,
        (Some(form), _) if form != MaxForm::Places || axes.len() == 2 => form,
        (None, Platform::OpenVino) if axes.len() == 2 && volume <= 16 => MaxForm::Places,
        (Some(_), _) => MaxForm::Ranks,
        (None, Platform::OnnxRuntime | Platform::OpenVino) => MaxForm::Ranks,
        (None, Platform::Any) if volume <= 16 => MaxForm::Taps,
        (None, Platform::Any) => MaxForm::Indices,
    }
}
