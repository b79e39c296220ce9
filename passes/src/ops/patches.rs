//! What windows read, as nodes: margins, the elements under each kernel position, and
//! the way back.

use graphs::{Op, Value};

use super::window::{Axis, sizes};
use crate::{Result, Tape, signed};

/// `x` with zeros around: `margins` gives for every axis from `first` on the numbers in
/// front and behind. A negative number is cut off.
pub(super) fn frame(
    tape: &mut Tape,
    x: Value,
    first: usize,
    margins: &[(i64, i64)],
) -> Result<Value> {
    let shape = tape.shape(x)?;
    let (mut starts, mut ends) = (Vec::new(), Vec::new());
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    let axes: Vec<i64> = (first..).take(margins.len()).map(|axis| axis as i64).collect();
    for (axis, (&size, &(front, behind))) in shape.iter().skip(first).zip(margins).enumerate() {
        starts.push((-front).max(0));
        ends.push(size as i64 - (-behind).max(0));
        before[first + axis] = front.max(0);
        after[first + axis] = behind.max(0);
    }
    let mut x = x;
    if margins.iter().any(|&(front, behind)| front < 0 || behind < 0) {
        x = tape.slice(x, &axes, &starts, &ends, &vec![1; axes.len()])?;
    }
    if margins.iter().any(|&(front, behind)| front > 0 || behind > 0) {
        let pads = tape.ints(&[before, after].concat());
        x = tape.apply("Pad", &[x, pads])?;
    }
    Ok(x)
}

/// For every kernel position, row-major, what the windows read there: one element a
/// window. The spatial axes of `x` are those from `first` on.
pub(super) fn taps(
    tape: &mut Tape,
    x: Value,
    first: usize,
    axes: &[Axis],
) -> Result<Vec<Value>> {
    let margins: Vec<(i64, i64)> =
        axes.iter().map(|axis| (axis.before as i64, axis.used_after().max(0))).collect();
    let x = frame(tape, x, first, &margins)?;
    let shape = tape.shape(x)?;
    if sizes(axes, |axis| axis.kernel * axis.stride).iter().all(|&n| n == 1)
        && shape.iter().skip(first).zip(axes).all(|(&size, axis)| size == axis.count)
    {
        return Ok(vec![x]);
    }
    let numbers: Vec<i64> = (first..).take(axes.len()).map(|axis| axis as i64).collect();
    let strides = signed(&sizes(axes, |axis| axis.stride));
    let tap = |starts: Vec<i64>| {
        let last = |(&start, axis): (&i64, &Axis)| start + ((axis.count - 1) * axis.stride) as i64;
        let ends: Vec<i64> = starts.iter().zip(axes).map(|at| last(at) + 1).collect();
        tape.slice(x, &numbers, &starts, &ends, &strides)
    };
    offsets(axes).into_iter().map(tap).collect()
}

/// Where the elements of a window lie, row-major, counted from its first.
fn offsets(axes: &[Axis]) -> Vec<Vec<i64>> {
    axes.iter().fold(vec![vec![]], |heads: Vec<Vec<i64>>, axis| {
        let steps = 0..axis.kernel;
        let longer = |head: &Vec<i64>| -> Vec<Vec<i64>> {
            let step = |i| [head.as_slice(), &[(i * axis.dilation) as i64]].concat();
            steps.clone().map(step).collect()
        };
        heads.iter().flat_map(longer).collect()
    })
}

/// The inverse of [`taps`] for windows that tile: from one `[N, C, windows..]` a kernel
/// position to `[N, C, sizes..]`, zero where no window comes; `lead` is `[N, C]`.
pub(super) fn interleave(
    tape: &mut Tape,
    taps: &[Value],
    lead: &[usize],
    axes: &[Axis],
) -> Result<Value> {
    let mut x = tape.op(Op::new("Concat").with("axis", 1), taps)?;
    if let [rows, columns] = axes
        && rows.kernel == columns.kernel
    {
        let op = Op::new("DepthToSpace").with("blocksize", rows.kernel as i64);
        x = tape.op(op, &[x])?;
    } else {
        let (kernel, counts) = (sizes(axes, |axis| axis.kernel), sizes(axes, |axis| axis.count));
        let (outer, channels) = lead.split_at(lead.len().min(1));
        let split = [outer, &kernel, channels, &counts].concat();
        let rank = axes.len();
        let pairs = (0..rank).flat_map(|i| [2 + rank + i, 1 + i]);
        let order: Vec<usize> = [0, 1 + rank].into_iter().chain(pairs).collect();
        let merged = sizes(axes, |axis| axis.count * axis.kernel);
        x = rearrange(tape, x, &split, &order, &[lead, &merged].concat())?;
    }
    let margins: Vec<(i64, i64)> = axes.iter().map(|axis| (0, -axis.used_after())).collect();
    frame(tape, x, 2, &margins)
}

/// `x` seen as `split`, its axes in another order, then seen as `shape`, by a Transpose
/// of as few axes as possible: engines are quick with few.
pub(super) fn rearrange(
    tape: &mut Tape,
    x: Value,
    split: &[usize],
    order: &[usize],
    shape: &[usize],
) -> Result<Value> {
    let size = |axis: usize| split.get(axis).copied().unwrap_or(1);
    // Axes that stay side by side, as (the first of them, their common size).
    let mut runs: Vec<(usize, usize)> = Vec::new();
    let mut last = None;
    for &axis in order.iter().filter(|&&axis| size(axis) != 1) {
        let before = (0..axis).rev().find(|&axis| size(axis) != 1);
        match runs.last_mut() {
            Some((_, product)) if before.is_some() && before == last => *product *= size(axis),
            _ => runs.push((axis, size(axis))),
        }
        last = Some(axis);
    }
    let mut x = x;
    if runs.len() > 1 {
        let mut sources = runs.clone();
        sources.sort_unstable();
        let merged: Vec<usize> = sources.iter().map(|&(_, size)| size).collect();
        x = tape.reshape(x, &merged)?;
        let order: Vec<usize> =
            runs.iter().filter_map(|run| sources.iter().position(|s| s == run)).collect();
        x = tape.transpose(x, &order)?;
    }
    tape.reshape(x, shape)
}
