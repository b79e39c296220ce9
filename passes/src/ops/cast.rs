//! Changes of the element type.

use graphs::{DType, Fact};

use super::{Call, Def, Gradient, case, eval};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Cast",
        infer: |call| Ok(vec![Fact::new(target(call)?, &call.shape(0)?)]),
        gradient: Rule(|s| {
            let (dy, from) = (s.dy()?, s.x(0)?);
            let from = s.tape.dtype(from)?;
            super::only(s.tape.cast(dy, from)?)
        }),
        eval: Some(|call| eval::cast(call, target(call)?)),
        cases: || {
            let to = |dtype: DType| case("Cast").with("to", i64::from(dtype.code()));
            vec![
                to(DType::F32).x(&[2, 3]),
                to(DType::Bool).distinct(&[2, 3]),
                to(DType::F32).ints(&[-3, 0, 3]),
                to(DType::F32).flags(&[2, 2]),
            ]
        },
    },
    Def {
        op: "CastLike",
        infer: |call| Ok(vec![Fact::new(call.dtype(1)?, &call.shape(0)?)]),
        gradient: Rule(|s| {
            let (dy, from) = (s.dy()?, s.x(0)?);
            let from = s.tape.dtype(from)?;
            Ok(vec![Some(s.tape.cast(dy, from)?), None])
        }),
        eval: Some(|call| eval::cast(call, call.dtype(1)?)),
        cases: || {
            vec![
                case("CastLike").x(&[2, 3]).scalar(0f32),
                case("CastLike").ints(&[-3, 0, 3]).scalar(0f32),
                case("CastLike").distinct(&[2, 3]).flags(&[1]),
            ]
        },
    },
];

/// The type that Cast makes.
fn target(call: &Call) -> Result<DType> {
    let code = call.op.int("to", 0);
    let dtype = i32::try_from(code).ok().and_then(DType::from_code);
    dtype.ok_or_else(|| call.error(format!("`to` = {code} is no element type")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, infer, ints, refusal};
    use super::*;

    #[test]
    fn the_type_is_the_one_that_is_asked_for() {
        let fact = &infer(case("Cast").with("to", 7i64).x(&[2])).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::I64, &[2]));
        let fact = &infer(case("CastLike").x(&[2]).flags(&[3])).unwrap()[0];
        assert_eq!(fact, &Fact::new(DType::Bool, &[2]));
        assert!(refusal(case("Cast").with("to", 99i64).x(&[2])).contains("no element type"));
    }

    #[test]
    fn casts_fold_only_where_they_are_exact() {
        let to = |code: i64| case("Cast").with("to", code);
        assert_eq!(ints(to(7).scalar(-2.7f32)), [-2]);
        assert_eq!(ints(to(9).ints(&[0, 5])), [0, 1]);
        assert!(eval(to(7).scalar(f32::NAN)).is_empty());
        assert!(eval(to(6).scalar(1i64 << 40)).is_empty());
    }
}
