//! Random sources. Their rows have no test cases, because no two runs agree.

use graphs::{Attribute, DType, Fact, Op, Value};

use super::body::Site;
use super::{Call, Def, Gradient, no_cases};
use crate::{Result, signed};

pub(super) const TABLE: &[Def] = &[
    like("RandomNormalLike"),
    like("RandomUniformLike"),
    shaped("RandomNormal"),
    shaped("RandomUniform"),
    Def {
        op: "Bernoulli",
        infer: |call| {
            let dtype = stated(call, call.dtype(0).ok())?;
            Ok(vec![Fact::new(dtype, &call.shape(0)?)])
        },
        gradient: Gradient::Zero,
        eval: None,
        cases: no_cases,
    },
    Def {
        op: "Multinomial",
        infer: |call| match *call.shape(0)?.as_slice() {
            [batch, _] => {
                let dtype = stated(call, Some(DType::I32))?;
                let count = call.size(call.op.int("sample_size", 1))?;
                Ok(vec![Fact::new(dtype, &[batch, count])])
            }
            ref shape => Err(call.error(format!("its argument {shape:?} is no [batch, classes]"))),
        },
        gradient: Gradient::Zero,
        eval: None,
        cases: no_cases,
    },
];

/// RandomNormalLike and RandomUniformLike with their shape and type as attributes.
pub(crate) fn like_shaped(s: &mut Site) -> Result<Vec<Value>> {
    let dtype = dtype(&s.call(), s.call().dtype(0).ok())?;
    let mut op = s.op.clone();
    op.op_type = op.op_type.trim_end_matches("Like").to_owned();
    let shape = signed(&s.shape(0)?);
    Ok(vec![s.tape.op(op.with("shape", shape).with("dtype", i64::from(dtype.code())), &[])?])
}

/// 1 with the probability that the argument says.
pub(crate) fn bernoulli(s: &mut Site) -> Result<Vec<Value>> {
    let (x, dtype) = (s.x(0)?, stated(&s.call(), s.call().dtype(0).ok())?);
    let uniform = uniform(s, x)?;
    let hit = s.apply("Less", &[uniform, x])?;
    Ok(vec![s.tape.cast(hit, dtype)?])
}

/// Uniform in [0, 1), of the type and shape of `like`, by the seed of the call.
pub(super) fn uniform(s: &mut Site, like: Value) -> Result<Value> {
    let (shape, dtype) = (signed(&s.tape.shape(like)?), s.tape.dtype(like)?);
    let mut op = Op::new("RandomUniform").with("shape", shape);
    op = op.with("dtype", i64::from(dtype.code()));
    if let Some(seed) = s.op.attributes.get("seed") {
        op = match *seed {
            Attribute::Int(seed) => op.with("seed", seed as f32),
            ref seed => op.with("seed", seed.clone()),
        };
    }
    s.tape.op(op, &[])
}

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
fn stated(call: &Call, default: Option<DType>) -> Result<DType> {
    let stated = match call.op.int("dtype", 0) {
        0 => default,
        code => i32::try_from(code).ok().and_then(DType::from_code),
    };
    stated.ok_or_else(|| call.error("attribute `dtype` is no element type"))
}

/// As [`stated`], which has to be a float.
fn dtype(call: &Call, default: Option<DType>) -> Result<DType> {
    let float = stated(call, default).ok().filter(|dtype| dtype.is_float());
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
