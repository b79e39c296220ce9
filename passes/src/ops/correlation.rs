//! The gradient of a convolution with respect to its weight, in all its forms.

use graphs::{Op, Value};

use super::convolution::Convolution;
use super::patches::{frame, rearrange, row_taps, taps};
use super::schedule::{self, WeightForm};
use super::window::{Axis, sizes};
use crate::{Result, Tape};

/// Windows as the matrix that the weight's gradient is a product of.
#[derive(Clone, Copy)]
enum Rows {
    /// `[groups, O / groups, N * counts]`.
    Features(Value),
    /// `[N * counts, O]`, as they lie in memory where channels are stored last; of one group.
    Windows(Value),
}

impl Convolution {
    /// Image and windows to weight.
    pub(super) fn correlate(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        match schedule::weight(self, tape.forms) {
            WeightForm::Tiles => self.tiles(tape, image, windows),
            WeightForm::Columns => self.columns(tape, image, windows),
            WeightForm::Taps => self.taps(tape, image, windows),
            WeightForm::Products => self.products(tape, image, windows),
            WeightForm::Exchanged => self.exchanged(tape, image, windows),
        }
    }

    fn tiles(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        let cut: Vec<_> = self.axes.iter().map(|axis| (0, axis.used_after())).collect();
        let image = frame(tape, image, 2, &cut)?;
        let pairs = self.axes.iter().flat_map(|axis| [axis.count, axis.kernel]);
        let lead = [self.batch, self.groups, self.channels];
        let split: Vec<usize> = lead.into_iter().chain(pairs).collect();
        let counts = (3..split.len()).step_by(2);
        let kernel = (4..split.len()).step_by(2);
        let order: Vec<usize> = [1, 0].into_iter().chain(counts).chain([2]).chain(kernel).collect();
        let width = self.channels * self.kernel().iter().product::<usize>();
        let shape = [self.groups, self.windows(), width];
        let columns = rearrange(tape, image, &split, &order, &shape)?;
        let rows = self.rows(tape, windows)?;
        let product = self.contract(tape, rows, columns)?;
        tape.reshape(product, &self.weight_shape())
    }

    fn columns(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        let taps = self.channels_last(tape, image)?;
        let columns = match taps.as_slice() {
            [tap] => *tap,
            taps => tape.op(Op::new("Concat").with("axis", -1), taps)?,
        };
        let width = taps.len() * self.channels;
        let columns = tape.reshape(columns, &[self.groups, self.windows(), width])?;
        let rows = self.rows(tape, windows)?;
        let product = self.contract(tape, rows, columns)?;
        let split = [self.groups * self.features, taps.len(), self.channels];
        rearrange(tape, product, &split, &[0, 2, 1], &self.weight_shape())
    }

    fn taps(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        let rows = self.rows(tape, windows)?;
        let shape = [self.groups * self.features, 1, self.channels];
        let mut products = Vec::new();
        for tap in self.channels_last(tape, image)? {
            let tap = tape.reshape(tap, &[self.groups, self.windows(), self.channels])?;
            let product = self.contract(tape, rows, tap)?;
            products.push(tape.reshape(product, &shape)?);
        }
        let product = tape.op(Op::new("Concat").with("axis", 1i64), &products)?;
        let split = [self.groups * self.features, products.len(), self.channels];
        rearrange(tape, product, &split, &[0, 2, 1], &self.weight_shape())
    }

    fn products(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        let over: Vec<usize> = (0..self.axes.len() + 2).filter(|&axis| axis != 1).collect();
        let mut products = Vec::new();
        for tap in taps(tape, image, 2, &self.axes)? {
            let product = tape.apply("Mul", &[tap, windows])?;
            let sum = tape.reduce_sum(product, &over, false)?;
            products.push(tape.reshape(sum, &[1, self.groups])?);
        }
        let product = tape.op(Op::new("Concat").with("axis", 0i64), &products)?;
        let split = [products.len(), self.groups];
        rearrange(tape, product, &split, &[1, 0], &self.weight_shape())
    }

    /// Conv in which the windows are the weight, dilated by the stride.
    fn exchanged(&self, tape: &mut Tape, image: Value, windows: Value) -> Result<Value> {
        let (sized, counts) = (sizes(&self.axes, |a| a.size), sizes(&self.axes, |a| a.count));
        let split = [self.batch, self.groups, self.channels, sized.iter().product()];
        let shape = [&[self.channels, self.groups * self.batch], &sized[..]].concat();
        let image = rearrange(tape, image, &split, &[2, 1, 0, 3], &shape)?;
        let features = self.groups * self.features;
        let split = [self.batch, features, counts.iter().product()];
        let shape = [&[features, self.batch], &counts[..]].concat();
        let windows = rearrange(tape, windows, &split, &[1, 0, 2], &shape)?;
        let exchange = |axis: &Axis| Axis {
            count: axis.kernel,
            kernel: axis.count,
            stride: axis.dilation,
            dilation: axis.stride,
            ..*axis
        };
        let axes = self.axes.iter().map(exchange).collect();
        let exchanged = Convolution { axes, ..*self };
        let product = exchanged.convolve(tape, image, windows)?;
        let split = [self.channels, features, self.kernel().iter().product()];
        rearrange(tape, product, &split, &[1, 0, 2], &self.weight_shape())
    }

    fn rows(&self, tape: &mut Tape, windows: Value) -> Result<Rows> {
        if schedule::channels_last(self, tape.forms) {
            let counts = sizes(&self.axes, |axis| axis.count);
            let split = [&[self.batch, self.features], &counts[..]].concat();
            let shape = [self.windows(), self.features];
            return rearrange(tape, windows, &split, &self.last(), &shape).map(Rows::Windows);
        }
        let count = self.windows_of_one();
        let split = [self.batch, self.groups, self.features, count];
        let shape = [self.groups, self.features, self.windows()];
        rearrange(tape, windows, &split, &[1, 2, 0, 3], &shape).map(Rows::Features)
    }

    /// The sum over all windows of `columns` `[groups, N * counts, width]` times what the
    /// windows hold: `[groups, O / groups, width]`, or without the first axis.
    fn contract(&self, tape: &mut Tape, rows: Rows, columns: Value) -> Result<Value> {
        match rows {
            Rows::Features(rows) => tape.apply("MatMul", &[rows, columns]),
            Rows::Windows(rows) => {
                let width = tape.shape(columns)?.last().copied().unwrap_or(1);
                let columns = tape.reshape(columns, &[self.windows(), width])?;
                tape.op(Op::new("Gemm").with("transA", 1i64), &[rows, columns])
            }
        }
    }

    /// The image under each kernel position, `[groups, N, counts.., C / groups]` or `[N *
    /// counts, C]`.
    fn channels_last(&self, tape: &mut Tape, image: Value) -> Result<Vec<Value>> {
        if schedule::channels_last(self, tape.forms)
            && let &[rows, columns] = self.axes.as_slice()
            && [rows, columns].iter().all(|axis| axis.stride == 1)
        {
            return row_taps(tape, image, [rows, columns]);
        }
        let sized = sizes(&self.axes, |axis| axis.size);
        let split = [&[self.batch, self.groups, self.channels], &sized[..]].concat();
        let order: Vec<usize> = [1, 0].into_iter().chain(3..split.len()).chain([2]).collect();
        let shape = [&[self.groups, self.batch], &sized[..], &[self.channels]].concat();
        let image = rearrange(tape, image, &split, &order, &shape)?;
        taps(tape, image, 2, &self.axes)
    }

    /// Puts channels behind the spatial axes.
    fn last(&self) -> Vec<usize> {
        let rank = self.axes.len() + 2;
        [0].into_iter().chain(2..rank).chain([1]).collect()
    }
}
