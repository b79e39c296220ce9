//! Pooling with one to three spatial axes, and over all of them at once.

use graphs::{DType, Fact, Op, Tensor, Value, element_count};

use super::maximum::{global_max_gradient, max_pool_gradient};
use super::patches::frame;
use super::window::{self, Axis, list, sizes};
use super::{Adjoint, Call, Case, Def, Gradient, case};
use crate::{Result, Tape, signed};

/// A constant for each window is worth this many at most (64 MiB).
const MOST_WINDOWS: usize = 1 << 24;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "MaxPool",
        infer: |call| {
            let axes = windows(call)?;
            let shape = pooled(call, &axes)?;
            Ok(vec![Fact::new(call.dtype(0)?, &shape), Fact::new(DType::I64, &shape)])
        },
        gradient: Gradient::Rule(max_pool_gradient),
        eval: None,
        cases: max_cases,
    },
    Def {
        op: "AveragePool",
        infer: |call| {
            let axes = windows(call)?;
            if axes.iter().any(|axis| axis.dilation != 1) {
                return Err(call.error("opset 18 has no dilations for it"));
            }
            Ok(vec![Fact::new(call.dtype(0)?, &pooled(call, &axes)?)])
        },
        gradient: Gradient::Rule(average_gradient),
        eval: None,
        cases: average_cases,
    },
    global("GlobalAveragePool", global_average_gradient, || {
        let pool = || case("GlobalAveragePool");
        vec![pool().x(&[2, 3, 4, 5]), pool().x(&[2, 3, 7]), pool().x(&[1, 2, 2, 3, 2])]
    }),
    global("GlobalMaxPool", global_max_gradient, || {
        let pool = || case("GlobalMaxPool");
        vec![pool().distinct(&[2, 3, 4, 5]), pool().distinct(&[2, 3, 7])]
    }),
];

const fn global(
    op: &'static str,
    rule: fn(&mut Adjoint) -> Result<Vec<Option<Value>>>,
    cases: fn() -> Vec<Case>,
) -> Def {
    Def {
        op,
        infer: |call| {
            let shape = call.shape(0)?;
            if shape.len() < 3 || element_count(&shape).is_none_or(|n| n == 0) {
                return Err(call.error(format!("the input {shape:?} has nothing to pool")));
            }
            let one = |(i, &n): (usize, &usize)| if i < 2 { n } else { 1 };
            let shape: Vec<usize> = shape.iter().enumerate().map(one).collect();
            Ok(vec![Fact::new(call.dtype(0)?, &shape)])
        },
        gradient: Gradient::Rule(rule),
        eval: None,
        cases,
    }
}

/// The windows of a pool.
pub(super) fn windows(call: &Call) -> Result<Vec<Axis>> {
    let shape = call.shape(0)?;
    let spatial = shape.get(2..).unwrap_or(&[]);
    if !(1..=3).contains(&spatial.len()) {
        return Err(call.error(format!("the input {shape:?} has not one to three spatial axes")));
    }
    let Some(kernel) = list(call, "kernel_shape", spatial.len(), 1)? else {
        return Err(call.error("kernel_shape is missing"));
    };
    let axes = window::forward(call, spatial, &kernel, call.op.int("ceil_mode", 0) != 0)?;
    if axes.iter().any(|axis| axis.before.max(axis.after) >= axis.kernel) {
        return Err(call.error("a pad must be smaller than the kernel"));
    }
    if axes.iter().any(|axis| axis.before + axis.after > 0 && axis.dilation > axis.size) {
        return Err(call.error("a window would read nothing but padding"));
    }
    Ok(axes)
}

fn pooled(call: &Call, axes: &[Axis]) -> Result<Vec<usize>> {
    let lead = call.shape(0)?.into_iter().take(2);
    Ok(lead.chain(sizes(axes, |axis| axis.count)).collect())
}

/// Spreads every window's gradient over its elements, each of them an equal part.
fn average_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
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

/// The gradient where windows tile: each of its elements repeated over its window.
fn repeat(s: &mut Adjoint, dy: Value, lead: &[usize], axes: &[Axis]) -> Result<Value> {
    let volume: usize = sizes(axes, |axis| axis.kernel).iter().product();
    let part = s.number(1.0 / volume as f64)?;
    let dy = s.apply("Mul", &[dy, part])?;
    let one: Vec<usize> = axes.iter().flat_map(|axis| [axis.count, 1]).collect();
    let all: Vec<usize> = axes.iter().flat_map(|axis| [axis.count, axis.kernel]).collect();
    let dy = s.tape.reshape(dy, &[lead, &one].concat())?;
    let dy = s.tape.expand(dy, &[lead, &all].concat())?;
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
    let full = |axis: &Axis| (0..axis.count).all(|window| counted(axis, window) == axis.kernel);
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
    let volume: usize = sizes(axes, |axis| axis.kernel).iter().product();
    let volume = s.number(volume as f64)?;
    let dy = s.apply("Mul", &[dy, volume])?;
    s.apply("Div", &[dy, counts])
}

fn global_average_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let (shape, dy) = (s.shape(0)?, s.dy()?);
    let count = shape.iter().skip(2).product::<usize>();
    let part = s.number(1.0 / count as f64)?;
    let dy = s.apply("Mul", &[dy, part])?;
    Ok(vec![Some(s.tape.expand(dy, &shape)?)])
}

fn max_cases() -> Vec<Case> {
    let pool = |kernel: &[i64]| case("MaxPool").with("kernel_shape", kernel);
    vec![
        pool(&[2, 2]).with("strides", vec![2i64, 2]).distinct(&[2, 2, 4, 6]),
        pool(&[2, 2]).with("strides", vec![2i64, 2]).distinct(&[1, 2, 5, 7]),
        pool(&[2, 3]).with("strides", vec![2i64, 3]).distinct(&[1, 2, 5, 6]),
        pool(&[3]).with("strides", vec![3i64]).distinct(&[2, 2, 8]),
        pool(&[2, 1, 2]).with("strides", vec![2i64, 1, 2]).distinct(&[1, 2, 4, 2, 5]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("pads", vec![1i64, 1, 1, 1])
            .distinct(&[1, 2, 6, 5])
            .outputs(2),
        pool(&[3, 2]).with("pads", vec![0i64, 1, 2, 0]).distinct(&[2, 1, 4, 4]),
        pool(&[2, 2]).with("dilations", vec![2i64, 1]).distinct(&[1, 2, 5, 4]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("ceil_mode", 1i64)
            .distinct(&[1, 1, 6, 6]),
        pool(&[2, 2])
            .with("strides", vec![2i64, 2])
            .with("ceil_mode", 1i64)
            .distinct(&[1, 2, 5, 5]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("auto_pad", "SAME_UPPER")
            .distinct(&[1, 2, 6, 5]),
        pool(&[2]).with("strides", vec![3i64]).distinct(&[1, 2, 8]),
        pool(&[5, 5]).with("strides", vec![5i64, 5]).distinct(&[2, 2, 5, 10]),
    ]
}

fn average_cases() -> Vec<Case> {
    let pool = |kernel: &[i64]| case("AveragePool").with("kernel_shape", kernel);
    vec![
        pool(&[2, 2]).with("strides", vec![2i64, 2]).x(&[2, 2, 4, 6]),
        pool(&[2, 3]).with("strides", vec![2i64, 3]).x(&[1, 2, 5, 7]),
        pool(&[3, 3]).with("pads", vec![1i64, 1, 1, 1]).x(&[1, 2, 4, 5]),
        pool(&[3, 2])
            .with("pads", vec![0i64, 1, 2, 0])
            .with("strides", vec![2i64, 3])
            .x(&[2, 1, 6, 7]),
        pool(&[3, 3])
            .with("pads", vec![1i64, 1, 1, 1])
            .with("strides", vec![2i64, 2])
            .with("count_include_pad", 1i64)
            .x(&[1, 2, 6, 5]),
        pool(&[3, 3]).with("strides", vec![2i64, 2]).with("ceil_mode", 1i64).x(&[1, 1, 6, 8]),
        pool(&[2, 2]).with("auto_pad", "SAME_LOWER").x(&[1, 2, 4, 3]),
        pool(&[2]).with("strides", vec![3i64]).x(&[2, 2, 8]),
        pool(&[2, 1, 3]).x(&[1, 2, 3, 2, 4]),
    ]
}
