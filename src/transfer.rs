//! `advbnn transfer`: how well images that fool one model fool another.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;
use graphs::Model;
use runtime::attack::{AttackSpec, Norm};
use runtime::transfer::{Affinity, TransferProgress, TransferSettings, transfer};
use runtime::{Network, fraction};
use serde::Serialize;

use crate::cli::{Judging, Machine, Transfer};
use crate::evaluate::settings::check_counts;
use crate::machinery::Machinery;
use crate::programs::{Programs, open_engine};
use crate::{data, folder, misuse, model, print, progress};

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
struct Report {
    models: Vec<String>,
    eps: f64,
    attack: String,
    images: usize,
    samples: u64,
    #[serde(flatten)]
    affinity: Affinity,
    #[serde(flatten)]
    machinery: Machinery,
    seed: u64,
}

/// Checks the flags, as the command does before it reads anything.
///
/// # Errors
/// When they make no sense.
pub(crate) fn check(flags: &Transfer) -> Result<()> {
    settings(flags)?;
    data::split(&flags.judging.split).map(drop)
}

pub(crate) fn run(flags: &Transfer, machine: &Machine) -> Result<()> {
    let settings = settings(flags)?;
    let split = data::split(&flags.judging.split)?;
    let engine = open_engine(machine)?;
    let models: Vec<Model> =
        flags.models.iter().map(|path| model::read(path)).collect::<Result<_>>()?;
    let first = models.first().context("no model is given")?;
    let _made = flags.output.as_deref().map(folder::tentative).transpose()?;
    let dataset = data::load(&flags.data, split, first, flags.judging.limit, machine.quiet)?;
    let on = |model| Programs::new(model).on(engine.as_ref());
    let programs: Vec<Programs> = models.iter().map(on).collect();
    let compilers: Vec<_> = programs
        .iter()
        .map(|source| move |purpose, batch| source.compile(purpose, batch))
        .collect();
    let mut networks = Vec::new();
    for ((path, programs), compile) in flags.models.iter().zip(&programs).zip(&compilers) {
        networks.push(Network { compile, state: programs.state(engine.as_ref(), path)? });
    }
    let names: Vec<String> = flags.models.iter().map(|path| path.display().to_string()).collect();
    let bar = progress::bar((names.len() * dataset.len()) as u64, "images", machine.quiet);
    let mut show = |TransferProgress { source, done }| {
        bar.set_prefix(names.get(source).cloned().unwrap_or_default());
        bar.set_position((source * dataset.len() + done) as u64);
    };
    let affinity = transfer(engine.as_ref(), networks, &dataset, &settings, &mut show);
    bar.finish_and_clear();
    let report = Report {
        models: names,
        eps: settings.eps,
        attack: settings.attack.text().to_owned(),
        images: dataset.len(),
        samples: settings.samples,
        affinity: affinity?,
        machinery: Machinery::of(engine.as_ref()),
        seed: settings.seed,
    };
    if let Some(folder) = &flags.output {
        write(&report, folder)?;
    }
    match flags.judging.json {
        true => print::line(serde_json::to_string(&report)?),
        false => print::line(table(&report)),
    }
}

fn settings(flags: &Transfer) -> Result<TransferSettings> {
    let spec = &flags.attack;
    let attack: AttackSpec = spec.parse().map_err(|e| misuse(format!("--attack {spec}: {e}")))?;
    if attack.from().is_some() {
        return Err(misuse(format!("--attack {spec}: every model is attacked here; use pgd")));
    }
    let most = if attack.norm() == Norm::Linf { 1.0 } else { f64::INFINITY };
    let eps = fraction(&flags.eps).filter(|eps| *eps > 0.0 && *eps <= most).ok_or_else(|| {
        misuse(format!("--eps {}: give a number above 0, or a fraction such as 8/255", flags.eps))
    })?;
    let Judging { samples, batch, seed, .. } = flags.judging;
    check_counts(&flags.judging)?;
    Ok(TransferSettings { attack, eps, samples: samples as u64, batch, seed })
}

/// `transfer.json`, and each matrix as a table.
fn write(report: &Report, folder: &Path) -> Result<()> {
    let affinity = &report.affinity.affinity;
    let affinity = affinity.iter().map(|row| row.iter().map(shown).collect());
    let accuracy = report.affinity.accuracy.iter();
    let accuracy = accuracy.map(|row| row.iter().map(f64::to_string).collect());
    for (name, text) in [
        ("transfer.json", serde_json::to_string_pretty(report)?),
        ("accuracy.csv", csv(&report.models, accuracy)),
        ("affinity.csv", csv(&report.models, affinity)),
    ] {
        runtime::write_whole(&folder.join(name), |file| {
            std::io::Write::write_all(file, text.as_bytes())
        })?;
    }
    Ok(())
}

/// A row for each source, a column for each target.
fn csv(models: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let quoted = |text: &String| format!("\"{}\"", text.replace('"', "\"\""));
    let header = models.iter().map(quoted).collect::<Vec<_>>().join(",");
    let mut text = format!("source,{header}\n");
    for (model, row) in models.iter().zip(rows) {
        // A string takes whatever is written.
        _ = writeln!(text, "{},{}", quoted(model), row.join(","));
    }
    text
}

/// Empty where equation 17 has no value.
fn shown(affinity: &Option<f64>) -> String {
    affinity.map_or(String::new(), |affinity| affinity.to_string())
}

/// Accuracy and affinity of every pair, and each model's own clean accuracy.
fn table(report: &Report) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let targets = report.models.iter().map(|model| format!("judged by {model}"));
    let header = [format!("{}, radius {:.4}", report.attack, report.eps)];
    table.set_header(header.into_iter().chain(targets));
    let clean = report.affinity.clean.iter().map(|accuracy| format!("{accuracy:.2} %"));
    table.add_row(std::iter::once("clean".to_owned()).chain(clean));
    let rows = report.affinity.accuracy.iter().zip(&report.affinity.affinity);
    for (model, (accuracies, affinities)) in report.models.iter().zip(rows) {
        let cells = accuracies.iter().zip(affinities).map(|(accuracy, affinity)| match affinity {
            Some(affinity) => format!("{accuracy:.2} %, affinity {affinity:.2}"),
            None => format!("{accuracy:.2} %"),
        });
        table.add_row(std::iter::once(format!("attacked on {model}")).chain(cells));
    }
    table
}
