//! IDX, the format of MNIST: a big-endian header (two zero bytes, type 8 for bytes, the
//! number of dimensions, each dimension as 32 bits) and then the bytes.
//! Described at the foot of <http://yann.lecun.com/exdb/mnist/>.

use std::io::Read;

use super::dataset::byte_count;
use super::listing::{DataFile, Listing};
use super::{Dataset, Format, Request};
use crate::{Error, Result};

pub(super) const FORMAT: Format = Format { name: "IDX", numbers: false, matches, load };

const IMAGES: [u8; 4] = [0, 0, 8, 3];
const LABELS: [u8; 4] = [0, 0, 8, 1];

fn matches(listing: &Listing) -> bool {
    listing.files.iter().any(|file| file.head.starts_with(&IMAGES))
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let find = |what, magic: [u8; 4]| {
        listing.one(request.split, what, |file| file.head.starts_with(&magic))
    };
    let (images, labels) = (find("IDX images", IMAGES)?, find("IDX labels", LABELS)?);
    let ([count, height, width], pixels) = read(images, 3)?;
    let ([labelled, ..], classes) = read(labels, 1)?;
    if count != labelled {
        let images = images.path.display();
        let reason = format!("{labelled} labels for the {count} images of {images}");
        return Err(Error::file(&labels.path, reason));
    }
    (request.progress)(count, count);
    let classes: Vec<i64> = classes.into_iter().map(i64::from).collect();
    Dataset::new([1, height, width], pixels, classes, Vec::new())
        .map_err(|error| Error::file(&images.path, error))
}

/// The dimensions (1 where there are fewer than three) and the content of one file.
fn read(file: &DataFile, dimensions: usize) -> Result<([usize; 3], Vec<u8>)> {
    let failed = |reason| Error::file(&file.path, format!("cannot be read: {reason}"));
    let mut reader = file.open()?;
    let mut header = vec![0; 4 + 4 * dimensions];
    reader.read_exact(&mut header).map_err(failed)?;
    let mut shape = [1; 3];
    for (dimension, word) in shape.iter_mut().zip(header[4..].chunks_exact(4)) {
        *dimension = word.iter().fold(0, |number, &byte| number << 8 | usize::from(byte));
    }
    let bytes = byte_count(&file.path, 1, shape)?;
    let mut content = Vec::new();
    // One byte more than promised tells a longer file, however much a gzip file unpacks to.
    reader.take(bytes as u64 + 1).read_to_end(&mut content).map_err(failed)?;
    if content.len() == bytes {
        return Ok((shape, content));
    }
    let found = if content.len() > bytes { "more".into() } else { content.len().to_string() };
    Err(Error::file(&file.path, format!("the header promises {bytes} bytes, the file has {found}")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use flate2::{Compression, write::GzEncoder};

    use super::super::{Split, load};
    use super::*;

    fn idx(dimensions: &[u32], content: &[u8]) -> Vec<u8> {
        let mut file = vec![0, 0, 8, dimensions.len() as u8];
        file.extend(dimensions.iter().flat_map(|dimension| dimension.to_be_bytes()));
        file.extend(content);
        file
    }

    fn gzip(content: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(content).unwrap();
        encoder.finish().unwrap()
    }

    /// Two 2x3 training images, plain, and one test image, gzipped.
    fn folder() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let write = |name, content: Vec<u8>| fs::write(folder.path().join(name), content).unwrap();
        write("train-images", idx(&[2, 2, 3], &(0..12).collect::<Vec<u8>>()));
        write("train-labels", idx(&[2], &[7, 1]));
        write("t10k-images.gz", gzip(&idx(&[1, 2, 3], &[9; 6])));
        write("t10k-labels.gz", gzip(&idx(&[1], &[3])));
        folder
    }

    fn failure(path: &Path, split: Split) -> String {
        load(path, &Request::new(split)).expect_err("bad data").to_string()
    }

    #[test]
    fn both_splits_of_one_folder_are_read_plain_and_gzipped() {
        let folder = folder();
        let train = load(folder.path(), &Request::new(Split::Train)).unwrap();
        assert_eq!((train.shape(), train.labels()), ([1, 2, 3], &[7, 1][..]));
        assert_eq!(train.image(1), Some(&[6, 7, 8, 9, 10, 11][..]));
        let test = load(folder.path(), &Request::new(Split::Test)).unwrap();
        assert_eq!((test.image(0), test.labels()), (Some(&[9; 6][..]), &[3][..]));
    }

    #[test]
    fn an_archive_beside_its_content_is_no_second_file() {
        let folder = folder();
        let plain = fs::read(folder.path().join("train-images")).unwrap();
        fs::write(folder.path().join("train-images.gz"), gzip(&plain)).unwrap();
        assert_eq!(load(folder.path(), &Request::new(Split::Train)).unwrap().len(), 2);
        fs::write(folder.path().join("train-images-2"), plain).unwrap();
        assert!(failure(folder.path(), Split::Train).contains("two files are IDX images"));
    }

    #[test]
    fn a_limit_takes_the_first_and_a_wrong_shape_is_refused() {
        let folder = folder();
        let limited = Request { limit: Some(1), ..Request::new(Split::Train) };
        assert_eq!(load(folder.path(), &limited).unwrap().labels(), [7]);
        let shaped = Request { shape: Some([3, 32, 32]), ..Request::new(Split::Train) };
        let error = load(folder.path(), &shaped).unwrap_err().to_string();
        assert!(error.contains("1x2x3") && error.contains("3x32x32"), "{error}");
    }

    #[test]
    fn defects_are_named() {
        let cases: [(&str, Vec<u8>, &str); 8] = [
            ("train-labels", idx(&[3], &[1, 2, 3]), "3 labels for the 2 images"),
            ("train-labels", vec![1, 2, 3], "no IDX labels of the train split"),
            ("train-images", idx(&[2, 2, 3], &[0; 11]), "promises 12 bytes, the file has 11"),
            ("train-images", idx(&[2, 2, 3], &[0; 13]), "promises 12 bytes, the file has more"),
            ("train-images", gzip(&idx(&[2, 2, 3], &vec![0; 1 << 20])), "the file has more"),
            ("train-images", idx(&[2, 2], &[])[..4].to_vec(), "no IDX images of the train split"),
            ("train-images", idx(&[0, 2, 3], &[]), "no images"),
            ("train-images", idx(&[u32::MAX; 3], &[]), "more than 16 GiB"),
        ];
        for (name, content, expected) in cases {
            let folder = folder();
            fs::write(folder.path().join(name), content).unwrap();
            let error = failure(folder.path(), Split::Train);
            assert!(error.contains(expected), "{error} lacks {expected}");
        }
        let folder = folder();
        let mut cut = fs::read(folder.path().join("t10k-images.gz")).unwrap();
        cut.truncate(cut.len() - 10);
        fs::write(folder.path().join("t10k-images.gz"), cut).unwrap();
        assert!(failure(folder.path(), Split::Test).contains("t10k-images.gz"));
    }
}
