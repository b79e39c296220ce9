//! Models that rule classes out, by logits of -inf, under every attack.

use graphs::{DType, Dim, Fact, Graph, Model, Op, Role, Tensor, Value};
use serde_json::Value as Json;

use super::{Place, write_idx};

/// Writes a model that names the brightest of the rows 0, 2, 4 and 6 of 8x8 pixels; of `classes`
/// classes all are ruled out but the first `possible`.
fn write_model(place: &Place, name: &str, possible: usize, classes: usize) {
    let mut graph = Graph::new("rows");
    let mut image = Fact::new(DType::F32, &[1, 1, 8, 8]);
    image.shape.as_mut().expect("a shape")[0] = Dim::Named("N".into());
    let x = graph.input("input", Role::Data, image);
    let op = |graph: &mut Graph, op: Op, arguments: &[Value]| -> Value {
        let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
        graph.op("", op, &arguments, vec![Fact::default()]).into()
    };
    let weight = (0..64 * classes)
        .map(|i| f32::from(u8::from(i / classes / 8 == 2 * (i % classes))))
        .collect();
    let weight = Tensor::new(&[64, classes], weight).expect("as many numbers");
    let weight = graph.initializer("weight", weight);
    let flat = op(&mut graph, Op::new("Flatten"), &[x]);
    let mut logits = op(&mut graph, Op::new("MatMul"), &[flat, weight]);
    if possible < classes {
        let numbers: Vec<i64> = (0..classes as i64).collect();
        let numbers = graph.initializer("numbers", Tensor::vector(&numbers));
        let first = graph.initializer("first", Tensor::scalar(possible as i64));
        let allowed = op(&mut graph, Op::new("Less"), &[numbers, first]);
        let never = graph.initializer("never", Tensor::scalar(f32::NEG_INFINITY));
        logits = op(&mut graph, Op::new("Where"), &[allowed, logits, never]);
    }
    graph.output("logits", logits);
    Model::new(graph).write(&place.path(name)).expect("written");
}

/// What each attack and each probe leaves.
fn left(report: &Json) -> Vec<(String, f64)> {
    let rows = |list: &Json| list.as_array().expect("a list").clone();
    let all = [rows(&report["attacks"]), rows(&report["probes"]["rows"])].concat();
    let of = |row: &Json| {
        (
            row["spec"].as_str().expect("a spec").to_owned(),
            row["accuracy"].as_f64().expect("a share"),
        )
    };
    all.iter().map(of).collect()
}

#[test]
fn every_attack_leaves_what_it_leaves_of_a_model_without_those_classes() {
    let place = Place::new();
    write_model(&place, "plain.onnx", 4, 4);
    write_model(&place, "ruled.onnx", 4, 6);
    write_idx(&place.path("data"), "t10k", 24, 8);
    let attacks = [
        "pgd:steps=5,restarts=2",
        "pgd:steps=5,momentum=0.3",
        "apgd-ce:steps=5",
        "apgd-dlr:steps=5",
        "apgd-t:steps=5",
        "square:queries=20",
        "fgsm",
    ];
    let attacks = attacks.map(|spec| format!("--attack {spec}")).join(" ");
    let of = |model: &str| {
        left(&place.json(&format!(
            "evaluate {model} --data data --engine tract --budget quick --eps 0.4 --json {attacks}"
        )))
    };
    let (plain, ruled) = (of("plain.onnx"), of("ruled.onnx"));
    assert_eq!(ruled, plain);
    let between = |(_, left): &&(String, f64)| 0.0 < *left && *left < 100.0;
    assert!(plain.iter().any(|row| between(&row)), "{plain:?}");
    let long = "--data data --engine tract --eps 1.6 --json --attack pgd:norm=l2,steps=5";
    let [plain, ruled] = ["plain.onnx", "ruled.onnx"]
        .map(|model| place.json(&format!("evaluate {model} {long}"))["worst"].clone());
    assert_eq!(ruled, plain);
}

#[test]
fn a_loss_of_more_classes_than_are_possible_is_refused() {
    let place = Place::new();
    write_model(&place, "two.onnx", 2, 5);
    write_idx(&place.path("data"), "t10k", 6, 8);
    let evaluate = "evaluate two.onnx --data data --engine tract --attack";
    place.fails(1, &format!("{evaluate} apgd-dlr"), &["-inf", "3 classes", "cross-entropy"]);
    place.fails(1, &format!("{evaluate} apgd-t"), &["-inf", "4 classes", "cross-entropy"]);
    place.succeeds(&format!("{evaluate} apgd-ce:steps=5"));
}
