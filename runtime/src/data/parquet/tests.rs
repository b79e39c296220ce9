#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::fs;
use std::io::Cursor;
use std::sync::Arc;

use image::{ImageFormat, Rgb, RgbImage};
use parquet::basic::Compression;
use parquet::column::writer::ColumnWriter;
use parquet::file::metadata::{FileMetaData, KeyValue};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::super::{Split, load};
use super::*;

/// Hugging Face's layout of a data set of pictures.
const LAYOUT: &str = "message schema {
    optional group image { optional binary bytes; optional binary path (UTF8); }
    optional int64 label;
}";

fn png(red: u8) -> ByteArray {
    let mut file = Cursor::new(Vec::new());
    RgbImage::from_pixel(4, 2, Rgb([red, 20, 30])).write_to(&mut file, ImageFormat::Png).unwrap();
    ByteArray::from(file.into_inner())
}

/// A file of `LAYOUT` or another of one column of pictures before one of labels.
fn table(layout: &str, pictures: &[ByteArray], labels: &[i64], codec: Compression) -> Vec<u8> {
    let schema = Arc::new(parse_message_type(layout).unwrap());
    let names = r#"{"info": {"features": {"label": {"names": ["cat", "dog", "fly"]}}}}"#;
    let note = KeyValue::new("huggingface".to_owned(), names.to_owned());
    let properties = WriterProperties::builder()
        .set_compression(codec)
        .set_key_value_metadata(Some(vec![note]))
        .build();
    let mut file = Vec::new();
    let mut writer = SerializedFileWriter::new(&mut file, schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    // The levels of values that are there: of an optional one in an optional group 2.
    let level = if layout.contains("group image") { 2 } else { 0 };
    for place in 0.. {
        let Some(mut column) = group.next_column().unwrap() else { break };
        let levels = |count: usize, level: i16| vec![level; count];
        match (place, column.untyped()) {
            (0, ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(pictures, Some(&levels(pictures.len(), level)), None)
            }
            // The path of no picture is known.
            (_, ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(&[], Some(&levels(pictures.len(), 1)), None)
            }
            (_, ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(labels, Some(&levels(labels.len(), 1)), None)
            }
            _ => panic!("no such column"),
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    file
}

fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    folder
}

fn two(codec: Compression) -> Vec<u8> {
    table(LAYOUT, &[png(1), png(2)], &[2, 0], codec)
}

fn failure(content: Vec<u8>) -> String {
    let folder = folder(&[("test.parquet", content)]);
    let error = load(folder.path(), &Request::new(Split::Test)).expect_err("bad data").to_string();
    assert!(error.contains("test.parquet") && !error.contains('\n'), "{error}");
    error
}

#[test]
fn files_of_a_split_are_joined_whatever_their_codec() {
    let none = Compression::UNCOMPRESSED;
    let folder = folder(&[
        ("data/train-00001-of-00002.parquet", table(LAYOUT, &[png(9)], &[1], none)),
        ("data/train-00000-of-00002.parquet", two(Compression::SNAPPY)),
        ("data/test-00000-of-00001.parquet", two(Compression::GZIP(Default::default()))),
        ("README.md", b"---".to_vec()),
    ]);
    let train = load(folder.path(), &Request::new(Split::Train)).unwrap();
    assert_eq!((train.shape(), train.labels()), ([3, 2, 4], &[2, 0, 1][..]));
    assert_eq!(train.class_names(), ["cat", "dog", "fly"]);
    let reds: Vec<u8> = (0..3).map(|i| train.image(i).unwrap()[0]).collect();
    assert_eq!(reds, [1, 2, 9]);
    assert_eq!(train.image(0).unwrap()[8..], [[20; 8], [30; 8]].concat());
    let limited = Request { limit: Some(1), ..Request::new(Split::Test) };
    assert_eq!(load(&folder.path().join("data"), &limited).unwrap().labels(), [2]);
}

#[test]
fn plain_bytes_are_a_picture_too() {
    let layout = "message schema { required binary img; optional int64 label; }";
    let schema = table(layout, &[png(5)], &[1], Compression::UNCOMPRESSED);
    let folder = folder(&[("anything.parquet", schema)]);
    let file = folder.path().join("anything.parquet");
    assert_eq!(load(&file, &Request::new(Split::Test)).unwrap().image(0).unwrap()[0], 5);
}

#[test]
fn defects_are_named() {
    let snappy = Compression::SNAPPY;
    let no_label = "message schema { required binary img; optional int64 a; optional int64 b; }";
    let text = "message schema { required binary img (UTF8); optional int64 label; }";
    assert!(failure(table(text, &[png(1)], &[1], snappy)).contains("its columns img, label"));
    assert!(failure(b"PAR1".to_vec()).contains("no whole .parquet file"));
    let whole = two(snappy);
    assert!(failure(whole[..whole.len() - 40].to_vec()).contains("no whole .parquet file"));
    let broken = ByteArray::from(b"no picture".to_vec());
    let broken = table(LAYOUT, &[png(1), broken], &[1, 1], snappy);
    assert!(failure(broken).contains("not an image (jpg, png, bmp, webp or gif)"));
    assert!(failure(table(LAYOUT, &[], &[], snappy)).contains("no images"));
    let metadata = parse_message_type(no_label).unwrap();
    let metadata = parquet::schema::types::SchemaDescriptor::new(Arc::new(metadata));
    let metadata = FileMetaData::new(2, 1, None, None, Arc::new(metadata), None);
    assert!(Columns::find(&metadata).unwrap_err().contains("no column `label` of integers"));
}

/// Each byte of a file changed: an error or a data set, but no panic and no hang.
#[test]
fn damage_anywhere_is_an_error_at_worst() {
    let whole = two(Compression::SNAPPY);
    for at in 0..whole.len() {
        for value in [0, 0x7f, 0xff, whole[at] ^ 1] {
            let mut damaged = whole.clone();
            damaged[at] = value;
            let folder = folder(&[("test.parquet", damaged)]);
            _ = load(folder.path(), &Request::new(Split::Test));
        }
    }
}
