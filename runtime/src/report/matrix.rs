//! A matrix of numbers as coloured cells, as SVG and as PNG.

use std::error::Error;

use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;
use plotters::element::{Rectangle, Text};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, WHITE};

use super::canvas::{self, Drawn, INK, Pen, SIZE};
use super::marks::FONT;
use crate::Result;

/// The colour of 1 and more; 0 and less is white. One hue of growing depth is read alike with
/// every kind of colour blindness.
const DEEP: RGBColor = RGBColor(0, 90, 150);
/// From this value on, letters are white.
const DARK: f64 = 0.6;
/// Pixels around the cells: left, top, right, bottom.
const MARGINS: [u32; 4] = [76, 28, 8, 40];
/// Letters of a name that fit beside the cells.
const LETTERS: usize = 10;

/// A square of values of pairs of names, 0 to 1 as a rule.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    /// What it shows.
    pub title: String,
    /// What the rows are.
    pub y_label: String,
    /// What the columns are.
    pub x_label: String,
    /// Of the rows and of the columns.
    pub names: Vec<String>,
    /// Row by row; empty cells are `None`.
    pub values: Vec<Vec<Option<f64>>>,
}

impl Matrix {
    /// The matrix as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        canvas::svg(self)
    }

    /// The matrix as PNG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>> {
        canvas::png(self)
    }
}

impl Drawn for Matrix {
    fn name(&self) -> &str {
        &self.title
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        pen: Pen,
    ) -> std::result::Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        std::sync::LazyLock::force(&FONT);
        area.fill(&WHITE)?;
        let [left, top, right, bottom] = MARGINS.map(|margin| pen.px(margin) as i32);
        let (width, height) =
            (pen.px(SIZE.0) as i32 - left - right, pen.px(SIZE.1) as i32 - top - bottom);
        let count = self.names.len().max(1) as i32;
        let column = |place: i32| left + place * width / count;
        let row = |place: i32| top + place * height / count;
        let (centre, half) = (Pos::new(HPos::Center, VPos::Center), pen.px(8) as i32);
        let middle = |start: i32, end: i32| (start + end) / 2;
        let write = |text: &str, at: (i32, i32), size: u32, color: &RGBColor, pos: Pos| {
            area.draw(&Text::new(text.to_owned(), at, pen.font(size).color(color).pos(pos)))
        };
        write(&self.title, (middle(left, left + width), top / 2), 14, &INK, centre)?;
        let below = top + height + half;
        for (place, name) in (0..).zip(&self.names) {
            let name = shortened(name);
            let beside = (left - half / 2, middle(row(place), row(place + 1)));
            write(&name, beside, 11, &INK, Pos::new(HPos::Right, VPos::Center))?;
            write(&name, (middle(column(place), column(place + 1)), below), 11, &INK, centre)?;
        }
        write(&self.x_label, (middle(left, left + width), below + 2 * half), 12, &INK, centre)?;
        write(&self.y_label, (half / 2, top / 2), 12, &INK, Pos::new(HPos::Left, VPos::Center))?;
        for (down, values) in (0..).zip(&self.values) {
            for (across, value) in (0..).zip(values) {
                let corners = [(column(across), row(down)), (column(across + 1), row(down + 1))];
                let share = value.unwrap_or_default().clamp(0.0, 1.0);
                area.draw(&Rectangle::new(corners, shade(share).filled()))?;
                area.draw(&Rectangle::new(corners, WHITE.stroke_width(pen.px(1))))?;
                let [(x, y), (far, low)] = corners;
                let ink = if share >= DARK { &WHITE } else { &INK };
                let text = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.2}"));
                write(&text, (middle(x, far), middle(y, low)), 12, ink, centre)?;
            }
        }
        Ok(area.present()?)
    }
}

/// From white to the deep colour.
fn shade(share: f64) -> RGBColor {
    let mixed = |deep: u8| (255.0 + share * (f64::from(deep) - 255.0)).round() as u8;
    RGBColor(mixed(DEEP.0), mixed(DEEP.1), mixed(DEEP.2))
}

/// The end of a name that is too long: its beginning is often a folder's.
fn shortened(name: &str) -> String {
    let letters = name.chars().count();
    match letters > LETTERS {
        true => std::iter::once('…').chain(name.chars().skip(letters + 1 - LETTERS)).collect(),
        false => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_value_and_name_is_there_and_depth_grows_with_the_value() {
        let matrix = Matrix {
            title: "Affinity <1>".to_owned(),
            y_label: "source".to_owned(),
            x_label: "target".to_owned(),
            names: vec!["none".to_owned(), "a-very-long-name".to_owned()],
            values: vec![vec![Some(1.0), Some(0.25)], vec![Some(1.3), None]],
        };
        let svg = matrix.svg().unwrap();
        for text in ["Affinity &lt;1&gt;", "0.25", "1.30", "–", "none", "…long-name", "source"]
        {
            assert!(svg.contains(text), "{text}");
        }
        assert!(matrix.png().unwrap().starts_with(b"\x89PNG"));
        assert_eq!((shade(0.0), shade(1.0)), (WHITE, DEEP));
        assert!(shade(0.3).0 > shade(0.6).0);
    }
}
