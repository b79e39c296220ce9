//! What `inspect` tells of models that conversion takes in part.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};
use serde_json::{Value, json};

use super::Place;
use crate::conversion::attention;

fn rows<'v>(summary: &'v Value, key: &str) -> Vec<&'v Value> {
    summary[key].as_array().expect("a list").iter().collect()
}

#[test]
fn a_transformer_is_told_layer_by_layer() {
    let place = Place::new();
    attention().write(&place.path("net.onnx")).expect("written");
    let summary = place.json("inspect net.onnx --json --batch 3");
    assert_eq!(summary["variational"], 4);
    assert_eq!(summary["differentiable"], true, "{}", summary["obstacles"]);
    assert_eq!(summary["batch"], 1);
    let layers = rows(&summary, "layers");
    let names: Vec<&Value> = layers.iter().map(|layer| &layer["node"]).collect();
    assert_eq!(names, ["in_proj", "in_proj_bias", "out_proj", "head"]);
    let weight = &layers[0]["weights"][0];
    assert_eq!((&weight["name"], &weight["shape"]), (&json!("in_proj.weight"), &json!([24, 8])));
    let left = rows(&summary, "left");
    let reason = |name: &str| {
        let row = left.iter().find(|row| row["weight"] == name);
        row.unwrap_or_else(|| panic!("{name} in {left:?}"))["reason"].as_str().expect("text")
    };
    assert!(reason("position").contains("bare tensor"));
    assert!(reason("norm1.weight").contains("--layers"));
    // Projections 24 * 8 + 24 + 8 * 8, head 3 * 8 + 3, norms 4 * 8, positions 5 * 8.
    assert_eq!(summary["parameters"], 307 + 32 + 40);
    let memory = &summary["memory"];
    assert_eq!((&memory["means"], &memory["moments"]), (&json!(4 * 307), &json!(16 * 307)));
    assert_eq!(memory["batch"], 3);
    let bytes = |key: &str| memory[key].as_u64().expect("a number");
    // The input of three images, and the fused projection at once.
    assert!(bytes("activations_peak") >= 3 * 5 * (8 + 24) * 4);
    assert!(bytes("activations_total") > bytes("activations_peak"));

    let printed = place.succeeds("inspect net.onnx");
    for part in ["in_proj.weight", "[24, 8]", "bare tensor", "Adam"] {
        assert!(printed.contains(part), "{part} in {printed}");
    }
    place.succeeds("convert net.onnx -o all.onnx --layers conv,linear,batchnorm,layernorm");
    let summary = place.json("inspect all.onnx --json");
    assert_eq!((&summary["variational"], &summary["converted"]), (&6.into(), &true.into()));
    assert_eq!(summary["parameters"], 2 * (307 + 32) + 40);
    assert_eq!(summary["operators"]["VariationalLayerNormalization"], 2);
    assert_eq!(rows(&summary, "left").len(), 1);
}

#[test]
fn a_shared_weight_is_told_with_all_that_share_it() {
    let mut graph = Graph::new("tied");
    let fact = || Fact::new(DType::F32, &[1, 4]);
    let x = graph.input("x", Role::Data, fact());
    let weight = graph.initializer("tied", Tensor::full(&[4, 4], 0.1f32).expect("a matrix"));
    let mut y = x;
    for name in ["a", "b", "c"] {
        y = graph.op(name, Op::new("MatMul"), &[Some(y), Some(weight)], vec![fact()]).into();
    }
    graph.output("logits", y);
    let place = Place::new();
    Model::new(graph).write(&place.path("net.onnx")).expect("written");
    let summary = place.json("inspect net.onnx --json");
    assert_eq!((&summary["parameters"], &summary["variational"]), (&16.into(), &3.into()));
    let weight = &summary["layers"][1]["weights"][0];
    assert_eq!((&weight["readers"], &weight["shared_with"]), (&3.into(), &json!(["a", "c"])));
    place.succeeds("convert net.onnx -o bayes.onnx");
    let summary = place.json("inspect bayes.onnx --json");
    assert_eq!((&summary["parameters"], &summary["variational"]), (&32.into(), &3.into()));
    assert_eq!(summary["layers"][0]["weights"][0]["name"], "tied");
}

#[test]
fn the_first_obstacle_is_named() {
    let mut model = attention();
    let graph = &mut model.graph;
    let foreign = Op { domain: "com.example".to_owned(), ..Op::new("Mystery") };
    let port = graph.outputs[0].value;
    let fact = graph.fact(port).clone();
    let last = graph.op("strange", foreign, &[Some(port)], vec![fact]);
    graph.outputs[0].value = last.into();
    model.opsets.insert("com.example".to_owned(), 1);
    let place = Place::new();
    model.write(&place.path("net.onnx")).expect("written");
    let summary = place.json("inspect net.onnx --json");
    assert_eq!(summary["differentiable"], false);
    let first = summary["obstacles"][0].as_str().expect("a sentence");
    assert!(first.contains("Mystery") && first.contains("strange"), "{first}");
    assert_eq!(summary["variational"], 4, "conversion does not mind");
}
