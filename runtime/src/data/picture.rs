//! Picture files as planar bytes.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Cursor, Seek};
use std::path::{Path, PathBuf};

use image::{DynamicImage, ImageDecoder, ImageReader};
use rayon::prelude::*;

use super::Dataset;
use super::dataset::{byte_count, describe};
use crate::{Error, Result};

/// The pictures at `paths` as a data set of `[C, H, W]` images, every label 0. Formats are
/// recognised by content. A grey picture fills three channels, a coloured one becomes
/// luminance (ITU-R BT.709) for one channel.
///
/// # Errors
/// When there is no path, or a file is no readable picture or not of the height and
/// width of `shape`.
pub fn load_images(paths: &[PathBuf], shape: [usize; 3]) -> Result<Dataset> {
    let first = paths.first().map_or(Path::new(""), PathBuf::as_path);
    let mut pixels = vec![0; byte_count(first, paths.len(), shape)?];
    pixels
        .par_chunks_exact_mut(shape.iter().product())
        .zip(paths)
        .try_for_each(|(pixels, path)| decode(path, shape, pixels))?;
    Dataset::new(shape, pixels, vec![0; paths.len()], Vec::new())
}

/// The `[C, H, W]` of the picture at `path`: one channel if it is grey, else three.
pub(super) fn probe(path: &Path) -> Result<[usize; 3]> {
    open(path).map(|decoder| shape_of(&decoder))
}

/// Writes the picture at `path` to `pixels`, `[C, H, W]` as `shape` says.
pub(super) fn decode(path: &Path, shape: [usize; 3], pixels: &mut [u8]) -> Result<()> {
    write(open(path)?, path, shape, pixels)
}

/// As [`probe`], of a picture in memory; `path` is for errors.
pub(super) fn probe_bytes(bytes: &[u8], path: &Path) -> Result<[usize; 3]> {
    guess(Cursor::new(bytes), path).map(|decoder| shape_of(&decoder))
}

/// As [`decode`], of a picture in memory; `path` is for errors.
pub(super) fn decode_bytes(
    bytes: &[u8],
    path: &Path,
    shape: [usize; 3],
    pixels: &mut [u8],
) -> Result<()> {
    write(guess(Cursor::new(bytes), path)?, path, shape, pixels)
}

fn write(
    decoder: impl ImageDecoder,
    path: &Path,
    shape: [usize; 3],
    pixels: &mut [u8],
) -> Result<()> {
    let [_, found_height, found_width] = shape_of(&decoder);
    let [channels, height, width] = shape;
    if [found_height, found_width] != [height, width] {
        let reason = format!(
            "the image is {found_height}x{found_width} (height x width), \
             but {height}x{width} is wanted; resize it"
        );
        return Err(Error::file(path, reason));
    }
    let picture = DynamicImage::from_decoder(decoder)
        .map_err(|error| Error::file(path, format!("cannot be decoded as an image: {error}")))?;
    match channels {
        1 => pixels.copy_from_slice(picture.into_luma8().as_raw()),
        3 => interleaved_to_planar(picture.into_rgb8().as_raw(), pixels),
        _ => {
            let shape = describe(shape);
            let reason = format!("pictures have 1 or 3 channels, but {shape} is wanted");
            return Err(Error::file(path, reason));
        }
    }
    Ok(())
}

fn interleaved_to_planar(interleaved: &[u8], planar: &mut [u8]) {
    let channels = 3;
    let size = planar.len() / channels;
    for (channel, plane) in planar.chunks_exact_mut(size).enumerate() {
        for (to, from) in plane.iter_mut().zip(interleaved.chunks_exact(channels)) {
            *to = from[channel];
        }
    }
}

fn shape_of(decoder: &impl ImageDecoder) -> [usize; 3] {
    let (width, height) = decoder.dimensions();
    let channels = if decoder.color_type().has_color() { 3 } else { 1 };
    [channels, height as usize, width as usize]
}

fn open(path: &Path) -> Result<impl ImageDecoder + use<>> {
    let failed = |error| Error::file(path, error);
    // Opening a pipe or a device could wait for ever.
    if !fs::metadata(path).map_err(failed)?.is_file() {
        return Err(Error::file(path, "not a file, but an image is wanted here"));
    }
    guess(BufReader::new(File::open(path).map_err(failed)?), path)
}

/// A decoder of the format that the content tells.
fn guess<'a, R>(content: R, path: &Path) -> Result<impl ImageDecoder + use<'a, R>>
where
    R: BufRead + Seek + 'a,
{
    let failed = |error| Error::file(path, error);
    let reader = ImageReader::new(content).with_guessed_format().map_err(failed)?;
    if reader.format().is_none() {
        let reason = "not an image (jpg, png, bmp, webp or gif); move it elsewhere";
        return Err(Error::file(path, reason));
    }
    reader
        .into_decoder()
        .map_err(|error| Error::file(path, format!("cannot be decoded as an image: {error}")))
}
