//! Random sources. Their rows have no test cases, because no two runs agree.

use graphs::{DType, Fact};

use super::{Call, Def, Gradient, no_cases};
use crate::Result;

pub(super) const TABLE: &[Def] = &[
    like("RandomNormalLike"),
    like("RandomUniformLike"),
    shaped("RandomNormal"),
    shaped("RandomUniform"),
];

const fn like(op: &'static str) -> Def {
    Def {
        op,
        infer: |call| Ok(vec![Fact::new(dtype(call, call.dtype(0).ok())?, &call.shape(0)?)]),
        gradient: Gradient::Zero,
        eval: None,
        cases: no_cases,
    }
}

const fn shaped(op: &'static str) -> Def {
    Def {
        op,
        infer: |call| {
            let missing = || call.error("attribute `shape` is missing");
            let sizes = call.op.ints("shape").ok_or_else(missing)?;
            let shape = sizes.iter().map(|&n| call.size(n)).collect::<Result<Vec<_>>>()?;
            Ok(vec![Fact::new(dtype(call, Some(DType::F32))?, &shape)])
        },
        gradient: Gradient::Zero,
        eval: None,
        cases: no_cases,
    }
}

/// The type that attribute `dtype` asks for, or the default.
fn dtype(call: &Call, default: Option<DType>) -> Result<DType> {
    let stated = match call.op.int("dtype", 0) {
        0 => default,
        code => i32::try_from(code).ok().and_then(DType::from_code),
    };
    let float = stated.filter(|dtype| dtype.is_float());
    float.ok_or_else(|| call.error("attribute `dtype` is no float type"))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::case;
    use super::super::trial::{infer, refusal};
    use super::*;

    #[test]
    fn type_and_shape_come_from_attributes_or_the_argument() {
        let double = infer(case("RandomNormalLike").with("dtype", 11i64).x(&[2])).unwrap();
        assert_eq!(double, [Fact::new(DType::F64, &[2])]);
        let uniform = infer(case("RandomUniform").with("shape", vec![2i64, 3])).unwrap();
        assert_eq!(uniform, [Fact::new(DType::F32, &[2, 3])]);
        assert!(refusal(case("RandomNormal")).contains("`shape` is missing"));
        assert!(refusal(case("RandomUniformLike").ints(&[1])).contains("no float type"));
    }
}
