//! Pools, paddings and resizings of newer opsets.

use graphs::{Op, Tensor, Value};

use super::Site;
use super::site::{int, ints, text};
use crate::Result;

/// An average pool with holes in its windows is a convolution with ones, of each channel by
/// itself, over the number of positions that count.
pub(super) fn average_pool(site: &mut Site) -> Result<()> {
    let dilations = site.take("dilations", ints)?.unwrap_or_default();
    if dilations.iter().all(|&d| d == 1) {
        return Ok(());
    }
    if !matches!(site.take("auto_pad", text)?.as_deref(), None | Some("NOTSET")) {
        return Err(site.refuse("its windows are dilated, and auto_pad is given"));
    }
    let kernel = site.take("kernel_shape", ints)?.unwrap_or_default();
    let axes = kernel.len();
    let mut list = |name: &str, default: i64, count: usize| match site.take(name, ints) {
        Ok(found) => {
            let found = found.unwrap_or_else(|| vec![default; count]);
            if found.len() == count {
                Ok(found)
            } else {
                Err(site.refuse(format!("its {name} are not {count}")))
            }
        }
        Err(error) => Err(error),
    };
    let (strides, pads) = (list("strides", 1, axes)?, list("pads", 0, 2 * axes)?);
    let count_pads = site.take("count_include_pad", int)?.unwrap_or(0) != 0;
    let ceil = site.take("ceil_mode", int)?.unwrap_or(0) != 0;
    let x = site.x()?;
    let mut hanging = vec![0; 2 * axes];
    for axis in 0..axes {
        let extent = dilations.get(axis).zip(kernel.get(axis)).map(|(d, k)| d * (k - 1) + 1);
        let (Some(extent), true) = (extent, ceil) else { continue };
        let Some(size) = site.size(x, axis + 2) else {
            return Err(site.refuse("its windows are dilated, and its size is not known"));
        };
        hanging[axes + axis] = overhang(size, extent, strides[axis], pads[axis], pads[axes + axis]);
    }
    let single = site.constant("channels", Tensor::vector(&[-1i64, 1]));
    let spatial = site.emit(Op::new("Shape").with("start", 2), &[x]);
    let shape = site.emit(Op::new("Concat").with("axis", 0), &[single, spatial]);
    let flat = site.apply("Reshape", &[x, shape]);
    let one = site.number("one", 1.0, x);
    let shape = site.emit(Op::new("Shape"), &[flat]);
    let mut ones = site.apply("Expand", &[one, shape]);
    let all: Vec<i64> = pads.iter().zip(&hanging).map(|(pad, more)| pad + more).collect();
    let mut around = all.clone();
    if count_pads {
        let whole: Vec<i64> = [&[0, 0], &pads[..axes], &[0, 0], &pads[axes..]].concat();
        let whole = site.constant("pads", Tensor::vector(&whole));
        ones = site.apply("Pad", &[ones, whole, one]);
        around = hanging;
    }
    let sizes: Vec<i64> = [&[1, 1], &kernel[..]].concat();
    let sizes = site.constant("kernel", Tensor::vector(&sizes));
    let weights = site.apply("Expand", &[one, sizes]);
    let conv = |pads: Vec<i64>| {
        let conv = Op::new("Conv").with("kernel_shape", kernel.clone()).with("pads", pads);
        conv.with("strides", strides.clone()).with("dilations", dilations.clone())
    };
    let sum = site.emit(conv(all), &[flat, weights]);
    let count = site.emit(conv(around), &[ones, weights]);
    let mean = site.apply("Div", &[sum, count]);
    let outer = site.emit(Op::new("Shape").with("start", 0).with("end", 2), &[x]);
    let inner = site.emit(Op::new("Shape").with("start", 2), &[mean]);
    let shape = site.emit(Op::new("Concat").with("axis", 0), &[outer, inner]);
    site.become_call(Op::new("Reshape"), &[mean, shape]);
    Ok(())
}

/// How far the last window reaches beyond the padding; one that would begin there is left out.
fn overhang(size: i64, extent: i64, stride: i64, before: i64, after: i64) -> i64 {
    let stride = stride.max(1);
    let room = size + before + after - extent;
    let mut last = (room + stride - 1).div_euclid(stride);
    if last * stride >= size + before {
        last -= 1;
    }
    (last * stride - room).max(0)
}

/// Wrapping padding takes elements round the axis again.
pub(super) fn pad(site: &mut Site) -> Result<()> {
    if site.op.string("mode") != Some("wrap") {
        return Ok(());
    }
    let x = site.x()?;
    let constant = |site: &Site, slot| {
        let tensor = site.argument(slot).and_then(|value| site.graph.tensor(value));
        tensor.and_then(|tensor| tensor.integers().ok())
    };
    let Some(pads) = constant(site, 1) else {
        return Err(site.refuse("it wraps, and its pads are not constant"));
    };
    let axes = match site.argument(3) {
        None => (0..pads.len() as i64 / 2).collect(),
        Some(_) => constant(site, 3).unwrap_or_default(),
    };
    if axes.len() * 2 != pads.len() {
        return Err(site.refuse("it wraps, and its pads do not fit its axes"));
    }
    let mut y = x;
    for (i, &axis) in axes.iter().enumerate() {
        if pads[i] != 0 || pads[axes.len() + i] != 0 {
            y = wrap(site, y, axis, pads[i], pads[axes.len() + i]);
        }
    }
    site.become_call(Op::new("Identity"), &[y]);
    Ok(())
}

/// `x[(i - before) mod n]` for i from 0 to n + before + after.
fn wrap(site: &mut Site, x: Value, axis: i64, before: i64, after: i64) -> Value {
    let shape = site.emit(Op::new("Shape"), &[x]);
    let at = site.constant("axis", Tensor::scalar(axis));
    let size = site.apply("Gather", &[shape, at]);
    let [from, after, step] =
        [-before, after, 1].map(|number| site.constant("number", Tensor::scalar(number)));
    let to = site.apply("Add", &[size, after]);
    let positions = site.apply("Range", &[from, to, step]);
    let positions = site.apply("Mod", &[positions, size]);
    site.emit(Op::new("Gather").with("axis", axis), &[x, positions])
}

/// Where every size of the output is a whole number, symmetry changes nothing.
pub(super) fn resize(site: &mut Site) -> Result<()> {
    let mode = "coordinate_transformation_mode";
    if site.op.string(mode) != Some("half_pixel_symmetric") {
        return Ok(());
    }
    let scales = site.argument(2).and_then(|value| site.graph.tensor(value));
    let shape = site.argument(0).and_then(|x| site.graph.fact(x).known_shape());
    let whole = match (scales, shape) {
        (None, _) => site.argument(3).is_some(),
        (Some(scales), Some(shape)) if !site.op.attributes.contains_key("axes") => {
            let scales = scales.floats()?;
            scales.iter().zip(shape).all(|(scale, size)| (scale * size as f32).fract() == 0.0)
        }
        (Some(scales), _) => scales.floats()?.iter().all(|scale| scale.fract() == 0.0),
    };
    if !whole {
        return Err(site.refuse("half_pixel_symmetric moves what is no whole number of pixels"));
    }
    site.op.attributes.insert(mode.to_owned(), "half_pixel".into());
    Ok(())
}
