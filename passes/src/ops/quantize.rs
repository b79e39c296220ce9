//! Between floats and the integers that stand for them. Rounding has no derivative that
//! would help anyone, so none passes.

use graphs::{DType, Fact, Op, Tensor};

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

/// True for an operator that rounds to integers, computes with them or brings them back.
pub(crate) fn rounds(op: &Op) -> bool {
    const NAMES: &[&str] = &[
        "ConvInteger",
        "DequantizeLinear",
        "DynamicQuantizeLinear",
        "MatMulInteger",
        "QLinearConv",
        "QLinearMatMul",
        "QuantizeLinear",
    ];
    op.in_onnx_domain() && NAMES.contains(&op.op_type.as_str())
}

fn like(call: &Call, dtype: DType) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(dtype, &call.shape(0)?)])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{Graph, Model, Role, Value};

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
        let text = error.to_string();
        assert!(text.contains("DequantizeLinear") && text.contains("rounded"), "{text}");
    }

    #[test]
    fn a_dynamically_quantized_layer_is_told_as_an_obstacle() {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 3]));
        let w = graph.initializer("w", Tensor::full(&[3, 2], 7u8).expect("small"));
        let mut call = |op: &str, arguments: &[Value], outputs: usize| {
            let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
            graph.op(op, Op::new(op), &arguments, vec![Fact::default(); outputs])
        };
        let code = call("DynamicQuantizeLinear", &[x], 3);
        let product = call("MatMulInteger", &[code.into(), w], 1);
        let cast = call("Identity", &[product.into()], 1);
        graph.output("logits", cast.into());
        let model = Model::new(graph);
        let obstacles = crate::obstacles(&model);
        let first = obstacles.first().expect("an obstacle");
        assert!(first.contains("DynamicQuantizeLinear") && first.contains("rounded"), "{first}");
        let error = crate::loss_gradient(&model, None, &[]).expect_err("no gradient").to_string();
        assert!(error.contains("rounded"), "{error}");
    }
}
