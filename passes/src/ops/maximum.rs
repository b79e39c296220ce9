//! Gradients of maximum pools. A window's gradient goes to exactly one of its elements:
//! the first of the greatest, row-major, as in PyTorch. After a ReLU most windows of
//! small values are such ties, of zeros.

use graphs::{Op, Tensor, Value, element_count};

use super::Adjoint;
use super::patches::{frame, interleave, offsets, rearrange};
use super::pool::windows;
use super::schedule::{self, MaxForm};
use super::window::{Axis, sizes};
use crate::{Result, signed};

pub(super) fn max_pool_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let axes = windows(&s.call()?)?;
    let dx = match schedule::max(&axes, s.tape.forms) {
        MaxForm::Taps => by_taps(s, &axes)?,
        MaxForm::Places => by_places(s, &axes)?,
        MaxForm::Ranks => by_ranks(s, &axes)?,
        MaxForm::Indices => {
            let mut pool = s.op.clone();
            pool.attributes.remove("storage_order");
            let overlap = axes.iter().any(|axis| axis.stride < axis.extent());
            by_indices(s, s.x(0)?, pool, overlap)?
        }
    };
    Ok(vec![Some(dx)])
}

pub(super) fn global_max_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let (x, shape) = (s.x(0)?, s.shape(0)?);
    let count: usize = shape.iter().skip(2).product();
    let flat: Vec<usize> = shape.iter().take(2).copied().chain([count]).collect();
    let flat = s.tape.reshape(x, &flat)?;
    let pool = Op::new("MaxPool").with("kernel_shape", vec![count as i64]);
    Ok(vec![Some(by_indices(s, flat, pool, false)?)])
}

/// Position after position: where a window's maximum stands, it takes what is left of
/// the window's gradient.
fn by_taps(s: &mut Adjoint, axes: &[Axis]) -> Result<Value> {
    let (x, y, mut left) = (s.x(0)?, s.y(0), s.dy()?);
    let lead: Vec<usize> = s.shape(0)?.into_iter().take(2).collect();
    let zero = s.number(0.0)?;
    let mut starts = offsets(axes);
    // What no other position took is the last one's.
    starts.pop();
    let mut parts = Vec::new();
    let numbers: Vec<i64> = (2..).take(axes.len()).collect();
    let steps = signed(&sizes(axes, |axis| axis.stride));
    let ends = signed(&sizes(axes, |axis| axis.count * axis.stride));
    for start in starts {
        let tap = s.tape.slice(x, &numbers, &signed(&start), &ends, &steps)?;
        let wins = s.apply("Equal", &[tap, y])?;
        parts.push(s.apply("Where", &[wins, left, zero])?);
        left = s.apply("Where", &[wins, zero, left])?;
    }
    parts.push(left);
    interleave(s.tape, &parts, &lead, axes)
}

/// Which position of its window each maximum has, found at the size of the windows, position
/// after position in rows of channels; a position has the gradient where it is that one. An
/// engine that stores channels last moves nothing but what it compares.
fn by_places(s: &mut Adjoint, axes: &[Axis]) -> Result<Value> {
    let (x, y, dy) = (s.x(0)?, s.y(0), s.dy()?);
    let shape = s.tape.shape(y)?;
    let (&[batch, channels, rows, columns], [high, wide]) = (&shape[..], axes) else {
        return Err(s.error(format!("{shape:?} is no image [N, C, H, W]")));
    };
    let (high, wide) = (high.kernel, wide.kernel);
    let cut: Vec<_> = axes.iter().map(|axis| (0, axis.used_after())).collect();
    let x = frame(s.tape, x, 2, &cut)?;
    let [x, y, dy] = [
        (x, vec![batch * rows, high, columns, wide * channels]),
        (y, vec![batch * rows, 1, columns, channels]),
        (dy, vec![batch, rows, 1, columns, 1, channels]),
    ]
    .map(|(value, shape)| {
        let found = s.tape.shape(value)?;
        rearrange(s.tape, value, &found, &[0, 2, 3, 1], &shape)
    });
    let (x, y, dy) = (x?, y?, dy?);
    // What no other position takes is the last one's.
    let mut place = s.number((high * wide - 1) as f64)?;
    for at in (0..high * wide - 1).rev() {
        let (row, column) = (at / wide, at % wide * channels);
        let (start, end) = ([row, column], [row + 1, column + channels]);
        let tap = s.tape.slice(x, &[1, 3], &signed(&start), &signed(&end), &[1, 1])?;
        let wins = s.apply("Equal", &[tap, y])?;
        let at = s.number(at as f64)?;
        place = s.apply("Where", &[wins, at, place])?;
    }
    let place = s.tape.reshape(place, &[batch, rows, 1, columns, 1, channels])?;
    let places = (0..high * wide).map(|at| at as f32).collect();
    let places = s.tape.constant(Tensor::new(&[1, 1, high, 1, wide, 1], places)?);
    let places = s.tape.cast(places, s.tape.dtype(dy)?)?;
    let wins = s.apply("Equal", &[places, place])?;
    let zero = s.number(0.0)?;
    let dx = s.apply("Where", &[wins, dy, zero])?;
    let split = [batch, rows * high, columns * wide, channels];
    let shape = [batch, channels, rows * high, columns * wide];
    let dx = s.tape.reshape(dx, &split)?;
    let dx = rearrange(s.tape, dx, &split, &[0, 3, 1, 2], &shape)?;
    let cut: Vec<_> = cut.into_iter().map(|(front, behind)| (front, -behind)).collect();
    frame(s.tape, dx, 2, &cut)
}

/// At full size: the elements that equal the maximum of their window get ranks, the first
/// one the highest, and a pool of the ranks tells whose the gradient is.
fn by_ranks(s: &mut Adjoint, axes: &[Axis]) -> Result<Value> {
    let (x, y, dy) = (s.x(0)?, s.y(0), s.dy()?);
    let dtype = s.tape.dtype(x)?;
    let cut: Vec<_> = axes.iter().map(|axis| (0, axis.used_after())).collect();
    let x = frame(s.tape, x, 2, &cut)?;
    let top = enlarge(s, y, axes)?;
    let equal = s.apply("Equal", &[x, top])?;
    let equal = s.tape.cast(equal, dtype)?;
    let ranks = ranks(axes)?;
    let ranks = s.tape.constant(ranks);
    let ranks = s.tape.cast(ranks, dtype)?;
    let ranks = s.apply("Mul", &[equal, ranks])?;
    let pool = Op::new("MaxPool")
        .with("kernel_shape", signed(&sizes(axes, |axis| axis.kernel)))
        .with("strides", signed(&sizes(axes, |axis| axis.stride)));
    let first = s.tape.op(pool, &[ranks])?;
    let first = enlarge(s, first, axes)?;
    let wins = s.apply("Equal", &[ranks, first])?;
    let wins = s.tape.cast(wins, dtype)?;
    let dy = enlarge(s, dy, axes)?;
    let dx = s.apply("Mul", &[dy, wins])?;
    let cut: Vec<_> = cut.into_iter().map(|(front, behind)| (front, -behind)).collect();
    frame(s.tape, dx, 2, &cut)
}

/// Ranks for one channel of one image, `[1, 1, sizes..]`: in every window from its volume
/// down to 1.
fn ranks(axes: &[Axis]) -> Result<Tensor> {
    let sized: Vec<usize> = axes.iter().map(|axis| axis.count * axis.kernel).collect();
    let volume: usize = sizes(axes, |axis| axis.kernel).iter().product();
    let count: usize = sized.iter().product();
    let rank = |mut at: usize| {
        let (mut place, mut scale) = (0, 1);
        for (axis, &size) in axes.iter().zip(&sized).rev() {
            place += at % size % axis.kernel * scale;
            scale *= axis.kernel;
            at /= size;
        }
        (volume - place) as f32
    };
    let shape = [&[1, 1], &sized[..]].concat();
    Ok(Tensor::new(&shape, (0..count).map(rank).collect())?)
}

/// Every element as often as its window has elements.
fn enlarge(s: &mut Adjoint, x: Value, axes: &[Axis]) -> Result<Value> {
    let kernel = axes.iter().map(|axis| axis.kernel as f32);
    let scales: Vec<f32> = [1.0, 1.0].into_iter().chain(kernel).collect();
    let scales = s.tape.constant(Tensor::vector(&scales));
    let resize = Op::new("Resize")
        .with("mode", "nearest")
        .with("coordinate_transformation_mode", "asymmetric")
        .with("nearest_mode", "floor");
    Ok(s.tape.call(resize, &[Some(x), None, Some(scales)], 1)?.into())
}

/// To where `pool`, applied to `x`, says that it found each maximum.
fn by_indices(s: &mut Adjoint, x: Value, pool: Op, overlap: bool) -> Result<Value> {
    let (dy, shape) = (s.dy()?, s.shape(0)?);
    let indices = Value { node: s.tape.call(pool, &[Some(x)], 2)?, slot: 1 };
    let too_large = || s.error(format!("a tensor of {shape:?} is too large"));
    let total = element_count(&shape).ok_or_else(too_large)?;
    let count = element_count(&s.tape.shape(dy)?).ok_or_else(too_large)?;
    let zero = s.number(0.0)?;
    let zeros = s.tape.expand(zero, &[total])?;
    let indices = s.tape.reshape(indices, &[count])?;
    let dy = s.tape.reshape(dy, &[count])?;
    let scatter = Op::new("ScatterElements").with("axis", 0i64);
    let scatter = if overlap { scatter.with("reduction", "add") } else { scatter };
    let dx = s.tape.op(scatter, &[zeros, indices, dy])?;
    s.tape.reshape(dx, &shape)
}
