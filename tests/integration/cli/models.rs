//! Model files that are damaged, or hostile, or hold what cannot be differentiated.

use std::fs;

use graphs::Model;
use graphs::proto::{DataLocation, ModelProto, NodeProto, StringStringEntryProto, TensorProto};
use prost::Message;

use super::{Place, write_idx};

/// A folder with a good `net.onnx`, and the same as `bad.onnx` after `edit`.
fn with_edited(edit: impl FnOnce(&mut ModelProto)) -> Place {
    let place = Place::with_models();
    let model = Model::read(&place.path("net.onnx")).expect("a model");
    let mut proto = model.encode().expect("a whole graph");
    edit(&mut proto);
    fs::write(place.path("bad.onnx"), proto.encode_to_vec()).expect("written");
    place
}

fn node<'a>(proto: &'a mut ModelProto, name: &str) -> &'a mut NodeProto {
    let nodes = proto.graph.iter_mut().flat_map(|graph| &mut graph.node);
    nodes.into_iter().find(|node| node.name() == name).expect("a node of that name")
}

fn initializer<'a>(proto: &'a mut ModelProto, name: &str) -> &'a mut TensorProto {
    let tensors = proto.graph.iter_mut().flat_map(|graph| &mut graph.initializer);
    tensors.into_iter().find(|tensor| tensor.name() == name).expect("a tensor of that name")
}

/// Every command that reads a model refuses `bad.onnx`, naming it and all of `parts`.
fn all_refuse(place: &Place, parts: &[&str]) {
    write_idx(&place.path("data"), "train", 6, 8);
    write_idx(&place.path("data"), "t10k", 6, 8);
    let parts: Vec<&str> = ["bad.onnx"].iter().chain(parts).copied().collect();
    for command in [
        "inspect bad.onnx --json",
        "convert bad.onnx -o out.onnx",
        "gradient bad.onnx -o out.onnx",
        "export bad.onnx -o out.onnx",
        "compile bad.onnx -o out",
        "train bad.onnx --data data -o out --engine tract",
        "evaluate bad.onnx --data data --engine tract",
        "bench bad.onnx --engine tract",
    ] {
        place.fails(1, command, &parts);
    }
}

#[test]
fn a_truncated_file() {
    let place = Place::with_models();
    let whole = fs::read(place.path("net.onnx")).expect("a file");
    fs::write(place.path("bad.onnx"), &whole[..whole.len() / 2]).expect("written");
    all_refuse(&place, &["damaged"]);
}

#[test]
fn an_empty_file_and_none_at_all() {
    let place = Place::with_models();
    fs::write(place.path("bad.onnx"), b"").expect("written");
    all_refuse(&place, &["no ONNX model"]);
    place.fails(1, "inspect missing.onnx", &["missing.onnx", "No such file"]);
}

#[test]
fn a_cycle_names_a_node_on_it() {
    let place = with_edited(|proto| {
        let late = node(proto, "features.6").output[0].clone();
        node(proto, "features.0").input[0] = late;
    });
    all_refuse(&place, &["cycle", "node `features."]);
}

#[test]
fn an_initializer_of_another_length_than_its_shape() {
    let place = with_edited(|proto| initializer(proto, "features.0.weight").dims[0] += 1);
    all_refuse(&place, &["initializer `features.0.weight`", "bytes"]);
}

#[test]
fn a_shape_beyond_all_memory_is_refused_before_it_is_allocated() {
    let place = with_edited(|proto| {
        initializer(proto, "features.0.weight").dims = vec![i64::MAX, i64::MAX];
    });
    all_refuse(&place, &["initializer `features.0.weight`"]);
}

#[test]
fn external_data_outside_the_folder_is_not_read() {
    let mut size = 0;
    let place = with_edited(|proto| {
        let tensor = initializer(proto, "features.0.weight");
        size = tensor.raw_data.take().map_or(0, |raw| raw.len());
        tensor.set_data_location(DataLocation::External);
        tensor.external_data = vec![StringStringEntryProto {
            key: Some("location".to_owned()),
            value: Some("../outside.bin".into()),
        }];
    });
    // The file is there and fits: only where it lies is wrong.
    let inner = place.path("inner");
    fs::create_dir(&inner).expect("a folder");
    fs::rename(place.path("bad.onnx"), inner.join("bad.onnx")).expect("moved");
    fs::write(place.path("outside.bin"), vec![0; size]).expect("written");
    let parts = ["inner/bad.onnx", "`features.0.weight`", "../outside.bin", "folder"];
    place.fails(1, "inspect inner/bad.onnx", &parts);
    place.fails(1, "convert inner/bad.onnx -o out.onnx", &parts);
}

#[test]
fn an_unknown_operator_passes_through_but_has_no_gradient() {
    let place = with_edited(|proto| {
        let relu = node(proto, "features.2");
        relu.op_type = Some("Frobnicate".to_owned());
        relu.domain = Some("org.example".to_owned());
    });
    let parts = ["bad.onnx", "Frobnicate node `features.2`", "org.example"];
    place.fails(1, "gradient bad.onnx -o out.onnx", &parts);
    place.fails(1, "bench bad.onnx --defense adv --engine tract", &parts);
    place.succeeds("convert bad.onnx -o kept.onnx");
    for name in ["bad.onnx", "kept.onnx"] {
        let summary = place.json(&format!("inspect {name} --json"));
        assert_eq!(summary["operators"]["Frobnicate"], 1, "{summary}");
        assert_eq!(summary["differentiable"], false, "{summary}");
        let obstacle = summary["obstacles"][0].as_str().expect("a sentence");
        assert!(obstacle.contains("Frobnicate node `features.2`"), "{obstacle}");
    }
}

#[test]
fn an_error_names_its_file_once() {
    let place = Place::new();
    fs::write(place.path("bad.onnx"), b"no model").expect("written");
    let output = place.advbnn("inspect bad.onnx").output().expect("it runs");
    let line = super::error_line(&output, 1, "inspect");
    assert_eq!(line.matches("bad.onnx").count(), 1, "{line}");
}
