//! Each rule on one call; here what they share, and the driver.

#![allow(clippy::expect_used)]

mod newer;
mod older;

use graphs::{DType, Fact, Kind, Node, Op, Role, Tensor, Value};

use super::*;

/// A model of one call on an input `x` of that type and constants.
fn model(from: i64, op: Op, x: Fact, constants: &[Tensor], outputs: usize) -> Model {
    let mut graph = Graph::new("test");
    let mut arguments = vec![Some(graph.input("x", Role::Data, x))];
    for (i, tensor) in constants.iter().enumerate() {
        arguments.push(Some(graph.initializer(&format!("c{i}"), tensor.clone())));
    }
    let id = graph.op("call", op, &arguments, vec![Fact::default(); outputs]);
    for slot in 0..outputs {
        graph.output(&format!("y{slot}"), Value { node: id, slot });
    }
    let mut model = Model::new(graph);
    model.opsets.insert(String::new(), from);
    model
}

fn image() -> Fact {
    Fact::new(DType::F32, &[2, 3, 4, 5])
}

fn upgraded(mut model: Model) -> Graph {
    Upgrade.run(&mut model).expect("a rule");
    model.graph.check().expect("a whole graph");
    assert_eq!(model.opset(), OPSET);
    model.graph
}

/// The operator behind the first output.
fn last(graph: &Graph) -> (&Op, NodeId) {
    let id = graph.outputs[0].value.node;
    (graph.node(id).op().expect("a call"), id)
}

/// The integers in argument `slot` of the call behind the first output.
fn integers(graph: &Graph, slot: usize) -> Vec<i64> {
    let (_, id) = last(graph);
    let value = graph.argument(id, slot).expect("an argument");
    graph.tensor(value).expect("a constant").integers().expect("integers")
}

fn one(from: i64, op: Op) -> Graph {
    upgraded(model(from, op, image(), &[], 1))
}

fn refused(from: i64, op: Op) -> String {
    let mut model = model(from, op, image(), &[], 1);
    Upgrade.run(&mut model).expect_err("must be refused").to_string()
}

fn operators(graph: &Graph) -> Vec<&str> {
    let order = graph.op_order().expect("no cycle");
    order.into_iter().filter_map(|id| Some(graph.node(id).op()?.op_type.as_str())).collect()
}

#[test]
fn refusals_name_operator_node_and_both_versions() {
    let message = refused(27, Op::new("LinearAttention"));
    for part in ["LinearAttention node `call`", "opset 27", "opset 18"] {
        assert!(message.contains(part), "{message}");
    }
    assert!(refused(8, Op::new("Scan")).contains("Scan changed in opset 9"));
    assert!(refused(6, Op::new("Relu")).contains("opset 6"));
    assert!(refused(29, Op::new("Relu")).contains("opset 29"));
}

#[test]
fn foreign_and_unknown_operators_pass_through() {
    let foreign = Op { domain: "custom".to_owned(), ..Op::new("Clip").with("max", 6.0) };
    assert!(last(&one(7, foreign)).0.attributes.contains_key("max"));
    assert_eq!(operators(&one(7, Op::new("Unheard"))), ["Unheard"]);
}

#[test]
fn bodies_are_upgraded_and_captures_kept() {
    let mut body = model(12, Op::new("Squeeze").with("axes", vec![0]), image(), &[], 1).graph;
    let fact = Fact::default();
    body.add(Node {
        kind: Kind::Capture(0),
        outputs: vec![fact],
        ..body.node(body.inputs[0]).clone()
    });
    let mut outer = Op::new("If");
    outer.attributes.insert("then_branch".to_owned(), Attribute::Graph(Box::new(body)));
    let mut model = model(12, outer, image(), &[], 1);
    let captured = model.graph.initializer("captured", Tensor::scalar(1f32));
    let id = model.graph.outputs[0].value.node;
    model.graph.connect(captured, id, 1);
    let graph = upgraded(model);
    let (op, id) = last(&graph);
    assert_eq!((op.arity, graph.argument(id, 1)), (1, Some(captured)));
    let Some(Attribute::Graph(body)) = op.attributes.get("then_branch") else { unreachable!() };
    assert_eq!(integers(body, 1), [0]);
}

#[test]
fn either_spelling_of_the_domain_is_one_import() {
    let mut model = model(12, Op::new("Relu"), image(), &[], 1);
    model.opsets = [("ai.onnx".to_owned(), 12)].into();
    Upgrade.run(&mut model).expect("nothing to rewrite");
    assert_eq!(model.opsets, [(String::new(), OPSET)].into());
}

#[test]
fn rows_are_in_order_of_their_opsets() {
    for (table, versions) in [(super::older::TABLE, 8..=18), (super::newer::TABLE, 19..=28)] {
        assert!(table.is_sorted_by_key(|(since, ..)| since));
        assert!(table.iter().all(|(since, ..)| versions.contains(since)));
    }
}
