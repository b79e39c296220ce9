//! Padding written out: engines disagree about padding that they have to work out.

use graphs::Op;

use super::window::sizes;
use super::{Call, conv, pool};
use crate::{Result, signed};

/// The same Conv, ConvTranspose or pool with `pads` in the place of `auto_pad` and
/// `output_shape`; `None` where there is neither. tract panics on `output_shape`, and
/// both engines refuse some legal `auto_pad`.
///
/// # Errors
/// When the call is malformed.
pub fn explicit_padding(call: &Call) -> Result<Option<Op>> {
    let automatic = call.op.string("auto_pad").is_some_and(|padding| padding != "NOTSET");
    if !call.op.in_onnx_domain() || !(automatic || call.op.ints("output_shape").is_some()) {
        return Ok(None);
    }
    let axes = match call.op.op_type.as_str() {
        "Conv" => conv::conv(call)?.axes,
        "ConvTranspose" => conv::conv_transpose(call)?.axes,
        "MaxPool" | "AveragePool" => pool::windows(call)?,
        _ => return Ok(None),
    };
    let mut op = call.op.clone();
    op.attributes.remove("auto_pad");
    let pads = [sizes(&axes, |axis| axis.before), sizes(&axes, |axis| axis.after)].concat();
    op = op.with("pads", signed(&pads));
    if op.is("ConvTranspose") {
        op.attributes.remove("output_shape");
        let behind = axes.iter().map(|axis| axis.after as i64 - axis.used_after());
        op = op.with("output_padding", behind.collect::<Vec<_>>());
    }
    Ok(Some(op))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use super::super::{Case, case, trial};
    use super::*;

    /// The case with its padding written out.
    fn explicit(case: Case) -> Case {
        let (graph, arguments) = trial::arguments(&case);
        let call = Call::new(&graph, "trial", &case.op, arguments);
        let op = explicit_padding(&call).expect("a legal call").expect("padding to write out");
        Case { op, ..case }
    }

    #[test]
    fn pads_take_the_place_of_auto_pad() {
        let conv = case("Conv").x(&[1, 1, 6, 5]).x(&[1, 1, 4, 3]);
        let upper = explicit(conv.clone().with("auto_pad", "SAME_UPPER"));
        assert_eq!(upper.op.ints("pads"), Some(&[1, 1, 2, 1][..]));
        let lower = explicit(conv.with("auto_pad", "SAME_LOWER"));
        assert_eq!(lower.op.ints("pads"), Some(&[2, 1, 1, 1][..]));
        assert_eq!(trial::shape(lower), [1, 1, 6, 5]);
        let wide = case("Conv").x(&[1, 1, 9]).x(&[1, 1, 3]).with("dilations", vec![3i64]);
        let wide = explicit(wide.with("strides", vec![2i64]).with("auto_pad", "SAME_UPPER"));
        assert_eq!(wide.op.ints("pads"), Some(&[3, 3][..]));
        assert_eq!(trial::shape(wide), [1, 1, 5]);
    }

    #[test]
    fn pads_take_the_place_of_output_shape() {
        let up = case("ConvTranspose").x(&[1, 1, 5]).x(&[1, 1, 3]).with("strides", vec![2i64]);
        for (size, pads, extra) in [(8, [2, 1], 0), (11, [0, 0], 0), (12, [0, 0], 1)] {
            let found = explicit(up.clone().with("output_shape", vec![size]));
            assert_eq!(found.op.ints("pads"), Some(&pads[..]));
            assert_eq!(found.op.ints("output_padding"), Some(&[extra][..]));
            assert_eq!(trial::shape(found), [1, 1, size as usize]);
        }
    }

    #[test]
    fn given_padding_stays() {
        let conv = case("Conv").x(&[1, 1, 6]).x(&[1, 1, 3]).with("auto_pad", "NOTSET");
        let (graph, arguments) = trial::arguments(&conv);
        let call = Call::new(&graph, "trial", &conv.op, arguments);
        assert!(explicit_padding(&call).expect("a legal call").is_none());
    }
}
