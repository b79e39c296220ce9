//! The report of an evaluation as one page that needs nothing else, and its charts as files.

mod canvas;
mod chart;
mod charts;
mod drawing;
mod marks;
mod matrix;
mod page;
mod pictures;
mod png;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::evaluate::Evaluation;
use crate::{Error, Result, write_whole};

pub use chart::{Axis, Chart, Series, Style};
pub use matrix::Matrix;

/// What the page says beside the figures.
#[derive(Clone, Debug, PartialEq)]
pub struct Heading {
    /// The model's file or folder.
    pub model: String,
    /// The data's.
    pub data: String,
    /// The engine that computed.
    pub engine: String,
    /// The seed of every draw.
    pub seed: u64,
    /// Names of the classes; empty where the data have none.
    pub class_names: Vec<String>,
}

/// Writes `report.html`, and every chart as `plots/NAME.svg` and `plots/NAME.png`, to `folder`.
///
/// # Errors
/// When a chart cannot be drawn or a file not be written.
pub fn write(folder: &Path, heading: &Heading, evaluation: &Evaluation) -> Result<()> {
    let plots = folder.join("plots");
    std::fs::create_dir_all(&plots).map_err(|error| Error::file(&plots, error))?;
    let charts = charts::all(evaluation);
    let mut drawn = Vec::new();
    for chart in &charts {
        let svg = chart.svg()?;
        save(&plots.join(format!("{}.svg", chart.name)), svg.as_bytes())?;
        save(&plots.join(format!("{}.png", chart.name)), &chart.png()?)?;
        drawn.push(svg);
    }
    let page = page::render(heading, evaluation, &drawn)?;
    save(&folder.join("report.html"), page.as_bytes())
}

fn save(path: &Path, content: &[u8]) -> Result<()> {
    write_whole(path, |file| file.write_all(content))
}
