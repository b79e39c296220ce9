//! Drawing a chart on any backend.

use std::error::Error;
use std::sync::LazyLock;

use plotters::backend::DrawingBackend;
use plotters::chart::{ChartBuilder, ChartContext, SeriesLabelPosition};
use plotters::coord::Shift;
use plotters::coord::cartesian::Cartesian2d;
use plotters::drawing::DrawingArea;
use plotters::element::{EmptyElement, PathElement, Polygon, Rectangle, Text};
use plotters::series::{DashedLineSeries, LineSeries};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, RGBColor, WHITE};

use super::canvas::{INK, Pen};
use super::chart::{Chart, Series, Style};
use super::marks::{FONT, Scale, marker};

/// Colours that differ for every kind of colour blindness (Okabe and Ito 2008).
const PALETTE: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(230, 159, 0),
    RGBColor(0, 0, 0),
];

/// From a point to its label, to the right and down.
const CORNERS: [(i32, i32); 4] = [(1, 1), (-1, 1), (1, -1), (-1, -1)];

const GRID: RGBColor = RGBColor(225, 225, 225);

/// Errors are those of the backend.
type Drawing = Result<(), Box<dyn Error>>;

type Plane<'p, B> = ChartContext<'p, B, Cartesian2d<Scale, Scale>>;

/// Draws `chart` on the whole of `area`.
///
/// # Errors
/// Those of the backend.
pub(super) fn draw<B: DrawingBackend>(
    chart: &Chart,
    area: &DrawingArea<B, Shift>,
    pen: Pen,
) -> Drawing
where
    B::ErrorType: 'static,
{
    LazyLock::force(&FONT);
    area.fill(&WHITE)?;
    let mut on = On { plane: plane(chart, area, pen)?, pen };
    for (index, (series, &color)) in chart.series.iter().zip(PALETTE.iter().cycle()).enumerate() {
        match chart.style {
            Style::Bars => on.bars((index, chart.series.len()), series, color)?,
            Style::Lines | Style::Diagonal => on.line(index, series, color)?,
        }
    }
    if chart.series.len() > 1 {
        on.plane
            .configure_series_labels()
            .position(match chart.style {
                // Where accuracies and frequencies seldom are.
                Style::Lines => SeriesLabelPosition::LowerLeft,
                Style::Diagonal => SeriesLabelPosition::LowerRight,
                Style::Bars => SeriesLabelPosition::UpperRight,
            })
            .background_style(WHITE.mix(0.85))
            .legend_area_size(pen.px(20))
            .margin(pen.px(4))
            .label_font(pen.font(11))
            .draw()?;
    }
    Ok(area.present()?)
}

/// Axes, grid and texts.
fn plane<'p, B: DrawingBackend>(
    chart: &Chart,
    area: &DrawingArea<B, Shift>,
    pen: Pen,
) -> Result<Plane<'p, B>, Box<dyn Error>>
where
    B::ErrorType: 'static,
{
    let (bottom, top) = chart.y;
    let (x, y) = (Scale::of(&chart.x), Scale::linear(bottom, top));
    let ends = [(x.from, bottom), (x.to, top)];
    let mut plane = ChartBuilder::on(area)
        .caption(&chart.title, pen.font(14))
        .margin(pen.px(6))
        .margin_right(pen.px(14))
        .x_label_area_size(pen.px(38))
        .y_label_area_size(pen.px(46))
        .build_cartesian_2d(x, y)?;
    plane
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(GRID)
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(pen.font(11))
        .axis_desc_style(pen.font(12))
        .x_desc(&chart.x_label)
        .y_desc(&chart.y_label)
        .draw()?;
    if chart.style == Style::Diagonal {
        let style = INK.stroke_width(pen.px(1));
        plane.draw_series(DashedLineSeries::new(ends, pen.px(4), pen.px(3), style))?;
    }
    Ok(plane)
}

/// Where series are drawn, and how large.
struct On<'p, B: DrawingBackend> {
    plane: Plane<'p, B>,
    pen: Pen,
}

impl<'p, B: DrawingBackend + 'p> On<'p, B>
where
    B::ErrorType: 'static,
{
    /// Points joined by lines, with a marker of the series' own.
    fn line(&mut self, index: usize, series: &Series, color: RGBColor) -> Drawing {
        let (plane, pen) = (&mut self.plane, self.pen);
        let shape = marker(index, pen.px(4));
        let points = series.points.iter().copied();
        let mark = |at| EmptyElement::at(at) + Polygon::new(shape.clone(), color.filled());
        plane.draw_series(points.clone().map(mark))?;
        let stroke = color.stroke_width(pen.px(2));
        let reach = pen.px(8) as i32;
        let shape = marker(index, pen.px(4));
        plane.draw_series(LineSeries::new(points, stroke))?.label(&series.name).legend(
            move |(x, y)| {
                EmptyElement::at((x + reach, y))
                    + PathElement::new([(-reach, 0), (reach, 0)], stroke)
                    + Polygon::new(shape.clone(), color.filled())
            },
        );
        self.labels(index, series, color)
    }

    /// The labels of a line, in a corner of the series' own: those of points that coincide stay
    /// legible.
    fn labels(&mut self, index: usize, series: &Series, color: RGBColor) -> Drawing {
        let (across, down) = CORNERS[index % CORNERS.len()];
        let away = self.pen.px(6) as i32;
        let corner = Pos::new(
            if across > 0 { HPos::Left } else { HPos::Right },
            if down > 0 { VPos::Top } else { VPos::Bottom },
        );
        let style = self.pen.font(9).color(&color).pos(corner);
        let text = |(at, label): (&(f64, f64), &String)| {
            let beside = (across * away, down * away / 2);
            EmptyElement::at(*at) + Text::new(label.clone(), beside, style.clone())
        };
        self.plane.draw_series(series.points.iter().zip(&series.labels).map(text))?;
        Ok(())
    }

    /// Bars from 0, those of series `index` of `count` beside those of the others.
    fn bars(
        &mut self,
        (index, count): (usize, usize),
        series: &Series,
        color: RGBColor,
    ) -> Drawing {
        let apart = match series.points.as_slice() {
            [(first, _), (second, _), ..] => second - first,
            _ => 1.0,
        };
        let width = 0.9 * apart / count as f64;
        let bar = |&(x, y): &(f64, f64)| {
            let left = x + (index as f64 - count as f64 / 2.0) * width;
            Rectangle::new([(left, 0.0), (left + width, y)], color.filled())
        };
        let half = self.pen.px(4) as i32;
        let bars = self.plane.draw_series(series.points.iter().map(bar))?;
        bars.label(&series.name).legend(move |(x, y)| {
            let corners = [(x + half, y - half), (x + 3 * half, y + half)];
            Rectangle::new(corners, color.filled())
        });
        Ok(())
    }
}
