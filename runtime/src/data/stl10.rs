//! STL-10's binary files: 3x96x96 pixel bytes an image, column by column, in `*_X.bin`, and one
//! byte a label, 1 to 10, in `*_y.bin`. Described at <https://cs.stanford.edu/~acoates/stl10/>.

use std::io::{BufReader, Read};

use super::dataset::byte_count;
use super::listing::{DataFile, Listing};
use super::{Dataset, Format, Request};
use crate::{Error, Result};

pub(super) const FORMAT: Format = Format { name: "STL-10 binary", numbers: false, matches, load };

const SIDE: usize = 96;
const SHAPE: [usize; 3] = [3, SIDE, SIDE];
const IMAGE: usize = 3 * SIDE * SIDE;
const CLASSES: u8 = 10;

fn matches(listing: &Listing) -> bool {
    listing.files.iter().any(is_images)
}

fn is_images(file: &DataFile) -> bool {
    // The third file of the data set has no labels.
    file.path.to_string_lossy().ends_with("_X.bin") && !is_unlabelled(file)
}

fn is_labels(file: &DataFile) -> bool {
    file.path.to_string_lossy().ends_with("_y.bin")
}

fn is_unlabelled(file: &DataFile) -> bool {
    file.path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("unlabeled"))
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let images = listing.one(request.split, "STL-10 images", is_images)?;
    let labels = listing.one(request.split, "STL-10 labels", is_labels)?;
    let length = usize::try_from(images.length).unwrap_or(usize::MAX);
    if !length.is_multiple_of(IMAGE) {
        let reason = format!("truncated: {length} bytes are not whole images of {IMAGE}");
        return Err(Error::file(&images.path, reason));
    }
    let count = length / IMAGE;
    if labels.length != count as u64 {
        let reason =
            format!("{} labels for the {count} images of {}", labels.length, images.path.display());
        return Err(Error::file(&labels.path, reason));
    }
    let wanted = count.min(request.limit.unwrap_or(usize::MAX));
    byte_count(&images.path, wanted, SHAPE)?;
    let classes = read_labels(labels, wanted)?;
    let pixels = read_images(images, wanted, request)?;
    Dataset::new(SHAPE, pixels, classes, Vec::new())
        .map_err(|error| Error::file(&images.path, error))
}

fn read_labels(file: &DataFile, count: usize) -> Result<Vec<i64>> {
    let failed = |reason: String| Error::file(&file.path, reason);
    let mut bytes = vec![0; count];
    file.open()?.read_exact(&mut bytes).map_err(|error| failed(error.to_string()))?;
    if let Some((item, label)) =
        bytes.iter().enumerate().find(|(_, label)| !(1..=CLASSES).contains(*label))
    {
        return Err(failed(format!("item {item} has label {label}, not 1 to {CLASSES}")));
    }
    Ok(bytes.into_iter().map(|label| i64::from(label) - 1).collect())
}

fn read_images(file: &DataFile, count: usize, request: &Request) -> Result<Vec<u8>> {
    let mut reader = BufReader::new(file.open()?);
    let mut pixels = Vec::new();
    let mut image = vec![0; IMAGE];
    for index in 0..count {
        reader
            .read_exact(&mut image)
            .map_err(|error| Error::file(&file.path, format!("image {index}: {error}")))?;
        for plane in image.chunks_exact(SIDE * SIDE) {
            let row = |y: usize| plane.iter().skip(y).step_by(SIDE);
            pixels.extend((0..SIDE).flat_map(row));
        }
        (request.progress)(index + 1, count);
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;

    use super::super::{Split, load};
    use super::*;

    /// Its red plane counts columns, its green plane is 7, its blue plane counts rows.
    fn image() -> Vec<u8> {
        let columns = (0..SIDE * SIDE).map(|i| (i / SIDE) as u8);
        let rows = (0..SIDE * SIDE).map(|i| (i % SIDE) as u8);
        columns.chain(vec![7; SIDE * SIDE]).chain(rows).collect()
    }

    fn folder(files: &[(&str, Vec<u8>)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for (name, content) in files {
            fs::write(folder.path().join(name), content).unwrap();
        }
        folder
    }

    #[test]
    fn columns_become_rows_and_labels_count_from_zero() {
        let folder = folder(&[
            ("train_X.bin", [image(), vec![9; IMAGE]].concat()),
            ("train_y.bin", vec![10, 1]),
            ("test_X.bin", vec![3; IMAGE]),
            ("test_y.bin", vec![2]),
            ("unlabeled_X.bin", vec![0; IMAGE]),
            ("class_names.txt", b"airplane".to_vec()),
        ]);
        let train = load(folder.path(), &Request::new(Split::Train)).unwrap();
        assert_eq!((train.shape(), train.labels()), (SHAPE, &[9, 0][..]));
        let first = train.image(0).unwrap();
        let at = |c: usize, y: usize, x: usize| first[(c * SIDE + y) * SIDE + x];
        assert_eq!([at(0, 5, 80), at(1, 5, 80), at(2, 5, 80)], [80, 7, 5]);
        assert_eq!(train.image(1), Some(&[9; IMAGE][..]));
        assert_eq!(load(folder.path(), &Request::new(Split::Test)).unwrap().labels(), [1]);
        let limited = Request { limit: Some(1), ..Request::new(Split::Train) };
        assert_eq!(load(folder.path(), &limited).unwrap().labels(), [9]);
    }

    #[test]
    fn defects_are_named() {
        let two = || vec![1; 2 * IMAGE];
        for (images, labels, expected) in [
            (two()[1..].to_vec(), vec![1, 2], "truncated: 55295 bytes"),
            (two(), vec![1], "1 labels for the 2 images"),
            (two(), vec![1, 11], "item 1 has label 11, not 1 to 10"),
            (two(), vec![0, 1], "item 0 has label 0, not 1 to 10"),
            (Vec::new(), Vec::new(), "no images"),
        ] {
            let folder = folder(&[("train_X.bin", images), ("train_y.bin", labels)]);
            let error = load(folder.path(), &Request::new(Split::Train)).unwrap_err().to_string();
            assert!(error.contains(expected), "{error} lacks {expected}");
            let other = load(folder.path(), &Request::new(Split::Test)).unwrap_err().to_string();
            assert!(other.contains("no STL-10 images of the test split"), "{other}");
        }
    }
}
