//! Convolutions of 3x3 with strides of 1 by minimal filtering, F(2x2, 3x3) (Lavin and Gray, "Fast
//! algorithms for convolutional neural networks", 2016, section 4.1): 16 products of channels for
//! four windows in place of 36. The sums in front of them and behind are products with constant
//! matrices, for the images are small.

use graphs::{Op, Tensor, Value};

use super::convolution::Convolution;
use super::patches::rearrange;
use super::window::Axis;
use crate::{Result, Tape};

/// Elements of a tile along one axis, and products.
const TILE: usize = 4;
/// Windows of a tile along one axis.
const WINDOWS: usize = 2;
const KERNEL: usize = 3;
/// The most windows of an image: the matrices of the sums grow with their square.
const LIMIT: usize = 64;

/// The sums of a tile that are multiplied (B transposed in the paper).
const IMAGE: [[f32; TILE]; TILE] =
    [[1.0, 0.0, -1.0, 0.0], [0.0, 1.0, 1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [0.0, 1.0, 0.0, -1.0]];
/// The sums of weights that they are multiplied with (G).
const WEIGHT: [[f32; KERNEL]; TILE] =
    [[1.0, 0.0, 0.0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0.0, 0.0, 1.0]];
/// The products that a window sums (A transposed).
const SUMS: [[f32; TILE]; WINDOWS] = [[1.0, 1.0, 1.0, 0.0], [0.0, 1.0, -1.0, -1.0]];

/// A convolution that is computed so.
pub(super) struct Winograd {
    axes: [Axis; 2],
    batch: usize,
    channels: usize,
    features: usize,
}

impl Winograd {
    /// `None` for another kernel, for large images, and where so few windows of a tile are used
    /// that direct products are no more.
    pub(super) fn of(conv: &Convolution) -> Option<Winograd> {
        let &[rows, columns] = conv.axes.as_slice() else { return None };
        let fits = |axis: Axis| axis.kernel == KERNEL && axis.stride == 1 && axis.dilation == 1;
        let windows = rows.count.saturating_mul(columns.count);
        if conv.groups > 1 || !fits(rows) || !fits(columns) || windows > LIMIT {
            return None;
        }
        let multiplied = TILE * TILE * tiles(&rows) * tiles(&columns);
        let direct = KERNEL * KERNEL * windows;
        let &Convolution { batch, channels, features, .. } = conv;
        (4 * multiplied <= 3 * direct).then_some(Winograd {
            axes: [rows, columns],
            batch,
            channels,
            features,
        })
    }

    /// Elements of the larger side of the products.
    pub(super) fn operand(&self) -> usize {
        let [rows, columns] = &self.axes;
        let channels = self.channels.max(self.features);
        let sizes = [TILE, TILE, tiles(rows), tiles(columns), self.batch, channels];
        sizes.into_iter().fold(1, usize::saturating_mul)
    }

    /// As [`Convolution::convolve`].
    pub(super) fn convolve(&self, tape: &mut Tape, image: Value, weight: Value) -> Result<Value> {
        let weight = self.filter(tape, weight)?;
        let weight = tape.transpose(weight, &[0, 2, 1])?;
        let (products, places, windows) = self.counts();
        let sums = |row, place| self.image(row, place);
        let x = across(tape, image, self.batch * self.channels, places)?;
        let x = multiply(tape, [products, places], sums, x)?;
        let x = tape.reshape(x, &[TILE * TILE, self.tiles(), self.channels])?;
        let y = tape.apply("MatMul", &[x, weight])?;
        let y = tape.reshape(y, &[products, self.batch * self.features])?;
        let y = multiply(tape, [windows, products], |window, row| self.sum(window, row), y)?;
        let [rows, columns] = self.axes.map(|axis| axis.count);
        back(tape, y, &[self.batch, self.features, rows, columns])
    }

    /// As [`Convolution::spread`]: the same products, the other way.
    pub(super) fn spread(&self, tape: &mut Tape, windows: Value, weight: Value) -> Result<Value> {
        let weight = self.filter(tape, weight)?;
        let (products, places, count) = self.counts();
        let y = across(tape, windows, self.batch * self.features, count)?;
        let y = multiply(tape, [products, count], |row, window| self.sum(window, row), y)?;
        let y = tape.reshape(y, &[TILE * TILE, self.tiles(), self.features])?;
        let x = tape.apply("MatMul", &[y, weight])?;
        let x = tape.reshape(x, &[products, self.batch * self.channels])?;
        let x = multiply(tape, [places, products], |place, row| self.image(row, place), x)?;
        let [rows, columns] = self.axes.map(|axis| axis.size);
        back(tape, x, &[self.batch, self.channels, rows, columns])
    }

    /// The sums of weights, `[16, O, C]`: the same calls in both directions, which
    /// [`crate::share::Share`] makes one.
    fn filter(&self, tape: &mut Tape, weight: Value) -> Result<Value> {
        let filters = self.features * self.channels;
        let rows = tape.reshape(weight, &[filters, KERNEL * KERNEL])?;
        let sums = |row: usize, at: usize| {
            WEIGHT[row / TILE][at / KERNEL] * WEIGHT[row % TILE][at % KERNEL]
        };
        let sums = constant(tape, [TILE * TILE, KERNEL * KERNEL], sums, rows)?;
        let sums = tape.op(Op::new("Gemm").with("transB", 1i64), &[sums, rows])?;
        tape.reshape(sums, &[TILE * TILE, self.features, self.channels])
    }

    /// Products of all tiles of an image, its places, its windows.
    fn counts(&self) -> (usize, usize, usize) {
        let [rows, columns] = &self.axes;
        let products = TILE * TILE * tiles(rows) * tiles(columns);
        (products, rows.size * columns.size, rows.count * columns.count)
    }

    /// Tiles of all images.
    fn tiles(&self) -> usize {
        self.axes.iter().map(tiles).product::<usize>() * self.batch
    }

    /// The factor of an image's element in the sum number `row`, tiles counted first.
    fn image(&self, row: usize, place: usize) -> f32 {
        let [rows, columns] = &self.axes;
        let factor = |axis: &Axis, (number, tile): (usize, usize), place: usize| {
            let at = (place + axis.before).checked_sub(WINDOWS * tile);
            at.and_then(|at| IMAGE[number].get(at)).copied().unwrap_or(0.0)
        };
        let [high, wide] = self.split(row);
        factor(rows, high, place / columns.size) * factor(columns, wide, place % columns.size)
    }

    /// The factor of the product number `row` in a window.
    fn sum(&self, window: usize, row: usize) -> f32 {
        let [_, columns] = &self.axes;
        let factor = |(number, tile): (usize, usize), window: usize| {
            if window / WINDOWS == tile { SUMS[window % WINDOWS][number] } else { 0.0 }
        };
        let [high, wide] = self.split(row);
        factor(high, window / columns.count) * factor(wide, window % columns.count)
    }

    /// (number, tile) along both axes.
    fn split(&self, row: usize) -> [(usize, usize); 2] {
        let [high, wide] = self.axes.each_ref().map(tiles);
        let (number, tile) = (row / (high * wide), row % (high * wide));
        [(number / TILE, tile / wide), (number % TILE, tile % wide)]
    }
}

fn tiles(axis: &Axis) -> usize {
    axis.count.div_ceil(WINDOWS)
}

/// `[N, C, sizes..]` as `[places, N * C]`.
fn across(tape: &mut Tape, x: Value, lead: usize, places: usize) -> Result<Value> {
    rearrange(tape, x, &[lead, places], &[1, 0], &[places, lead])
}

/// `[places, N * C]` as `shape`, `[N, C, sizes..]`.
fn back(tape: &mut Tape, x: Value, shape: &[usize; 4]) -> Result<Value> {
    let [batch, channels, rows, columns] = shape;
    rearrange(tape, x, &[rows * columns, batch * channels], &[1, 0], shape)
}

/// A matrix of those elements times `x`.
fn multiply(
    tape: &mut Tape,
    shape: [usize; 2],
    element: impl Fn(usize, usize) -> f32,
    x: Value,
) -> Result<Value> {
    let matrix = constant(tape, shape, element, x)?;
    tape.apply("MatMul", &[matrix, x])
}

/// A matrix of the type of `like`.
fn constant(
    tape: &mut Tape,
    [rows, columns]: [usize; 2],
    element: impl Fn(usize, usize) -> f32,
    like: Value,
) -> Result<Value> {
    let elements = (0..rows * columns).map(|i| element(i / columns, i % columns)).collect();
    let matrix = tape.constant(Tensor::new(&[rows, columns], elements)?);
    tape.cast(matrix, tape.dtype(like)?)
}
