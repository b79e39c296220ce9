//! What belongs to a layer, and what does not.

use graphs::Attribute;

use super::*;
use crate::{Survey, survey};

#[test]
fn biases_are_told_from_other_sums() {
    let row = Tensor::new(&[1, 4], vec![1f32; 4]).expect("a row");
    let constants = [
        ("w", matrix(4, 4)),
        ("left", row),
        ("table", matrix(2, 4)),
        ("shape", Tensor::vector(&[4i64, 1])),
        ("late", Tensor::vector(&[1f32])),
    ];
    let net = Net::with(&constants)
        .call("a", Op::new("MatMul"), &["x", "w"])
        .call("b", Op::new("Add"), &["left", "a"])
        .call("c", Op::new("MatMul"), &["b", "w"])
        .call("d", Op::new("Add"), &["c", "table"])
        .call("e", Op::new("MatMul"), &["d", "w"])
        .call("f", Op::new("Reshape"), &["e", "shape"])
        .call("g", Op::new("Add"), &["f", "late"])
        .call("y", Op::new("Add"), &["g", "left"]);
    let model = net.model();
    let biases = crate::weights(&model).expect("weights").into_iter().filter(|w| w.bias);
    let names: Vec<&str> = biases.map(|w| model.graph.node(w.node).name.as_str()).collect();
    assert_eq!(names, ["b", "g"]);
}

#[test]
fn scales_and_shifts_of_a_spelled_out_normalization_are_found() {
    let row = |v: f32| Tensor::new(&[4], vec![v; 4]).expect("a row");
    let constants = [
        ("gamma", row(2.0)),
        ("beta", row(3.0)),
        ("ones", row(1.0)),
        ("zeros", row(0.0)),
        ("half", Tensor::scalar(-0.5f32)),
        ("epsilon", Tensor::scalar(1e-5f32)),
        ("shape", Tensor::vector(&[0i64, 4, -1])),
    ];
    let centred = || {
        Net::with(&constants)
            .call("mean", Op::new("ReduceMean"), &["x"])
            .call("centred", Op::new("Sub"), &["x", "mean"])
            .call("squares", Op::new("Mul"), &["centred", "centred"])
            .call("variance", Op::new("ReduceMean"), &["squares"])
            .call("safe", Op::new("Add"), &["variance", "epsilon"])
    };
    let quotient = centred().call("root", Op::new("Sqrt"), &["safe"]).call(
        "normal",
        Op::new("Div"),
        &["centred", "root"],
    );
    let product = centred()
        .call("root", Op::new("Sqrt"), &["safe"])
        .call("inverse", Op::new("Reciprocal"), &["root"])
        .call("normal", Op::new("Mul"), &["centred", "inverse"]);
    let power = centred().call("inverse", Op::new("Pow"), &["safe", "half"]).call(
        "normal",
        Op::new("Mul"),
        &["inverse", "centred"],
    );
    let groups = Net::with(&constants)
        .call("flat", Op::new("Reshape"), &["x", "shape"])
        .call("instance", Op::new("InstanceNormalization"), &["flat", "ones", "zeros"])
        .call("normal", Op::new("Reshape"), &["instance", "shape"]);
    for net in [quotient, product, power, groups] {
        let net = net.call("scaled", Op::new("Mul"), &["normal", "gamma"]).call(
            "y",
            Op::new("Add"),
            &["beta", "scaled"],
        );
        let model = run(convert(), net.model());
        let names: Vec<String> = drawn(&model).into_iter().map(|p| p.0).collect();
        assert_eq!(names, ["gamma", "beta"]);
        assert_eq!(op_type(&model, "scaled"), "VariationalMul");
        assert!(left(&model).iter().all(|(name, _)| ["ones", "zeros"].contains(&name.as_str())));
    }
    // LayerScale follows no normalization.
    let net = Net::with(&[("w", matrix(4, 4)), ("gamma", row(2.0))])
        .call("a", Op::new("MatMul"), &["x", "w"])
        .call("y", Op::new("Mul"), &["a", "gamma"]);
    assert_eq!(drawn(&run(convert(), net.model())).len(), 1);
}

/// What stays, with why.
fn left(model: &Model) -> Vec<(String, String)> {
    let Survey { left, .. } = survey(model).expect("a survey");
    left.into_iter().map(|left| (left.name, left.reason)).collect()
}

#[test]
fn what_is_left_has_its_reason() {
    let mut body = Graph::new("body");
    let inner = body.initializer("inner", matrix(4, 4));
    body.output("inner_out", inner);
    let mut branch = Op::new("If");
    branch.attributes.insert("then_branch".into(), Attribute::Graph(Box::new(body)));
    let foreign = Op { domain: "com.example".to_owned(), ..Op::new("Attention") };
    let bytes = Tensor::new(&[4, 4], vec![1u8; 16]).expect("a matrix");
    let constants = [
        ("w", matrix(4, 4)),
        ("token", matrix(1, 4)),
        ("table", matrix(9, 4)),
        ("index", Tensor::scalar(1i64)),
        ("theirs", matrix(4, 4)),
        ("low", matrix(4, 4)),
        ("high", matrix(4, 4)),
        ("bytes", bytes),
        ("flag", Tensor::scalar(1i64)),
        ("epsilon", Tensor::scalar(1e-5f32)),
    ];
    let model = Net::with(&constants)
        .call("a", Op::new("MatMul"), &["x", "w"])
        .call("b", Op::new("Mul"), &["a", "token"])
        .call("position", Op::new("Gather"), &["table", "index"])
        .call("c", Op::new("Mul"), &["b", "position"])
        .call("d", foreign, &["c", "theirs"])
        .call("product", Op::new("Mul"), &["low", "high"])
        .call("e", Op::new("MatMul"), &["d", "product"])
        .call("f", Op::new("MatMulInteger"), &["e", "bytes"])
        .call("g", branch, &["f"])
        .call("y", Op::new("Add"), &["g", "epsilon"])
        .model();
    let left = left(&model);
    for (name, part) in [
        ("token", "bare tensor"),
        ("table", "bare tensor"),
        ("theirs", "com.example"),
        ("low", "several tensors of one size"),
        ("high", "several tensors of one size"),
        ("bytes", "integers"),
        ("", "body of this If"),
    ] {
        let reason = left.iter().find(|(left, _)| left == name);
        let (_, reason) = reason.unwrap_or_else(|| panic!("{name:?} in {left:?}"));
        assert!(reason.contains(part), "{name}: {reason}");
    }
    assert_eq!(left.len(), 7, "{left:?}");
}
