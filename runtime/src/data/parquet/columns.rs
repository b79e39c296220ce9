//! Which columns hold the pictures and the labels, and reading them.

use parquet::basic::Type as Physical;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::file::metadata::FileMetaData;
use parquet::schema::types::ColumnDescPtr;
use serde_json::Value;

use crate::error::one_line;

/// The key under which Hugging Face's files describe their columns, in JSON.
const DESCRIPTION: &str = "huggingface";

/// Indices of the leaf columns, and what the file says of the classes.
#[derive(Debug, PartialEq)]
pub(super) struct Columns {
    pub(super) pictures: usize,
    pub(super) labels: usize,
    /// Empty where the file names none.
    pub(super) class_names: Vec<String>,
}

impl Columns {
    /// The column `bytes` of a group, or else the only column of bytes that is no text; and
    /// the column `label`, or else the only one of integers.
    ///
    /// # Errors
    /// Lists the columns where there is none, or a choice.
    pub(super) fn find(file: &FileMetaData) -> Result<Columns, String> {
        let columns = file.schema_descr().columns();
        let all = columns.iter().map(|column| column.path().string()).collect::<Vec<_>>();
        let lacking = |what: &str| format!("no {what} among its columns {}", all.join(", "));
        let pictures =
            pick(columns, is_picture, |parts| parts.last().is_some_and(|p| p == "bytes"))
                .ok_or_else(|| lacking("single column of encoded pictures (`image.bytes`)"))?;
        let labels = pick(columns, is_label, |parts| parts == ["label"])
            .ok_or_else(|| lacking("column `label` of integers"))?;
        let name = columns.get(labels).map(|column| column.name()).unwrap_or_default();
        Ok(Columns { pictures, labels, class_names: class_names(file, name) })
    }
}

/// The only column that is `right` and `named`, or else the only one that is `right`.
fn pick(
    columns: &[ColumnDescPtr],
    right: fn(&ColumnDescPtr) -> bool,
    named: impl Fn(&[String]) -> bool,
) -> Option<usize> {
    let right: Vec<usize> =
        columns.iter().enumerate().filter(|(_, c)| right(c)).map(|(i, _)| i).collect();
    let is_named = |i: &usize| columns.get(*i).is_some_and(|column| named(column.path().parts()));
    let named: Vec<usize> = right.iter().copied().filter(is_named).collect();
    match (&named[..], &right[..]) {
        ([only], _) | ([], [only]) => Some(*only),
        _ => None,
    }
}

fn is_picture(column: &ColumnDescPtr) -> bool {
    let text = column.logical_type_ref().is_some()
        || column.converted_type() != parquet::basic::ConvertedType::NONE;
    column.physical_type() == Physical::BYTE_ARRAY && !text && column.max_rep_level() == 0
}

fn is_label(column: &ColumnDescPtr) -> bool {
    let integer = matches!(column.physical_type(), Physical::INT32 | Physical::INT64);
    integer && column.max_rep_level() == 0
}

/// `{"info": {"features": {"label": {"names": [...]}}}}`.
fn class_names(file: &FileMetaData, label: &str) -> Vec<String> {
    let entries = file.key_value_metadata().map(Vec::as_slice).unwrap_or_default();
    let text = entries.iter().find(|entry| entry.key == DESCRIPTION);
    let text = text.and_then(|entry| entry.value.as_deref()).unwrap_or_default();
    let description: Value = serde_json::from_str(text).unwrap_or_default();
    let names = &description["info"]["features"][label]["names"];
    let names = names.as_array().map(Vec::as_slice).unwrap_or_default();
    names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The next pictures, `most` at most.
///
/// # Errors
/// When a row has none, or the file is damaged.
pub(super) fn pictures(column: &mut ColumnReader, most: usize) -> Result<Vec<ByteArray>, String> {
    match column {
        ColumnReader::ByteArrayColumnReader(column) => next(column, most, "picture"),
        _ => Err("its pictures are no bytes".to_owned()),
    }
}

/// The next labels, `most` at most.
///
/// # Errors
/// When a row has none, or the file is damaged.
pub(super) fn labels(column: &mut ColumnReader, most: usize) -> Result<Vec<i64>, String> {
    match column {
        ColumnReader::Int32ColumnReader(column) => {
            Ok(next(column, most, "label")?.into_iter().map(i64::from).collect())
        }
        ColumnReader::Int64ColumnReader(column) => next(column, most, "label"),
        _ => Err("its labels are no integers".to_owned()),
    }
}

fn next<T: DataType>(
    column: &mut ColumnReaderImpl<T>,
    most: usize,
    what: &str,
) -> Result<Vec<T::T>, String> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    while values.len() < most {
        let (rows, found, _) = column
            .read_records(most - values.len(), Some(&mut levels), None, &mut values)
            .map_err(one_line)?;
        if found < rows {
            return Err(format!("a row has no {what}"));
        }
        if rows == 0 {
            break;
        }
    }
    Ok(values)
}
