//! Col2Im, which adds up windows: a transposed convolution in which every window has one
//! channel for each of its elements.

use graphs::{Fact, NodeId, Tensor, Value, element_count};

use super::convolution::Convolution;
use super::window::{self, sizes};
use super::{Call, Def, Gradient, case, only};
use crate::{Result, Tape};

pub(super) const TABLE: &[Def] = &[Def {
    op: "Col2Im",
    infer: |call| {
        let parts = windows(call)?;
        let spatial = sizes(&parts.axes, |axis| axis.size);
        let shape = [&[parts.batch, parts.groups], &spatial[..]].concat();
        Ok(vec![Fact::new(call.dtype(0)?, &shape)])
    },
    gradient: Gradient::Rule(|s| {
        let (dy, shape, parts) = (s.dy()?, s.shape(0)?, windows(&s.call()?)?);
        let weight = weight(s.tape, &parts, dy)?;
        let dx = parts.convolve(s.tape, dy, weight)?;
        only(s.tape.reshape(dx, &shape)?)
    }),
    eval: None,
    cases: || {
        let add = |image: &[i64], block: &[i64], shape: &[usize]| {
            case("Col2Im").x(shape).ints(image).ints(block)
        };
        vec![
            add(&[4, 5], &[2, 3], &[2, 12, 9]),
            add(&[4, 4], &[2, 2], &[1, 8, 9])
                .with("strides", vec![2i64, 2])
                .with("pads", vec![1i64, 1, 1, 1]),
            add(&[5, 5], &[2, 2], &[1, 4, 12]).with("dilations", vec![2i64, 1]),
            add(&[6], &[3], &[2, 6, 4]),
            add(&[3, 3, 3], &[2, 2, 2], &[1, 8, 8]),
        ]
    },
}];

/// The windows that are added: every channel is a group of its own, with one feature for
/// every element of a window.
fn windows(call: &Call) -> Result<Convolution> {
    let list = |i: usize| -> Result<Vec<usize>> {
        call.required_integers(i)?.into_iter().map(|n| call.size(n)).collect()
    };
    let (shape, image, block) = (call.shape(0)?, list(1)?, list(2)?);
    let refuse = || {
        call.error(format!("columns {shape:?} do not fit an image {image:?} in blocks {block:?}"))
    };
    let (&[batch, width, count], true, Some(features)) =
        (&shape[..], image.len() == block.len() && !block.is_empty(), element_count(&block))
    else {
        return Err(refuse());
    };
    let axes = window::forward(call, &image, &block, false)?;
    let counts = element_count(&sizes(&axes, |axis| axis.count));
    if counts != Some(count) || features == 0 || width % features != 0 {
        return Err(refuse());
    }
    let groups = width / features;
    Ok(Convolution { axes, groups, batch, channels: 1, features })
}

/// The most elements that a weight of zeros and ones may have.
const WEIGHT: usize = 1 << 22;

/// `[O, 1, kernel..]`: feature i of a channel takes element i of the window.
fn weight(tape: &mut Tape, parts: &Convolution, like: Value) -> Result<Value> {
    let volume = parts.features;
    let count = element_count(&[parts.groups, volume, volume]).filter(|&n| n <= WEIGHT);
    let Some(count) = count else {
        let reason = format!("{} channels of blocks of {volume} are too many", parts.groups);
        return Err(tape.error(like, reason));
    };
    let one = |i: usize| f32::from(u8::from(i / volume % volume == i % volume));
    let kernel = sizes(&parts.axes, |axis| axis.kernel);
    let shape = [&[parts.groups * volume, 1], &kernel[..]].concat();
    let weight = tape.constant(Tensor::new(&shape, (0..count).map(one).collect())?);
    tape.cast(weight, tape.dtype(like)?)
}

/// tract does not know the operator.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let parts = windows(&call)?;
    let Some(x) = tape.graph.argument(id, 0) else { return Ok(None) };
    let counts = sizes(&parts.axes, |axis| axis.count);
    let x =
        tape.reshape(x, &[&[parts.batch, parts.groups * parts.features], &counts[..]].concat())?;
    let weight = weight(tape, &parts, x)?;
    parts.transposed(tape, x, weight).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn columns_become_images() {
        let add = |shape: &[usize]| case("Col2Im").x(shape).ints(&[4, 5]).ints(&[2, 3]);
        assert_eq!(shape(add(&[2, 12, 9])), [2, 2, 4, 5]);
        assert!(refusal(add(&[2, 12, 8])).contains("do not fit"));
        assert!(refusal(add(&[2, 7, 9])).contains("do not fit"));
        assert!(refusal(add(&[12, 9])).contains("do not fit"));
        let zero = case("Col2Im").x(&[1, 1, 1]).ints(&[1]).ints(&[0]);
        assert!(refusal(zero).contains("kernel size 0"));
    }
}
