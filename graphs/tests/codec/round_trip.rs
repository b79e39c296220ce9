//! Whole graphs, written and read again.

use std::collections::BTreeMap;

use graphs::decode::decode_function;
use graphs::encode::encode_function;
use graphs::proto::{AttributeProto, AttributeType, GraphProto, StringStringEntryProto};
use graphs::{Attribute, Fact, Graph, Kind, Model, NodeId, Op, Role, Tensor};

use crate::build::{again, body, floats, graph, info, model, node, read, with};

/// The operator of that name.
fn find<'a>(graph: &'a Graph, op_type: &str) -> (NodeId, &'a Op) {
    let ops = graph.ids().filter_map(|id| Some((id, graph.node(id).op()?)));
    ops.into_iter().find(|(_, op)| op.op_type == op_type).expect("the operator")
}

fn inner<'a>(op: &'a Op, name: &str) -> &'a Graph {
    let Some(Attribute::Graph(body)) = op.attributes.get(name) else { panic!("no body {name}") };
    body
}

#[test]
fn absent_arguments_and_outputs_stay_absent() {
    let nodes = vec![
        node("Clip", &["x", "", "high"], &["clipped"]),
        node("Resize", &["clipped", "", "scales", ""], &["y"]),
        node("Dropout", &["y"], &["z", ""]),
    ];
    let proto = graph(&["x", "high", "scales"], nodes.clone(), &["z"]);
    let model = again(&read(proto));
    let (resize, op) = find(&model.graph, "Resize");
    let present: Vec<bool> = model.graph.arguments(resize).iter().map(Option::is_some).collect();
    assert_eq!((op.arity, present), (4, vec![true, false, true, false]));
    assert_eq!(model.encode().unwrap().graph.unwrap().node, nodes);
}

#[test]
fn everything_beside_the_nodes_comes_back() {
    let entry = StringStringEntryProto { key: Some("k".into()), value: Some(b"\xff"[..].into()) };
    let mut call = node("Relu", &["x"], &["h"]);
    call.doc_string = Some("a doc".into());
    call.metadata_props = vec![entry.clone()];
    let mut proto = graph(&["x"], vec![call, node("Neg", &["h"], &["y"])], &["y"]);
    proto.doc_string = Some("graph doc".into());
    proto.metadata_props = vec![entry.clone()];
    proto.value_info = vec![info("h"), info("unknown")];
    let mut sequence = info("s");
    let of = Box::new(sequence.r#type.take().unwrap());
    let kind = graphs::proto::SequenceTypeProto { elem_type: Some(of) };
    sequence.r#type =
        Some(graphs::proto::TypeProto { sequence_type: Some(kind), ..Default::default() });
    proto.input.push(sequence);
    let mut file = model(proto);
    file.metadata_props = vec![
        StringStringEntryProto { key: Some("a".into()), value: Some("b".into()) },
        entry, // not UTF-8, so not in the map
    ];
    file.producer_name = Some("someone".into());
    let model = Model::from_proto(file.clone(), None).unwrap();
    assert_eq!(model.metadata, BTreeMap::from([("a".to_owned(), "b".to_owned())]));
    assert_eq!(model.encode().unwrap(), file);
}

#[test]
fn initializers_that_are_inputs_stay_both() {
    let mut proto = graph(&["w", "x"], vec![node("Mul", &["x", "w"], &["y"])], &["y"]);
    proto.initializer = vec![floats("w", &[], &[2.0])];
    let model = again(&read(proto));
    let kinds: Vec<bool> =
        model.graph.inputs.iter().map(|&id| model.graph.node(id).tensor().is_some()).collect();
    assert_eq!(kinds, [true, false]);
    let written = model.encode().unwrap().graph.unwrap();
    assert_eq!((written.input.len(), written.initializer.len()), (2, 1));
}

#[test]
fn bodies_are_closed() {
    let then = graph(&[], vec![node("Add", &["x", "w"], &["a"])], &["a"]);
    let other = graph(&[], vec![node("Neg", &["x"], &["b"])], &["b"]);
    let call = with(
        with(node("If", &["c"], &["y"]), body("then_branch", then)),
        body("else_branch", other),
    );
    let mut proto = graph(&["c", "x"], vec![node("Relu", &["y"], &["z"]), call], &["z"]);
    proto.initializer = vec![floats("w", &[1], &[3.0])];
    let model = again(&read(proto));
    let (id, op) = find(&model.graph, "If");
    let arguments: Vec<_> = model.graph.arguments(id).into_iter().flatten().collect();
    assert_eq!((op.arity, arguments.len()), (1, 3));
    let capture = |branch: &str| {
        let body = inner(op, branch);
        let first = body.ids().find_map(|id| match body.node(id).kind {
            Kind::Capture(i) => Some(i),
            _ => None,
        });
        arguments[op.arity + first.expect("a capture")]
    };
    assert_eq!(Some(capture("else_branch")), model.graph.source("x"));
    assert_eq!(Some(capture("then_branch")), model.graph.source("x"));
}

#[test]
fn captures_pass_through_every_level() {
    let inner_body = graph(&[], vec![node("Add", &["x", "i"], &["a"])], &["a"]);
    let call = with(
        with(node("If", &["go"], &["s"]), body("then_branch", inner_body.clone())),
        body("else_branch", inner_body),
    );
    let loop_body = graph(
        &["i", "go", "state"],
        vec![call, node("Add", &["s", "state"], &["next"])],
        &["go", "next"],
    );
    let outer = with(node("Loop", &["n", "", "x"], &["y"]), body("body", loop_body));
    let model = again(&read(graph(&["n", "x"], vec![outer], &["y"])));
    let (id, op) = find(&model.graph, "Loop");
    assert_eq!(model.graph.arguments(id)[op.arity], model.graph.source("x"));
    let (id, op) = find(inner(op, "body"), "If");
    assert_eq!((op.arity, id), (1, id));
}

#[test]
fn scans_and_captured_outputs_come_back() {
    let body_graph = graph(&["s", "e"], vec![node("Add", &["s", "e"], &["t"])], &["t", "w", "t"]);
    let mut call = with(node("Scan", &["x", "x"], &["y", "z", "u"]), body("body", body_graph));
    call.attribute.push(AttributeProto {
        name: Some("num_scan_inputs".into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(1),
        ..AttributeProto::default()
    });
    let mut proto = graph(&["x"], vec![call], &["y", "z", "u"]);
    proto.initializer = vec![floats("w", &[], &[1.0])];
    let model = read(proto);
    // A port that shows a captured value, and one that shows another port's, become
    // an Identity when written: the second round changes nothing any more.
    let bytes = bytes::Bytes::from(model.to_bytes().unwrap());
    let model = again(&Model::decode(bytes, None).unwrap());
    let identities = inner(find(&model.graph, "Scan").1, "body").op_order().unwrap().len() - 1;
    assert_eq!(identities, 2);
}

#[test]
fn sparse_initializers_become_constants() {
    let values = floats("w", &[1], &[5.0]);
    let mut indices = floats("", &[1], &[]);
    (indices.data_type, indices.int64_data) = (Some(7), vec![2]);
    let sparse = graphs::proto::SparseTensorProto {
        values: Some(values),
        indices: Some(indices),
        dims: vec![4],
    };
    let proto = GraphProto {
        sparse_initializer: vec![sparse.clone()],
        ..graph(&["x"], vec![node("Add", &["x", "w"], &["y"])], &["y"])
    };
    let model = again(&read(proto));
    let Some(Attribute::Other(value)) =
        find(&model.graph, "Constant").1.attributes.get("sparse_value")
    else {
        panic!("no sparse value");
    };
    assert_eq!(value.sparse_tensor.as_deref(), Some(&sparse));
}

#[test]
fn functions_are_graphs_both_ways() {
    let mut graph = Graph::new("Scale");
    let x = graph.input("x", Role::Data, Fact::default());
    let two = graph.initializer("two", Tensor::scalar(2f32));
    let slope = Attribute::Reference { name: "slope".into(), code: AttributeType::Float as i32 };
    let leaky = graph.op(
        "leaky",
        Op::new("LeakyRelu").with("alpha", slope),
        &[Some(x)],
        vec![Fact::default()],
    );
    let y =
        graph.op("mul", Op::new("Mul"), &[Some(leaky.into()), Some(two)], vec![Fact::default()]);
    graph.output("y", y.into());
    let opsets = BTreeMap::from([(String::new(), 18)]);
    let proto = encode_function(&graph, "advbnn", "Scale", "", &["slope"], &opsets).unwrap();
    assert_eq!((&*proto.input, &*proto.output), (&["x".to_owned()][..], &["y".to_owned()][..]));
    assert_eq!(proto.attribute, ["slope"]);
    assert_eq!(proto.node[1].attribute[0].ref_attr_name.as_deref(), Some("slope"));

    let mut call = node("Scale", &["x"], &["y"]);
    call.domain = Some("advbnn".into());
    let mut file = model(crate::build::graph(&["x"], vec![call], &["y"]));
    file.functions = vec![proto.clone()];
    let model = again(&Model::from_proto(file, None).unwrap());
    assert_eq!(model.functions, std::slice::from_ref(&proto));
    assert!(model.to_string().contains("= LeakyRelu(%x) {alpha=@slope}"), "{model}");
    let body = decode_function(&proto).unwrap();
    assert_eq!(encode_function(&body, "advbnn", "Scale", "", &["slope"], &opsets).unwrap(), proto);
}

#[test]
fn the_text_form_is_this() {
    let mut clip = node("Clip", &["h", "", "two"], &["y"]);
    clip.doc_string = Some("not shown".into());
    let conv = with(
        node("Conv", &["x", "w"], &["h"]),
        AttributeProto {
            name: Some("pads".into()),
            r#type: Some(AttributeType::Ints as i32),
            ints: vec![1, 1, 1, 1],
            ..AttributeProto::default()
        },
    );
    let neg = graph(&[], vec![node("Neg", &["h"], &["n"])], &["n"]);
    let branch = with(node("If", &["c"], &["i"]), body("then_branch", neg));
    let mut proto = graph(&["x", "c"], vec![conv, clip, branch], &["y", "i"]);
    proto.initializer =
        vec![floats("w", &[3, 3], &[0.5; 9]), floats("two", &[], &[2.0]), floats("7", &[0], &[])];
    let expected = "\
model ir_version=8 opset=18
graph g(%x: float32[..], %c: float32[..])
  %w: float32[3,3]
  %two: float32[] = [2]
  %\"7\": float32[0] = []
  %0 = Conv(%x, %w) {pads=[1,1,1,1]}  # Conv_h
  %1: float32[..] = Clip(%0, _, %two)  # Clip_y
  %2: float32[..] = If(%c | %0)  # If_i
    then_branch: g()
      %0: float32[..] = Neg(^0)  # Neg_n
      return %0 as n
  return %1 as y, %2 as i
";
    assert_eq!(again(&read(proto)).to_string(), expected);
}
