//! Parquet files of encoded pictures, as Hugging Face's data sets have them: a column of
//! pictures, `{bytes, path}` or plain bytes, and one of integer labels.

mod columns;
mod guard;

use std::fs::File;
use std::path::Path;

use parquet::column::reader::ColumnReader;
use parquet::data_type::ByteArray;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use rayon::prelude::*;

use super::dataset::byte_count;
use super::listing::{DataFile, Listing};
use super::{Dataset, Format, Request, picture};
use crate::error::one_line;
use crate::{Error, Result};
use columns::Columns;
use guard::guarded;

pub(super) const FORMAT: Format = Format { name: ".parquet", numbers: false, matches, load };

/// Pictures that are decoded at a time, by all threads.
const CHUNK: usize = 512;

fn matches(listing: &Listing) -> bool {
    listing.files.iter().any(is_table) || data_folder(listing).is_some()
}

fn is_table(file: &DataFile) -> bool {
    file.path.extension().is_some_and(|extension| extension == "parquet")
}

/// The folder `data` in which Hugging Face's repositories keep their tables.
fn data_folder(listing: &Listing) -> Option<Listing> {
    let folder = listing.folders.iter().find(|folder| folder.ends_with("data"))?;
    Listing::read(folder).ok().filter(|listing| listing.files.iter().any(is_table))
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let inner = data_folder(listing).filter(|_| !listing.files.iter().any(is_table));
    let listing = inner.as_ref().unwrap_or(listing);
    let files = listing.of_split(request.split, is_table);
    if files.is_empty() {
        let reason = format!("no .parquet files of the {} split here", request.split);
        return Err(Error::file(&listing.root, reason));
    }
    let tables = files.iter().map(|file| Table::open(&file.path)).collect::<Result<Vec<_>>>()?;
    let rows = tables.iter().fold(0, |sum: usize, table| sum.saturating_add(table.rows()));
    let mut collected = Collected {
        wanted: rows.min(request.limit.unwrap_or(usize::MAX)),
        request,
        shape: request.shape,
        pixels: Vec::new(),
        labels: Vec::new(),
    };
    for table in &tables {
        table.read(&mut collected)?;
    }
    let first = tables.first();
    let names = first.map(|table| table.columns.class_names.clone()).unwrap_or_default();
    let path = first.map_or(listing.root.as_path(), |table| table.path);
    let shape = collected.shape.unwrap_or_default();
    Dataset::new(shape, collected.pixels, collected.labels, names)
        .map_err(|error| Error::file(path, error))
}

/// What was read so far.
struct Collected<'a> {
    wanted: usize,
    request: &'a Request<'a>,
    /// Of every picture; of the first one, where the model's is not known.
    shape: Option<[usize; 3]>,
    pixels: Vec<u8>,
    labels: Vec<i64>,
}

/// One file.
struct Table<'a> {
    path: &'a Path,
    reader: SerializedFileReader<File>,
    columns: Columns,
}

impl Table<'_> {
    fn open(path: &Path) -> Result<Table<'_>> {
        let opened = File::open(path).map_err(|error| Error::file(path, error))?;
        let read = || {
            let reader = SerializedFileReader::new(opened).map_err(failed)?;
            let columns = Columns::find(reader.metadata().file_metadata())?;
            Ok(Table { path, reader, columns })
        };
        guarded(read).map_err(|reason| Error::file(path, reason))
    }

    /// How many rows the file says it has.
    fn rows(&self) -> usize {
        usize::try_from(self.reader.metadata().file_metadata().num_rows()).unwrap_or(0)
    }

    /// Appends pictures and labels until there are as many as wanted.
    fn read(&self, collected: &mut Collected) -> Result<()> {
        for index in 0..self.reader.num_row_groups() {
            let located = |reason| Error::file(self.path, reason);
            let mut readers = guarded(|| self.readers(index)).map_err(located)?;
            loop {
                let first = collected.labels.len();
                let count = CHUNK.min(collected.wanted.saturating_sub(first));
                let (chunk, classes) = guarded(|| next(&mut readers, count))
                    .map_err(|reason| located(format!("after {first} rows: {reason}")))?;
                if chunk.is_empty() {
                    break;
                }
                collected.decode(&chunk, self.path)?;
                collected.labels.extend(classes);
                (collected.request.progress)(collected.labels.len(), collected.wanted);
            }
        }
        Ok(())
    }

    /// Readers of the pictures and of the labels of a row group.
    fn readers(&self, group: usize) -> Result<[ColumnReader; 2], String> {
        let group = self.reader.get_row_group(group).map_err(failed)?;
        let column = |index| group.get_column_reader(index).map_err(failed);
        Ok([column(self.columns.pictures)?, column(self.columns.labels)?])
    }
}

/// The next rows, `most` at most.
fn next(
    [pictures, labels]: &mut [ColumnReader; 2],
    most: usize,
) -> Result<(Vec<ByteArray>, Vec<i64>), String> {
    let (pictures, labels) = (columns::pictures(pictures, most)?, columns::labels(labels, most)?);
    match pictures.len() == labels.len() {
        true => Ok((pictures, labels)),
        false => Err(format!("{} labels for {} pictures", labels.len(), pictures.len())),
    }
}

impl Collected<'_> {
    fn decode(&mut self, pictures: &[ByteArray], path: &Path) -> Result<()> {
        let shape = match (self.shape, pictures.first()) {
            (Some(shape), _) => shape,
            (None, Some(first)) => picture::probe_bytes(first.data(), path)?,
            (None, None) => return Ok(()),
        };
        self.shape = Some(shape);
        byte_count(path, self.labels.len() + pictures.len(), shape)?;
        let start = self.pixels.len();
        let size: usize = shape.iter().product();
        self.pixels.resize(start + pictures.len() * size, 0);
        let (_, pixels) = self.pixels.split_at_mut(start);
        pixels.par_chunks_exact_mut(size).zip(pictures).enumerate().try_for_each(
            |(index, (pixels, picture))| {
                picture::decode_bytes(picture.data(), path, shape, pixels).map_err(|error| {
                    Error::Data(format!("{error} (row {})", self.labels.len() + index))
                })
            },
        )
    }
}

fn failed(error: ParquetError) -> String {
    format!("no whole .parquet file: {}", one_line(error))
}

#[cfg(test)]
mod tests;
