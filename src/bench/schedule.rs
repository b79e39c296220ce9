//! `advbnn bench --schedule-report`: the forms of gradients, timed one by one.

use anyhow::{Context, Result};
use comfy_table::Table;
use runtime::bench::time;
use runtime::engine::Engine;
use serde::Serialize;

use crate::cli::{Bench, Machine};
use crate::programs::Programs;
use crate::progress;

/// One form of one gradient of layers that are alike.
#[derive(Debug, Serialize)]
pub(super) struct Row {
    /// `image`, `weight` or `maximum`.
    gradient: &'static str,
    /// The operator and the shapes of its arguments.
    call: String,
    /// The first of the layers.
    node: String,
    /// How many layers are like it.
    layers: usize,
    form: String,
    /// Whether the programs contain it.
    chosen: bool,
    /// Median milliseconds of one gradient.
    ms: f64,
}

/// Times every form on the engine.
pub(super) fn report(
    programs: &Programs,
    engine: &dyn Engine,
    flags: &Bench,
    machine: &Machine,
) -> Result<Vec<Row>> {
    let context = || flags.model.display().to_string();
    let trials = programs.trials(flags.batch).with_context(context)?;
    let count: usize = trials.iter().map(|trial| trial.forms.len()).sum();
    let bar = progress::bar(count as u64, "forms", machine.quiet);
    bar.set_prefix("schedule");
    let mut rows = Vec::new();
    for trial in trials {
        for form in trial.forms {
            let seconds = time(engine, &form.program, flags.iters)
                .with_context(|| format!("the {} gradient of {}", trial.gradient, trial.call))?;
            bar.inc(1);
            rows.push(Row {
                gradient: trial.gradient,
                call: trial.call.clone(),
                node: trial.nodes.first().cloned().unwrap_or_default(),
                layers: trial.nodes.len(),
                form: form.name,
                chosen: form.chosen,
                ms: 1e3 * seconds,
            });
        }
    }
    bar.finish_and_clear();
    Ok(rows)
}

pub(super) fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["gradient", "of", "first layer", "layers", "form", "ms", ""]);
    let mut last = ("", "");
    for Row { gradient, call, node, layers, form, chosen, ms } in rows {
        // The head stands once, before its first form.
        let head = if last == (gradient, call.as_str()) {
            Default::default()
        } else {
            [(*gradient).to_owned(), call.clone(), node.clone(), layers.to_string()]
        };
        last = (gradient, call);
        let mark = if *chosen { "chosen" } else { "" };
        table.add_row(head.into_iter().chain([form.clone(), format!("{ms:.2}"), mark.to_owned()]));
    }
    table
}
