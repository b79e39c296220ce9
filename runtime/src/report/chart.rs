//! Charts as SVG and as PNG, drawn alike; no font of the system is needed.

use std::error::Error;

use plotters::backend::DrawingBackend;
use plotters::coord::Shift;
use plotters::drawing::DrawingArea;

use super::canvas::{self, Drawn, Pen};
use super::drawing;
use crate::Result;

/// One named line of points, or the bars of a histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Series {
    /// As the legend has it.
    pub name: String,
    /// In the order in which they are joined.
    pub points: Vec<(f64, f64)>,
    /// What is written beside the points of a line, in their order; those past its end have none.
    pub labels: Vec<String>,
}

impl Series {
    /// Without anything beside its points.
    #[must_use]
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Series {
        Series { name: name.into(), points, labels: Vec::new() }
    }
}

/// The horizontal axis.
#[derive(Clone, Debug, PartialEq)]
pub enum Axis {
    /// From the first number to the second.
    Linear(f64, f64),
    /// Places 0, 1, ... with these names, evenly apart.
    Places(Vec<String>),
}

/// How points are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Lines with a marker at every point.
    Lines,
    /// The same, over the diagonal.
    Diagonal,
    /// Bars from 0, those of several series side by side.
    Bars,
}

/// A chart.
#[derive(Clone, Debug, PartialEq)]
pub struct Chart {
    /// A name for its file.
    pub name: &'static str,
    /// What it shows.
    pub title: String,
    /// What the horizontal axis is.
    pub x_label: String,
    /// What the vertical axis is.
    pub y_label: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The ends of the vertical axis; bars need one that starts at 0.
    pub y: (f64, f64),
    /// How points are shown.
    pub style: Style,
    /// At most as many as there are colours are told apart.
    pub series: Vec<Series>,
}

impl Chart {
    /// The chart as SVG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn svg(&self) -> Result<String> {
        canvas::svg(self)
    }

    /// The chart as PNG.
    ///
    /// # Errors
    /// When it cannot be drawn.
    pub fn png(&self) -> Result<Vec<u8>> {
        canvas::png(self)
    }
}

impl Drawn for Chart {
    fn name(&self) -> &str {
        self.name
    }

    fn draw<B: DrawingBackend>(
        &self,
        area: &DrawingArea<B, Shift>,
        pen: Pen,
    ) -> std::result::Result<(), Box<dyn Error>>
    where
        B::ErrorType: 'static,
    {
        drawing::draw(self, area, pen)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn chart(style: Style, x: Axis) -> Chart {
        let series = |name: &str, scale: f64| {
            Series::new(name, (0..4).map(|i| (f64::from(i), scale * f64::from(i))).collect())
        };
        Chart {
            name: "chart",
            title: "A <title> & more".to_owned(),
            x_label: "radius".to_owned(),
            y_label: "accuracy".to_owned(),
            x,
            y: (0.0, 100.0),
            style,
            series: (0..7).map(|i| series(&format!("attack {i}"), f64::from(i) * 4.0)).collect(),
        }
    }

    #[test]
    fn charts_of_every_style_have_their_text_escaped_and_a_shape_for_every_series() {
        for style in [Style::Lines, Style::Diagonal, Style::Bars] {
            for x in [
                Axis::Linear(0.0, 3.0),
                Axis::Places(["1", "5", "10", "20"].map(str::to_owned).to_vec()),
            ] {
                let chart = chart(style, x);
                let svg = chart.svg().unwrap();
                assert!(svg.contains("A &lt;title&gt; &amp; more") && !svg.contains("<title>"));
                assert!((0..7).all(|i| svg.contains(&format!("attack {i}"))));
                let png = chart.png().unwrap();
                assert!(png.starts_with(b"\x89PNG"));
            }
        }
    }

    #[test]
    fn points_have_their_labels_where_the_axes_put_them() {
        let mut chart = chart(Style::Lines, Axis::Linear(30.0, 70.0));
        chart.y = (20.0, 40.0);
        // Joined as they come, from right to left.
        let labels = ["8/255", "12/255"].map(str::to_owned).to_vec();
        let line = Series::new("line", vec![(60.0, 30.0), (40.0, 25.0)]);
        chart.series = vec![Series { labels, ..line.clone() }, line];
        let svg = chart.svg().unwrap();
        assert_eq!(["8/255", "12/255"].map(|text| svg.matches(text).count()), [1, 1], "{svg}");
        let lines = svg.split("<polyline").skip(1).filter(|line| line.contains("#0072B2"));
        let ends: Vec<f64> = lines
            .filter_map(|line| {
                let points = line.split("points=\"").nth(1)?.split('"').next()?;
                let x = |point: &str| point.split(',').next()?.parse::<f64>().ok();
                let (first, second) = points.trim().split_once(' ')?;
                Some(x(first)? - x(second)?)
            })
            .collect();
        // Half of the axis, about 300 pixels.
        assert!(ends.iter().any(|apart| (120.0..180.0).contains(apart)), "{ends:?} {svg}");
    }

    #[test]
    fn a_png_has_letters() {
        let mut plain = chart(Style::Lines, Axis::Linear(0.0, 3.0));
        let with = plain.png().unwrap();
        plain.title = String::new();
        assert_ne!(with, plain.png().unwrap());
    }
}
