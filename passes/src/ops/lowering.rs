//! What engines lack, get wrong or run slowly, said with other operators.

use graphs::{Graph, NodeId, Op, Tensor, Value};

use super::{
    Call, adjacent, columns, contraction, crop, gather_nd, grid, indicator, pad, reverse, slice,
};
use crate::sources::is_view;
use crate::{Error, Result, Tape};

/// The node's output made of plainer operators; `None` where every engine takes the node as
/// it is. All shapes must be known.
///
/// # Errors
/// When the call is malformed.
pub fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(op) = tape.graph.node(id).op().filter(|op| op.in_onnx_domain()) else {
        return Ok(None);
    };
    match op.op_type.as_str() {
        "Add" => adjacent::plain(tape, id),
        "CenterCropPad" => crop::plain(tape, id),
        "Col2Im" => columns::plain(tape, id),
        "Einsum" => contraction::plain(tape, id),
        "Expand" => expand(tape, id),
        "GatherND" | "ScatterND" => gather_nd::plain(tape, id),
        "GridSample" => grid::plain(tape, id),
        "MatMul" => dot(tape, id),
        "OneHot" => indicator::plain(tape, id),
        "Pad" => pad::plain(tape, id),
        "ReverseSequence" => reverse::plain(tape, id),
        "Slice" => slice::plain(tape, id),
        "Squeeze" | "Unsqueeze" => reshape(tape, id),
        _ => Ok(None),
    }
}

/// tract knows no product of two vectors.
fn dot(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let (Some(a), Some(b)) = (tape.graph.argument(id, 0), tape.graph.argument(id, 1)) else {
        return Ok(None);
    };
    let (&[n], &[_]) = (&tape.shape(a)?[..], &tape.shape(b)?[..]) else { return Ok(None) };
    let (row, column) = (tape.reshape(a, &[1, n])?, tape.reshape(b, &[n, 1])?);
    let product = tape.op(Op::new("MatMul"), &[row, column])?;
    tape.reshape(product, &[]).map(Some)
}

/// tract takes the axes of Squeeze and Unsqueeze one after the other, each for itself.
fn reshape(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let axes = call.integers(1)?.unwrap_or_default();
    if axes.iter().all(|&axis| axis >= 0) && axes.is_sorted() {
        return Ok(None);
    }
    let shape = tape.shape(id.into())?;
    match tape.graph.argument(id, 0) {
        Some(x) => tape.reshape(x, &shape).map(Some),
        None => Ok(None),
    }
}

/// How many views may lie between an Expand and a product.
const VIEWS: usize = 8;

/// The most repetitions along an axis: each takes a constant of as many ones.
const MOST_REPETITIONS: usize = 1 << 24;

/// tract multiplies what is expanded in place of the result where a product reads that, if need be
/// by way of views: it sums too few terms, or refuses the graph. So the repetition along each axis
/// becomes a multiplication by ones.
///
/// # Errors
/// When there are more of them than anyone multiplies.
fn expand(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(x) = tape.graph.argument(id, 0).filter(|_| meets_product(tape.graph, id, VIEWS))
    else {
        return Ok(None);
    };
    let (from, to) = (tape.shape(x)?, tape.shape(id.into())?);
    let new = to.len().saturating_sub(from.len());
    let mut repeated = x;
    for (axis, &size) in to.iter().enumerate() {
        if size == 1 || axis.checked_sub(new).is_some_and(|old| from.get(old) == Some(&size)) {
            continue;
        }
        if size > MOST_REPETITIONS {
            let node = tape.graph.node(id).describe();
            let reason = format!("{size} repetitions in front of a product are too many");
            return Err(Error::Node { node, reason });
        }
        let shape: Vec<usize> = (0..to.len()).map(|i| if i == axis { size } else { 1 }).collect();
        let ones = tape.constant(Tensor::full(&shape, 1f32)?);
        let ones = tape.cast(ones, tape.dtype(x)?)?;
        repeated = tape.apply("Mul", &[repeated, ones])?;
    }
    Ok((repeated != x).then_some(repeated))
}

/// Whether a product reads the node's output, by way of `views` at most.
fn meets_product(graph: &Graph, id: NodeId, views: usize) -> bool {
    graph.readers(id.into()).into_iter().any(|(reader, _)| {
        let Some(op) = graph.node(reader).op() else { return false };
        let product = ["MatMul", "Gemm", "Einsum"].iter().any(|name| op.is(name));
        product || views > 0 && is_view(op) && meets_product(graph, reader, views - 1)
    })
}
