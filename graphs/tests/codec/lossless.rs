//! A file is written as it was read, byte for byte, but for what was changed.

use std::fs;
use std::path::{Path, PathBuf};

use graphs::proto::{GraphProto, ModelProto};
use graphs::{Attribute, Fact, Graph, Kind, Model, NodeId, Op, Tensor};
use prost::Message;

/// Everything that a model can hold, in lawful forms that are not ours.
fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/lossless.onnx")
}

fn read() -> (Model, ModelProto) {
    let bytes = fs::read(path()).unwrap();
    (Model::read(&path()).unwrap(), ModelProto::decode(&*bytes).unwrap())
}

fn find(graph: &Graph, op_type: &str) -> NodeId {
    let is = |id: &NodeId| graph.node(*id).op().is_some_and(|op| op.op_type == op_type);
    graph.ids().find(is).expect("the operator")
}

fn op_mut<'a>(graph: &'a mut Graph, op_type: &str) -> &'a mut Op {
    let id = find(graph, op_type);
    let Kind::Op(op) = &mut graph.node_mut(id).kind else { unreachable!() };
    op
}

/// What `change` makes of the model, written, and the file's message, changed likewise.
fn changed(change: impl FnOnce(&mut Model), expect: impl FnOnce(&mut GraphProto)) {
    let (mut model, mut proto) = read();
    change(&mut model);
    let written = model.encode().unwrap();
    assert_ne!(written.encode_to_vec(), proto.encode_to_vec());
    expect(proto.graph.as_mut().unwrap());
    assert_same(&written, &proto);
}

/// Compares as bytes, since NaN is not equal to itself, and piece by piece, so that a
/// failure shows the one that differs.
fn assert_same(written: &ModelProto, expected: &ModelProto) {
    fn each<M: Message + std::fmt::Debug>(written: &[M], expected: &[M]) {
        for (written, expected) in written.iter().zip(expected) {
            let same = written.encode_to_vec() == expected.encode_to_vec();
            assert!(same, "{written:?}\n{expected:?}");
        }
        assert_eq!(written.len(), expected.len());
    }
    let (a, b) = (written.graph.as_ref().unwrap(), expected.graph.as_ref().unwrap());
    each(&a.node, &b.node);
    each(&a.initializer, &b.initializer);
    each(&a.input, &b.input);
    each(&a.output, &b.output);
    each(&a.value_info, &b.value_info);
    let same = written.encode_to_vec() == expected.encode_to_vec();
    assert!(same, "beside these lists");
}

#[test]
fn an_unchanged_graph_is_written_byte_for_byte() {
    let (model, proto) = read();
    model.graph.check().unwrap();
    let written = model.encode().unwrap();
    assert_same(&written, &proto);
    assert_eq!(written.encode_to_vec(), fs::read(path()).unwrap());
}

#[test]
fn a_changed_attribute_changes_its_node_alone() {
    changed(
        |model| {
            let op = op_mut(&mut model.graph, "Everything");
            op.attributes.insert("zulu".into(), Attribute::Int(7));
            op.attributes.insert("new".into(), Attribute::Float(1.0));
        },
        |graph| {
            let attributes = &mut graph.node[1].attribute;
            attributes[0].i = Some(7);
            let new = graphs::proto::AttributeProto {
                name: Some("new".into()),
                f: Some(1.0),
                r#type: Some(1),
                ..Default::default()
            };
            attributes.push(new);
        },
    );
}

#[test]
fn a_changed_node_in_a_body_changes_that_body_alone() {
    changed(
        |model| {
            let branch = op_mut(&mut model.graph, "If");
            let Some(Attribute::Graph(body)) = branch.attributes.get_mut("else_branch") else {
                panic!("no body");
            };
            op_mut(body, "Mul").op_type = "Div".into();
        },
        |graph| {
            let body = graph.node[4].attribute[1].g.as_mut().unwrap();
            body.node[0].op_type = Some("Div".into());
        },
    );
}

#[test]
fn a_new_node_stands_where_it_is_needed() {
    changed(
        |model| {
            let graph = &mut model.graph;
            let zebra = find(graph, "Relu").into();
            let uses = graph.uses(zebra);
            let new = graph.op("new", Op::new("Abs"), &[Some(zebra)], vec![Fact::default()]);
            graph.redirect(uses, new.into());
        },
        |graph| {
            let new = graphs::proto::NodeProto {
                input: vec!["zebra".into()],
                output: vec!["new".into()],
                name: Some("new".into()),
                op_type: Some("Abs".into()),
                ..Default::default()
            };
            // Clip reads it, and nothing before Clip does.
            graph.node.insert(2, new);
            graph.node[3].input[0] = "new".into();
        },
    );
}

#[test]
fn a_changed_tensor_stays_in_its_kind_of_field() {
    changed(
        |model| {
            for name in ["typed.FLOAT16", "external"] {
                let value = model.graph.source(name).unwrap();
                let tensor = model.graph.tensor(value).unwrap();
                let zeros = vec![0; tensor.bytes().len()].into();
                let tensor = Tensor::from_bytes(tensor.dtype(), tensor.shape().to_vec(), zeros);
                model.graph.node_mut(value.node).kind = Kind::Initializer(tensor.unwrap());
            }
        },
        |graph| {
            let mut tensors = graph.initializer.iter_mut();
            tensors.find(|t| t.name() == "typed.FLOAT16").unwrap().int32_data = vec![0; 4];
            // The other file is not written to, so what is changed moves out of it.
            let external = tensors.find(|t| t.name() == "external").unwrap();
            external.raw_data = Some(vec![0; 8].into());
            external.external_data.clear();
            external.data_location = None;
        },
    );
}

#[test]
fn metadata_and_opsets_keep_their_order() {
    let (mut model, mut proto) = read();
    model.metadata.insert("a".into(), "changed".into());
    model.metadata.insert("b".into(), "new".into());
    model.opsets.remove("local");
    model.opsets.insert(String::new(), 18);
    proto.metadata_props[1].value = Some("changed".into());
    let mut new = proto.metadata_props[1].clone();
    (new.key, new.value) = (Some("b".into()), Some("new".into()));
    proto.metadata_props.push(new);
    proto.opset_import.remove(1);
    proto.opset_import[1].version = Some(18);
    assert_same(&model.encode().unwrap(), &proto);
}

#[test]
fn a_copy_takes_its_data_along() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let data = path().with_extension("bin");
    let same = |a: &Path, b: &Path| fs::read(a).unwrap() == fs::read(b).unwrap();
    let (model, _) = read();
    for _ in 0..2 {
        model.write(&at("copy.onnx")).unwrap();
        assert!(same(&at("copy.onnx"), &path()) && same(&at("lossless.bin"), &data));
    }
    // Beside its own data the copy needs none.
    Model::read(&at("copy.onnx")).unwrap().write(&at("again.onnx")).unwrap();
    assert!(same(&at("again.onnx"), &path()));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
}

#[test]
fn a_copy_leaves_other_files_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    fs::write(at("lossless.bin"), "of another model").unwrap();
    let (model, proto) = read();
    model.write_external(&at("copy.onnx"), Some(8)).unwrap();
    assert_eq!(fs::read(at("lossless.bin")).unwrap(), b"of another model");
    assert!(at("copy.onnx.data").exists());
    let copy = Model::read(&at("copy.onnx")).unwrap();
    assert_eq!(copy.graph.to_string(), model.graph.to_string());
    // All in one file again.
    copy.write_external(&at("one.onnx"), Some(usize::MAX)).unwrap();
    let one = ModelProto::decode(&*fs::read(at("one.onnx")).unwrap()).unwrap().graph.unwrap();
    let external = |graph: &GraphProto| {
        graph.initializer.iter().filter(|t| !t.external_data.is_empty()).count()
    };
    assert_eq!((external(&proto.graph.unwrap()), external(&one)), (1, 0));
    let one = Model::read(&at("one.onnx")).unwrap();
    assert_eq!(one.graph.to_string(), model.graph.to_string());
    // Without a flag, to where another file has the name.
    model.write(&at("kept.onnx")).unwrap();
    assert_eq!(fs::read(at("lossless.bin")).unwrap(), b"of another model");
    let kept = Model::read(&at("kept.onnx")).unwrap();
    assert_eq!(kept.graph.to_string(), model.graph.to_string());
}
