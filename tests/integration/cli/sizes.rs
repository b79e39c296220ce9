//! Files that leave more open than the batch: `--dim`.

use graphs::{DType, Dim, Fact, Graph, Model, Op, Role, Tensor, Value};
use serde_json::json;

use super::Place;

/// A text classifier of any length: the mean of the tokens' embeddings, and a layer.
fn text() -> Model {
    let mut graph = Graph::new("text");
    let open = ["N", "sequence"].map(|name| Dim::Named(name.to_owned()));
    let fact = Fact { dtype: Some(DType::I64), shape: Some(open.to_vec()) };
    let ids = graph.input("ids", Role::Data, fact);
    let table = graph.initializer("table", Tensor::full(&[7, 4], 0.5f32).expect("small"));
    let weight = graph.initializer("weight", Tensor::full(&[4, 3], 0.1f32).expect("small"));
    let axis = graph.initializer("axis", Tensor::vector(&[1i64]));
    let mut call = |op: Op, arguments: [Value; 2]| -> Value {
        let name = op.op_type.to_lowercase();
        graph.op(&name, op, &arguments.map(Some), vec![Fact::default()]).into()
    };
    let tokens = call(Op::new("Gather"), [table, ids]);
    let mean = call(Op::new("ReduceMean").with("keepdims", 0i64), [tokens, axis]);
    let logits = call(Op::new("MatMul"), [mean, weight]);
    graph.output("logits", logits);
    Model::new(graph)
}

#[test]
fn a_sequence_gets_its_length_by_a_flag() {
    let place = Place::new();
    text().write(&place.path("text.onnx")).expect("written");
    let summary = place.json("inspect text.onnx --json");
    assert_eq!(summary["differentiable"], false);
    let obstacle = summary["obstacles"][0].as_str().expect("text");
    assert!(obstacle.contains("`sequence`") && obstacle.contains("--dim"), "{obstacle}");
    assert_eq!(place.json("inspect text.onnx --json --dim sequence=5")["differentiable"], true);

    place.fails(1, "gradient text.onnx -o g.onnx --wrt table", &["ids", "--dim sequence=SIZE"]);
    place.succeeds("gradient text.onnx -o g.onnx --wrt table --dim sequence=5 --batch 2");
    let gradient = Model::read(&place.path("g.onnx")).expect("a model");
    let shape = |name: &str| {
        let value = gradient.graph.source(name).or_else(|| Some(gradient.graph.port(name)?.value));
        gradient.graph.fact(value.expect("there")).to_string()
    };
    assert_eq!(
        (shape("ids").as_str(), shape("table.grad").as_str()),
        ("int64[2,5]", "float32[7,4]")
    );

    place.succeeds("convert text.onnx -o fixed.onnx --layers none --dim sequence=5");
    assert_eq!(place.json("inspect fixed.onnx --json")["inputs"][0]["shape"], json!("int64[N,5]"));
    place.succeeds("convert text.onnx -o bayes.onnx --dim ids:1=5");
    place.succeeds("gradient bayes.onnx -o g.onnx --wrt weight.mean");

    place.fails(1, "compile bayes.onnx -o programs", &["input `ids`", "float32 images"]);

    place.fails(1, "convert text.onnx -o x.onnx --dim length=5", &["`length`", "N, sequence"]);
    place.fails(2, "convert text.onnx -o x.onnx --dim sequence", &["--dim", "sequence=128"]);
}
