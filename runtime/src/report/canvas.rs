//! The same drawing as SVG and as PNG.

use std::error::Error as Failure;

use plotters::backend::{BitMapBackend, DrawingBackend, SVGBackend};
use plotters::coord::Shift;
use plotters::drawing::{DrawingArea, IntoDrawingArea};
use plotters::style::{IntoFont, RGBColor, TextStyle};

use super::png::encode;
use crate::error::one_line;
use crate::{Error, Result};

/// Pixels of a drawing: as wide as a phone's screen, so that its letters are not shrunk there.
pub(super) const SIZE: (u32, u32) = (360, 270);

/// How many times larger a PNG is.
const ZOOM: u32 = 2;

pub(super) const INK: RGBColor = RGBColor(60, 60, 60);

/// What can be drawn.
pub(super) trait Drawn {
    /// What errors call it.
    fn name(&self) -> &str;

    /// Draws it on the whole of `area`.
    ///
    /// # Errors
    /// Those of the backend.
    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        pen: Pen,
    ) -> std::result::Result<(), Box<dyn Failure>>
    where
        B::ErrorType: 'static;
}

/// How large everything is drawn.
#[derive(Clone, Copy)]
pub(super) struct Pen {
    /// Pixels for each pixel of a drawing.
    zoom: u32,
}

impl Pen {
    pub(super) fn px(self, size: u32) -> u32 {
        size * self.zoom
    }

    pub(super) fn font(self, size: u32) -> TextStyle<'static> {
        ("sans-serif", self.px(size)).into_font().color(&INK)
    }
}

/// # Errors
/// When it cannot be drawn.
pub(super) fn svg(drawn: &impl Drawn) -> Result<String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        drawn.draw(&area, Pen { zoom: 1 }).map_err(|error| failed(drawn, error))?;
    }
    Ok(text)
}

/// # Errors
/// When it cannot be drawn.
pub(super) fn png(drawn: &impl Drawn) -> Result<Vec<u8>> {
    let (width, height) = (SIZE.0 * ZOOM, SIZE.1 * ZOOM);
    let mut pixels = vec![255; (width * height * 3) as usize];
    {
        let area = BitMapBackend::with_buffer(&mut pixels, (width, height)).into_drawing_area();
        drawn.draw(&area, Pen { zoom: ZOOM }).map_err(|error| failed(drawn, error))?;
    }
    encode(&pixels, width, height)
}

fn failed(drawn: &impl Drawn, error: Box<dyn Failure>) -> Error {
    Error::Setting(format!("chart `{}`: {}", drawn.name(), one_line(error)))
}
