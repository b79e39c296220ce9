//! Convolution as the three linear maps that its gradients are made of. With
//! `image [N, C, sizes..]`, `weight [O, C / groups, kernel..]` and
//! `windows [N, O, counts..]`, [`Convolution::convolve`] is Conv itself,
//! [`Convolution::spread`] its transpose in the image (which is ConvTranspose), and
//! [`Convolution::correlate`] (in `correlation.rs`) its transpose in the weight.

use graphs::{Op, Value};

use super::patches::{frame, rearrange, under_windows};
use super::schedule::{self, ImageForm};
use super::window::{Axis, sizes};
use super::winograd::Winograd;
use crate::{Result, Tape, signed};

/// A convolution over any number of spatial axes.
#[derive(Clone, Debug)]
pub(super) struct Convolution {
    /// The windows.
    pub(super) axes: Vec<Axis>,
    /// Groups of channels that see only each other.
    pub(super) groups: usize,
    /// Images, N.
    pub(super) batch: usize,
    /// Channels of the image in one group, C / groups.
    pub(super) channels: usize,
    /// Channels of the windows in one group, O / groups.
    pub(super) features: usize,
}

impl Convolution {
    /// Image and weight to windows.
    pub(super) fn convolve(&self, tape: &mut Tape, image: Value, weight: Value) -> Result<Value> {
        // Elements behind the last window would make further windows; one has to stay.
        let cut = |axis: &Axis| (0, axis.used_after().min(0).max(1 - axis.size as i64));
        let cut: Vec<_> = self.axes.iter().map(cut).collect();
        let image = frame(tape, image, 2, &cut)?;
        let before = self.axes.iter().map(|axis| axis.before as i64);
        let after = self.axes.iter().map(|axis| axis.used_after().max(0));
        let op = self.op("Conv").with("pads", before.chain(after).collect::<Vec<_>>());
        let windows = tape.op(op, &[image, weight])?;
        let found = tape.shape(windows)?;
        let counts = self.axes.iter().map(|axis| axis.count).zip(found.iter().skip(2));
        let cut: Vec<_> = counts.map(|(count, &found)| (0, count as i64 - found as i64)).collect();
        frame(tape, windows, 2, &cut)
    }

    /// Windows and weight to image.
    pub(super) fn spread(&self, tape: &mut Tape, windows: Value, weight: Value) -> Result<Value> {
        match schedule::image(self, tape.forms) {
            ImageForm::Turned => self.turned(tape, windows, weight),
            ImageForm::Transposed => self.transposed(tape, windows, weight),
            ImageForm::Columns => self.spread_columns(tape, windows, weight),
            ImageForm::Winograd => match Winograd::of(self) {
                Some(winograd) => winograd.spread(tape, windows, weight),
                None => self.spread_columns(tape, windows, weight),
            },
        }
    }

    /// Conv of the windows with the weight turned round, of stride 1.
    fn turned(&self, tape: &mut Tape, windows: Value, weight: Value) -> Result<Value> {
        let kernel = self.kernel();
        let volume: usize = kernel.iter().product();
        let split = [self.groups, self.features, self.channels, volume];
        let shape = [&[self.groups * self.channels, self.features], &kernel[..]].concat();
        let mut weight = tape.reshape(weight, &split)?;
        if volume > 1 {
            let back = tape.ints(&(0..volume as i64).rev().collect::<Vec<_>>());
            weight = tape.op(Op::new("Gather").with("axis", 3i64), &[weight, back])?;
        }
        let weight = rearrange(tape, weight, &split, &[0, 2, 1, 3], &shape)?;
        self.opposite().convolve(tape, windows, weight)
    }

    /// From windows to image, for strides of 1: the convolution whose weight is turned round.
    fn opposite(&self) -> Convolution {
        let opposite = |axis: &Axis| Axis {
            size: axis.count,
            count: axis.size,
            before: axis.extent() - 1 - axis.before,
            ..*axis
        };
        let axes = self.axes.iter().map(opposite).collect();
        Convolution { axes, channels: self.features, features: self.channels, ..*self }
    }

    /// As [`Convolution::convolve`] in one group, by products for the whole batch.
    pub(super) fn convolve_batch(
        &self,
        tape: &mut Tape,
        image: Value,
        weight: Value,
    ) -> Result<Value> {
        if let Some(winograd) = Winograd::of(self) {
            return winograd.convolve(tape, image, weight);
        }
        let volume: usize = self.kernel().iter().product();
        let split = [self.features, self.channels, volume];
        let shape = [self.features, volume * self.channels];
        let weight = rearrange(tape, weight, &split, &[0, 2, 1], &shape)?;
        self.product(tape, image, false, weight, true)
    }

    /// As [`Convolution::turned`] in one group, by one MatMul for the batch.
    fn spread_columns(&self, tape: &mut Tape, windows: Value, weight: Value) -> Result<Value> {
        let volume: usize = self.kernel().iter().product();
        let split = [self.features, self.channels, volume];
        let shape = [volume * self.features, self.channels];
        let weight = rearrange(tape, weight, &split, &[2, 0, 1], &shape)?;
        let opposite = self.opposite();
        // The last position of the turned kernel is the first of the weight.
        opposite.product(tape, windows, true, weight, false)
    }

    /// The windows `[N, O, counts..]` from the image and the weight `[V * C, O]`, or
    /// `[O, V * C]` when it is `across`; kernel positions count backwards when `reversed`.
    fn product(
        &self,
        tape: &mut Tape,
        image: Value,
        reversed: bool,
        weight: Value,
        across: bool,
    ) -> Result<Value> {
        let places: usize = sizes(&self.axes, |axis| axis.size).iter().product();
        let volume: usize = self.kernel().iter().product();
        let split = [self.batch, self.channels, places];
        let shape = [self.batch, places, self.channels];
        let rows = rearrange(tape, image, &split, &[0, 2, 1], &shape)?;
        let padded = tape.pad(rows, &[0, 0, 0], &[0, 1, 0])?;
        let read = tape.ints(&under_windows(&self.axes, reversed));
        let columns = tape.op(Op::new("Gather").with("axis", 1i64), &[padded, read])?;
        let columns = tape.reshape(columns, &[self.windows(), volume * self.channels])?;
        let op = Op::new("Gemm").with("transB", i64::from(across));
        let rows = tape.op(op, &[columns, weight])?;
        let counts = sizes(&self.axes, |axis| axis.count);
        let split = [self.batch, self.windows_of_one(), self.features];
        let shape = [&[self.batch, self.features], &counts[..]].concat();
        rearrange(tape, rows, &split, &[0, 2, 1], &shape)
    }

    /// ConvTranspose with the same padding on both sides, and what is too much cut off.
    pub(super) fn transposed(
        &self,
        tape: &mut Tape,
        windows: Value,
        weight: Value,
    ) -> Result<Value> {
        let (mut pads, mut extra, mut margins) = (Vec::new(), Vec::new(), Vec::new());
        for axis in &self.axes {
            let pad = axis.before.min(axis.after).min((axis.reach() - 1) / 2);
            let surplus = (axis.after - pad) as i64 - (axis.after as i64 - axis.used_after());
            pads.push(pad as i64);
            extra.push((-surplus).max(0));
            margins.push((pad as i64 - axis.before as i64, -surplus.max(0)));
        }
        let op = self.op("ConvTranspose").with("pads", pads.repeat(2));
        let image = tape.op(op.with("output_padding", extra), &[windows, weight])?;
        frame(tape, image, 2, &margins)
    }

    /// The number of windows of all images.
    pub(super) fn windows(&self) -> usize {
        self.batch * self.windows_of_one()
    }

    /// The number of windows of one image.
    pub(super) fn windows_of_one(&self) -> usize {
        sizes(&self.axes, |axis| axis.count).iter().product()
    }

    pub(super) fn kernel(&self) -> Vec<usize> {
        sizes(&self.axes, |axis| axis.kernel)
    }

    pub(super) fn weight_shape(&self) -> Vec<usize> {
        [&[self.groups * self.features, self.channels], &self.kernel()[..]].concat()
    }

    fn op(&self, op_type: &str) -> Op {
        Op::new(op_type)
            .with("kernel_shape", signed(&self.kernel()))
            .with("strides", signed(&sizes(&self.axes, |axis| axis.stride)))
            .with("dilations", signed(&sizes(&self.axes, |axis| axis.dilation)))
            .with("group", self.groups as i64)
    }
}
