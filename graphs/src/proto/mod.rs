//! The messages of an ONNX file, `onnx.proto` of IR version 14, field by field.
//!
//! What is unset stays apart from what is zero or empty, and the fields are written in
//! the order and the packing of the official library, so its files come back byte for
//! byte. Names are `String`, and a file with a name that is not UTF-8 is an error; free
//! text (documentation, metadata, producer) and string values are `Bytes`, whose encoding
//! is nobody's business here. Decoding from [`Bytes`](bytes::Bytes) shares them: `raw_data`
//! is not copied.
//!
//! Fields that the schema does not have are dropped when a file is read.

// The fields are the schema's, and documented there.
#![allow(missing_docs)]

mod device;
mod graph;
mod model;
mod tensor;
mod types;
mod visit;

pub use device::*;
pub use graph::*;
pub use model::*;
pub use tensor::*;
pub use types::*;
pub(crate) use visit::tensors_mut;

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]

    use bytes::Bytes;
    use proptest::prelude::*;
    use prost::Message;

    use super::*;

    /// Every field of the schema, as the official library writes it.
    const EVERY_FIELD: &[u8] = include_bytes!("../../tests/data/every_field.binpb");

    #[test]
    fn every_field_of_the_schema_comes_back() {
        let model = ModelProto::decode(EVERY_FIELD).expect("a valid file");
        assert_eq!(Bytes::from(model.encode_to_vec()), EVERY_FIELD);
    }

    #[test]
    fn a_truncated_file_is_an_error_or_a_shorter_file() {
        let mut errors = 0;
        for length in 0..EVERY_FIELD.len() {
            match ModelProto::decode(&EVERY_FIELD[..length]) {
                Ok(model) => assert_eq!(model.encode_to_vec(), EVERY_FIELD[..length]),
                Err(_) => errors += 1,
            }
        }
        assert!(errors > EVERY_FIELD.len() * 9 / 10, "{errors}");
    }

    #[test]
    fn text_need_not_be_utf8_but_names_must() {
        let text = Bytes::from_static(b"caf\xe9");
        let node = NodeProto { doc_string: Some(text.clone()), ..Default::default() };
        let bytes = node.encode_to_vec();
        assert_eq!(NodeProto::decode(&*bytes).expect("valid").doc_string, Some(text));

        const NAME: u8 = 3 << 3 | 2;
        let error = NodeProto::decode(&[NAME, 1, 0xe9][..]).expect_err("not UTF-8");
        assert!(error.to_string().contains("NodeProto.name"), "{error}");
    }

    #[test]
    fn packed_attributes_of_proto3_writers_are_read() {
        const INTS: u8 = 8 << 3 | 2;
        let attribute = AttributeProto::decode(&[INTS, 3, 1, 2, 3][..]).expect("valid");
        assert_eq!(attribute.ints, [1, 2, 3]);
    }

    #[test]
    fn raw_data_is_not_copied() {
        let raw_data = Some(Bytes::from(vec![7; 1000]));
        let file = Bytes::from(TensorProto { raw_data, ..Default::default() }.encode_to_vec());
        let raw_data = TensorProto::decode(file.clone()).expect("valid").raw_data.expect("set");
        assert!(file.as_ptr_range().contains(&raw_data.as_ptr()));
    }

    #[test]
    fn bottomless_nesting_is_an_error() {
        let deep = (0..1000).fold(TypeProto::default(), |inner, _| TypeProto {
            sequence_type: Some(SequenceTypeProto { elem_type: Some(Box::new(inner)) }),
            ..Default::default()
        });
        assert!(TypeProto::decode(&*deep.encode_to_vec()).is_err());
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_error_or_a_model(
            bytes in prop_oneof![
                prop::collection::vec(any::<u8>(), 0..64),
                (0..EVERY_FIELD.len(), any::<u8>()).prop_map(|(at, byte)| {
                    let mut bytes = EVERY_FIELD.to_vec();
                    bytes[at] = byte;
                    bytes
                }),
            ]
        ) {
            if let Ok(model) = ModelProto::decode(&*bytes) {
                let written = model.encode_to_vec();
                let again = ModelProto::decode(&*written).expect("what we wrote, we read");
                prop_assert_eq!(again.encode_to_vec(), written);
            }
        }
    }
}
