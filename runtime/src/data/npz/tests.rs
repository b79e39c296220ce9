#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::{Cursor, Write};

use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::super::{Split, load};
use super::*;

fn array(descr: &str, shape: &str, content: &[u8]) -> Vec<u8> {
    let text = format!("{{'descr': '{descr}', 'fortran_order': False, 'shape': {shape}, }}\n");
    let mut file = b"\x93NUMPY\x01\x00".to_vec();
    file.extend((text.len() as u16).to_le_bytes());
    file.extend(text.as_bytes());
    file.extend(content);
    file
}

fn archive(arrays: &[(&str, Vec<u8>)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content) in arrays {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(format!("{name}.npy"), options).unwrap();
        zip.write_all(content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        fs::write(folder.path().join(name), content).unwrap();
    }
    folder
}

/// Two images of 2 rows and 4 columns, three channels, their pixels counted.
fn images(shape: &str) -> Vec<u8> {
    array("|u1", shape, &(0..48).collect::<Vec<u8>>())
}

fn labels() -> Vec<u8> {
    array("<i8", "(2,)", &[5i64, 2].map(i64::to_le_bytes).concat())
}

#[test]
fn both_layouts_stored_and_deflated_are_read() {
    for method in [CompressionMethod::Stored, CompressionMethod::Deflated] {
        let first = archive(&[("x", images("(2, 3, 2, 4)")), ("y", labels())], method);
        let last = archive(&[("y", labels()), ("x", images("(2, 2, 4, 3)"))], method);
        let folder = folder(&[("train.npz", first), ("test.npz", last)]);
        let train = load(folder.path(), &Request::new(Split::Train)).unwrap();
        assert_eq!((train.shape(), train.labels()), ([3, 2, 4], &[5, 2][..]));
        assert_eq!(train.image(1).unwrap(), (24..48).collect::<Vec<u8>>());
        let test = load(folder.path(), &Request::new(Split::Test)).unwrap();
        assert_eq!(test.shape(), [3, 2, 4]);
        let red: Vec<u8> = (0..8).map(|i| 24 + 3 * i).collect();
        assert_eq!(test.image(1).unwrap()[..8], red);
        let limited = Request { limit: Some(1), ..Request::new(Split::Test) };
        assert_eq!(load(folder.path(), &limited).unwrap().labels(), [5]);
    }
}

#[test]
fn one_file_holds_both_splits_and_its_name_is_free() {
    let grey = |value| array("|u1", "(1, 2, 2)", &[value; 4]);
    let label = |value| array("|u1", "(1, 1)", &[value]);
    let arrays =
        [("x_train", grey(1)), ("y_train", label(3)), ("x_test", grey(2)), ("y_test", label(4))];
    let folder = folder(&[("mnist.npz", archive(&arrays, CompressionMethod::Deflated))]);
    let path = folder.path().join("mnist.npz");
    let train = load(&path, &Request::new(Split::Train)).unwrap();
    assert_eq!(
        (train.shape(), train.image(0), train.labels()),
        ([1, 2, 2], Some(&[1; 4][..]), &[3][..])
    );
    assert_eq!(load(&path, &Request::new(Split::Test)).unwrap().labels(), [4]);
}

#[test]
fn the_model_decides_between_two_layouts() {
    let x = array("|u1", "(1, 3, 3, 3)", &(0..27).collect::<Vec<u8>>());
    let y = array("|u1", "(1,)", &[0]);
    let folder = folder(&[("a.npz", archive(&[("x", x), ("y", y)], CompressionMethod::Stored))]);
    let first = load(folder.path(), &Request::new(Split::Test)).unwrap();
    assert_eq!(first.image(0).unwrap()[..3], [0, 1, 2]);
    assert_eq!(arrange(&[1, 3, 5, 4], Some([4, 3, 5])), Some((1, [4, 3, 5], true)));
    assert_eq!(arrange(&[1, 5, 5, 5], None), None);
}

#[test]
fn floats_take_the_nearest_level() {
    let levels = [0u8, 1, 127, 128, 254, 255, 3, 77];
    let floats = |level: &u8| f64::from(*level) / 255.0;
    let f4 = levels.iter().flat_map(|level| (floats(level) as f32).to_le_bytes()).collect();
    let f8 = levels.iter().flat_map(|level| floats(level).to_le_bytes()).collect();
    let f2 = levels.iter().flat_map(|level| half::f16::from_f64(floats(level)).to_le_bytes());
    for (descr, content) in [("<f2", f2.collect::<Vec<u8>>()), ("<f4", f4), ("<f8", f8)] {
        let arrays = [("x", array(descr, "(2, 2, 2)", &content)), ("y", labels())];
        let folder = folder(&[("a.npz", archive(&arrays, CompressionMethod::Stored))]);
        let all = load(folder.path(), &Request::new(Split::Test)).unwrap();
        assert_eq!([all.image(0).unwrap(), all.image(1).unwrap()].concat(), levels);
    }
}

#[test]
fn defects_are_named() {
    let grey = || array("|u1", "(2, 2, 2)", &[7; 8]);
    let float =
        |value: f32| array("<f4", "(1, 1, 2)", &[0.5, value].map(f32::to_le_bytes).concat());
    let stored = CompressionMethod::Stored;
    let whole = archive(&[("x", grey()), ("y", labels())], stored);
    for (content, expected) in [
        (archive(&[("x", grey())], stored), "array `y`: it is not there"),
        (archive(&[("x", grey()), ("y", float(0.5))], stored), "labels are [N], not [1, 1, 2]"),
        (archive(&[("x", grey()), ("y", array("<f4", "(2,)", &[0; 8]))], stored), "not floats"),
        (archive(&[("x", float(1.5)), ("y", labels())], stored), "element 1 is not in [0, 1]"),
        (archive(&[("x", float(f32::NAN)), ("y", labels())], stored), "element 1 is not in [0, 1]"),
        (archive(&[("x", array("<i4", "(1, 1, 1)", &[0; 4])), ("y", labels())], stored), "uint8"),
        (
            archive(&[("x", array("|u1", "(3, 2, 2)", &[7; 12])), ("y", labels())], stored),
            "2 labels",
        ),
        (archive(&[("x", array("|u1", "(2,)", &[7; 2])), ("y", labels())], stored), "not [2]"),
        (
            archive(&[("x", array("|u1", "(2, 2, 2)", &[7; 7])), ("y", labels())], stored),
            "there are 7",
        ),
        (
            archive(&[("x", array("|u1", "(2, 2, 2)", &[7; 9])), ("y", labels())], stored),
            "are more",
        ),
        (archive(&[("x", array("|u1", "(0, 2, 2)", &[])), ("y", labels())], stored), "no images"),
        (
            archive(
                &[("x", array("|u1", "(999999999999, 99, 99)", &[7])), ("y", labels())],
                stored,
            ),
            "more than 16 GiB",
        ),
        (archive(&[("x", b"x = 1".to_vec()), ("y", labels())], stored), "header cannot be read"),
        (whole[..whole.len() - 30].to_vec(), "no whole .npz file"),
        (Vec::new(), "no whole .npz file"),
    ] {
        let folder = folder(&[("test.npz", content)]);
        let error = load(folder.path(), &Request::new(Split::Test)).unwrap_err().to_string();
        assert!(error.contains("test.npz") && error.contains(expected), "{error} lacks {expected}");
    }
}

#[test]
fn counts_that_disagree_are_told_under_a_limit_too() {
    for images in [1, 3] {
        let pixels = array("|u1", &format!("({images}, 2, 2)"), &vec![7; 4 * images]);
        let content = archive(&[("x", pixels), ("y", labels())], CompressionMethod::Stored);
        let folder = folder(&[("test.npz", content)]);
        let limited = Request { limit: Some(1), ..Request::new(Split::Test) };
        let error = load(folder.path(), &limited).unwrap_err().to_string();
        assert!(error.contains(&format!("2 labels in y for {images} images in x")), "{error}");
    }
}

#[test]
fn numbers_of_any_type_are_targets_where_they_are_asked_for() {
    let row = array("|u1", "(2, 3)", &[0, 51, 255, 1, 2, 3]);
    let floats = |shape: &str, values: &[f64]| {
        let bytes: Vec<u8> = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        array("<f8", shape, &bytes)
    };
    let read = |y: Vec<u8>| {
        let arrays = [("x", row.clone()), ("y", y)];
        let folder = folder(&[("a.npz", archive(&arrays, CompressionMethod::Stored))]);
        let request = Request { numbers: true, ..Request::new(Split::Train) };
        load(folder.path(), &request).map_err(|error| error.to_string())
    };
    let one = read(floats("(2,)", &[0.5, -3.25])).unwrap();
    assert_eq!((one.shape(), one.image(0)), ([1, 1, 3], Some(&[0, 51, 255][..])));
    assert_eq!(*one.targets(), Targets::Numbers { width: 1, values: vec![0.5, -3.25] });
    let two = read(floats("(2, 2)", &[1.0, 2.0, 3.0, 4.0])).unwrap();
    assert_eq!(*two.targets(), Targets::Numbers { width: 2, values: vec![1.0, 2.0, 3.0, 4.0] });
    let whole = read(labels()).unwrap();
    assert_eq!(*whole.targets(), Targets::Numbers { width: 1, values: vec![5.0, 2.0] });
    for (y, part) in [
        (floats("(1,)", &[0.5]), "1 targets in y for 2 images"),
        (floats("(2,)", &[0.5, f64::NAN]), "item 1 has the target NaN"),
        (floats("(2,)", &[0.5, 1e300]), "array `y`: the target 1e300 is beyond a float32"),
        (floats("(2,)", &[0.5, f64::INFINITY]), "array `y`: the target inf is beyond"),
        (floats("(2, 1, 1)", &[0.5, 1.0]), "targets are [N] or [N, K]"),
        (floats("(2, 0)", &[]), "array `y`: targets are [N] or [N, K] with K of 1"),
        (floats("(2, 10000000000)", &[]), "array `y`: [2, 10000000000] are too many targets"),
    ] {
        let error = read(y).unwrap_err();
        assert!(error.contains("a.npz") && error.contains(part), "{error}");
    }
    let idx = folder(&[("train-images", vec![0, 0, 8, 3])]);
    let request = Request { numbers: true, ..Request::new(Split::Train) };
    let error = load(idx.path(), &request).unwrap_err().to_string();
    assert!(error.contains("come as .npz"), "{error}");
}
