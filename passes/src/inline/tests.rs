#![allow(clippy::expect_used)]

use graphs::proto::{AttributeType, OperatorSetIdProto};
use graphs::{DType, Fact, Node, NodeExtras, Op, Role, Tensor, Value};

use super::*;

fn call(op_type: &str, input: &[&str], output: &str) -> NodeProto {
    let domain = if op_type.starts_with("my") { "local" } else { "" };
    NodeProto {
        op_type: Some(op_type.to_owned()),
        domain: Some(domain.to_owned()),
        input: input.iter().map(ToString::to_string).collect(),
        output: vec![output.to_owned()],
        ..NodeProto::default()
    }
}

fn number(name: &str, value: f32) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Float as i32),
        f: Some(value),
        ..AttributeProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> AttributeProto {
    AttributeProto {
        name: Some(name.to_owned()),
        r#type: Some(AttributeType::Ints as i32),
        ints: values.to_vec(),
        ..AttributeProto::default()
    }
}

/// An attribute that is the function's own of another name.
fn reference(name: &str, of: &str) -> AttributeProto {
    let own = Some(of.to_owned());
    AttributeProto { f: None, ref_attr_name: own, ..number(name, 0.0) }
}

fn function(name: &str, input: &[&str], opset: i64, node: Vec<NodeProto>) -> FunctionProto {
    FunctionProto {
        name: Some(name.to_owned()),
        domain: Some("local".to_owned()),
        input: input.iter().map(ToString::to_string).collect(),
        output: vec!["y".to_owned()],
        opset_import: vec![OperatorSetIdProto { domain: None, version: Some(opset) }],
        node,
        ..FunctionProto::default()
    }
}

/// A model of one call of function `my` on `x` float32 `[1, 3]`.
fn model(functions: Vec<FunctionProto>, op: Op) -> Model {
    let mut graph = Graph::new("test");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 3]));
    let op = Op { domain: "local".to_owned(), ..op };
    let y = graph.op("call", op, &[Some(x)], vec![Fact::default()]);
    graph.output("y", y.into());
    let mut model = Model::new(graph);
    model.opsets.insert("local".to_owned(), 1);
    model.functions = functions;
    model
}

fn inlined(mut model: Model) -> Graph {
    Inline.run(&mut model).expect("functions to inline");
    model.graph.sweep();
    model.graph.check().expect("a whole graph");
    assert!(model.functions.is_empty() && !model.opsets.contains_key("local"));
    model.graph
}

fn refusal(functions: Vec<FunctionProto>) -> String {
    let mut model = model(functions, Op::new("my"));
    Inline.run(&mut model).expect_err("must be refused").to_string()
}

fn operators(graph: &Graph) -> Vec<&str> {
    let order = graph.op_order().expect("no cycle");
    order.into_iter().filter_map(|id| Some(graph.node(id).op()?.op_type.as_str())).collect()
}

#[test]
fn functions_in_functions_get_their_attributes() {
    let mut leaky = call("LeakyRelu", &["x"], "y");
    leaky.attribute.push(reference("alpha", "slope"));
    let inner = FunctionProto {
        attribute_proto: vec![number("slope", 0.25)],
        ..function("my_inner", &["x"], 18, vec![leaky])
    };
    let mut given = call("my_inner", &["x"], "a");
    given.attribute.push(reference("slope", "outer"));
    let left_out = call("my_inner", &["x"], "b");
    let sum = call("Add", &["a", "b"], "y");
    let outer = FunctionProto {
        attribute: vec!["outer".to_owned()],
        ..function("my", &["x"], 18, vec![given, left_out, sum])
    };
    let functions = vec![inner, outer];
    let graph = inlined(model(functions.clone(), Op::new("my").with("outer", 0.5)));
    let mut slopes: Vec<f32> = graph
        .ids()
        .filter_map(|id| graph.node(id).op().filter(|op| op.is("LeakyRelu")))
        .map(|op| op.float("alpha", 0.0))
        .collect();
    slopes.sort_by(f32::total_cmp);
    assert_eq!(slopes, [0.25, 0.5]);
    // Left out by the outer call, the attribute falls back to the default of the inner function.
    let graph = inlined(model(functions, Op::new("my")));
    let slope = |id| Some(graph.node(id).op()?.float("alpha", 0.25));
    assert!(graph.ids().filter_map(slope).all(|slope| slope == 0.25));
}

#[test]
fn a_body_is_brought_from_its_own_opset_with_what_its_call_tells() {
    let mut squeeze = call("Squeeze", &["x"], "a");
    squeeze.attribute.push(integers("axes", &[0]));
    let softmax = call("Softmax", &["a"], "y");
    let graph =
        inlined(model(vec![function("my", &["x"], 11, vec![squeeze, softmax])], Op::new("my")));
    // Softmax of opset 11 takes the axes before axis 1 as rows.
    assert!(operators(&graph).starts_with(&["Squeeze"]));
    let id = graph.op_order().expect("no cycle")[0];
    let axes = graph.argument(id, 1).and_then(|axes| graph.tensor(axes)).cloned();
    assert_eq!(axes, Some(Tensor::vector(&[0i64])));
}

#[test]
fn absent_arguments_stay_absent_and_passed_ones_pass() {
    let clip = call("Clip", &["x", "low", "high"], "y");
    let graph =
        inlined(model(vec![function("my", &["x", "low", "high"], 18, vec![clip])], Op::new("my")));
    let id = graph.outputs[0].value.node;
    assert_eq!(graph.arguments(id)[1..], [None, None]);
    let identity =
        FunctionProto { output: vec!["x".to_owned()], ..function("my", &["x"], 18, vec![]) };
    let graph = inlined(model(vec![identity], Op::new("my")));
    assert_eq!(graph.outputs[0].value, Value::from(graph.inputs[0]));
}

#[test]
fn recursion_explosion_and_misuse_are_errors() {
    let own = function("my", &["x"], 18, vec![call("my", &["x"], "y")]);
    assert!(refusal(vec![own]).contains("calls itself"));
    let bomb = (0..40).map(|i| {
        let name = if i == 0 { "my".to_owned() } else { format!("my{i}") };
        let next = format!("my{}", i + 1);
        let [a, b] = ["a", "b"].map(|y| call(&next, &["x"], y));
        function(&name, &["x"], 18, vec![a, b, call("Add", &["a", "b"], "y")])
    });
    let last = function("my40", &["x"], 18, vec![call("Relu", &["x"], "y")]);
    assert!(refusal(bomb.chain([last]).collect()).contains("nodes"));
    let none = function("my", &[], 18, vec![call("Constant", &[], "y")]);
    assert!(refusal(vec![none]).contains("takes 0"));
    let twice = function("my", &["x"], 18, vec![call("Relu", &["x"], "y")]);
    assert!(refusal(vec![twice.clone(), twice]).contains("two functions"));
}

#[test]
fn a_constant_condition_chooses_its_branch() {
    let branch = |op_type: &str| {
        let mut body = Graph::new(op_type);
        let x = body.add(Node {
            name: "x".to_owned(),
            kind: Kind::Capture(0),
            outputs: vec![Fact::default()],
            extras: NodeExtras::default(),
        });
        let y = body.op("", Op::new(op_type), &[Some(x.into())], vec![Fact::default()]);
        body.output("y", y.into());
        Attribute::Graph(Box::new(body))
    };
    for (condition, expected) in [(true, "Relu"), (false, "Neg")] {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[2]));
        let flag = Tensor::from_bytes(DType::Bool, vec![], vec![u8::from(condition)].into());
        let flag = graph.initializer("flag", flag.expect("one bool"));
        let mut op = Op::new("If");
        op.attributes.insert("then_branch".to_owned(), branch("Relu"));
        op.attributes.insert("else_branch".to_owned(), branch("Neg"));
        let y = graph.op("if", op, &[Some(flag)], vec![Fact::default()]);
        graph.connect(x, y, 1);
        graph.output("y", y.into());
        let graph = inlined(Model::new(graph));
        assert_eq!(operators(&graph), [expected]);
        assert_eq!(graph.argument(graph.outputs[0].value.node, 0), Some(x));
    }
}
