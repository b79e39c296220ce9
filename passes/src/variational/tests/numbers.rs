//! Weights that are not stored as float32.

use super::*;

#[test]
fn integers_become_the_floats_that_they_stand_for() {
    let bytes = Tensor::new(&[2, 4], vec![-100i8, 1, 2, 3, 50, 5, 6, 7]).expect("a matrix");
    let constants = [
        ("w", bytes),
        ("scales", Tensor::vector(&[0.5f32, 0.25])),
        ("zeros", Tensor::vector(&[10i8, 2])),
        ("scale", Tensor::scalar(0.5f32)),
    ];
    let rows = || Op::new("DequantizeLinear").with("axis", 0);
    let channels = Net::with(&constants).call("d", rows(), &["w", "scales", "zeros"]).call(
        "y",
        Op::new("Gemm").with("transB", 1),
        &["x", "d"],
    );
    let turned = Net::with(&constants)
        .call("turn", Op::new("Transpose"), &["w"])
        .call("d", rows().with("axis", -1), &["turn", "scales", "zeros"])
        .call("y", Op::new("MatMul"), &["x", "d"]);
    let whole = Net::with(&constants)
        .call("d", Op::new("DequantizeLinear"), &["w", "scale"])
        .call("turn", Op::new("Transpose"), &["d"])
        .call("y", Op::new("MatMul"), &["x", "turn"]);
    let plain = Net::with(&constants).call("d", cast(DType::F32), &["w"]).call(
        "y",
        Op::new("Gemm").with("transB", 1),
        &["x", "d"],
    );
    for (net, shape, expected) in [
        (channels, [2, 4], [-55.0, -4.5, -4.0, -3.5, 12.0, 0.75, 1.0, 1.25]),
        (turned, [4, 2], [-55.0, 12.0, -4.5, 0.75, -4.0, 1.0, -3.5, 1.25]),
        (whole, [2, 4], [-50.0, 0.5, 1.0, 1.5, 25.0, 2.5, 3.0, 3.5]),
        (plain, [2, 4], [-100.0, 1.0, 2.0, 3.0, 50.0, 5.0, 6.0, 7.0]),
    ] {
        let model = run(convert(), net.model());
        assert_eq!(drawn(&model), [("w".to_owned(), shape.to_vec(), expected[0])]);
        let mean = model.graph.tensor(model.graph.source("w.mean").expect("means"));
        assert_eq!(*mean.expect("a constant").floats().expect("floats"), expected);
    }
}

#[test]
fn a_quantizer_that_decodes_one_weight_for_each_reader_still_means_one() {
    let bytes = Tensor::new(&[4, 4], (0..16).collect::<Vec<i8>>()).expect("a matrix");
    let net = Net::with(&[("w", bytes), ("scale", Tensor::scalar(0.5f32))])
        .call("d1", Op::new("DequantizeLinear"), &["w", "scale"])
        .call("d2", Op::new("DequantizeLinear"), &["w", "scale"])
        .call("a", Op::new("MatMul"), &["x", "d1"])
        .call("y", Op::new("MatMul"), &["a", "d2"]);
    let model = run(convert(), net.model());
    assert_eq!(drawn(&model).len(), 1);
    let read = |name| model.graph.argument(named(&model, name), 1);
    assert_eq!(read("a"), read("y"));
}

#[test]
fn quantized_and_decoded_floats_are_rounded_as_the_file_rounds_them() {
    let weight = Tensor::new(&[4, 1], vec![0.26f32, -3.0, 0.25, 70.0]).expect("a matrix");
    let constants =
        [("w", weight), ("scale", Tensor::scalar(0.5f32)), ("zero", Tensor::scalar(0i8))];
    let net = Net::with(&constants)
        .call("q", Op::new("QuantizeLinear"), &["w", "scale", "zero"])
        .call("d", Op::new("DequantizeLinear"), &["q", "scale", "zero"])
        .call("y", Op::new("MatMul"), &["x", "d"]);
    let model = run(convert(), net.model());
    let mean = model.graph.tensor(model.graph.source("w.mean").expect("means"));
    assert_eq!(*mean.expect("a constant").floats().expect("floats"), [0.5, -3.0, 0.0, 63.5]);
}

#[test]
fn a_sample_takes_the_type_of_its_weight() {
    let half = Tensor::from_bytes(DType::F16, vec![4, 1], [0u8, 0x3c].repeat(4).into());
    let constants = [("w", half.expect("a matrix"))];
    let wide = Net::with(&constants)
        .call("same", Op::new("Identity"), &["w"])
        .call("wide", cast(DType::F32), &["same"])
        .call("y", Op::new("MatMul"), &["x", "wide"]);
    let model = run(convert(), wide.model());
    assert_eq!(drawn(&model), [("w".to_owned(), vec![4, 1], 1.0)]);
    let sample = model.graph.argument(named(&model, "same"), 0).expect("a sample");
    assert!(is_sample(&model.graph, sample.node), "no rounding to float16 on the way");

    let narrow = Net::with(&constants).call("small", cast(DType::F16), &["x"]).call(
        "y",
        Op::new("MatMul"),
        &["small", "w"],
    );
    let model = run(convert(), narrow.model());
    let weight = model.graph.argument(named(&model, "y"), 1).expect("a weight");
    assert_eq!(model.graph.fact(weight), &Fact::new(DType::F16, &[4, 1]));
    assert_eq!(drawn(&model), [("w".to_owned(), vec![4, 1], 1.0)]);
}
