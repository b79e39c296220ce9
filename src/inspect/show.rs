//! The summary of a model for people.

use anyhow::Result;
use comfy_table::Table;

use super::{Port, Summary};
use crate::print;

pub(super) fn show(summary: &Summary) -> Result<()> {
    print::line(overview(summary))?;
    if !summary.layers.is_empty() {
        print::line(format_args!("\n{}", layers(summary)))?;
    }
    if !summary.left.is_empty() {
        print::line(format_args!("\n{}", left(summary)))?;
    }
    Ok(())
}

fn table() -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table
}

fn megabytes(bytes: usize) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn overview(summary: &Summary) -> Table {
    let mut table = table();
    let ports = |ports: &[Port]| {
        ports.iter().map(|p| format!("{} {}", p.name, p.shape)).collect::<Vec<_>>().join(", ")
    };
    let counts: Vec<String> =
        summary.operators.iter().map(|(name, count)| format!("{name} {count}")).collect();
    table.add_row(["inputs", &ports(&summary.inputs)]);
    table.add_row(["outputs", &ports(&summary.outputs)]);
    table.add_row(["likelihood", &summary.likelihood]);
    table.add_row(["batch", &summary.batch.to_string().replace('"', "")]);
    let opset = format!("{}, IR version {}", summary.opset, summary.ir_version);
    table.add_row(["opset", &opset]);
    if !summary.producer.is_empty() {
        table.add_row(["made by", &summary.producer]);
    }
    table.add_row(["nodes", &format!("{}: {}", summary.nodes, counts.join(", "))]);
    let size = megabytes(summary.parameter_bytes);
    table.add_row(["parameters", &format!("{} ({size})", summary.parameters)]);
    table.add_row([
        "variational",
        &match summary.converted {
            true => format!("{} nodes are variational", summary.variational),
            false => format!("{} nodes would become variational", summary.variational),
        },
    ]);
    let memory = &summary.memory;
    let [means, log_stds, moments] = [memory.means, memory.log_stds, memory.moments].map(megabytes);
    let state = format!("means {means}, log-stds {log_stds}, Adam's moments {moments}");
    table.add_row(["state", &state]);
    if let (Some(peak), Some(total)) = (memory.activations_peak, memory.activations_total) {
        let [peak, total] = [peak, total].map(megabytes);
        let text = format!("about {peak} to predict, {total} to train, batch {}", memory.batch);
        table.add_row(["activations", &text]);
    }
    let gradient = match summary.obstacles.first() {
        None => "yes".to_owned(),
        Some(first) => format!("no: {first}"),
    };
    table.add_row(["differentiable", &gradient]);
    table
}

/// One line for each weight that is or becomes random.
fn layers(summary: &Summary) -> Table {
    let mut table = table();
    table.set_header(["layer", "node", "weight", "shape", "parameters", "shared with"]);
    for layer in &summary.layers {
        for weight in &layer.weights {
            let kind = layer.layer.clone().unwrap_or_default();
            let shared = match weight.shared_with.as_slice() {
                [first, _, ..] => format!("{first} and {} more", weight.readers - 2),
                few => few.join(""),
            };
            table.add_row([
                kind,
                format!("{} `{}`", layer.op, layer.node),
                weight.name.clone(),
                format!("{:?}", weight.shape),
                weight.parameters.to_string(),
                shared,
            ]);
        }
    }
    table
}

/// One line for each constant that stays as it is.
fn left(summary: &Summary) -> Table {
    let mut table = table();
    table.set_header(["left", "node", "shape", "parameters", "why"]);
    for row in &summary.left {
        table.add_row([
            row.weight.clone(),
            format!("{} `{}`", row.op, row.node),
            format!("{:?}", row.shape),
            row.parameters.to_string(),
            row.reason.clone(),
        ]);
    }
    table
}
