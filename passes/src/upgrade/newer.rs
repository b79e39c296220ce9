//! From newer opsets down to 18: one function per operator that did not exist.

use graphs::{DType, Op, Tensor, Value};

use super::Rule::{self, Appeared, Default, Refuse, Rewrite, Without};
use super::site::{Site, float, int, ints, text};
use crate::Result;

/// What has to be undone of which opset. A change without a row only widened types.
pub(super) const TABLE: &[(i64, &[&str], Rule)] = &[
    (19, &["AveragePool"], Rewrite(average_pool)),
    (19, &["Cast", "CastLike", "QuantizeLinear"], Default("saturate", "1")),
    (19, &["DeformConv"], Appeared),
    (19, &["Pad"], Without("mode", "wrap")),
    (19, &["Resize"], Without("coordinate_transformation_mode", "half_pixel_symmetric")),
    (20, &["AffineGrid", "ImageDecoder"], Appeared),
    (20, &["DFT"], Refuse("its axis became an argument")),
    (20, &["Gelu"], Rewrite(gelu)),
    (20, &["GridSample"], Rewrite(grid_sample)),
    (20, &["RegexFullMatch", "StringConcat", "StringSplit"], Appeared),
    (21, &["DequantizeLinear", "QuantizeLinear"], Default("block_size", "0")),
    (21, &["GroupNormalization"], Rewrite(group_normalization)),
    (21, &["QuantizeLinear"], Default("output_dtype", "0")),
    (23, &["Attention", "RotaryEmbedding"], Appeared),
    (23, &["DequantizeLinear"], Default("output_dtype", "0")),
    (23, &["QuantizeLinear"], Default("precision", "0")),
    (23, &["RMSNormalization"], Rewrite(rms_normalization)),
    (24, &["Cast", "CastLike"], Default("round_mode", "up")),
    (24, &["Swish"], Rewrite(swish)),
    (24, &["TensorScatter"], Appeared),
    (26, &["BitCast", "CumProd"], Appeared),
    (27, &["CausalConvWithState", "LinearAttention"], Appeared),
    (27, &["Range"], Default("stash_type", "1")),
    (28, &["Mod"], Rewrite(modulo)),
    (28, &["SpaceToDepth"], Default("mode", "DCR")),
    (28, &["SwiGLU"], Rewrite(swiglu)),
];

fn average_pool(site: &mut Site) -> Result<()> {
    let dilations = site.take("dilations", ints)?.unwrap_or_default();
    if dilations.iter().any(|&d| d != 1) {
        return Err(site.refuse("its windows are dilated"));
    }
    Ok(())
}

/// `x (1 + erf(x / sqrt(2))) / 2`, or with `tanh(sqrt(2 / pi) (x + 0.044715 x^3))` in
/// the place of erf.
fn gelu(site: &mut Site) -> Result<()> {
    use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_PI};
    let x = site.x()?;
    let approximate = site.take("approximate", text)?;
    let bent = match approximate.as_deref() {
        None | Some("none") => {
            let scale = site.number("scale", FRAC_1_SQRT_2, x);
            let scaled = site.apply("Mul", &[x, scale]);
            site.apply("Erf", &[scaled])
        }
        Some("tanh") => {
            let linear = site.number("linear", FRAC_2_PI.sqrt(), x);
            let cubic = site.number("cubic", FRAC_2_PI.sqrt() * 0.044715, x);
            let square = site.apply("Mul", &[x, x]);
            let slope = site.apply("Mul", &[square, cubic]);
            let slope = site.apply("Add", &[slope, linear]);
            let scaled = site.apply("Mul", &[x, slope]);
            site.apply("Tanh", &[scaled])
        }
        Some(other) => return Err(site.refuse(format!("approximate `{other}` is unknown"))),
    };
    let one = site.number("one", 1.0, x);
    let half = site.number("half", 0.5, x);
    let gate = site.apply("Add", &[bent, one]);
    let halved = site.apply("Mul", &[x, half]);
    site.become_call(Op::new("Mul"), &[halved, gate]);
    Ok(())
}

/// `sigmoid(alpha x)`.
fn swish_gate(site: &mut Site, x: Value) -> Result<Value> {
    let alpha = site.take("alpha", float)?.unwrap_or(1.0);
    let mut scaled = x;
    if alpha != 1.0 {
        let alpha = site.number("alpha", alpha, x);
        scaled = site.apply("Mul", &[x, alpha]);
    }
    Ok(site.apply("Sigmoid", &[scaled]))
}

fn swish(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let gate = swish_gate(site, x)?;
    site.become_call(Op::new("Mul"), &[x, gate]);
    Ok(())
}

fn swiglu(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let linear = argument(site, 1)?;
    let gate = swish_gate(site, x)?;
    let swish = site.apply("Mul", &[x, gate]);
    site.become_call(Op::new("Mul"), &[swish, linear]);
    Ok(())
}

fn modulo(site: &mut Site) -> Result<()> {
    let dtype = site.graph.fact(site.x()?).dtype;
    if dtype.is_some_and(DType::is_float) && site.op.int("fmod", 0) == 0 {
        return Err(site.refuse("floats were taken with fmod=1 only"));
    }
    Ok(())
}

/// `x / sqrt(mean(x^2) + epsilon) * scale` (Zhang and Sennrich 2019, equation 4).
fn rms_normalization(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let scale = argument(site, 1)?;
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
fn group_normalization(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let [scale, bias] = [argument(site, 1)?, argument(site, 2)?];
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

fn grid_sample(site: &mut Site) -> Result<()> {
    if site.rank().is_some_and(|rank| rank != 4) {
        return Err(site.refuse("it takes 4-D images only"));
    }
    let older = match site.op.string("mode") {
        Some("linear") => "bilinear",
        Some("cubic") => "bicubic",
        _ => return Ok(()),
    };
    site.op.attributes.insert("mode".to_owned(), older.into());
    Ok(())
}

fn argument(site: &Site, slot: usize) -> Result<Value> {
    site.argument(slot).ok_or_else(|| site.refuse(format!("argument {slot} is missing")))
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
