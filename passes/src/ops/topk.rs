//! The greatest or least elements.

use graphs::{DType, Fact, Op};

use super::{Adjoint, Call, Def, Gradient, Gradients, case};
use crate::Result;

pub(super) const TABLE: &[Def] = &[Def {
    op: "TopK",
    infer: |call| {
        let (axis, k) = selection(call)?;
        let mut shape = call.shape(0)?;
        shape.iter_mut().skip(axis).take(1).for_each(|size| *size = k);
        Ok(vec![Fact::new(call.dtype(0)?, &shape), Fact::new(DType::I64, &shape)])
    },
    gradient: Gradient::Rule(gradient),
    eval: None,
    cases: || {
        let least = || case("TopK").with("largest", 0i64).with("axis", 0i64);
        vec![
            case("TopK").distinct(&[3, 5]).ints(&[2]).outputs(2),
            case("TopK").distinct(&[2, 4]).ints(&[1]).outputs(2),
            least().distinct(&[4, 2]).ints(&[3]).outputs(2),
            least().with("sorted", 1i64).distinct(&[3, 2]).ints(&[3]).outputs(2),
        ]
    },
}];

/// The axis, and how many elements of it are taken.
fn selection(call: &Call) -> Result<(usize, usize)> {
    let shape = call.shape(0)?;
    let axis = call.axis(call.op.int("axis", -1), shape.len())?;
    let size = shape.get(axis).copied().unwrap_or(0);
    match call.required_integers(1)?.as_slice() {
        &[k] if usize::try_from(k).is_ok_and(|k| k <= size) => Ok((axis, k as usize)),
        other => Err(call.error(format!("k is {other:?}, not one number up to {size}"))),
    }
}

/// Puts the gradient back where the elements were found.
fn gradient(s: &mut Adjoint) -> Gradients {
    let Some(dy) = s.gradients.first().copied().flatten() else { return Ok(vec![]) };
    let (x, indices, (axis, _)) = (s.x(0)?, s.y(1), selection(&s.call()?)?);
    let zeros = s.tape.zeros_like(x)?;
    let scatter = Op::new("ScatterElements").with("axis", axis as i64);
    Ok(vec![Some(s.tape.op(scatter, &[zeros, indices, dy])?)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{infer, refusal};
    use super::*;

    #[test]
    fn values_come_with_their_indices() {
        let facts = infer(case("TopK").x(&[2, 7]).ints(&[3])).unwrap();
        assert_eq!(facts, [Fact::new(DType::F32, &[2, 3]), Fact::new(DType::I64, &[2, 3])]);
        let bad = |k: &[i64]| refusal(case("TopK").with("axis", 0i64).x(&[2, 7]).ints(k));
        assert!(bad(&[3]).contains("not one number up to 2"));
        assert!(bad(&[-1]).contains("not one number"));
        assert!(bad(&[1, 1]).contains("not one number"));
    }
}
