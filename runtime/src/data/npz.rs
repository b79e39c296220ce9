//! NumPy's archives: zip files of arrays, here of images `x` and labels or numbers `y`, or of
//! `x_train`, `y_train`, `x_test` and `y_test`.

use std::fs::File;
use std::io::{BufReader, Read};

use zip::ZipArchive;

use super::dataset::byte_count;
use super::listing::{DataFile, Listing};
use super::npy::{Element, Header};
use super::{Dataset, Format, Request, Targets};
use crate::{Error, Result};

pub(super) const FORMAT: Format = Format { name: ".npz", numbers: true, matches, load };

type Archive = ZipArchive<BufReader<File>>;

fn matches(listing: &Listing) -> bool {
    listing.files.iter().any(is_archive)
}

fn is_archive(file: &DataFile) -> bool {
    file.path.extension().is_some_and(|extension| extension == "npz")
}

fn load(listing: &Listing, request: &Request) -> Result<Dataset> {
    let file = listing.one(request.split, ".npz files", is_archive)?;
    let opened = File::open(&file.path).map_err(|error| Error::file(&file.path, error))?;
    let mut archive = ZipArchive::new(BufReader::new(opened))
        .map_err(|error| Error::file(&file.path, format!("no whole .npz file: {error}")))?;
    let split = request.split.to_string();
    let names = [format!("x_{split}"), format!("y_{split}")];
    let named = names.iter().all(|name| archive.by_name(&format!("{name}.npy")).is_ok());
    let [x, y] = if named { names } else { ["x".to_owned(), "y".to_owned()] };
    let images = Images::read(file, &mut archive, &x, request)?;
    let mut targets = match request.numbers {
        true => numbers(file, &mut archive, &y)?,
        false => labels(file, &mut archive, &y)?.into(),
    };
    if targets.len() != images.all {
        let what = if request.numbers { "targets" } else { "labels" };
        let reason = format!("{} {what} in {y} for {} images in {x}", targets.len(), images.all);
        return Err(Error::file(&file.path, reason));
    }
    (request.progress)(images.count, images.count);
    targets.truncate(images.count);
    Dataset::new(images.shape, images.pixels, targets, Vec::new())
        .map_err(|error| Error::file(&file.path, error))
}

/// Opens one array, up to its first element.
fn open<'a>(
    file: &DataFile,
    archive: &'a mut Archive,
    name: &str,
) -> Result<(Header, impl Read + use<'a>)> {
    let failed = |reason: String| Error::file(&file.path, format!("array `{name}`: {reason}"));
    let entry = archive.by_name(&format!("{name}.npy")).map_err(|error| match error {
        zip::result::ZipError::FileNotFound => {
            failed("it is not there; save arrays `x` (images) and `y` (labels)".to_owned())
        }
        error => failed(error.to_string()),
    })?;
    let mut reader = BufReader::new(entry);
    let header = Header::read(&mut reader).map_err(failed)?;
    Ok((header, reader))
}

/// The labels, `[N]` or `[N, 1]`.
fn labels(file: &DataFile, archive: &mut Archive, name: &str) -> Result<Vec<i64>> {
    let failed = |reason: String| Error::file(&file.path, format!("array `{name}`: {reason}"));
    let (header, reader) = open(file, archive, name)?;
    let (&[count] | &[count, 1]) = header.shape.as_slice() else {
        return Err(failed(format!("labels are [N], not {:?}", header.shape)));
    };
    if header.element.is_float() {
        return Err(failed(
            "labels are integers, not floats; a regression has `--likelihood gaussian`".to_owned(),
        ));
    }
    let size = header.element.size();
    let bytes = content(reader, byte_count(&file.path, count, [1, 1, size])?).map_err(failed)?;
    let read = |bytes: &[u8]| header.element.integer(bytes);
    let labels: Option<Vec<i64>> = bytes.chunks_exact(size).map(read).collect();
    labels.ok_or_else(|| failed("a label is beyond 63 bits".to_owned()))
}

/// The numbers of a regression, `[N]` or `[N, K]`, of whatever type.
fn numbers(file: &DataFile, archive: &mut Archive, name: &str) -> Result<Targets> {
    let failed = |reason: String| Error::file(&file.path, format!("array `{name}`: {reason}"));
    let (header, reader) = open(file, archive, name)?;
    let (count, width) = match *header.shape.as_slice() {
        [count] => (count, 1),
        [count, width] if width > 0 => (count, width),
        _ => {
            return Err(failed(format!(
                "targets are [N] or [N, K] with K of 1 or more, not {:?}",
                header.shape
            )));
        }
    };
    let size = header.element.size();
    let bytes = byte_count(&file.path, count, [1, width, size]);
    let bytes = bytes.map_err(|_| failed(format!("{:?} are too many targets", header.shape)))?;
    let bytes = content(reader, bytes).map_err(failed)?;
    let read = |bytes: &[u8]| match header.element.is_float() {
        true => header.element.float(bytes),
        false => header.element.integer(bytes).map(|number| number as f64),
    };
    let mut values = Vec::new();
    for bytes in bytes.chunks_exact(size) {
        let value = read(bytes).ok_or_else(|| failed("a target is beyond 63 bits".to_owned()))?;
        if value.abs() > f64::from(f32::MAX) {
            return Err(failed(format!("the target {value:e} is beyond a float32")));
        }
        values.push(value as f32);
    }
    Ok(Targets::Numbers { width, values })
}

/// Images of one array, as bytes.
struct Images {
    /// Those of the array, of which a limit takes the first `count`.
    all: usize,
    count: usize,
    shape: [usize; 3],
    pixels: Vec<u8>,
}

impl Images {
    fn read(
        file: &DataFile,
        archive: &mut Archive,
        name: &str,
        request: &Request,
    ) -> Result<Images> {
        let failed = |reason: String| Error::file(&file.path, format!("array `{name}`: {reason}"));
        let (header, reader) = open(file, archive, name)?;
        let (all, shape, channels_last) =
            arrange(&header.shape, request.shape).ok_or_else(|| {
                let shape = &header.shape;
                let known = "[N, F], [N, H, W], [N, C, H, W] or [N, H, W, C]";
                failed(format!("images are {known}, not {shape:?}"))
            })?;
        let count = all.min(request.limit.unwrap_or(usize::MAX));
        let elements = byte_count(&file.path, count, shape)?;
        let bytes = byte_count(&file.path, elements, [1, 1, header.element.size()])?;
        let whole = count == all;
        let bytes = if whole { content(reader, bytes) } else { beginning(reader, bytes) };
        let mut pixels = to_bytes(header.element, bytes.map_err(failed)?).map_err(failed)?;
        if channels_last {
            let image = shape.iter().product();
            pixels = pixels.chunks_exact(image).flat_map(|image| planar(image, shape)).collect();
        }
        Ok(Images { all, count, shape, pixels })
    }
}

/// The number of images, their `[C, H, W]`, and whether the channels come last: as the
/// model wants it, or else by where 1, 3 or 4 stands.
fn arrange(shape: &[usize], wanted: Option<[usize; 3]>) -> Option<(usize, [usize; 3], bool)> {
    let few = |channels: usize| matches!(channels, 1 | 3 | 4);
    match *shape {
        [n, features] => Some((n, [1, 1, features], false)),
        [n, height, width] => Some((n, [1, height, width], false)),
        [n, a, b, c] => {
            let (first, last) = ([a, b, c], [c, a, b]);
            match wanted {
                Some(wanted) if wanted == first => Some((n, first, false)),
                Some(wanted) if wanted == last => Some((n, last, true)),
                _ if few(a) => Some((n, first, false)),
                _ if few(c) => Some((n, last, true)),
                _ => None,
            }
        }
        _ => None,
    }
}

/// `[H, W, C]` to `[C, H, W]`.
fn planar(image: &[u8], [channels, ..]: [usize; 3]) -> impl Iterator<Item = u8> {
    (0..channels).flat_map(move |channel| image.iter().skip(channel).step_by(channels).copied())
}

/// `bytes` bytes, and not one more.
fn content(mut reader: impl Read, bytes: usize) -> Result<Vec<u8>, String> {
    let content = beginning(&mut reader, bytes)?;
    match reader.read(&mut [0]) {
        Ok(0) => Ok(content),
        Ok(_) => Err(format!("the header promises {bytes} bytes, there are more")),
        Err(error) => Err(error.to_string()),
    }
}

/// The first `bytes` bytes. The buffer grows with what is there: a header may lie.
fn beginning(reader: impl Read, bytes: usize) -> Result<Vec<u8>, String> {
    let mut content = Vec::new();
    reader.take(bytes as u64).read_to_end(&mut content).map_err(|error| error.to_string())?;
    match content.len() {
        found if found == bytes => Ok(content),
        found => Err(format!("the header promises {bytes} bytes, there are {found}")),
    }
}

/// Pixels 0 to 255. Floats are of [0, 1] and take the nearest of 256 levels.
fn to_bytes(element: Element, content: Vec<u8>) -> Result<Vec<u8>, String> {
    /// Further from a level than this is more than float16 rounds.
    const OFF: f64 = 0.1;
    if element == Element::U8 {
        return Ok(content);
    }
    if !element.is_float() {
        return Err("pixels are uint8, or floats of 0 to 1".to_owned());
    }
    let mut pixels = Vec::with_capacity(content.len() / element.size());
    let mut rounded = 0usize;
    for (item, bytes) in content.chunks_exact(element.size()).enumerate() {
        let value = element.float(bytes).filter(|value| (0.0..=1.0).contains(value));
        let level = value.map(|value| 255.0 * value).ok_or_else(|| {
            format!("element {item} is not in [0, 1]; divide pixels of 0 to 255 by 255")
        })?;
        rounded += usize::from((level - level.round()).abs() > OFF);
        pixels.push(level.round() as u8);
    }
    if rounded > 0 {
        tracing::warn!("{rounded} pixels lie between the 256 levels of a byte and are rounded");
    }
    Ok(pixels)
}

#[cfg(test)]
mod tests;
