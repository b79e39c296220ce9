//! What values are called when a changed graph is written.

use graphs::{Error, Fact, Graph, Model, Op, Role, Value};

use crate::build::{body, graph, node, read, with};

fn relu(graph: &mut Graph, name: &str, value: Value) -> Value {
    graph.op(name, Op::new("Relu"), &[Some(value)], vec![Fact::default()]).into()
}

/// Every node as `Op(inputs)->outputs`.
fn written(model: &Model) -> Vec<String> {
    let graph = model.encode().unwrap().graph.unwrap();
    let line = |n: &graphs::proto::NodeProto| {
        format!("{}({})->{}", n.op_type(), n.input.join(","), n.output.join(","))
    };
    graph.node.iter().map(line).collect()
}

#[test]
fn ports_name_their_values_and_the_rest_is_unique() {
    let mut graph = Graph::new("g");
    let x = graph.input("x", Role::Data, Fact::default());
    let a = relu(&mut graph, "same", x);
    let b = relu(&mut graph, "same", a);
    let c = relu(&mut graph, "", b);
    let d = relu(&mut graph, "x", c);
    graph.output("same", d);
    let lines =
        ["Relu(x)->same_1", "Relu(same_1)->same_2", "Relu(same_2)->Relu", "Relu(Relu)->same"];
    assert_eq!(written(&Model::new(graph)), lines);
}

#[test]
fn the_files_names_come_before_new_ones() {
    let mut model = read(graph(
        &["x"],
        vec![node("Relu", &["x"], &["h"]), node("Relu", &["h"], &["y"])],
        &["y"],
    ));
    let x = model.graph.source("x").unwrap();
    let uses = model.graph.uses(x);
    let new = relu(&mut model.graph, "h", x);
    model.graph.redirect(uses, new);
    assert_eq!(written(&model), ["Relu(x)->h_1", "Relu(h_1)->h", "Relu(h)->y"]);
}

#[test]
fn an_identity_stands_where_a_port_cannot_name_its_value() {
    let mut graph = Graph::new("g");
    let x = graph.input("x", Role::Data, Fact::default());
    let y = relu(&mut graph, "relu", x);
    graph.output("first", y);
    graph.output("second", y);
    graph.output("input", x);
    graph.output("x", x);
    let lines = ["Relu(x)->first", "Identity(first)->second", "Identity(x)->input"];
    assert_eq!(written(&Model::new(graph)), lines);
}

#[test]
fn an_output_must_not_take_the_name_of_another_input() {
    let mut graph = Graph::new("g");
    let x = graph.input("x", Role::Data, Fact::default());
    let y = relu(&mut graph, "relu", x);
    graph.output("x", y);
    let error = Model::new(graph).encode().unwrap_err();
    assert!(matches!(&error, Error::DuplicateName { name, .. } if name == "x"), "{error}");
}

#[test]
fn names_in_bodies_do_not_hide_what_the_body_reads() {
    let inner = graph(&[], vec![node("Neg", &["x"], &["h"]), node("Neg", &["h"], &["c"])], &["c"]);
    let call = with(node("If", &["c"], &["y"]), body("then_branch", inner));
    let mut model = read(graph(&["x", "c"], vec![call], &["y"]));
    let x = model.graph.source("x").unwrap();
    let uses = model.graph.uses(x);
    let h = relu(&mut model.graph, "h", x);
    model.graph.redirect(uses, h);
    let proto = model.encode().unwrap().graph.unwrap();
    let body = proto.node.iter().flat_map(|n| &n.attribute).find_map(|a| a.g.as_ref()).unwrap();
    let names: Vec<&str> = body
        .node
        .iter()
        .flat_map(|n| n.input.iter().chain(&n.output))
        .map(String::as_str)
        .collect();
    assert_eq!(names, ["h", "Neg_h", "Neg_h", "c"]);
}

#[test]
fn a_broken_graph_is_not_written() {
    let mut graph = Graph::new("g");
    let x = graph.input("x", Role::Data, Fact::default());
    graph.output("y", Value { slot: 3, ..x });
    assert!(matches!(Model::new(graph).encode(), Err(Error::Defects(_))));
}
