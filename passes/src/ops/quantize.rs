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

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{Graph, Model, Op, Role};

    use super::*;

    #[test]
    fn a_gradient_that_rounding_stops_is_an_error_and_not_zero() {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 3]));
        let scale = graph.initializer("scale", Tensor::scalar(0.1f32));
        let mut call = |op: &str, x| {
            graph.op(op, Op::new(op), &[Some(x), Some(scale)], vec![Fact::default()]).into()
        };
        let code = call("QuantizeLinear", x);
        let y = call("DequantizeLinear", code);
        graph.output("logits", y);
        let error = crate::loss_gradient(&Model::new(graph), None, &[]).expect_err("no gradient");
        assert!(error.to_string().contains("DequantizeLinear"), "{error}");
    }
}
