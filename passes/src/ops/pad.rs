//! Padding.

use graphs::{Fact, Value, element_count};

use super::{Adjoint, Call, Def, Gradient, case};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[Def {
    op: "Pad",
    infer,
    gradient: Rule(gradient),
    eval: None,
    cases: || {
        vec![
            case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2]),
            case("Pad").x(&[2, 3]).ints(&[1, 2, 0, 0]).scalar(0.5f32),
            case("Pad")
                .x(&[2, 3])
                .ints(&[1, 2, 0, 0])
                .within(&[], 0.1, 0.9)
                .tract_lacks("a pad value that is no constant"),
            case("Pad").x(&[4, 3]).ints(&[-1, 2, 1, -1]).tract_lacks("negative pads"),
            case("Pad").x(&[2, 3, 4]).ints(&[1, 2, 3, 0]).absent().ints(&[-1, 0]),
        ]
    },
}];

/// Elements before and after every axis; less than 0 takes away.
fn pads(call: &Call) -> Result<Vec<[i64; 2]>> {
    let (rank, given) = (call.shape(0)?.len(), call.required_integers(1)?);
    let axes = call.integers(3)?.unwrap_or_else(|| (0..rank as i64).collect());
    let axes = call.axes(&axes, rank)?;
    if given.len() != 2 * axes.len() {
        let reason = format!("{} pads for {} axes, which need two each", given.len(), axes.len());
        return Err(call.error(reason));
    }
    let mut pads = vec![[0, 0]; rank];
    let (before, after) = given.split_at(axes.len());
    for ((axis, &before), &after) in axes.into_iter().zip(before).zip(after) {
        if let Some(pad) = pads.get_mut(axis) {
            *pad = [before, after];
        }
    }
    Ok(pads)
}

fn infer(call: &Call) -> Result<Vec<Fact>> {
    let (shape, pads) = (call.shape(0)?, pads(call)?);
    if call.has(2) && element_count(&call.shape(2)?) != Some(1) {
        return Err(call.error(format!("the pad value is no scalar, but {:?}", call.shape(2)?)));
    }
    let padded = |(&size, &[before, after]): (&usize, &[i64; 2])| {
        let size = i64::try_from(size).ok()?;
        let sum = size.checked_add(before)?.checked_add(after)?;
        usize::try_from(sum).ok().filter(|_| before.min(after) >= -size)
    };
    match shape.iter().zip(&pads).map(padded).collect::<Option<Vec<_>>>() {
        Some(shape) => Ok(vec![Fact::new(call.dtype(0)?, &shape)]),
        None => Err(call.error(format!("the pads {pads:?} do not fit {shape:?}"))),
    }
}

/// Takes off what was put on, and puts zeros where something was taken away.
fn gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    if let Some(mode) = s.op.string("mode").filter(|&mode| mode != "constant") {
        return Err(s.error(format!("mode `{mode}` has no gradient rule, only `constant` has")));
    }
    let (dy, pads) = (s.dy()?, pads(&s.call()?)?);
    let inner = crop(s, dy, &pads)?;
    let dx = s.when(0, |s| {
        let taken = |side: usize| move |pad: &[i64; 2]| pad[side].min(0).unsigned_abs() as usize;
        let before: Vec<usize> = pads.iter().map(taken(0)).collect();
        let after: Vec<usize> = pads.iter().map(taken(1)).collect();
        s.tape.pad(inner, &before, &after)
    })?;
    let value = s.when(2, |s| {
        let axes: Vec<usize> = (0..pads.len()).collect();
        let all = s.tape.reduce_sum(dy, &axes, false)?;
        let inner = s.tape.reduce_sum(inner, &axes, false)?;
        let value = s.apply("Sub", &[all, inner])?;
        let shape = s.shape(2)?;
        s.tape.reshape(value, &shape)
    })?;
    Ok(vec![dx, None, value])
}

/// The part of `dy` that comes from the argument.
fn crop(s: &mut Adjoint, dy: Value, pads: &[[i64; 2]]) -> Result<Value> {
    let shape = s.tape.shape(dy)?;
    let (mut axes, mut starts, mut ends) = (vec![], vec![], vec![]);
    for (axis, (&[before, after], size)) in pads.iter().zip(shape).enumerate() {
        if before > 0 || after > 0 {
            axes.push(axis as i64);
            starts.push(before.max(0));
            ends.push(size as i64 - after.max(0));
        }
    }
    if axes.is_empty() {
        return Ok(dy);
    }
    let steps = vec![1; axes.len()];
    s.tape.slice(dy, &axes, &starts, &ends, &steps)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn pads_name_axes_and_may_be_negative() {
        assert_eq!(shape(case("Pad").x(&[2, 3]).ints(&[1, 0, 0, 2])), [3, 5]);
        assert_eq!(shape(case("Pad").x(&[2, 3]).ints(&[-1, -2]).absent().ints(&[-1])), [2, 0]);
        assert!(refusal(case("Pad").x(&[2, 3]).ints(&[1, 2, 3])).contains("3 pads for 2 axes"));
        assert!(refusal(case("Pad").x(&[2]).ints(&[-2, -1])).contains("do not fit"));
        assert!(refusal(case("Pad").x(&[2]).ints(&[i64::MAX, i64::MAX])).contains("do not fit"));
    }
}
