//! Padding.

use graphs::{Fact, NodeId, Op, Tensor, Value, element_count};

use super::border::{Mode, fold_back, repeat};
use super::patches::frame;
use super::{Adjoint, Call, Def, Folded, Gradient, case, eval};
use crate::{Result, Tape};
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[Def {
    op: "Pad",
    infer,
    gradient: Rule(gradient),
    eval: Some(fold),
    cases: || {
        let bordered = |mode: &str| case("Pad").with("mode", mode);
        let mut cases = vec![
            case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2]),
            case("Pad").x(&[2, 3]).ints(&[1, 2, 0, 0]).scalar(0.5f32),
            case("Pad").x(&[2, 3]).ints(&[1, 2, 0, 0]).within(&[], 0.1, 0.9),
            case("Pad").x(&[4, 3]).ints(&[-1, 2, 1, -1]),
            case("Pad").x(&[4, 3]).ints(&[-1, 1, 1, -1]).within(&[], 0.1, 0.9),
            case("Pad").x(&[2, 3, 4]).ints(&[1, 2, 3, 0]).absent().ints(&[-1, 0]),
            bordered("wrap").x(&[3, 4]).ints(&[4, 1, 7, 0]),
        ];
        for mode in ["reflect", "edge", "wrap"] {
            cases.push(bordered(mode).x(&[2, 1, 4, 3]).ints(&[0, 0, 3, 1, 0, 0, 2, 2]));
            cases.push(bordered(mode).x(&[2, 5]).ints(&[1, 2]).absent().ints(&[1]));
            cases.push(bordered(mode).x(&[4, 5]).ints(&[-1, 2, 2, -2]));
        }
        cases
    },
}];

/// Elements before and after every axis; less than 0 takes away.
fn pads(call: &Call) -> Result<Vec<(i64, i64)>> {
    let (rank, given) = (call.shape(0)?.len(), call.required_integers(1)?);
    let axes = call.integers(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    let axes = call.axes(&axes, rank)?;
    if given.len() != 2 * axes.len() {
        let reason = format!("{} pads for {} axes, which need two each", given.len(), axes.len());
        return Err(call.error(reason));
    }
    let mut pads = vec![(0, 0); rank];
    let (before, after) = given.split_at(axes.len());
    for ((axis, &before), &after) in axes.into_iter().zip(before).zip(after) {
        if let Some(pad) = pads.get_mut(axis) {
            *pad = (before, after);
        }
    }
    Ok(pads)
}

fn infer(call: &Call) -> Result<Vec<Fact>> {
    let (shape, pads, mode) = (call.shape(0)?, pads(call)?, Mode::of(call)?);
    if call.has(2) && element_count(&call.shape(2)?) != Some(1) {
        return Err(call.error(format!("the pad value is no scalar, but {:?}", call.shape(2)?)));
    }
    let padded = |(&size, &(before, after)): (&usize, &(i64, i64))| {
        let size = i64::try_from(size).ok()?;
        let left = size.checked_add(before.min(0))?.checked_add(after.min(0))?;
        if left < 0 || !mode.allows(left, before.max(after)) {
            return None;
        }
        usize::try_from(left.checked_add(before.max(0))?.checked_add(after.max(0))?).ok()
    };
    match shape.iter().zip(&pads).map(padded).collect::<Option<Vec<_>>>() {
        Some(shape) => Ok(vec![Fact::new(call.dtype(0)?, &shape)]),
        None => Err(call.error(format!("the pads {pads:?} do not fit {shape:?}"))),
    }
}

/// The numbers of zeros that the call puts around every axis, if that is all that it does.
pub(super) fn zeros(call: &Call) -> Result<Option<Vec<(i64, i64)>>> {
    if call.has(2) || Mode::of(call)? != Mode::Constant {
        return Ok(None);
    }
    let pads = pads(call)?;
    Ok(Some(pads).filter(|pads| pads.iter().all(|pad| pad.0 >= 0 && pad.1 >= 0)))
}

/// What is taken away, and what is then put on.
fn parts(pads: &[(i64, i64)]) -> [Vec<(i64, i64)>; 2] {
    let each = |part: fn(i64) -> i64| pads.iter().map(|&(a, b)| (part(a), part(b))).collect();
    [each(|n| n.min(0)), each(|n| n.max(0))]
}

fn opposite(pads: &[(i64, i64)]) -> Vec<(i64, i64)> {
    pads.iter().map(|&(before, after)| (-before, -after)).collect()
}

/// Takes off what was put on, and puts zeros where something was taken away.
fn gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let (dy, call) = (s.dy()?, s.call()?);
    let (pads, mode) = (pads(&call)?, Mode::of(&call)?);
    let [less, more] = parts(&pads);
    let inner = match mode {
        Mode::Constant => frame(s.tape, dy, 0, &opposite(&more))?,
        _ => fold_back(s.tape, dy, mode, &more)?,
    };
    let dx = s.when(0, |s| frame(s.tape, inner, 0, &opposite(&less)))?;
    if mode != Mode::Constant || !s.wants(2) {
        return Ok(vec![dx]);
    }
    let axes: Vec<usize> = (0..pads.len()).collect();
    let all = s.tape.reduce_sum(dy, &axes, false)?;
    let inner = s.tape.reduce_sum(inner, &axes, false)?;
    let value = s.apply("Sub", &[all, inner])?;
    let shape = s.shape(2)?;
    Ok(vec![dx, None, Some(s.tape.reshape(value, &shape)?)])
}

/// A Pad that tract takes: it pads neither by negative numbers nor with a value that is no
/// constant, and does not know `wrap`.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let (pads, mode) = (pads(&call)?, Mode::of(&call)?);
    let [less, more] = parts(&pads);
    let value = call.constant(2).cloned();
    let variable = call.has(2) && value.is_none() && mode == Mode::Constant;
    let crops = less.iter().any(|&pad| pad != (0, 0));
    let (x, given) = (tape.graph.argument(id, 0), tape.graph.argument(id, 2));
    let (Some(x), true) = (x, crops || variable || mode == Mode::Wrap) else { return Ok(None) };
    let x = frame(tape, x, 0, &less)?;
    match (mode, given) {
        (Mode::Wrap, _) => repeat(tape, x, mode, &more).map(Some),
        (Mode::Constant, Some(given)) if variable => {
            let (zeros, one) = (tape.zeros_like(x)?, tape.number(1.0, x)?);
            let around = put(tape, zeros, &more, mode, Some(one))?;
            let (inner, given) = (put(tape, x, &more, mode, None)?, tape.reshape(given, &[])?);
            let around = tape.apply("Mul", &[around, given])?;
            tape.apply("Add", &[inner, around]).map(Some)
        }
        _ => {
            let value = value.map(|value| value.reshaped(&[])).transpose()?;
            let value = value.map(|value| tape.constant(value));
            put(tape, x, &more, mode, value).map(Some)
        }
    }
}

/// A Pad by numbers that are not negative.
fn put(
    tape: &mut Tape,
    x: Value,
    pads: &[(i64, i64)],
    mode: Mode,
    value: Option<Value>,
) -> Result<Value> {
    let pads: Vec<i64> = pads.iter().map(|pad| pad.0).chain(pads.iter().map(|pad| pad.1)).collect();
    let pads = tape.ints(&pads);
    let arguments: Vec<Value> = [x, pads].into_iter().chain(value).collect();
    tape.op(Op::new("Pad").with("mode", mode.name()), &arguments)
}

fn fold(call: &Call) -> Folded {
    let Some(shape) = infer(call)?.first().and_then(Fact::known_shape) else { return Ok(None) };
    // One axis of an empty tensor may still be of any length.
    let small = element_count(&shape).is_some_and(|count| (1..=eval::LIMIT).contains(&count));
    let (Some(x), true) = (call.constant(0), small && call.constant(1).is_some()) else {
        return Ok(None);
    };
    let fill = call.constant(2).map(|value| value.reshaped(&[])).transpose()?;
    if call.has(2) && fill.is_none() {
        return Ok(None);
    }
    let (pads, mode) = (pads(call)?, Mode::of(call)?);
    let source = |(&size, &(before, after)): (&usize, &(i64, i64))| {
        let (size, taken) = (size as i64, (-before).max(0));
        let left = size + before.min(0) + after.min(0);
        let place = |i: i64| Some((mode.source(i, left)? + taken) as usize);
        (-before.max(0)..left + after.max(0)).map(place).collect()
    };
    let sources: Vec<Vec<Option<usize>>> = x.shape().iter().zip(&pads).map(source).collect();
    let places = (0..shape.iter().product()).map(|flat: usize| {
        let (mut rest, mut place) = (flat, 0);
        for (source, stride) in sources.iter().zip(eval::strides(x.shape())).rev() {
            place += source.get(rest % source.len()).copied().flatten()? * stride as usize;
            rest /= source.len();
        }
        Some(place)
    });
    let places: Vec<Option<usize>> = places.collect();
    eval::pick_or(x, fill.as_ref().filter(|f: &&Tensor| f.dtype() == x.dtype()), &shape, places)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{ints, refusal, shape};
    use super::*;

    #[test]
    fn pads_name_axes_and_may_be_negative() {
        assert_eq!(shape(case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2])), [3, 5]);
        assert_eq!(shape(case("Pad").x(&[2, 3]).ints(&[-1, -2]).absent().ints(&[-1])), [2, 0]);
        assert!(refusal(case("Pad").x(&[2, 3]).ints(&[1, 2, 3])).contains("3 pads for 2 axes"));
        assert!(refusal(case("Pad").x(&[2]).ints(&[-2, -1])).contains("do not fit"));
        assert!(refusal(case("Pad").x(&[2]).ints(&[i64::MAX, i64::MAX])).contains("do not fit"));
        assert!(refusal(case("Pad").x(&[2]).ints(&[i64::MIN, 0])).contains("do not fit"));
    }

    #[test]
    fn constants_are_padded_in_every_mode() {
        let pad = |mode: &str, pads: &[i64]| {
            ints(case("Pad").with("mode", mode).ints(&[1, 2, 3]).ints(pads))
        };
        assert_eq!(pad("constant", &[1, 2]), [0, 1, 2, 3, 0, 0]);
        assert_eq!(pad("reflect", &[2, 1]), [3, 2, 1, 2, 3, 2]);
        assert_eq!(pad("edge", &[2, 1]), [1, 1, 1, 2, 3, 3]);
        assert_eq!(pad("wrap", &[4, 1]), [3, 1, 2, 3, 1, 2, 3, 1]);
        assert_eq!(pad("wrap", &[-1, 3]), [2, 3, 2, 3, 2]);
        let seven = case("Pad").ints(&[1]).ints(&[1, 1]).scalar(7i64);
        assert_eq!(ints(seven), [7, 1, 7]);
        let far = case("Pad").with("mode", "reflect").x(&[3]).ints(&[3, 0]);
        assert!(refusal(far).contains("do not fit"));
        assert!(refusal(case("Pad").with("mode", "odd").x(&[3]).ints(&[3, 0])).contains("odd"));
    }
}
