//! Copies side by side.

use graphs::Fact;

use super::{Call, Def, Folded, Gradient, case, eval, only};
use crate::Result;

pub(super) const TABLE: &[Def] = &[Def {
    op: "Tile",
    infer: |call| {
        let sizes = |[size, copies]: &[usize; 2]| size.checked_mul(*copies);
        match tiling(call)?.iter().map(sizes).collect::<Option<Vec<_>>>() {
            Some(shape) => Ok(vec![Fact::new(call.dtype(0)?, &shape)]),
            None => Err(call.error("its output is too large for memory")),
        }
    },
    // Copy after copy along every axis, so the sum goes over the copies.
    gradient: Gradient::Rule(|s| {
        let (dy, shape, tiling) = (s.dy()?, s.shape(0)?, tiling(&s.call()?)?);
        let (mut split, mut over) = (Vec::new(), Vec::new());
        for [size, copies] in tiling {
            if copies != 1 {
                over.push(split.len());
                split.push(copies);
            }
            split.push(size);
        }
        let copies = s.tape.reshape(dy, &split)?;
        let sum = s.tape.reduce_sum(copies, &over, false)?;
        only(s.tape.reshape(sum, &shape)?)
    }),
    eval: Some(fold),
    cases: || {
        vec![
            case("Tile").x(&[2, 3]).ints(&[2, 3]),
            case("Tile").x(&[2, 1, 3]).ints(&[1, 4, 1]),
            case("Tile").x(&[2, 2, 2, 2]).ints(&[2, 1, 3, 2]),
        ]
    },
}];

/// Size and number of copies along every axis.
fn tiling(call: &Call) -> Result<Vec<[usize; 2]>> {
    let (shape, copies) = (call.shape(0)?, call.required_integers(1)?);
    if copies.len() != shape.len() {
        let reason = format!("{} numbers of copies for {} axes", copies.len(), shape.len());
        return Err(call.error(reason));
    }
    shape.into_iter().zip(copies).map(|(size, n)| Ok([size, call.size(n)?])).collect()
}

fn fold(call: &Call) -> Folded {
    let (Some(x), Some(_)) = (call.constant(0), call.constant(1)) else { return Ok(None) };
    let (mut split, mut steps, mut shape) = (Vec::new(), Vec::new(), Vec::new());
    for ([size, copies], step) in tiling(call)?.into_iter().zip(eval::strides(x.shape())) {
        split.extend([copies, size]);
        steps.extend([0, step]);
        shape.push(size.saturating_mul(copies));
    }
    match eval::view(&split, 0, &steps) {
        Some(positions) => eval::pick(x, &shape, positions),
        None => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::super::trial::{ints, refusal, shape};
    use super::*;

    #[test]
    fn copies_stand_side_by_side() {
        assert_eq!(ints(case("Tile").ints(&[1, 2]).ints(&[2])), [1, 2, 1, 2]);
        assert_eq!(shape(case("Tile").x(&[2, 3]).ints(&[0, 2])), [0, 6]);
        assert!(refusal(case("Tile").x(&[2, 3]).ints(&[2])).contains("1 numbers of copies"));
        assert!(refusal(case("Tile").x(&[2]).ints(&[-1])).contains("no dimension"));
        assert!(refusal(case("Tile").x(&[2]).ints(&[i64::MAX])).contains("too large"));
    }
}
