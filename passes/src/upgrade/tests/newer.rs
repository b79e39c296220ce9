//! What changed after opset 18.

use super::*;

#[test]
fn newer_operators_become_older_ones() {
    assert_eq!(operators(&one(20, Op::new("Gelu"))), ["Mul", "Erf", "Add", "Mul", "Mul"]);
    assert!(operators(&one(20, Op::new("Gelu").with("approximate", "tanh"))).contains(&"Tanh"));
    assert_eq!(operators(&one(24, Op::new("Swish"))), ["Sigmoid", "Mul"]);
    assert_eq!(operators(&one(24, Op::new("Swish").with("alpha", 2.0))), ["Mul", "Sigmoid", "Mul"]);
    let channels = Tensor::vector(&[1f32, 2.0, 3.0]);
    let group = Op::new("GroupNormalization").with("num_groups", 1);
    let graph = upgraded(model(21, group, image(), &[channels.clone(), channels], 1));
    assert!(operators(&graph).contains(&"InstanceNormalization"));
    let scale = Tensor::vector(&[1f32; 5]);
    let rms = model(23, Op::new("RMSNormalization"), image(), &[scale], 1);
    assert!(operators(&upgraded(rms)).contains(&"ReduceMean"));
    let graph = one(20, Op::new("GridSample").with("mode", "cubic"));
    assert_eq!(last(&graph).0.string("mode"), Some("bicubic"));
    let keys = Tensor::full(&[2, 3, 7, 5], 1f32).expect("ones");
    let attention = model(23, Op::new("Attention"), image(), &[keys.clone(), keys], 1);
    assert_eq!(
        operators(&upgraded(attention)),
        ["Mul", "Transpose", "MatMul", "Softmax", "MatMul"]
    );
}

#[test]
fn newer_attributes_are_dropped_if_they_change_nothing() {
    let graph = one(19, Op::new("Cast").with("to", 1).with("saturate", 0));
    assert!(!last(&graph).0.attributes.contains_key("saturate"));
    let pool = |d: i64| {
        let pool = Op::new("AveragePool").with("kernel_shape", vec![2, 2]);
        pool.with("dilations", vec![d, d])
    };
    assert_eq!(operators(&one(22, pool(1))), ["AveragePool"]);
    assert!(operators(&one(22, pool(2))).contains(&"Conv"));
    assert_eq!(operators(&one(28, Op::new("Mod").with("fmod", 1))), ["Mod"]);
    assert_eq!(operators(&one(27, Op::new("Mod"))), ["Mod"]);
}

#[test]
fn types_of_newer_opsets_are_refused_or_widened() {
    let message = refused(25, Op::new("Cast").with("to", i64::from(DType::I2.code())));
    assert!(message.contains("opset 25 brought int2"), "{message}");
    let half = |op, dtype| upgraded(model(22, op, Fact::new(dtype, &[2, 3]), &[], 1));
    assert_eq!(operators(&half(Op::new("Sin"), DType::BF16)), ["Cast", "Sin", "Cast"]);
    assert_eq!(operators(&half(Op::new("IsInf"), DType::F16)), ["Cast", "IsInf"]);
    assert_eq!(operators(&half(Op::new("Relu"), DType::BF16)), ["Relu"]);
    assert_eq!(operators(&half(Op::new("Sin"), DType::F16)), ["Sin"]);
}

#[test]
fn a_padding_that_wraps_gathers() {
    let pads = Tensor::vector(&[0i64, 0, 1, 0, 0, 0, 0, 2]);
    let pad = Op::new("Pad").with("mode", "wrap");
    let graph = upgraded(model(19, pad, image(), &[pads], 1));
    assert_eq!(operators(&graph).iter().filter(|op| **op == "Range").count(), 2);
}
