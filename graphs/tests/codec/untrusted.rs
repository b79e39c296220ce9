//! Files that are wrong on purpose or by accident.

use bytes::Bytes;
use graphs::proto::{AttributeProto, GraphProto, ModelProto, TensorProto};
use graphs::{Error, Model};
use proptest::prelude::*;
use prost::Message;

use crate::build::{body, floats, graph, info, model, node, refuse, with};

/// The error behind all the places.
fn cause(error: &Error) -> &Error {
    if let Error::At { error, .. } = error { cause(error) } else { error }
}

macro_rules! assert_refused {
    ($graph:expr, $variant:pat, $($words:literal),*) => {
        let error = refuse($graph);
        assert!(matches!(cause(&error), $variant), "{error:?}");
        $(assert!(error.to_string().contains($words), "{error}");)*
    };
}

fn holding(tensor: TensorProto) -> GraphProto {
    GraphProto {
        initializer: vec![tensor],
        ..graph(&["x"], vec![node("Neg", &["x"], &["y"])], &["y"])
    }
}

#[test]
fn garbage_and_truncated_files() {
    let read = |bytes: &'static [u8]| Model::decode(Bytes::from_static(bytes), None).unwrap_err();
    assert!(matches!(read(b""), Error::NoGraph));
    assert!(matches!(read(b"\x89PNG\r\n\x1a\n"), Error::Protobuf(_)));
    let file = Bytes::from(model(graph(&["x"], vec![], &["x"])).encode_to_vec());
    assert!(matches!(Model::decode(file.slice(..20), None), Err(Error::Protobuf(_))));
    let error = Model::read("no/such/file.onnx".as_ref()).unwrap_err();
    assert!(matches!(cause(&error), Error::Io(_)), "{error:?}");
    assert!(error.to_string().starts_with("no/such/file.onnx: "), "{error}");
}

#[test]
fn tensors_that_are_none() {
    let mut tensor = floats("w", &[2, 3], &[0.0; 5]);
    assert_refused!(
        holding(tensor.clone()),
        Error::TensorLength { found: 20, .. },
        "initializer `w`",
        "24"
    );
    tensor.dims = vec![2, -3];
    assert_refused!(
        holding(tensor.clone()),
        Error::Dimension { size: -3 },
        "initializer `w`",
        "-3"
    );
    tensor.dims = vec![i64::MAX, i64::MAX];
    assert_refused!(holding(tensor.clone()), Error::TensorLength { expected: None, .. }, "`w`");
    tensor.dims = vec![5];
    tensor.raw_data = Some(vec![0; 20].into());
    assert_refused!(
        holding(tensor.clone()),
        Error::Storage(_),
        "initializer `w`",
        "more than once"
    );
    tensor.data_type = Some(99);
    assert_refused!(holding(tensor), Error::UnknownType { code: 99 }, "initializer `w`", "99");
}

#[test]
fn types_that_are_none() {
    let mut proto = graph(&["x"], vec![], &["x"]);
    let tensor = proto.input[0].r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
    tensor.elem_type = Some(-7);
    assert_refused!(proto, Error::UnknownType { code: -7 }, "`x`", "-7");
}

#[test]
fn names_given_twice() {
    let twice = vec![node("Neg", &["x"], &["y"]), node("Abs", &["x"], &["y"])];
    assert_refused!(
        graph(&["x"], twice, &["y"]),
        Error::DuplicateName { .. },
        "Abs_y",
        "`y`",
        "two values"
    );
    let input = graph(&["x"], vec![node("Neg", &["x"], &["x"])], &["x"]);
    assert_refused!(input, Error::DuplicateName { .. }, "`x`");
    assert_refused!(graph(&["x", "x"], vec![], &["x"]), Error::DuplicateName { .. }, "`x`");
    assert_refused!(
        graph(&["x"], vec![], &["x", "x"]),
        Error::DuplicateName { .. },
        "`x`",
        "outputs"
    );
    let mut initializers = holding(floats("w", &[], &[1.0]));
    initializers.initializer.push(floats("w", &[], &[1.0]));
    initializers.input.push(info("w"));
    assert_refused!(initializers, Error::DuplicateName { .. }, "`w`");
    let attribute =
        || AttributeProto { name: Some("axis".into()), i: Some(1), ..Default::default() };
    let call = with(with(node("Flatten", &["x"], &["y"]), attribute()), attribute());
    assert_refused!(
        graph(&["x"], vec![call], &["y"]),
        Error::DuplicateName { .. },
        "Flatten_y",
        "`axis`"
    );
}

#[test]
fn values_that_nothing_defines() {
    let call = vec![node("Add", &["x", "ghost"], &["y"])];
    assert_refused!(graph(&["x"], call, &["y"]), Error::UndefinedValue { .. }, "Add_y", "`ghost`");
    assert_refused!(
        graph(&["x"], vec![], &["ghost"]),
        Error::UndefinedValue { .. },
        "output `ghost`"
    );
    let inner = graph(&[], vec![node("Neg", &["ghost"], &["n"])], &["n"]);
    let call = with(node("If", &["x"], &["y"]), body("then_branch", inner));
    assert_refused!(
        graph(&["x"], vec![call], &["y"]),
        Error::UndefinedValue { .. },
        "Neg_n",
        "`ghost`"
    );
}

#[test]
fn sources_without_a_name() {
    assert_refused!(
        graph(&[""], vec![], &[]),
        Error::Unnamed(_),
        "an input or initializer has no name"
    );
}

#[test]
fn attributes_without_a_value() {
    let attribute =
        |r#type| AttributeProto { name: Some("value".into()), r#type, ..Default::default() };
    let constant =
        |r#type| graph(&[], vec![with(node("Constant", &[], &["y"]), attribute(r#type))], &["y"]);
    assert_refused!(
        constant(Some(4)),
        Error::Attribute { .. },
        "Constant_y",
        "`value` has no tensor"
    );
    assert_refused!(constant(Some(99)), Error::Attribute { .. }, "Constant_y", "type 99");
    assert_refused!(constant(None), Error::Attribute { .. }, "`value` has no value");
}

#[test]
fn cycles_and_disorder() {
    let cycle = vec![node("Add", &["x", "b"], &["a"]), node("Neg", &["a"], &["b"])];
    assert_refused!(graph(&["x"], cycle, &["b"]), Error::Cycle { .. }, "cycle through", "_");
    let itself = vec![node("Neg", &["b"], &["b"])];
    assert_refused!(graph(&["x"], itself, &["b"]), Error::Cycle { .. }, "Neg_b");
    let backwards = vec![node("Neg", &["a"], &["b"]), node("Abs", &["x"], &["a"])];
    crate::build::read(graph(&["x"], backwards, &["b"]));
}

#[test]
fn bottomless_bodies() {
    let deep = |levels| {
        (0..levels).fold(graph(&[], vec![node("Neg", &["x"], &["y"])], &["y"]), |inner, _| {
            graph(&[], vec![with(node("If", &["x"], &["y"]), body("then_branch", inner))], &["y"])
        })
    };
    let whole = |levels| GraphProto { input: vec![info("x")], ..deep(levels) };
    crate::build::again(&crate::build::read(whole(20)));
    assert_refused!(whole(40), Error::TooDeep { .. }, "nested");
    let bytes = Bytes::from(model(whole(1000)).encode_to_vec());
    assert!(matches!(Model::decode(bytes, None), Err(Error::Protobuf(_))));
}

/// A valid model with something of everything.
fn sample() -> ModelProto {
    let inner = graph(&[], vec![node("Add", &["h", "w"], &["n"])], &["n"]);
    let call = with(node("If", &["c"], &["y"]), body("then_branch", inner));
    let mut proto = graph(&["x", "c"], vec![node("Clip", &["x", "", "w"], &["h"]), call], &["y"]);
    proto.initializer = vec![floats("w", &[2], &[1.0, 2.0])];
    model(proto)
}

proptest! {
    #[test]
    fn damaged_files_never_panic(
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        let mut bytes = sample().encode_to_vec();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        if let Some(cut) = cut {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(model) = Model::decode(bytes.into(), None) {
            let text = model.to_string();
            if let Ok(bytes) = model.to_bytes() {
                let again = Model::decode(bytes.into(), None);
                prop_assert!(again.is_ok(), "{again:?}\n{text}");
            }
        }
    }
}
