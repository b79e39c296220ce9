//! Model-local functions and bodies of control flow on real engines.

use graphs::proto::{FunctionProto, NodeProto, OperatorSetIdProto};
use graphs::{
    Attribute, DType, Fact, Graph, Kind, Model, Node, NodeExtras, Op, Role, Tensor, Value,
};
use passes::{Inline, Pipeline, loss_gradient};

use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::uniform;

fn call(op_type: &str, input: &[&str], output: &[&str]) -> NodeProto {
    let domain = if op_type.starts_with("Block") { "local" } else { "" };
    let strings = |names: &[&str]| names.iter().map(ToString::to_string).collect();
    NodeProto {
        op_type: Some(op_type.to_owned()),
        domain: Some(domain.to_owned()),
        input: strings(input),
        output: strings(output),
        ..NodeProto::default()
    }
}

fn function(name: &str, node: Vec<NodeProto>) -> FunctionProto {
    let import = |domain: &str, version| OperatorSetIdProto {
        domain: Some(domain.to_owned()),
        version: Some(version),
    };
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: vec!["x".to_owned(), "w".to_owned()],
        output: vec!["y".to_owned()],
        opset_import: vec![import("", 18), import("local", 1)],
        node,
        ..FunctionProto::default()
    }
}

/// Two layers, each a function that calls another; classes of `x` float32 `[2, 4]`.
fn classifier() -> Model {
    let mut graph = Graph::new("classifier");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[2, 4]));
    let block = |graph: &mut Graph, x: Value, name: &str, shape: &[usize]| {
        let weight = graph.initializer(name, uniform(name, 1, shape, -1.0, 1.0));
        let op = Op { domain: "local".to_owned(), ..Op::new("Block") };
        Value::from(graph.op("", op, &[Some(x), Some(weight)], vec![Fact::default()]))
    };
    let hidden = block(&mut graph, x, "first", &[4, 5]);
    let y = block(&mut graph, hidden, "second", &[5, 3]);
    graph.node_mut(y.node).outputs = vec![Fact::new(DType::F32, &[2, 3])];
    graph.output("y", y);
    let mut model = Model::new(graph);
    model.opsets.insert("local".to_owned(), 1);
    model.functions = vec![
        function("BlockInner", vec![call("MatMul", &["x", "w"], &["y"])]),
        function(
            "Block",
            vec![call("BlockInner", &["x", "w"], &["z"]), call("Tanh", &["z"], &["y"])],
        ),
    ];
    model
}

#[test]
fn an_inlined_model_gives_what_its_functions_give() {
    let model = classifier();
    let mut plain = model.clone();
    Pipeline::new().then(Inline).run(&mut plain).expect("functions to inline");
    assert!(plain.functions.is_empty());
    let feeds = Values::from([("x".to_owned(), uniform("x", 1, &[2, 4], -1.0, 1.0))]);
    let expected = Runner::of_model(onnxruntime(), &model).expect("functions").run(&feeds);
    let expected = expected.expect("a run");
    for engine in engines() {
        let mut runner = Runner::of_model(engine.as_ref(), &plain).expect("a plain model");
        let found = runner.run(&feeds).expect("a run");
        assert_close(&found["y"], &expected["y"], 1e-6, engine.name());
    }
}

#[test]
fn a_gradient_passes_through_functions() {
    let names = ["first".to_owned(), "x".to_owned()];
    let gradient = loss_gradient(&classifier(), None, &names).expect("a gradient");
    let feeds = Values::from([
        ("x".to_owned(), uniform("x", 1, &[2, 4], -1.0, 1.0)),
        ("labels".to_owned(), Tensor::vector(&[2i64, 0])),
    ]);
    let runs = engines().each_ref().map(|engine| {
        let mut runner = Runner::of_model(engine.as_ref(), &gradient).expect("plain operators");
        runner.run(&feeds).expect("a run")
    });
    for name in ["first.grad", "x.grad"] {
        assert_close(&runs[0][name], &runs[1][name], 1e-5, name);
        assert!(runs[0][name].floats().expect("floats").iter().any(|g| g.abs() > 1e-3), "{name}");
    }
}

/// `y = x, doubled until one element is greater than 4`, beside the classes `x` itself.
fn looping() -> Model {
    let mut body = Graph::new("body");
    body.input("i", Role::Data, Fact::new(DType::I64, &[]));
    body.input("go", Role::Data, Fact::new(DType::Bool, &[]));
    let state = body.input("state", Role::Data, Fact::default());
    let limit = body.add(Node {
        name: "limit".to_owned(),
        kind: Kind::Capture(0),
        outputs: vec![Fact::default()],
        extras: NodeExtras::default(),
    });
    let fact = || vec![Fact::default()];
    let twice = body.op("twice", Op::new("Add"), &[Some(state), Some(state)], fact());
    let most = Op::new("ReduceMax").with("keepdims", 0);
    let most = body.op("most", most, &[Some(twice.into())], fact());
    let go = body.op("less", Op::new("Less"), &[Some(most.into()), Some(limit.into())], fact());
    body.output("go_on", go.into());
    body.output("next", twice.into());
    let mut graph = Graph::new("looping");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[2, 3]));
    let limit = graph.initializer("four", Tensor::scalar(4f32));
    let mut op = Op::new("Loop");
    op.attributes.insert("body".to_owned(), Attribute::Graph(Box::new(body)));
    let id = graph.op("loop", op, &[None, None, Some(x)], fact());
    graph.connect(limit, id, 3);
    let y = graph.op("scores", Op::new("Tanh"), &[Some(x)], fact());
    graph.output("scores", y.into());
    graph.output("grown", id.into());
    Model::new(graph)
}

#[test]
fn a_loop_beside_the_gradient_goes_through_and_one_on_its_way_is_named() {
    let gradient = loss_gradient(&looping(), None, &[]).expect("a gradient beside the loop");
    let x = Tensor::new(&[2, 3], vec![0.5f32, -1.0, 0.25, 0.75, 0.0, -0.5]).expect("six");
    let feeds =
        Values::from([("x".to_owned(), x), ("labels".to_owned(), Tensor::vector(&[2i64, 0]))]);
    let outputs = Runner::of_model(onnxruntime(), &gradient).expect("a Loop").run(&feeds);
    let outputs = outputs.expect("a run");
    let grown = outputs["grown"].floats().expect("floats").to_vec();
    assert_eq!(grown, [4.0, -8.0, 2.0, 6.0, 0.0, -4.0]);
    assert_eq!(outputs["x.grad"].shape(), [2, 3]);

    let mut through = looping();
    through.graph.outputs.swap(0, 1);
    let refusal = loss_gradient(&through, None, &[]).expect_err("a loop on the way").to_string();
    assert!(refusal.contains("Loop") && refusal.contains("loop"), "{refusal}");
}
