//! CIFAR-10's binary files: records of one label byte and 3x32x32 pixel bytes.
//! Described at <https://www.cs.toronto.edu/~kriz/cifar.html>.

use std::io::{BufReader, Read};

use super::dataset::byte_count;
use super::listing::{DataFile, Listing};
use super::{Dataset, Format, Request};
use crate::{Error, Result};

pub(super) const FORMAT: Format = Format { name: "CIFAR-10 binary", numbers: false, matches, load };

const SHAPE: [usize; 3] = [3, 32, 32];
const RECORD: usize = 1 + 3 * 32 * 32;
const CLASSES: u8 = 10;

fn matches(listing: &Listing) -> bool {
    listing.files.iter().any(is_batch)
}

/// A `.bin` file of the usual name, whole or not, or else of whole records.
fn is_batch(file: &DataFile) -> bool {
    let name = file.path.file_name().unwrap_or_default().to_string_lossy();
    let named = name.starts_with("data_batch") || name.starts_with("test_batch");
    let labelled = file.head.first().is_some_and(|&label| label < CLASSES);
    name.ends_with(".bin") && (named || (labelled && file.length.is_multiple_of(RECORD as u64)))
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let files = listing.of_split(request.split, is_batch);
    if files.is_empty() {
        let reason = format!("no CIFAR-10 files of the {} split here", request.split);
        return Err(Error::file(&listing.root, reason));
    }
    let records = files.iter().map(|file| records(file)).sum::<Result<usize>>()?;
    byte_count(&listing.root, records, SHAPE)?;
    let (mut pixels, mut labels) = (Vec::new(), Vec::new());
    for file in files {
        read(file, &mut pixels, &mut labels)?;
        (request.progress)(labels.len(), records);
    }
    Dataset::new(SHAPE, pixels, labels, Vec::new())
        .map_err(|error| Error::file(&listing.root, error))
}

/// The number of records of one file.
fn records(file: &DataFile) -> Result<usize> {
    let length = usize::try_from(file.length).unwrap_or(usize::MAX);
    if !length.is_multiple_of(RECORD) {
        let reason = format!("truncated: {length} bytes are not whole records of {RECORD}");
        return Err(Error::file(&file.path, reason));
    }
    Ok(length / RECORD)
}

/// Appends the records of one file.
fn read(file: &DataFile, pixels: &mut Vec<u8>, labels: &mut Vec<i64>) -> Result<()> {
    let failed = |reason: String| Error::file(&file.path, reason);
    let mut reader = BufReader::new(file.open()?);
    for index in 0..records(file)? {
        let mut record = [0; RECORD];
        reader
            .read_exact(&mut record)
            .map_err(|error| failed(format!("record {index}: {error}")))?;
        let [label, image @ ..] = &record;
        if *label >= CLASSES {
            return Err(failed(format!("record {index} has label {label}, above 9")));
        }
        labels.push(i64::from(*label));
        pixels.extend_from_slice(image);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;

    use super::super::{Split, load};
    use super::*;

    fn record(label: u8) -> Vec<u8> {
        let mut record = vec![label];
        record.extend((0..RECORD - 1).map(|i| (i / 1024 * 10) as u8 + label));
        record
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn batches_are_joined_in_the_order_of_their_names() {
        let folder = folder(&[
            ("data_batch_2.bin", record(4)),
            ("data_batch_1.bin", [record(9), record(0)].concat()),
            ("test_batch.bin", record(5)),
            ("batches.meta.txt", b"airplane".to_vec()),
        ]);
        let train = load(folder.path(), &Request::new(Split::Train)).unwrap();
        assert_eq!((train.shape(), train.labels()), ([3, 32, 32], &[9, 0, 4][..]));
        let image = train.image(2).unwrap();
        assert_eq!([image[0], image[1024], image[3071]], [4, 14, 24]);
        assert_eq!(load(folder.path(), &Request::new(Split::Test)).unwrap().labels(), [5]);
    }

    #[test]
    fn defects_are_named() {
        for (name, content, expected) in [
            ("data_batch_1.bin", record(1)[..3000].to_vec(), "truncated: 3000 bytes"),
            ("data_batch_1.bin", [record(1), record(10)].concat(), "record 1 has label 10"),
            ("data_batch_1.bin", Vec::new(), "no images"),
            ("test_batch.bin", record(1), "no CIFAR-10 files of the train split"),
        ] {
            let folder = folder(&[(name, content)]);
            let error = load(folder.path(), &Request::new(Split::Train)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
    }
}
