//! RMSNormalization of opset 23, GroupNormalization of opset 21.

use graphs::{DType, Op, Tensor, Value};

use super::site::{Site, float, int};
use crate::Result;

/// `x / sqrt(mean(x^2) + epsilon) * scale` (Zhang and Sennrich 2019, equation 4).
pub(super) fn rms_normalization(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let scale = site.given(1)?;
    let axis = site.take("axis", int)?.unwrap_or(-1);
    let axes: Vec<i64> = match site.rank().and_then(|rank| i64::try_from(rank).ok()) {
        Some(rank) if (-rank..0).contains(&axis) => (axis..0).collect(),
        Some(rank) if (0..rank).contains(&axis) => (axis..rank).collect(),
        None if (-8..0).contains(&axis) => (axis..0).collect(),
        _ => return Err(site.refuse(format!("nobody knows the axes from {axis} on"))),
    };
    let single = to_single(site, x)?;
    let axes = site.constant("axes", Tensor::vector(&axes));
    let epsilon = epsilon(site)?;
    let epsilon = site.constant("epsilon", Tensor::scalar(epsilon));
    let square = site.apply("Mul", &[single, single]);
    let mean = site.apply("ReduceMean", &[square, axes]);
    let mean = site.apply("Add", &[mean, epsilon]);
    let root = site.apply("Sqrt", &[mean]);
    let normal = site.apply("Div", &[single, root]);
    let normal = from_single(site, normal, x);
    site.become_call(Op::new("Mul"), &[normal, scale]);
    Ok(())
}

/// Each group of channels is one channel of an InstanceNormalization; scale and bias,
/// one per channel since opset 21, come after it.
pub(super) fn group_normalization(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let [scale, bias] = [site.given(1)?, site.given(2)?];
    let groups = match site.take("num_groups", int)?.map(usize::try_from) {
        Some(Ok(groups @ 1..=65_536)) => groups,
        _ => return Err(site.refuse("num_groups must lie between 1 and 65536")),
    };
    let Some(rank @ 2..) = site.rank() else {
        return Err(site.refuse("the number of its dimensions is not known"));
    };
    let single = to_single(site, x)?;
    let shape = site.apply("Shape", &[x]);
    let grouped = site.constant("groups", Tensor::vector(&[0, groups as i64, -1]));
    let grouped = site.apply("Reshape", &[single, grouped]);
    let one = site.constant("one", Tensor::full(&[groups], 1f32)?);
    let zero = site.constant("zero", Tensor::full(&[groups], 0f32)?);
    let epsilon = epsilon(site)?;
    let instance = Op::new("InstanceNormalization").with("epsilon", epsilon);
    let normal = site.emit(instance, &[grouped, one, zero]);
    let normal = site.apply("Reshape", &[normal, shape]);
    let normal = from_single(site, normal, x);
    let axes: Vec<i64> = (1..rank as i64 - 1).collect();
    let axes = site.constant("axes", Tensor::vector(&axes));
    let scale = site.apply("Unsqueeze", &[scale, axes]);
    let bias = site.apply("Unsqueeze", &[bias, axes]);
    let scaled = site.apply("Mul", &[normal, scale]);
    site.become_call(Op::new("Add"), &[scaled, bias]);
    Ok(())
}

fn epsilon(site: &mut Site) -> Result<f32> {
    Ok(site.take("epsilon", float)?.unwrap_or(1e-5))
}

/// `x` as float32, in which statistics are computed unless `stash_type` says otherwise.
fn to_single(site: &mut Site, x: Value) -> Result<Value> {
    let single = i64::from(DType::F32.code());
    if site.take("stash_type", int)?.unwrap_or(single) != single {
        return Err(site.refuse("stash_type must be float32"));
    }
    if site.graph.fact(x).dtype == Some(DType::F32) {
        return Ok(x);
    }
    Ok(site.emit(Op::new("Cast").with("to", single), &[x]))
}

/// `y` as the type that `like` had before [`to_single`].
fn from_single(site: &mut Site, y: Value, like: Value) -> Value {
    match site.graph.fact(like).dtype {
        Some(DType::F32) => y,
        _ => site.apply("CastLike", &[y, like]),
    }
}
