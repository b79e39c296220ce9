//! Cropping and padding around the centre.

use graphs::{Fact, NodeId, Value};

use super::patches::frame;
use super::{Call, Def, Gradient, case, only};
use crate::{Result, Tape};

pub(super) const TABLE: &[Def] = &[Def {
    op: "CenterCropPad",
    infer: |call| {
        let (shape, margins) = (call.shape(0)?, margins(call)?);
        let size = |(&size, (before, after)): (&usize, (i64, i64))| {
            (size as i64 + before + after) as usize
        };
        let shape: Vec<usize> = shape.iter().zip(margins).map(size).collect();
        Ok(vec![Fact::new(call.dtype(0)?, &shape)])
    },
    gradient: Gradient::Rule(|s| {
        let (dy, margins) = (s.dy()?, margins(&s.call()?)?);
        let back: Vec<_> = margins.iter().map(|&(before, after)| (-before, -after)).collect();
        only(frame(s.tape, dy, 0, &back)?)
    }),
    eval: None,
    cases: || {
        let crop = || case("CenterCropPad");
        vec![
            crop().x(&[5, 4]).ints(&[2, 7]),
            crop().x(&[4, 5]).ints(&[7, 2]),
            crop().with("axes", vec![-1i64, 1]).x(&[2, 3, 6]).ints(&[3, 6]),
        ]
    },
}];

/// What every axis gains, or loses if less than 0, in front and behind.
fn margins(call: &Call) -> Result<Vec<(i64, i64)>> {
    let (shape, wanted) = (call.shape(0)?, call.required_integers(1)?);
    let axes = match call.op.ints("axes") {
        Some(axes) => call.axes(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    if wanted.len() != axes.len() {
        let reason = format!("{} sizes for {} axes", wanted.len(), axes.len());
        return Err(call.error(reason));
    }
    let mut margins = vec![(0, 0); shape.len()];
    for (axis, wanted) in axes.into_iter().zip(wanted) {
        call.size(wanted)?;
        let size = shape.get(axis).copied().unwrap_or(0) as i64;
        let Some(gain) = wanted.checked_sub(size) else {
            return Err(call.error(format!("{wanted} is no dimension")));
        };
        // The smaller half stands in front, of what is put on and of what is cut off.
        if let Some(margin) = margins.get_mut(axis) {
            *margin = (gain / 2, gain - gain / 2);
        }
    }
    Ok(margins)
}

/// tract does not know the operator.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let margins = margins(&call)?;
    match tape.graph.argument(id, 0) {
        Some(x) => frame(tape, x, 0, &margins).map(Some),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn sizes_become_what_is_wanted() {
        let crop = |axes: Vec<i64>| case("CenterCropPad").with("axes", axes).x(&[4, 5, 6]);
        assert_eq!(shape(crop(vec![0, -1]).ints(&[9, 1])), [9, 5, 1]);
        assert!(refusal(crop(vec![0]).ints(&[1, 2])).contains("2 sizes for 1 axes"));
        assert!(refusal(crop(vec![0]).ints(&[-1])).contains("no dimension"));
        assert!(refusal(crop(vec![0, 0]).ints(&[1, 2])).contains("named twice"));
    }
}
