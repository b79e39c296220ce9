//! What a regression says of single images.

use std::path::Path;

use anyhow::Result;
use comfy_table::Table;
use runtime::predict::PredictedNumbers;
use serde::Serialize;

use crate::cli::Predict;
use crate::print;

/// One image's line.
#[derive(Debug, Serialize)]
struct Prediction<'a> {
    image: &'a Path,
    outputs: &'a [f32],
    std: &'a [f32],
}

/// Prints the numbers of every image.
pub(super) fn print(flags: &Predict, found: &PredictedNumbers) -> Result<()> {
    let width = found.width.max(1);
    let rows = found.outputs.chunks_exact(width).zip(found.std.chunks_exact(width));
    let line = |(image, (outputs, std))| Prediction { image, outputs, std };
    let images = flags.images.iter().map(|image| image.as_path());
    let lines: Vec<Prediction> = images.zip(rows).map(line).collect();
    match flags.json {
        true => print::line(serde_json::to_string(&lines)?),
        false => print::line(table(&lines)),
    }
}

fn table(lines: &[Prediction]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["image", "outputs", "std"]);
    let shown = |numbers: &[f32]| {
        numbers.iter().map(|number| format!("{number:.4}")).collect::<Vec<_>>().join(" ")
    };
    for Prediction { image, outputs, std } in lines {
        table.add_row([image.display().to_string(), shown(outputs), shown(std)]);
    }
    table
}
