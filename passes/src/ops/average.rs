//! Gradients of average pools.

use graphs::{Op, Tensor, Value, element_count};

use super::Adjoint;
use super::patches::frame;
use super::pool::windows;
use super::window::{Axis, sizes};
use crate::{Result, Tape, signed};

/// A constant for each window is worth this many at most (64 MiB).
const MOST_WINDOWS: usize = 1 << 24;

/// Spreads every window's gradient over its elements, each of them an equal part.
pub(super) fn average_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let axes = windows(&s.call()?)?;
    let (shape, dy) = (s.shape(0)?, s.dy()?);
    let lead = shape.get(..2).unwrap_or(&[]);
    let dx = if axes.iter().all(Axis::tiles) {
        repeat(s, dy, lead, &axes)?
    } else {
        let include_pads = s.op.int("count_include_pad", 0) != 0;
        let dy = rescale(s, dy, &axes, include_pads)?;
        slide(s.tape, dy, lead, &axes)?
    };
    Ok(vec![Some(dx)])
}

fn volume(axes: &[Axis]) -> f64 {
    axes.iter().map(|axis| axis.kernel as f64).product()
}

/// The gradient where windows tile: each of its elements repeated over its window.
fn repeat(s: &mut Adjoint, dy: Value, lead: &[usize], axes: &[Axis]) -> Result<Value> {
    let part = s.number(1.0 / volume(axes))?;
    let one: Vec<usize> = axes.iter().flat_map(|axis| [axis.count, 1]).collect();
    let window: Vec<usize> = axes.iter().flat_map(|axis| [1, axis.kernel]).collect();
    let dy = s.tape.reshape(dy, &[lead, &one].concat())?;
    // By a product: tract fails where it pulls an Expand through a convolution of size 1.
    let parts = s.tape.expand(part, &window)?;
    let dy = s.apply("Mul", &[dy, parts])?;
    let merged = sizes(axes, |axis| axis.count * axis.kernel);
    let dx = s.tape.reshape(dy, &[lead, &merged].concat())?;
    let margins: Vec<_> = axes.iter().map(|axis| (0, -axis.used_after())).collect();
    frame(s.tape, dx, 2, &margins)
}

/// The gradient in general: an average with stride 1 over the windows' gradients, which
/// stand where the windows start with zeros between them.
fn slide(tape: &mut Tape, dy: Value, lead: &[usize], axes: &[Axis]) -> Result<Value> {
    let mut dy = dy;
    if axes.iter().any(|axis| axis.stride > 1) {
        let one: Vec<usize> = axes.iter().flat_map(|axis| [axis.count, 1]).collect();
        let zeros: Vec<_> =
            axes.iter().flat_map(|axis| [(0, 0), (0, axis.stride as i64 - 1)]).collect();
        dy = tape.reshape(dy, &[lead, &one].concat())?;
        dy = frame(tape, dy, 2, &zeros)?;
        let merged = sizes(axes, |axis| axis.count * axis.stride);
        dy = tape.reshape(dy, &[lead, &merged].concat())?;
    }
    let margin = |axis: &Axis| {
        let behind = (axis.size + axis.before) as i64 - (axis.count * axis.stride) as i64;
        ((axis.kernel - 1 - axis.before) as i64, behind)
    };
    let margins: Vec<_> = axes.iter().map(margin).collect();
    let dy = frame(tape, dy, 2, &margins)?;
    let kernel = signed(&sizes(axes, |axis| axis.kernel));
    tape.op(Op::new("AveragePool").with("kernel_shape", kernel), &[dy])
}

/// Where windows count fewer elements than their volume, divides by that number instead.
fn rescale(s: &mut Adjoint, dy: Value, axes: &[Axis], include_pads: bool) -> Result<Value> {
    let counted = |axis: &Axis, window: usize| {
        let start = window * axis.stride;
        let (low, high) = match include_pads {
            true => (0, axis.before + axis.size + axis.after),
            false => (axis.before, axis.before + axis.size),
        };
        (start + axis.kernel).min(high) - start.max(low)
    };
    let full = |axis: &Axis| {
        [0, axis.count - 1].iter().all(|&window| counted(axis, window) == axis.kernel)
    };
    if axes.iter().all(full) {
        return Ok(dy);
    }
    let shape = sizes(axes, |axis| axis.count);
    if element_count(&shape).is_none_or(|n| n > MOST_WINDOWS) {
        return Err(s.error(format!("{shape:?} windows are too many")));
    }
    let mut counts = vec![1.0];
    for axis in axes {
        let row: Vec<f32> = (0..axis.count).map(|window| counted(axis, window) as f32).collect();
        counts = counts.iter().flat_map(|n| row.iter().map(move |m| n * m)).collect();
    }
    let counts = s.tape.constant(Tensor::new(&shape, counts)?);
    let counts = s.tape.cast(counts, s.tape.dtype(dy)?)?;
    let volume = s.number(volume(axes))?;
    let dy = s.apply("Mul", &[dy, volume])?;
    s.apply("Div", &[dy, counts])
}

pub(super) fn global_average_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let (shape, dy) = (s.shape(0)?, s.dy()?);
    let count = shape.iter().skip(2).product::<usize>();
    let part = s.number(1.0 / count as f64)?;
    let dy = s.apply("Mul", &[dy, part])?;
    Ok(vec![Some(s.tape.expand(dy, &shape)?)])
}
