//! Sequences of different lengths, each turned round.

use graphs::{NodeId, Op, Tensor, Value};

use super::eval;
use super::{Call, Def, Gradient, case, like_first, only};
use crate::{Result, Tape};

pub(super) const TABLE: &[Def] = &[Def {
    op: "ReverseSequence",
    infer: |call| {
        axes(call)?;
        like_first(call)
    },
    gradient: Gradient::Rule(|s| {
        let (dy, lengths, op) = (s.dy()?, s.x(1)?, s.op.clone());
        only(s.tape.op(op, &[dy, lengths])?)
    }),
    eval: None,
    cases: || {
        let batch = || case("ReverseSequence").with("batch_axis", 0i64).with("time_axis", 1i64);
        vec![
            case("ReverseSequence").x(&[4, 3]).ints(&[4, 1, 2]),
            batch().x(&[2, 3, 2]).ints(&[2, 3]),
        ]
    },
}];

/// The sizes of time and batch, and whether the batch comes first.
fn axes(call: &Call) -> Result<(usize, usize, bool)> {
    let (shape, lengths) = (call.shape(0)?, call.shape(1)?);
    let (batch, time) = (call.op.int("batch_axis", 1), call.op.int("time_axis", 0));
    match (&shape[..], (batch, time)) {
        (&[time, batch, ..], (1, 0)) if lengths == [batch] => Ok((time, batch, false)),
        (&[batch, time, ..], (0, 1)) if lengths == [batch] => Ok((time, batch, true)),
        _ => Err(call.error(format!(
            "input {shape:?}, lengths {lengths:?}, batch_axis {batch} and time_axis {time} do not fit"
        ))),
    }
}

/// tract does not know the operator: for constant lengths a Gather of rows.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let ((time, batch, batch_first), shape) = (axes(&call)?, call.shape(0)?);
    let (Some(lengths), Some(x)) = (call.constant(1), tape.graph.argument(id, 0)) else {
        return Ok(None);
    };
    let Some(rows) = time.checked_mul(batch).filter(|&rows| rows <= eval::LIMIT) else {
        return Ok(None);
    };
    let lengths = lengths.integers()?;
    let source = |row: usize| {
        let (t, b) =
            if batch_first { (row % time, row / time) } else { (row / batch, row % batch) };
        let length = lengths.get(b).copied().and_then(|n| usize::try_from(n).ok()).unwrap_or(0);
        let t = if t < length.min(time) { length.min(time) - 1 - t } else { t };
        (if batch_first { b * time + t } else { t * batch + b }) as i64
    };
    let places = Tensor::vector(&(0..rows).map(source).collect::<Vec<i64>>());
    let places = tape.constant(places);
    let flat: Vec<usize> = [rows].into_iter().chain(shape.iter().skip(2).copied()).collect();
    let x = tape.reshape(x, &flat)?;
    let y = tape.op(Op::new("Gather").with("axis", 0i64), &[x, places])?;
    tape.reshape(y, &shape).map(Some)
}

#[cfg(test)]
mod tests {
    use super::super::trial::refusal;
    use super::*;

    #[test]
    fn lengths_belong_to_the_batch() {
        let call = || case("ReverseSequence").x(&[4, 3]);
        assert!(refusal(call().ints(&[1, 2])).contains("do not fit"));
        assert!(refusal(call().with("time_axis", 1i64).ints(&[1, 2, 3])).contains("do not fit"));
        assert!(refusal(case("ReverseSequence").x(&[4]).ints(&[1])).contains("do not fit"));
    }
}
