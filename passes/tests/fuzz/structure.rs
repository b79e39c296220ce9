//! Damage that leaves the file a readable message: wrong numbers, names, types, nodes.

use bytes::Bytes;
use fastrand::Rng;
use graphs::proto::{
    AttributeProto, AttributeType, DimensionValue, GraphProto, ModelProto, NodeProto, TensorProto,
    ValueInfoProto,
};
use prost::Message;

use crate::seeds::Seeds;

const NUMBERS: &[i64] = &[
    0,
    1,
    -1,
    2,
    3,
    5,
    7,
    8,
    16,
    100,
    65_521,
    1 << 20,
    1 << 31,
    (1 << 31) - 1,
    1 << 32,
    1 << 40,
    1 << 62,
    i64::MAX,
    i64::MIN,
];
const ATTRIBUTES: &[&str] = &[
    "axis",
    "axes",
    "perm",
    "pads",
    "strides",
    "dilations",
    "kernel_shape",
    "group",
    "ceil_mode",
    "auto_pad",
    "keepdims",
    "to",
    "alpha",
    "epsilon",
    "transA",
    "mode",
    "value",
    "value_ints",
    "shape",
    "num_outputs",
    "split",
    "equation",
    "allowzero",
    "training_mode",
    "output_shape",
    "blocksize",
    "batch_dims",
    "start",
    "end",
    "largest",
    "k",
    "p",
    "size",
    "sparse_value",
    "then_branch",
    "body",
];

/// Makes one to six changes to a file that can be read, and none to another.
pub(crate) fn change(file: &mut Vec<u8>, seeds: &Seeds, rng: &mut Rng) {
    let Ok(mut model) = ModelProto::decode(&**file) else { return };
    for _ in 0..rng.usize(1..7) {
        match rng.usize(..10) {
            0 => {
                for opset in &mut model.opset_import {
                    opset.version = Some(rng.i64(-1..40));
                }
            }
            _ => {
                if let Some(graph) = &mut model.graph {
                    change_graph(graph, seeds, rng);
                }
            }
        }
    }
    *file = model.encode_to_vec();
}

fn change_graph(graph: &mut GraphProto, seeds: &Seeds, rng: &mut Rng) {
    let names = names(graph);
    match rng.usize(..12) {
        0 => remove(&mut graph.node, rng),
        1 => remove(&mut graph.initializer, rng),
        2 => duplicate(&mut graph.node, rng),
        3 => rng.shuffle(&mut graph.node),
        4 => graph.output.extend(names.get(rng.usize(..=names.len())).cloned().map(named)),
        5 => graft(graph, seeds, rng),
        6 | 7 => rng.choice(&mut graph.initializer).map_or((), |tensor| change_tensor(tensor, rng)),
        8 => {
            let lists = [&mut graph.input, &mut graph.output, &mut graph.value_info];
            let infos: Vec<_> = lists.into_iter().flatten().collect();
            if let Some(info) = rng.choice(infos) {
                change_info(info, rng);
            }
        }
        _ => rng.choice(&mut graph.node).map_or((), |node| change_node(node, &names, seeds, rng)),
    }
}

fn names(graph: &GraphProto) -> Vec<String> {
    let outputs = graph.node.iter().flat_map(|node| node.output.iter().cloned());
    let inputs = graph.input.iter().map(|info| info.name().to_owned());
    outputs.chain(inputs).chain(graph.initializer.iter().map(|t| t.name().to_owned())).collect()
}

fn named(name: String) -> ValueInfoProto {
    ValueInfoProto { name: Some(name), ..ValueInfoProto::default() }
}

fn remove<T>(list: &mut Vec<T>, rng: &mut Rng) {
    if !list.is_empty() {
        list.remove(rng.usize(..list.len()));
    }
}

fn duplicate<T: Clone>(list: &mut Vec<T>, rng: &mut Rng) {
    if let Some(item) = rng.choice(&*list).cloned() {
        list.insert(rng.usize(..=list.len()), item);
    }
}

/// A node of another file, with its constants.
fn graft(graph: &mut GraphProto, seeds: &Seeds, rng: &mut Rng) {
    let other = rng.choice(&seeds.calls).and_then(|file| ModelProto::decode(&**file).ok());
    let Some(mut other) = other.and_then(|model| model.graph) else { return };
    let fresh = format!("{}.", rng.u16(..));
    for tensor in &mut other.initializer {
        tensor.name = Some(fresh.clone() + tensor.name());
    }
    let names = names(graph);
    for node in &mut other.node {
        for input in node.input.iter_mut().filter(|input| !input.is_empty()) {
            let inner = fresh.clone() + input;
            let constant = other.initializer.iter().any(|tensor| tensor.name() == inner);
            let outer = rng.choice(&names).cloned().unwrap_or_default();
            *input = if constant { inner } else { outer };
        }
        node.output.iter_mut().for_each(|output| *output = fresh.clone() + output);
        graph.output.extend(node.output.first().cloned().map(named));
    }
    graph.initializer.append(&mut other.initializer);
    graph.node.append(&mut other.node);
}

fn change_tensor(tensor: &mut TensorProto, rng: &mut Rng) {
    match rng.usize(..4) {
        0 => numbers(&mut tensor.dims, rng),
        1 => tensor.data_type = Some(rng.i32(-1..32)),
        2 => {
            let raw = tensor.raw_data.clone().unwrap_or_default();
            tensor.raw_data = Some(raw.slice(..rng.usize(..=raw.len())));
        }
        // Shapes, axes and repeats are small integer tensors.
        _ => {
            let mut raw = tensor.raw_data.clone().unwrap_or_default().to_vec();
            if let Some(number) = rng.choice(raw.chunks_exact_mut(8)) {
                number.copy_from_slice(&number_of(rng).to_le_bytes());
            }
            tensor.raw_data = Some(Bytes::from(raw));
        }
    }
}

fn number_of(rng: &mut Rng) -> i64 {
    *rng.choice(NUMBERS).unwrap_or(&0)
}

fn numbers(list: &mut Vec<i64>, rng: &mut Rng) {
    match rng.usize(..4) {
        0 => remove(list, rng),
        1 => list.push(number_of(rng)),
        _ => rng.choice(list).map_or((), |number| *number = number_of(rng)),
    }
}

fn change_info(info: &mut ValueInfoProto, rng: &mut Rng) {
    let tensor = info.r#type.as_mut().and_then(|kind| kind.tensor_type.as_mut());
    let Some(tensor) = tensor else { return };
    if rng.u8(..4) == 0 {
        tensor.elem_type = Some(rng.i32(-1..32));
    }
    let Some(shape) = tensor.shape.as_mut().filter(|_| rng.u8(..8) != 0) else {
        tensor.shape = None;
        return;
    };
    match rng.usize(..4) {
        0 => remove(&mut shape.dim, rng),
        1 => duplicate(&mut shape.dim, rng),
        _ => {
            let value = Some(DimensionValue::DimValue(number_of(rng)));
            if let Some(dim) = rng.choice(&mut shape.dim) {
                dim.value = value;
            }
        }
    }
}

fn change_node(node: &mut NodeProto, names: &[String], seeds: &Seeds, rng: &mut Rng) {
    let name = rng.choice(names).cloned().unwrap_or_default();
    match rng.usize(..9) {
        0 => rng.choice(&mut node.input).map_or((), |input| *input = name),
        1 => node.input.push(name),
        2 => remove(&mut node.input, rng),
        3 => remove(&mut node.attribute, rng),
        4 => node.op_type = rng.choice(&seeds.operators).map(|&op| op.to_owned()),
        5 => node.output.push(format!("out.{}", rng.u32(..))),
        6 => nest(node),
        7 => node.attribute.push(attribute(rng)),
        _ => {
            rng.choice(&mut node.attribute).map_or((), |attribute| change_attribute(attribute, rng))
        }
    }
}

/// Puts a node into the body of another.
fn nest(node: &mut NodeProto) {
    let body = GraphProto {
        output: node.output.iter().cloned().map(named).collect(),
        node: vec![node.clone()],
        ..GraphProto::default()
    };
    let branch = AttributeProto {
        name: Some("then_branch".into()),
        r#type: Some(AttributeType::Graph as i32),
        g: Some(Box::new(body)),
        ..AttributeProto::default()
    };
    node.op_type = Some("If".into());
    node.attribute = vec![branch];
}

fn attribute(rng: &mut Rng) -> AttributeProto {
    let name = rng.choice(ATTRIBUTES).map(|&name| name.to_owned());
    let kind = *rng
        .choice(&[AttributeType::Int, AttributeType::Ints, AttributeType::Float])
        .expect("three");
    let mut attribute = AttributeProto { name, r#type: Some(kind as i32), ..Default::default() };
    change_attribute(&mut attribute, rng);
    attribute
}

fn change_attribute(attribute: &mut AttributeProto, rng: &mut Rng) {
    match rng.usize(..8) {
        0 => attribute.name = rng.choice(ATTRIBUTES).map(|&name| name.to_owned()),
        1 => attribute.r#type = Some(rng.i32(0..15)),
        2 => {
            attribute.f =
                Some(*rng.choice(&[0.0, -1.0, f32::NAN, f32::INFINITY, 1e30]).expect("five"))
        }
        3 => attribute.s = Some(Bytes::from_static(b"\xff")),
        4 | 5 => attribute.i = Some(number_of(rng)),
        _ => match &mut attribute.t {
            Some(tensor) => change_tensor(tensor, rng),
            None => numbers(&mut attribute.ints, rng),
        },
    }
}
