//! Sums of what lies side by side. Where several nodes read parts of one value, each part
//! of the gradient comes with zeros around; parts that touch are joined instead of added.

use graphs::{NodeId, Op, Value};

use super::patches::frame;
use super::{Call, pad};
use crate::{Result, Tape};

/// A value, and the zeros in front of it and behind along every axis.
struct Padded {
    part: Value,
    zeros: Vec<(i64, i64)>,
}

/// An Add of two parts that touch along one axis as their Concat.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let (Some(a), Some(b)) = (padded(tape, id, 0)?, padded(tape, id, 1)?) else { return Ok(None) };
    let (axis, first, second) = if let Some(axis) = touch(tape, &a, &b)? {
        (axis, a, b)
    } else if let Some(axis) = touch(tape, &b, &a)? {
        (axis, b, a)
    } else {
        return Ok(None);
    };
    let mut zeros = first.zeros;
    if let Some((zeros, behind)) = zeros.get_mut(axis).zip(second.zeros.get(axis)) {
        zeros.1 = behind.1;
    }
    let concat = Op::new("Concat").with("axis", axis as i64);
    let parts = tape.op(concat, &[first.part, second.part])?;
    frame(tape, parts, 0, &zeros).map(Some)
}

/// What a Pad with zeros is made of, if that is what argument `slot` is.
fn padded(tape: &Tape, id: NodeId, slot: usize) -> Result<Option<Padded>> {
    let Some(argument) = tape.graph.argument(id, slot) else { return Ok(None) };
    let Some(call) = Call::of(tape.graph, argument.node).filter(|call| call.op.is("Pad")) else {
        return Ok(None);
    };
    let (part, zeros) = (tape.graph.argument(argument.node, 0), pad::zeros(&call)?);
    Ok(part.zip(zeros).map(|(part, zeros)| Padded { part, zeros }))
}

/// The axis along which `b` begins where `a` ends; all else about them has to be the same.
fn touch(tape: &Tape, a: &Padded, b: &Padded) -> Result<Option<usize>> {
    let (first, second) = (tape.shape(a.part)?, tape.shape(b.part)?);
    let differs = |&axis: &usize| a.zeros.get(axis) != b.zeros.get(axis);
    let mut axes = (0..first.len()).filter(differs);
    let (Some(axis), None) = (axes.next(), axes.next()) else { return Ok(None) };
    let same = |i: usize| i == axis || first.get(i) == second.get(i);
    let ends = first.get(axis).zip(a.zeros.get(axis)).map(|(&size, pad)| pad.0 + size as i64);
    let begins = b.zeros.get(axis).map(|pad| pad.0);
    let touches = first.len() == second.len() && ends == begins && (0..first.len()).all(same);
    Ok(touches.then_some(axis))
}
