//! Sliding windows: the geometry that convolutions and pools share.

use super::Call;
use crate::Result;

/// Sizes and attributes up to here multiply and add without overflow.
const LIMIT: i64 = 1 << 30;

/// How windows lie along one spatial axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Axis {
    /// Elements that the windows slide over.
    pub(super) size: usize,
    /// Windows.
    pub(super) count: usize,
    /// Elements of a window.
    pub(super) kernel: usize,
    /// From the start of one window to the start of the next.
    pub(super) stride: usize,
    /// From one element of a window to the next.
    pub(super) dilation: usize,
    /// Padding in front.
    pub(super) before: usize,
    /// Padding behind.
    pub(super) after: usize,
}

impl Axis {
    /// From the first element of a window to its last, both counted.
    pub(super) fn extent(&self) -> usize {
        (self.kernel - 1) * self.dilation + 1
    }

    /// From the first element of the first window to the last of the last one.
    pub(super) fn reach(&self) -> usize {
        (self.count - 1) * self.stride + self.extent()
    }

    /// The padding behind that the windows use: less than `after` where they do not
    /// come to the end, negative where they do not even come to the last element, more
    /// than `after` where the last one hangs over.
    pub(super) fn used_after(&self) -> i64 {
        self.reach() as i64 - self.before as i64 - self.size as i64
    }

    /// The padding behind that lets the last window read all its elements.
    pub(super) fn margin(&self) -> usize {
        self.reach().saturating_sub(self.before + self.size)
    }

    /// True if the windows lie side by side: every element up to the last window is in
    /// exactly one of them.
    pub(super) fn tiles(&self) -> bool {
        let adjacent = self.kernel == self.stride && self.dilation == 1;
        adjacent && self.before == 0 && self.used_after() <= 0
    }
}

/// The number of elements of a window; `None` on overflow.
pub(super) fn volume(axes: &[Axis]) -> Option<usize> {
    graphs::element_count(&sizes(axes, |axis| axis.kernel))
}

/// One number of every axis.
pub(super) fn sizes(axes: &[Axis], size: fn(&Axis) -> usize) -> Vec<usize> {
    axes.iter().map(size).collect()
}

enum Padding {
    Given,
    Valid,
    SameUpper,
    SameLower,
}

/// The windows of Conv and of the pools along axes of `sizes`; with `ceil`, a last
/// window that is not full counts too, if it starts inside or in the padding in front.
///
/// # Errors
/// When an attribute is malformed or no window fits.
pub(super) fn forward(
    call: &Call,
    sizes: &[usize],
    kernel: &[usize],
    ceil: bool,
) -> Result<Vec<Axis>> {
    let mut axes = read(call, kernel)?;
    let padding = padding(call)?;
    for (axis, &size) in axes.iter_mut().zip(sizes) {
        axis.size = bounded(call, "spatial size", size as i64, 1)?;
        let missing = ((axis.size.div_ceil(axis.stride) - 1) * axis.stride + axis.extent())
            .saturating_sub(axis.size);
        match padding {
            Padding::Given => {}
            Padding::Valid => (axis.before, axis.after) = (0, 0),
            Padding::SameUpper => (axis.before, axis.after) = halves(missing),
            Padding::SameLower => (axis.after, axis.before) = halves(missing),
        }
        let padded = axis.before + axis.size + axis.after;
        let Some(room) = padded.checked_sub(axis.extent()) else {
            let reason = format!("a window of {} exceeds {padded} elements", axis.extent());
            return Err(call.error(reason));
        };
        axis.count = if ceil { room.div_ceil(axis.stride) } else { room / axis.stride } + 1;
        if ceil && (axis.count - 1) * axis.stride >= axis.size + axis.before {
            axis.count -= 1;
        }
    }
    Ok(axes)
}

/// The windows of ConvTranspose: its input, of `counts`, has one element a window; its
/// output is what they slide over.
///
/// # Errors
/// When an attribute is malformed or the output would be empty.
pub(super) fn transposed(call: &Call, counts: &[usize], kernel: &[usize]) -> Result<Vec<Axis>> {
    let mut axes = read(call, kernel)?;
    let padding = padding(call)?;
    let rank = counts.len();
    let extra = list(call, "output_padding", rank, 0)?.unwrap_or_else(|| vec![0; rank]);
    let outputs = list(call, "output_shape", rank, 1)?;
    for (i, (axis, extra)) in axes.iter_mut().zip(extra).enumerate() {
        axis.count = counts.get(i).copied().unwrap_or(0);
        axis.count = bounded(call, "spatial size", axis.count as i64, 1)?;
        let full = axis.reach() + extra;
        let wanted = outputs.as_ref().and_then(|sizes| sizes.get(i)).copied();
        let surplus = match (wanted, &padding) {
            (Some(size), _) => full.saturating_sub(size),
            (None, Padding::Given) => axis.before + axis.after,
            (None, Padding::Valid) => 0,
            (None, _) => (axis.extent() + extra).saturating_sub(axis.stride),
        };
        match padding {
            Padding::Given if wanted.is_none() => {}
            Padding::SameUpper => (axis.before, axis.after) = halves(surplus),
            _ => (axis.after, axis.before) = halves(surplus),
        }
        let size = wanted.unwrap_or_else(|| full.saturating_sub(surplus));
        axis.size = bounded(call, "size of the output", size as i64, 1)?;
        if axis.size + axis.before + axis.after >= axis.reach() + axis.stride {
            let reason = format!("output_padding must be less than the stride {}", axis.stride);
            return Err(call.error(reason));
        }
    }
    Ok(axes)
}

/// The axes as the attributes say, sizes and counts not yet known.
fn read(call: &Call, kernel: &[usize]) -> Result<Vec<Axis>> {
    let rank = kernel.len();
    if let Some(stated) = list(call, "kernel_shape", rank, 1)?.filter(|stated| stated != kernel) {
        let reason = format!("kernel_shape {stated:?} is not that of the weight, {kernel:?}");
        return Err(call.error(reason));
    }
    let strides = list(call, "strides", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let dilations = list(call, "dilations", rank, 1)?.unwrap_or_else(|| vec![1; rank]);
    let pads = list(call, "pads", 2 * rank, 0)?.unwrap_or_else(|| vec![0; 2 * rank]);
    let (before, after) = pads.split_at(rank);
    let steps = strides.iter().zip(dilations);
    let pads = before.iter().zip(after);
    let axes = kernel.iter().zip(steps).zip(pads);
    axes.map(|((&kernel, (&stride, dilation)), (&before, &after))| {
        let kernel = bounded(call, "kernel size", kernel as i64, 1)?;
        Ok(Axis { size: 1, count: 1, kernel, stride, dilation, before, after })
    })
    .collect()
}

fn padding(call: &Call) -> Result<Padding> {
    match call.op.string("auto_pad") {
        None | Some("NOTSET") => Ok(Padding::Given),
        Some("VALID") => Ok(Padding::Valid),
        Some("SAME_UPPER") => Ok(Padding::SameUpper),
        Some("SAME_LOWER") => Ok(Padding::SameLower),
        Some(other) => Err(call.error(format!("auto_pad is `{other}`"))),
    }
}

/// An attribute of `len` integers that are at least `least`, if there.
pub(super) fn list(call: &Call, name: &str, len: usize, least: i64) -> Result<Option<Vec<usize>>> {
    let Some(values) = call.op.ints(name) else { return Ok(None) };
    if values.len() != len {
        let reason = format!("{name} has {} elements instead of {len}", values.len());
        return Err(call.error(reason));
    }
    values.iter().map(|&value| bounded(call, name, value, least)).collect::<Result<_>>().map(Some)
}

fn bounded(call: &Call, what: &str, value: i64, least: i64) -> Result<usize> {
    match usize::try_from(value) {
        Ok(size) if (least..=LIMIT).contains(&value) => Ok(size),
        _ => Err(call.error(format!("the {what} {value} is not in {least}..={LIMIT}"))),
    }
}

/// Two numbers that sum to `total`, the smaller one first.
fn halves(total: usize) -> (usize, usize) {
    (total / 2, total - total / 2)
}
