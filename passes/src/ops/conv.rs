//! Conv and ConvTranspose with one to three spatial axes.

use graphs::{Fact, NodeId, Value, element_count};

use super::conv_cases::{forward, transposed};
use super::convolution::Convolution;
use super::window::{self, sizes};
use super::{Adjoint, Call, Def, Gradient, schedule};
use crate::{Platform, Result, Tape};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Conv",
        infer: |call| {
            let parts = conv(call)?;
            let features = parts.groups * parts.features;
            output(call, &parts, features, sizes(&parts.axes, |axis| axis.count))
        },
        gradient: Gradient::Rule(conv_gradient),
        eval: None,
        cases: forward,
    },
    Def {
        op: "ConvTranspose",
        infer: |call| {
            let parts = conv_transpose(call)?;
            let channels = parts.groups * parts.channels;
            output(call, &parts, channels, sizes(&parts.axes, |axis| axis.size))
        },
        gradient: Gradient::Rule(conv_transpose_gradient),
        eval: None,
        cases: transposed,
    },
];

/// The output `[N, channels, spatial..]`, once the bias is seen to fit.
fn output(
    call: &Call,
    parts: &Convolution,
    channels: usize,
    spatial: Vec<usize>,
) -> Result<Vec<Fact>> {
    if call.has(2) && call.shape(2)? != [channels] {
        let reason = format!("the bias is {:?} instead of [{channels}]", call.shape(2)?);
        return Err(call.error(reason));
    }
    let shape = [&[parts.batch, channels], &spatial[..]].concat();
    Ok(vec![Fact::new(call.dtype(0)?, &shape)])
}

/// Input and weight: `[batch, given, spatial..]` and `[outer, inner, kernel..]`.
struct Operands {
    batch: usize,
    given: usize,
    spatial: Vec<usize>,
    outer: usize,
    inner: usize,
    kernel: Vec<usize>,
    groups: usize,
}

fn operands(call: &Call) -> Result<Operands> {
    let (x, w, group) = (call.shape(0)?, call.shape(1)?, call.op.int("group", 1));
    let groups = usize::try_from(group).unwrap_or(0);
    match (&x[..], &w[..]) {
        (&[batch, given, ref spatial @ ..], &[outer, inner, ref kernel @ ..])
            if spatial.len() == kernel.len() && (1..=3).contains(&kernel.len()) && groups > 0 =>
        {
            let (spatial, kernel) = (spatial.to_vec(), kernel.to_vec());
            Ok(Operands { batch, given, spatial, outer, inner, kernel, groups })
        }
        _ => Err(call.error(format!("input {x:?}, weight {w:?} and {group} groups do not fit"))),
    }
}

/// What a Conv computes: argument 0 is the image.
pub(super) fn conv(call: &Call) -> Result<Convolution> {
    let Operands { batch, given, spatial, outer, inner, kernel, groups } = operands(call)?;
    if inner.checked_mul(groups) != Some(given) || outer % groups != 0 {
        let reason = format!("{given} channels for a weight of {outer} x {inner} a group");
        return Err(call.error(format!("{reason}, {groups} groups")));
    }
    let axes = window::forward(call, &spatial, &kernel, false)?;
    addressable(
        call,
        Convolution { axes, groups, batch, channels: inner, features: outer / groups },
    )
}

/// What a ConvTranspose computes: argument 0 has one element a window.
pub(super) fn conv_transpose(call: &Call) -> Result<Convolution> {
    let Operands { batch, given, spatial, outer, inner, kernel, groups } = operands(call)?;
    if outer != given || outer % groups != 0 || inner.checked_mul(groups).is_none() {
        let reason = format!("{given} channels for a weight of {outer} x {inner} a group");
        return Err(call.error(format!("{reason}, {groups} groups")));
    }
    let axes = window::transposed(call, &spatial, &kernel)?;
    addressable(
        call,
        Convolution { axes, groups, batch, channels: inner, features: outer / groups },
    )
}

/// The parts, if nothing that gradients make of them is too large to count.
fn addressable(call: &Call, parts: Convolution) -> Result<Convolution> {
    let ends = parts.axes.iter().map(|axis| axis.size.max(axis.count).saturating_mul(axis.kernel));
    let channels = [parts.batch, parts.groups, parts.channels, parts.features];
    match element_count(&ends.chain(channels).collect::<Vec<_>>()) {
        Some(_) => Ok(parts),
        None => Err(call.error("is too large")),
    }
}

/// What takes the place of a Conv that is narrow on `platform`; `None` for other calls.
///
/// # Errors
/// When the call is malformed.
pub(crate) fn narrow_conv(
    tape: &mut Tape,
    id: NodeId,
    platform: Platform,
) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id).filter(|call| call.op.is("Conv")) else {
        return Ok(None);
    };
    let parts = conv(&call)?;
    if !schedule::narrow(&parts, platform) {
        return Ok(None);
    }
    let argument = |slot| tape.graph.argument(id, slot);
    let (Some(x), Some(w), bias) = (argument(0), argument(1), argument(2)) else {
        return Ok(None);
    };
    let y = parts.convolve_batch(tape, x, w)?;
    let Some(bias) = bias else { return Ok(Some(y)) };
    let mut shape = vec![parts.features];
    shape.resize(parts.axes.len() + 1, 1);
    let bias = tape.reshape(bias, &shape)?;
    tape.apply("Add", &[y, bias]).map(Some)
}

fn conv_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let parts = conv(&s.call()?)?;
    let (x, w, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let dx = s.wants(0).then(|| parts.spread(s.tape, dy, w)).transpose()?;
    let dw = s.wants(1).then(|| parts.correlate(s.tape, x, dy)).transpose()?;
    Ok(vec![dx, dw, bias_gradient(s)?])
}

fn conv_transpose_gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let parts = conv_transpose(&s.call()?)?;
    let (x, w, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let dx = s.wants(0).then(|| parts.convolve(s.tape, dy, w)).transpose()?;
    let dw = s.wants(1).then(|| parts.correlate(s.tape, dy, x)).transpose()?;
    Ok(vec![dx, dw, bias_gradient(s)?])
}

fn bias_gradient(s: &mut Adjoint) -> Result<Option<Value>> {
    if !s.wants(2) {
        return Ok(None);
    }
    let dy = s.dy()?;
    let rank = s.tape.shape(dy)?.len();
    let axes: Vec<usize> = (0..rank).filter(|&axis| axis != 1).collect();
    s.tape.reduce_sum(dy, &axes, false).map(Some)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::case;
    use super::super::trial::{refusal, shape};

    #[test]
    fn shapes_of_conv() {
        let conv = || case("Conv").x(&[2, 4, 9, 8]).x(&[6, 2, 3, 2]).with("group", 2i64);
        assert_eq!(shape(conv()), [2, 6, 7, 7]);
        assert_eq!(shape(conv().with("strides", vec![2i64, 3])), [2, 6, 4, 3]);
        assert_eq!(shape(conv().with("dilations", vec![4i64, 7])), [2, 6, 1, 1]);
        assert_eq!(shape(conv().with("pads", vec![1i64, 0, 2, 5])), [2, 6, 10, 12]);
        let same = conv().with("auto_pad", "SAME_LOWER").with("strides", vec![2i64, 2]);
        assert_eq!(shape(same), [2, 6, 5, 4]);
        assert_eq!(shape(case("Conv").x(&[1, 2, 5, 5, 5]).x(&[3, 2, 1, 2, 3])), [1, 3, 5, 4, 3]);
    }

    #[test]
    fn shapes_of_conv_transpose() {
        let conv = || case("ConvTranspose").x(&[2, 4, 5]).x(&[4, 3, 3]).with("strides", vec![2i64]);
        assert_eq!(shape(conv()), [2, 3, 11]);
        assert_eq!(shape(conv().with("group", 2i64).x(&[6])), [2, 6, 11]);
        assert_eq!(shape(conv().with("pads", vec![1i64, 2])), [2, 3, 8]);
        assert_eq!(shape(conv().with("output_padding", vec![1i64])), [2, 3, 12]);
        assert_eq!(shape(conv().with("auto_pad", "SAME_UPPER")), [2, 3, 10]);
        assert_eq!(shape(conv().with("output_shape", vec![9i64])), [2, 3, 9]);
        assert_eq!(shape(conv().with("dilations", vec![3i64])), [2, 3, 15]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let conv = || case("Conv").x(&[1, 4, 5, 5]).x(&[4, 4, 3, 3]);
        assert!(refusal(conv().x(&[3])).contains("the bias is [3] instead of [4]"));
        assert!(refusal(conv().with("group", 2i64)).contains("4 x 4 a group, 2 groups"));
        assert!(refusal(conv().with("group", 0i64)).contains("0 groups do not fit"));
        assert!(
            refusal(conv().with("kernel_shape", vec![3i64, 2])).contains("not that of the weight")
        );
        assert!(
            refusal(conv().with("strides", vec![0i64, 1])).contains("the strides 0 is not in 1")
        );
        assert!(refusal(conv().with("pads", vec![1i64, 1])).contains("2 elements instead of 4"));
        assert!(
            refusal(conv().with("pads", vec![-1i64, 0, 0, 0])).contains("the pads -1 is not in")
        );
        assert!(refusal(conv().with("dilations", vec![i64::MAX, 1])).contains("is not in 1..="));
        assert!(refusal(conv().with("dilations", vec![1 << 30, 1])).contains("exceeds 5 elements"));
        assert!(refusal(conv().with("auto_pad", "SAME")).contains("auto_pad is `SAME`"));
        assert!(refusal(case("Conv").x(&[1, 4, 0]).x(&[4, 4, 1])).contains("spatial size 0"));
        let up = || case("ConvTranspose").x(&[1, 2, 3]).x(&[2, 2, 3]);
        assert!(refusal(up().with("output_padding", vec![1i64])).contains("less than the stride"));
        assert!(refusal(up().with("pads", vec![3i64, 3])).contains("size of the output 0"));
    }
}
