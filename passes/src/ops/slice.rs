//! Slices.

use graphs::{Fact, NodeId, Op, Value};

use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case, eval};
use crate::{Result, Tape};
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[Def {
    op: "Slice",
    infer: |call| {
        let mut shape = call.shape(0)?;
        for cut in cuts(call)? {
            if let Some(size) = shape.get_mut(cut.axis) {
                *size = cut.count;
            }
        }
        Ok(vec![Fact::new(call.dtype(0)?, &shape)])
    },
    gradient: Rule(slice),
    eval: Some(view),
    cases: slices,
}];

fn slices() -> Vec<Case> {
    let x = || case("Slice").x(&[5, 4, 7]);
    let (all, before) = (i64::MAX, i64::MIN);
    vec![
        x().ints(&[1]).ints(&[3]),
        x().ints(&[1, 2]).ints(&[all, -1]).ints(&[0, -1]),
        x().ints(&[-1]).ints(&[before]).ints(&[2]).ints(&[-1]),
        x().ints(&[1, 6]).ints(&[5, 0]).ints(&[0, 2]).ints(&[2, -3]),
        x().ints(&[0, 0]).ints(&[all, all]).ints(&[2, 1]).ints(&[3, 2]),
        x().ints(&[2]).ints(&[3]).ints(&[1]).ints(&[4]),
        x().ints(&[1, 0]).ints(&[all, all]).ints(&[1, 2]).ints(&[2, 3]),
        x().ints(&[-100, 100]).ints(&[100, -100]).ints(&[0, 2]).ints(&[1, -1]),
    ]
}

/// One axis of a Slice: `count` elements from `start`, `step` apart.
struct Cut {
    axis: usize,
    start: usize,
    step: i64,
    count: usize,
}

fn cuts(call: &Call) -> Result<Vec<Cut>> {
    let shape = call.shape(0)?;
    let (starts, ends) = (call.required_integers(1)?, call.required_integers(2)?);
    let axes = call.integers(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.integers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err(call.error("starts, ends, axes and steps differ in length"));
    }
    let axes = call.axes(&axes, shape.len())?;
    let limits = starts.into_iter().zip(ends).zip(steps);
    let cut = |(axis, ((start, end), step)): (usize, ((i64, i64), i64))| {
        let size = shape.get(axis).map_or(0, |&n| n as i64);
        if step == 0 {
            return Err(call.error("a step is 0"));
        }
        let from_end = |i: i64| if i < 0 { i.saturating_add(size) } else { i };
        // Going down, -1 stands for the place before the first element.
        let (low, high) = if step > 0 { (0, size) } else { (-1, size - 1) };
        let start = from_end(start).clamp(low.max(0).min(high), high.max(low));
        let end = from_end(end).clamp(low, high.max(low));
        let distance = if step > 0 { end - start } else { start - end };
        let count = match u64::try_from(distance) {
            Ok(distance @ 1..) => (distance - 1) / step.unsigned_abs() + 1,
            _ => 0,
        };
        Ok(Cut { axis, start: start.max(0) as usize, step, count: count as usize })
    };
    axes.into_iter().zip(limits).map(cut).collect()
}

fn view(call: &Call) -> Folded {
    let Some(constants) = eval::constants(call) else { return Ok(None) };
    let Some(x) = constants.first() else { return Ok(None) };
    let (mut shape, mut strides, mut first) = (x.shape().to_vec(), eval::strides(x.shape()), 0);
    for cut in cuts(call)? {
        if let (Some(size), Some(stride)) = (shape.get_mut(cut.axis), strides.get_mut(cut.axis)) {
            first += cut.start as i64 * *stride;
            *stride = stride.saturating_mul(cut.step);
            *size = cut.count;
        }
    }
    match eval::view(&shape, first, &strides) {
        Some(positions) => eval::pick(x, &shape, positions),
        None => Ok(None),
    }
}

/// The most indices that a Gather in the place of a Slice gets.
const PLACES: usize = 1 << 22;

/// A Slice with steps as a Reshape and a Slice without, or a Gather: tract fails on steps
/// behind a Reshape.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let (shape, cuts) = (call.shape(0)?, cuts(&call)?);
    let stepped = |cut: &Cut| cut.step != 1 && cut.count > 1;
    let worth = cuts.iter().any(stepped) && cuts.iter().all(|cut| cut.count <= PLACES);
    let (Some(mut x), true) = (tape.graph.argument(id, 0), worth) else { return Ok(None) };
    for cut in cuts {
        let size = shape.get(cut.axis).copied().unwrap_or_default();
        let step = usize::try_from(cut.step).unwrap_or(0);
        let axis = cut.axis as i64;
        let now = tape.shape(x)?;
        let (outer, rest) = now.split_at(cut.axis);
        let inner = rest.get(1..).unwrap_or(&[]);
        x = if !stepped(&cut) {
            let end = (cut.start + cut.count) as i64;
            tape.slice(x, &[axis], &[cut.start as i64], &[end], &[1])?
        } else if step > 1 && size % step == 0 {
            let split = tape.reshape(x, &[outer, &[size / step, step], inner].concat())?;
            let (row, phase) = ((cut.start / step) as i64, (cut.start % step) as i64);
            let end = row + cut.count as i64;
            let part =
                tape.slice(split, &[axis, axis + 1], &[row, phase], &[end, phase + 1], &[1, 1])?;
            tape.reshape(part, &[outer, &[cut.count], inner].concat())?
        } else {
            let places: Vec<i64> =
                (0..cut.count as i64).map(|i| cut.start as i64 + i * cut.step).collect();
            let places = tape.ints(&places);
            tape.op(Op::new("Gather").with("axis", axis), &[x, places])?
        };
    }
    Ok(Some(x))
}

/// Puts the gradient back at its places: turns descending axes around, puts zeros
/// between elements that are several steps apart, then zeros around.
fn slice(s: &mut Adjoint) -> Gradients {
    let (x, shape, cuts) = (s.x(0)?, s.shape(0)?, cuts(&s.call()?)?);
    if cuts.iter().any(|cut| cut.count == 0) {
        return Ok(vec![Some(s.tape.zeros_like(x)?)]);
    }
    let mut dx = s.dy()?;
    let down: Vec<i64> = cuts.iter().filter(|c| c.step < 0).map(|c| c.axis as i64).collect();
    if !down.is_empty() {
        let minus = vec![-1; down.len()];
        dx = s.tape.slice(dx, &down, &minus, &vec![i64::MIN; down.len()], &minus)?;
    }
    let (mut before, mut after) = (vec![0; shape.len()], vec![0; shape.len()]);
    for cut in &cuts {
        let step = usize::try_from(cut.step.unsigned_abs()).unwrap_or(usize::MAX);
        let span = (cut.count - 1).saturating_mul(step);
        let first = if cut.step > 0 { cut.start } else { cut.start.saturating_sub(span) };
        if cut.count > 1 && step > 1 {
            dx = dilate(s, dx, cut.axis, step)?;
        }
        let size = shape.get(cut.axis).copied().unwrap_or_default();
        let places = (before.get_mut(cut.axis), after.get_mut(cut.axis));
        if let (Some(before), Some(after)) = places {
            (*before, *after) = (first, size.saturating_sub(first + span + 1));
        }
    }
    Ok(vec![Some(s.tape.pad(dx, &before, &after)?)])
}

/// `step - 1` zeros between neighbours along `axis`.
fn dilate(s: &mut Adjoint, x: Value, axis: usize, step: usize) -> Result<Value> {
    let shape = s.tape.shape(x)?;
    let (outer, rest) = shape.split_at(axis);
    let (count, inner) = rest.split_first().map_or((1, rest), |(&n, inner)| (n, inner));
    let around = |middle: &[usize]| [outer, middle, inner].concat();
    let x = s.tape.reshape(x, &around(&[count, 1]))?;
    let mut after = vec![0; shape.len() + 1];
    after.iter_mut().skip(axis + 1).take(1).for_each(|n| *n = step - 1);
    let x = s.tape.pad(x, &vec![0; shape.len() + 1], &after)?;
    let x = s.tape.reshape(x, &around(&[count * step]))?;
    let end = ((count - 1) * step + 1) as i64;
    s.tape.slice(x, &[axis as i64], &[0], &[end], &[1])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{ints, refusal, shape};
    use super::*;

    #[test]
    fn slices_clamp_like_numpy() {
        let x = || case("Slice").ints(&[0, 1, 2, 3, 4]);
        let cut = |start: i64, end: i64, step: i64| {
            ints(x().ints(&[start]).ints(&[end]).ints(&[0]).ints(&[step]))
        };
        assert_eq!(cut(1, -1, 1), [1, 2, 3]);
        assert_eq!(cut(-1, i64::MIN, -2), [4, 2, 0]);
        assert_eq!(cut(-100, 100, 3), [0, 3]);
        assert_eq!(cut(100, 0, -3), [4, 1]);
        assert_eq!(cut(3, 1, 1), [0i64; 0]);
        assert_eq!(cut(0, i64::MAX, i64::MAX), [0]);
        assert_eq!(cut(4, i64::MIN, i64::MIN), [4]);
        assert_eq!(shape(case("Slice").x(&[0]).ints(&[0]).ints(&[9])), [0]);
    }

    #[test]
    fn bad_slices_are_refused() {
        let x = || case("Slice").x(&[3, 3]);
        assert!(refusal(x().ints(&[0, 0]).ints(&[1])).contains("differ in length"));
        assert!(refusal(x().ints(&[0]).ints(&[1]).ints(&[0]).ints(&[0])).contains("step is 0"));
        assert!(refusal(x().ints(&[0]).ints(&[1]).ints(&[2])).contains("out of range"));
    }
}
