//! QuantizeLinear and DequantizeLinear with the types and blocks of opset 19 and later.

use graphs::{DType, Dim, Op, Tensor, Value};

use super::Site;
use super::site::int;
use crate::Result;

fn cast(to: DType) -> Op {
    Op::new("Cast").with("to", i64::from(to.code()))
}

/// The element type that an attribute names.
fn named(site: &mut Site, attribute: &str) -> Result<Option<DType>> {
    let code = site.take(attribute, int)?.unwrap_or(0);
    Ok(i32::try_from(code).ok().and_then(DType::from_code))
}

/// `(x - zero point) * scale`.
pub(super) fn dequantize(site: &mut Site) -> Result<()> {
    let to = named(site, "output_dtype")?;
    let block = site.take("block_size", int)?.unwrap_or(0);
    let known = [0, 1].map(|slot| site.dtype(slot));
    let wide = matches!(known[0], Some(DType::I16 | DType::U16));
    let half = matches!(known[1], Some(DType::F16 | DType::BF16));
    if !wide && !half && block == 0 && to.is_none_or(|to| to == DType::F32) {
        return Ok(());
    }
    let [scale, point] = parameters(site, block)?;
    let x = site.x()?;
    let mut y = site.emit(cast(DType::F32), &[x]);
    if let Some(point) = point {
        y = site.apply("Sub", &[y, point]);
    }
    let Some(scale) = scale else { return Err(site.refuse("its scale is missing")) };
    let y = site.apply("Mul", &[y, scale]);
    site.become_call(cast(to.or(known[1]).unwrap_or(DType::F32)), &[y]);
    Ok(())
}

/// `round(x / scale) + zero point`, within the bounds of its type.
pub(super) fn quantize(site: &mut Site) -> Result<()> {
    let to = named(site, "output_dtype")?;
    let block = site.take("block_size", int)?.unwrap_or(0);
    site.op.attributes.remove("precision");
    let known = [0, 1, 2].map(|slot| site.dtype(slot));
    let result = known[2].or(to).unwrap_or(DType::U8);
    let older = matches!(result, DType::I8 | DType::U8);
    let half = known[..2].iter().flatten().any(|dtype| dtype.bits() < 32);
    if older && !half && block == 0 && (known[2].is_some() || to.is_none()) {
        return Ok(());
    }
    let (low, high) = match result {
        DType::I8 => (-128.0, 127.0),
        DType::U8 => (0.0, 255.0),
        DType::I16 => (-32768.0, 32767.0),
        DType::U16 => (0.0, 65535.0),
        other => return Err(site.refuse(format!("it gives {other}"))),
    };
    let [scale, point] = parameters(site, block)?;
    let Some(scale) = scale else { return Err(site.refuse("its scale is missing")) };
    let x = site.x()?;
    let x = site.emit(cast(DType::F32), &[x]);
    let ratio = site.apply("Div", &[x, scale]);
    let mut y = site.apply("Round", &[ratio]);
    if let Some(point) = point {
        y = site.apply("Add", &[y, point]);
    }
    let bounds = [low, high].map(|bound: f32| site.constant("bound", Tensor::scalar(bound)));
    let y = site.apply("Clip", &[y, bounds[0], bounds[1]]);
    site.become_call(cast(result), &[y]);
    Ok(())
}

/// Scale and zero point as float32, broadcast to the first argument.
fn parameters(site: &mut Site, block: i64) -> Result<[Option<Value>; 2]> {
    let axis = site.take("axis", int)?.unwrap_or(1);
    site.op.attributes.remove("saturate");
    let mut aligned = [None; 2];
    for (slot, aligned) in [1, 2].into_iter().zip(&mut aligned) {
        let Some(value) = site.argument(slot) else { continue };
        let value = site.emit(cast(DType::F32), &[value]);
        *aligned = Some(match block {
            0 => along(site, value, slot, axis)?,
            _ => blocks(site, value, axis, block)?,
        });
    }
    Ok(aligned)
}

/// One number, or one for every position along the axis.
fn along(site: &mut Site, value: Value, slot: usize, axis: i64) -> Result<Value> {
    let shape = site.argument(slot).and_then(|v| site.graph.fact(v).shape.clone());
    let (Some(shape), Some(rank)) = (shape, site.rank()) else {
        return Err(site.refuse("the shapes of its arguments are not known"));
    };
    if shape.is_empty() || shape == [Dim::Known(1)] {
        let shape = site.constant("scalar", Tensor::vector::<i64>(&[]));
        return Ok(site.apply("Reshape", &[value, shape]));
    }
    let after = if axis < 0 { -1 - axis } else { rank as i64 - 1 - axis };
    let Some(after) = usize::try_from(after).ok().filter(|after| *after < rank) else {
        return Err(site.refuse(format!("it has no axis {axis}")));
    };
    let mut shape = vec![-1i64];
    shape.resize(after + 1, 1);
    let shape = site.constant("shape", Tensor::vector(&shape));
    Ok(site.apply("Reshape", &[value, shape]))
}

/// Every number along the axis `block` times.
fn blocks(site: &mut Site, value: Value, axis: i64, block: i64) -> Result<Value> {
    /// Far more than any axis of a weight has.
    const LONGEST: i64 = 1 << 24;
    let rank = site.rank().and_then(|rank| i64::try_from(rank).ok()).unwrap_or(0);
    let positive = usize::try_from(if axis < 0 { axis + rank } else { axis }).ok();
    let x = site.x()?;
    let size = positive.and_then(|axis| site.size(x, axis));
    let Some(size) = size.filter(|size| *size <= LONGEST && block > 0) else {
        return Err(site.refuse("the size of the axis that it has blocks along is not known"));
    };
    let indices: Vec<i64> = (0..size).map(|i| i / block).collect();
    let indices = site.constant("blocks", Tensor::vector(&indices));
    Ok(site.emit(Op::new("Gather").with("axis", axis), &[value, indices]))
}
