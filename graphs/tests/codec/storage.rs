//! Tensors: every storage of their elements, in the file and beside it.

use std::fs;
use std::path::Path;

use graphs::proto::{GraphProto, TensorProto};
use graphs::{DType, Error, Model, Tensor};
use prost::Message;

use crate::build::{again, external, floats, graph, model, node, read};

fn holding(tensor: TensorProto) -> GraphProto {
    GraphProto {
        initializer: vec![tensor],
        ..graph(&["x"], vec![node("Neg", &["x"], &["y"])], &["y"])
    }
}

fn decoded(tensor: TensorProto) -> Tensor {
    let model = again(&read(holding(tensor)));
    model.graph.tensor(model.graph.source("w").expect("w")).expect("an initializer").clone()
}

fn typed(dtype: DType, count: i64, fill: impl FnOnce(&mut TensorProto)) -> Tensor {
    let mut proto = floats("w", &[count], &[]);
    proto.data_type = Some(dtype.code());
    fill(&mut proto);
    decoded(proto)
}

#[test]
fn typed_elements_become_raw_bytes() {
    let f16 = typed(DType::F16, 2, |t| t.int32_data = vec![0x3c00, 0xc000]);
    assert_eq!(*f16.floats().unwrap(), [1.0, -2.0]);
    let bf16 = typed(DType::BF16, 1, |t| t.int32_data = vec![0x3f80]);
    assert_eq!(*bf16.floats().unwrap(), [1.0]);
    let i8 = typed(DType::I8, 2, |t| t.int32_data = vec![-1, 7]);
    assert_eq!(i8.integers().unwrap(), [-1, 7]);
    let bool = typed(DType::Bool, 2, |t| t.int32_data = vec![1, 0]);
    assert_eq!(bool.integers().unwrap(), [1, 0]);
    let i64 = typed(DType::I64, 1, |t| t.int64_data = vec![i64::MIN]);
    assert_eq!(i64.integers().unwrap(), [i64::MIN]);
    let u32 = typed(DType::U32, 1, |t| t.uint64_data = vec![u64::from(u32::MAX)]);
    assert_eq!(u32.integers().unwrap(), [i64::from(u32::MAX)]);
    let u64 = typed(DType::U64, 1, |t| t.uint64_data = vec![u64::MAX]);
    assert_eq!(*u64.values::<u64>().unwrap(), [u64::MAX]);
    let f64 = typed(DType::F64, 1, |t| t.double_data = vec![0.1]);
    assert_eq!(*f64.values::<f64>().unwrap(), [0.1]);
    let c64 = typed(DType::C64, 1, |t| t.float_data = vec![1.0, 2.0]);
    assert_eq!(c64.bytes().len(), 8);
    let i4 = typed(DType::I4, 3, |t| t.int32_data = vec![0x21, 0x03]);
    assert_eq!(&i4.bytes()[..], [0x21, 0x03]);
    let strings = typed(DType::String, 2, |t| t.string_data = vec!["a".into(), b"\xff"[..].into()]);
    assert_eq!(strings.strings(), [&b"a"[..], &b"\xff"[..]]);
}

#[test]
fn nan_bits_come_back() {
    let bits = f32::from_bits(0x7fa0_0001);
    assert_eq!(decoded(floats("w", &[1], &[bits])).bytes()[..], bits.to_le_bytes());
}

/// Writes a model beside `data.bin`, which holds the floats 0 to 9, and reads it.
fn beside(folder: &Path, entries: &[(&str, &str)]) -> Result<Model, Error> {
    let numbers: Vec<u8> = (0u8..10).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    fs::write(folder.join("data.bin"), numbers).unwrap();
    let proto = model(holding(external("w", &[2], entries)));
    let path = folder.join("model.onnx");
    fs::write(&path, proto.encode_to_vec()).unwrap();
    Model::read(&path)
}

#[test]
fn external_data_is_read_and_written_into_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let model =
        beside(folder.path(), &[("location", "data.bin"), ("offset", "12"), ("length", "8")]);
    let model = again(&model.unwrap());
    let w = model.graph.tensor(model.graph.source("w").unwrap()).unwrap();
    assert_eq!(*w.floats().unwrap(), [3.0, 4.0]);
}

#[test]
fn external_data_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let outside = tempfile::NamedTempFile::new().unwrap();
    let refused = |entries: &[(&str, &str)]| {
        let error = beside(folder.path(), entries).expect_err("refused").to_string();
        let file = folder.path().join("model.onnx").display().to_string();
        assert!(error.contains("initializer `w`") && error.starts_with(&file), "{error}");
        error
    };
    let at = |location: &str| refused(&[("location", location)]);
    for bad in ["../data.bin", "/etc/passwd", "a/../../data.bin", ""] {
        assert!(at(bad).contains("not a path inside the model's folder"), "{}", at(bad));
    }
    assert!(at("none.bin").contains("`none.bin`: No such file"));
    assert!(at(".").contains("not a regular file"));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(outside.path(), folder.path().join("link.bin")).unwrap();
        assert!(at("link.bin").contains("a link that leads out of the model's folder"));
    }
    for (offset, length) in [("0", "41"), ("40", "8"), ("18446744073709551615", "8")] {
        let error = refused(&[("location", "data.bin"), ("offset", offset), ("length", length)]);
        assert!(error.contains("are not in its 40"), "{error}");
    }
    let error = refused(&[("location", "data.bin"), ("offset", "-4")]);
    assert!(error.contains("offset `-4` is no size"), "{error}");
    // Without a length, all that follows the offset.
    let error = refused(&[("location", "data.bin"), ("offset", "8")]);
    assert!(error.contains("needs 8 bytes, but has 32"), "{error}");
}

#[test]
fn external_data_needs_a_folder() {
    let proto = model(holding(external("w", &[2], &[("location", "data.bin")])));
    let error = Model::from_proto(proto, None).unwrap_err().to_string();
    assert!(error.contains("the model was not read from a folder"), "{error}");
}

#[test]
fn files_are_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.onnx");
    let model = read(holding(floats("w", &[1], &[1.0])));
    for _ in 0..2 {
        model.write(&path).unwrap();
        assert_eq!(Model::read(&path).unwrap().to_string(), model.to_string());
    }
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    #[cfg(unix)]
    {
        let link = folder.path().join("link.onnx");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        model.write(&link).unwrap();
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    }
    assert!(model.write(folder.path()).unwrap_err().to_string().contains("not a regular file"));
    assert!(model.write(&path.join("below")).is_err());
}
