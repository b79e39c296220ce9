//! From newer opsets down to 18: one function per operator that did not exist.

use graphs::{DType, Op, Tensor, Value};

use super::Rule::{self, Appeared, Forget, Rewrite};
use super::attention::attention;
use super::cumulate::cumulative_product;
use super::normalize::{group_normalization, rms_normalization};
use super::quantize::{dequantize, quantize};
use super::rotary::rotary_embedding;
use super::site::{Site, float, text};
use super::windows::{average_pool, pad, resize};
use crate::Result;

/// What has to be undone of which opset. A change without a row only widened types.
pub(super) const TABLE: &[(i64, &[&str], Rule)] = &[
    (19, &["AveragePool"], Rewrite(average_pool)),
    (19, &["Cast", "CastLike"], Forget("saturate")),
    (19, &["DeformConv"], Appeared),
    (19, &["DequantizeLinear"], Rewrite(dequantize)),
    (19, &["Equal"], Rewrite(equal)),
    (19, &["Pad"], Rewrite(pad)),
    (19, &["QuantizeLinear"], Rewrite(quantize)),
    (19, &["Resize"], Rewrite(resize)),
    (20, &["AffineGrid", "ImageDecoder"], Appeared),
    (20, &["DFT"], Rewrite(fourier)),
    (20, &["Gelu"], Rewrite(gelu)),
    (20, &["GridSample"], Rewrite(grid_sample)),
    (20, &["RegexFullMatch", "StringConcat", "StringSplit"], Appeared),
    (21, &["GroupNormalization"], Rewrite(group_normalization)),
    (23, &["Attention"], Rewrite(attention)),
    (23, &["RMSNormalization"], Rewrite(rms_normalization)),
    (23, &["RotaryEmbedding"], Rewrite(rotary_embedding)),
    (24, &["Cast", "CastLike"], Forget("round_mode")),
    (24, &["SplitToSequence"], Rewrite(no_bfloat16)),
    (24, &["Swish"], Rewrite(swish)),
    (24, &["TensorScatter"], Appeared),
    (26, &["BitCast"], Appeared),
    (26, &["CumProd"], Rewrite(cumulative_product)),
    (27, &["CausalConvWithState", "LinearAttention"], Appeared),
    (27, &["Range"], Forget("stash_type")),
    (28, &["BitShift"], Rewrite(bit_shift)),
    (28, &["Celu"], Rewrite(celu)),
    (28, &["Mod"], Rewrite(modulo)),
    (28, &["Optional", "OptionalGetElement", "OptionalHasElement"], Rewrite(no_bfloat16)),
    (28, &["SpaceToDepth"], Rewrite(space_to_depth)),
    (28, &["SwiGLU"], Rewrite(swiglu)),
];

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
    let linear = site.given(1)?;
    let gate = swish_gate(site, x)?;
    let swish = site.apply("Mul", &[x, gate]);
    site.become_call(Op::new("Mul"), &[swish, linear]);
    Ok(())
}

/// Floats could be divided towards zero only: where the signs of remainder and divisor differ, it
/// is one divisor off.
fn modulo(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    let float = site.dtype(0).is_none_or(DType::is_float);
    if !float || site.op.int("fmod", 0) != 0 {
        return Ok(());
    }
    let y = site.given(1)?;
    let rest = site.emit(Op::new("Mod").with("fmod", 1), &[x, y]);
    let zero = site.number("zero", 0.0, x);
    let [below, opposite] = [rest, y].map(|value| site.apply("Less", &[value, zero]));
    let differ = site.apply("Xor", &[below, opposite]);
    let exact = site.apply("Equal", &[rest, zero]);
    let inexact = site.apply("Not", &[exact]);
    let off = site.apply("And", &[differ, inexact]);
    let other = site.apply("Add", &[rest, y]);
    site.become_call(Op::new("Where"), &[off, other, rest]);
    Ok(())
}

/// `alpha elu(x / alpha)`, for the types that Celu did not take.
fn celu(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    if site.dtype(0) == Some(DType::F32) {
        return Ok(());
    }
    let alpha = site.take("alpha", float)?.unwrap_or(1.0);
    let alpha = site.number("alpha", alpha, x);
    let scaled = site.apply("Div", &[x, alpha]);
    let y = site.apply("Elu", &[scaled]);
    site.become_call(Op::new("Mul"), &[y, alpha]);
    Ok(())
}

fn equal(site: &mut Site) -> Result<()> {
    match site.dtype(0) {
        Some(DType::String) => Err(site.refuse("opset 19 brought Equal of strings")),
        _ => Ok(()),
    }
}

fn no_bfloat16(site: &mut Site) -> Result<()> {
    match site.dtype(0) {
        Some(DType::BF16) => Err(site.refuse("it took no bfloat16")),
        _ => Ok(()),
    }
}

fn bit_shift(site: &mut Site) -> Result<()> {
    match site.dtype(0) {
        Some(DType::I8 | DType::I16 | DType::I32 | DType::I64) => {
            Err(site.refuse("opset 28 brought shifts of signed integers"))
        }
        _ => Ok(()),
    }
}

/// The axis was an attribute.
fn fourier(site: &mut Site) -> Result<()> {
    let axis = match site.argument(2) {
        None => -2,
        Some(axis) => {
            let constant = site.graph.tensor(axis).and_then(|axis| axis.integers().ok());
            let [axis] = *constant.unwrap_or_default() else {
                return Err(site.refuse("its axis is not constant"));
            };
            axis
        }
    };
    let rank = site.rank().and_then(|rank| i64::try_from(rank).ok());
    let Some(axis) = rank.map(|rank| if axis < 0 { axis + rank } else { axis }) else {
        return Err(site.refuse("the number of its dimensions is not known"));
    };
    site.arguments.truncate(2);
    site.op.attributes.insert("axis".to_owned(), axis.into());
    Ok(())
}

/// Channels in front of the places in a block: DCR has them behind.
fn space_to_depth(site: &mut Site) -> Result<()> {
    if site.take("mode", text)?.as_deref() != Some("CRD") {
        return Ok(());
    }
    let x = site.x()?;
    let block = site.op.int("blocksize", 1);
    let (Some(channels), Some(places)) = (site.size(x, 1), block.checked_mul(block)) else {
        return Err(site.refuse("its mode is CRD, and the number of channels is not known"));
    };
    let y = site.emit(site.op.clone(), &[x]);
    let split = site.constant("split", Tensor::vector(&[0, places, channels, -1]));
    let split = site.apply("Reshape", &[y, split]);
    let swapped = site.emit(Op::new("Transpose").with("perm", vec![0, 2, 1, 3]), &[split]);
    let shape = site.emit(Op::new("Shape"), &[y]);
    site.become_call(Op::new("Reshape"), &[swapped, shape]);
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
