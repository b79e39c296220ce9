//! What windows read, as nodes: margins, the elements under each kernel position, and
//! the way back.

use graphs::{Op, Value};

use super::window::{Axis, sizes};
use crate::{Result, Tape};

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
///
/// An axis with a stride is split into positions and phases, and both are cut: tract
/// fails on some Slices with steps behind a Reshape.
pub(super) fn taps(tape: &mut Tape, x: Value, first: usize, axes: &[Axis]) -> Result<Vec<Value>> {
    let strided = |axis: &Axis| axis.stride > 1 && axis.count > 1;
    let (mut margins, mut split) = (Vec::new(), Vec::new());
    for axis in axes {
        let step = if strided(axis) { axis.stride } else { 1 };
        let length = (axis.before + axis.size + axis.margin()).next_multiple_of(step);
        margins.push((axis.before as i64, (length - axis.before - axis.size) as i64));
        split.push(length / step);
        split.extend(strided(axis).then_some(step));
    }
    let shape = tape.shape(x)?;
    let lead = shape.get(..first).unwrap_or(&[]);
    let rest = shape.get(first + axes.len()..).unwrap_or(&[]);
    let x = frame(tape, x, first, &margins)?;
    let x = tape.reshape(x, &[lead, &split, rest].concat())?;
    let counts = [lead, &sizes(axes, |axis| axis.count), rest].concat();
    let tap = |offset: Vec<usize>| {
        let mut spans = Vec::new();
        for (axis, at) in axes.iter().zip(offset) {
            match strided(axis) {
                true => spans.extend([(at / axis.stride, axis.count), (at % axis.stride, 1)]),
                false => spans.push((at, axis.count)),
            }
        }
        let outside = |(&(start, length), &size): (&(usize, usize), &usize)| {
            (-(start as i64), (start + length) as i64 - size as i64)
        };
        let cut: Vec<_> = spans.iter().zip(&split).map(outside).collect();
        let tap = frame(tape, x, first, &cut)?;
        tape.reshape(tap, &counts)
    };
    offsets(axes).into_iter().map(tap).collect()
}

/// As [`taps`], of an image `[N, C, H, W]` under windows of stride 1: `[N * counts, C]` for every
/// kernel position. It is cut with columns and channels as one axis: an engine that stores
/// channels last then moves nothing but what it cuts.
pub(super) fn row_taps(tape: &mut Tape, image: Value, axes: [Axis; 2]) -> Result<Vec<Value>> {
    let image =
        frame(tape, image, 2, &axes.map(|axis| (axis.before as i64, axis.margin() as i64)))?;
    let shape = tape.shape(image)?;
    let &[batch, channels, height, width] = shape.as_slice() else {
        return Err(tape.error(image, "is no image [N, C, H, W]"));
    };
    let merged = [batch, height, width * channels];
    let image = rearrange(tape, image, &shape, &[0, 2, 3, 1], &merged)?;
    let [rows, columns] = axes.map(|axis| axis.count);
    let tap = |offset: Vec<usize>| {
        let cut = |(at, (count, size, step)): (usize, (usize, usize, usize))| {
            (-((at * step) as i64), ((at + count) * step) as i64 - (size * step) as i64)
        };
        let axes = [(rows, height, 1), (columns, width, channels)];
        let cut: Vec<_> = offset.into_iter().zip(axes).map(cut).collect();
        let tap = frame(tape, image, 1, &cut)?;
        tape.reshape(tap, &[batch * rows * columns, channels])
    };
    offsets(&axes).into_iter().map(tap).collect()
}

/// Where the elements of a window lie, row-major, counted from its first.
pub(super) fn offsets(axes: &[Axis]) -> Vec<Vec<usize>> {
    axes.iter().fold(vec![vec![]], |heads: Vec<Vec<usize>>, axis| {
        let longer = |head: Vec<usize>| {
            let step = move |i| [&head[..], &[i * axis.dilation]].concat();
            (0..axis.kernel).map(step)
        };
        heads.into_iter().flat_map(longer).collect()
    })
}

/// For every window and every kernel position (backwards when `reversed`), row-major, which
/// element of an image it reads; the one behind the last stands for padding.
pub(super) fn under_windows(axes: &[Axis], reversed: bool) -> Vec<i64> {
    let positions: usize = sizes(axes, |axis| axis.kernel).iter().product();
    let windows: usize = sizes(axes, |axis| axis.count).iter().product();
    let places: usize = sizes(axes, |axis| axis.size).iter().product();
    let read = |window: usize, position: usize| {
        let (mut window, mut position) = (window, position);
        let (mut place, mut scale) = (0, 1);
        for axis in axes.iter().rev() {
            let at = window % axis.count * axis.stride + position % axis.kernel * axis.dilation;
            let inside = at.checked_sub(axis.before).filter(|&at| at < axis.size);
            let Some(at) = inside else { return places as i64 };
            place += at * scale;
            (window, position) = (window / axis.count, position / axis.kernel);
            scale *= axis.size;
        }
        place as i64
    };
    let order = |position| if reversed { positions - 1 - position } else { position };
    (0..windows)
        .flat_map(|window| (0..positions).map(move |position| (window, order(position))))
        .map(|(window, position)| read(window, position))
        .collect()
}

/// For windows that tile: from what each kernel position holds, `[N, C, counts..]`, to
/// `[N, C, sizes..]`, zero behind the last window; `lead` is `[N, C]`.
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

/// `x` seen as `split`, its axes in another order, then seen as `shape`. Axes of size 1
/// are left out: engines are quick where a single axis moves.
pub(super) fn rearrange(
    tape: &mut Tape,
    x: Value,
    split: &[usize],
    order: &[usize],
    shape: &[usize],
) -> Result<Value> {
    let kept: Vec<usize> = (0..split.len()).filter(|&axis| split.get(axis) != Some(&1)).collect();
    let order: Vec<usize> =
        order.iter().filter_map(|axis| kept.iter().position(|kept| kept == axis)).collect();
    let mut x = x;
    if !order.is_sorted() {
        let split: Vec<usize> = kept.iter().filter_map(|&axis| split.get(axis)).copied().collect();
        x = tape.reshape(x, &split)?;
        x = tape.transpose(x, &order)?;
    }
    tape.reshape(x, shape)
}
