//! Between floats and the integers that stand for them. Rounding has no derivative that
//! would help anyone, so none passes.

use graphs::{DType, Fact, Tensor};

use super::{Call, Def, Gradient, case};
use crate::Result;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "QuantizeLinear",
        infer: |call| {
            let dtype = if call.has(2) { call.dtype(2)? } else { DType::U8 };
            like(call, dtype)
        },
        gradient: Gradient::Missing,
        eval: None,
        cases: || {
            let (scale, zero) = (Tensor::scalar(0.05f32), Tensor::scalar(100u8));
            vec![
                case("QuantizeLinear").x(&[2, 3]).constant(scale.clone()),
                case("QuantizeLinear").x(&[2, 3]).constant(scale).constant(zero),
            ]
        },
    },
    Def {
        op: "DequantizeLinear",
        infer: |call| like(call, call.dtype(1)?),
        gradient: Gradient::Missing,
        eval: None,
        cases: || {
            let bytes = || case("DequantizeLinear").constant(Tensor::vector(&[1u8, 130, 255]));
            let (scale, zero) = (Tensor::scalar(0.05f32), Tensor::scalar(100u8));
            vec![
                bytes().constant(scale.clone()),
                bytes().constant(scale.clone()).constant(zero),
                case("DequantizeLinear").constant(Tensor::vector(&[-70_000i32, 9])).constant(scale),
            ]
        },
    },
];

fn like(call: &Call, dtype: DType) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(dtype, &call.shape(0)?)])
}
