//! A message as pieces that are written one after the other, so that the elements of
//! large tensors are never copied into one buffer.

use std::mem::take;

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};

use crate::proto::{GraphProto, ModelProto, TensorProto};

/// Elements of fewer bytes are copied.
const SMALL: usize = 4096;

/// The bytes of `ModelProto::encode_to_vec`, in pieces.
pub(super) fn pieces(mut model: ModelProto) -> Vec<Bytes> {
    let Some(graph) = model.graph.take() else { return vec![encoded(&model)] };
    let head = ModelProto {
        ir_version: model.ir_version.take(),
        producer_name: model.producer_name.take(),
        producer_version: model.producer_version.take(),
        domain: model.domain.take(),
        model_version: model.model_version.take(),
        doc_string: model.doc_string.take(),
        ..ModelProto::default()
    };
    let mut pieces = vec![encoded(&head)];
    push(&mut pieces, 7, graph_pieces(graph));
    pieces.push(encoded(&model));
    pieces
}

fn graph_pieces(mut graph: GraphProto) -> Vec<Bytes> {
    let initializers = take(&mut graph.initializer);
    let head =
        GraphProto { node: take(&mut graph.node), name: graph.name.take(), ..Default::default() };
    let mut pieces = vec![encoded(&head)];
    for tensor in initializers {
        push(&mut pieces, 5, tensor_pieces(tensor));
    }
    pieces.push(encoded(&graph));
    pieces
}

fn tensor_pieces(mut tensor: TensorProto) -> Vec<Bytes> {
    let Some(raw) = tensor.raw_data.take_if(|raw| raw.len() >= SMALL) else {
        return vec![encoded(&tensor)];
    };
    let tail = TensorProto {
        double_data: take(&mut tensor.double_data),
        uint64_data: take(&mut tensor.uint64_data),
        doc_string: tensor.doc_string.take(),
        external_data: take(&mut tensor.external_data),
        data_location: tensor.data_location.take(),
        metadata_props: take(&mut tensor.metadata_props),
        ..TensorProto::default()
    };
    let mut pieces = vec![encoded(&tensor)];
    push(&mut pieces, 9, vec![raw]);
    pieces.push(encoded(&tail));
    pieces
}

/// Appends the field `tag` with that content.
fn push(pieces: &mut Vec<Bytes>, tag: u32, content: Vec<Bytes>) {
    let length: usize = content.iter().map(Bytes::len).sum();
    let mut prefix = Vec::with_capacity(12);
    encode_key(tag, WireType::LengthDelimited, &mut prefix);
    encode_varint(length as u64, &mut prefix);
    pieces.push(prefix.into());
    pieces.extend(content);
}

fn encoded(message: &impl Message) -> Bytes {
    message.encode_to_vec().into()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use super::*;

    #[test]
    fn the_pieces_are_the_message() {
        let bytes = include_bytes!("../../tests/data/every_field.binpb");
        let mut model = ModelProto::decode(&bytes[..]).expect("a valid file");
        let tensor = &mut model.graph.as_mut().expect("a graph").initializer[0];
        tensor.raw_data = Some(vec![7; 2 * SMALL].into());
        let whole = model.encode_to_vec();
        let pieces = pieces(model);
        assert!(pieces.iter().any(|piece| *piece == vec![7; 2 * SMALL]));
        assert_eq!(pieces.concat(), whole);
    }
}
