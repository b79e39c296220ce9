//! PNG files in memory, and as part of a page.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::png::PngEncoder;
use image::{ExtendedColorType, ImageEncoder};

use crate::{Error, Result};

/// `pixels`, `[H, W, 3]` or `[H, W]`, as a PNG file.
///
/// # Errors
/// When they are not that many.
pub(super) fn encode(pixels: &[u8], width: u32, height: u32) -> Result<Vec<u8>> {
    let grey = pixels.len() as u64 == u64::from(width) * u64::from(height);
    let color = if grey { ExtendedColorType::L8 } else { ExtendedColorType::Rgb8 };
    let mut file = Vec::new();
    let expected = u64::from(width) * u64::from(height) * u64::from(color.channel_count());
    if pixels.len() as u64 != expected {
        let found = pixels.len();
        return Err(Error::Data(format!(
            "{found} bytes are no picture of {width}x{height} pixels"
        )));
    }
    PngEncoder::new(&mut file)
        .write_image(pixels, width, height, color)
        .map_err(|error| Error::Data(format!("a picture cannot be encoded: {error}")))?;
    Ok(file)
}

/// The address of an image that is part of the page.
pub(super) fn data_address(png: &[u8]) -> String {
    format!("data:image/png;base64,{}", STANDARD.encode(png))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn pictures_are_read_back_as_they_were() {
        let colours: Vec<u8> = (0..24).collect();
        let read = image::load_from_memory(&encode(&colours, 4, 2).unwrap()).unwrap();
        assert_eq!(read.into_rgb8().into_raw(), colours);
        let read = image::load_from_memory(&encode(&colours, 4, 6).unwrap()).unwrap();
        assert_eq!(read.into_luma8().into_raw(), colours);
        assert!(encode(&colours, 5, 5).is_err());
        assert!(data_address(b"abc").ends_with("base64,YWJj"));
    }
}
