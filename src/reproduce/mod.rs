//! `advbnn reproduce`: experiments of the paper, as command lines of this program.

mod plan;
mod presets;
mod table;

use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use clap::Parser;
use serde::Serialize;

use crate::cli::{Cli, Machine, Reproduce};
use crate::train::watch_ctrl_c;
use crate::{misuse, print};
use plan::{Step, plan, results};
use presets::{PRESETS, Preset};
use table::{Row, rows};

/// `results.json`
#[derive(Debug, Serialize)]
struct Results<'a> {
    experiment: &'a str,
    preset: &'a str,
    variant: Option<&'a str>,
    seed: u64,
    /// Epochs of every training, where they are not the preset's.
    epochs: Option<NonZeroUsize>,
    /// Training images, where they are not all.
    limit: Option<NonZeroUsize>,
    /// Test images that were attacked.
    images: NonZeroUsize,
    /// Draws that a prediction averages.
    samples: NonZeroUsize,
    /// Of this run of the command; what was done before is not counted.
    seconds: f64,
    rows: &'a [Row],
}

pub(crate) fn run(flags: &Reproduce, machine: &Machine) -> Result<()> {
    let start = Instant::now();
    let preset = preset(flags)?;
    let radii: Vec<f64> = match flags.experiment.as_str() {
        "table1" => preset.table.to_vec(),
        "fig2" => (0..preset.curve.1).map(|i| radius(i as f64 * preset.curve.0)).collect(),
        other => return Err(misuse(format!("reproduce {other}: use table1 or fig2"))),
    };
    if let Some(other) = flags.variant.as_deref().filter(|name| !["paper", "code"].contains(name)) {
        return Err(misuse(format!("--variant {other}: use paper or code")));
    }
    let folder = &flags.output;
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let steps = plan(flags, preset, &radii);
    for step in &steps {
        done(step)?;
    }
    let lines: Vec<String> = steps.iter().map(Step::line).collect();
    write(flags, "commands.sh", &format!("{}\n", lines.join("\n")))?;
    for step in &steps {
        take(step, machine)?;
    }
    let mut all = Vec::new();
    for (defense, _) in preset.defenses {
        let path = results(folder, defense);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        all.extend(rows(defense, &text).with_context(|| path.display().to_string())?);
    }
    let found = Results {
        experiment: &flags.experiment,
        preset: preset.name,
        variant: flags.variant.as_deref(),
        seed: flags.seed,
        epochs: flags.epochs,
        limit: flags.limit,
        images: flags.images,
        samples: flags.samples,
        seconds: start.elapsed().as_secs_f64(),
        rows: &all,
    };
    write(flags, "results.json", &serde_json::to_string_pretty(&found)?)?;
    write(flags, &format!("{}.csv", flags.experiment), &table::csv(&all))?;
    let page = table::page(&flags.experiment, preset, &radii, &all) + &shortened(flags);
    write(flags, &format!("{}.md", flags.experiment), &page)?;
    print::line(page)
}

/// What was left out of the experiment, in a sentence; nothing if it was done in full.
fn shortened(flags: &Reproduce) -> String {
    let epochs = flags.epochs.map(|n| format!("{n} epochs"));
    let limit = flags.limit.map(|n| format!("the first {n} training images"));
    let parts: Vec<String> = [epochs, limit].into_iter().flatten().collect();
    match parts.is_empty() {
        true => String::new(),
        false => format!("\nShortened: every training took {}.\n", parts.join(" and ")),
    }
}

fn preset(flags: &Reproduce) -> Result<&'static Preset> {
    let known = || PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let preset = PRESETS.iter().find(|preset| preset.name == flags.preset);
    let preset = preset
        .ok_or_else(|| misuse(format!("--preset {}: use one of {}", flags.preset, known())))?;
    if flags.variant.is_some() && !preset.name.starts_with("paper-") {
        return Err(misuse("--variant belongs to the paper's presets, such as paper-cifar10"));
    }
    Ok(preset)
}

/// Without the digits that a product of fractions leaves behind.
fn radius(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// Whether a command was done before.
///
/// # Errors
/// When what is there was left by another command.
fn done(step: &Step) -> Result<bool> {
    let path = step.mark();
    if !path.exists() || !step.leaves.exists() {
        return Ok(false);
    }
    let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    if before.trim_end() != step.identity() {
        bail!(
            "{} was made by `{}`; give the same flags, or choose another folder",
            step.leaves.display(),
            before.trim_end()
        );
    }
    Ok(true)
}

/// Runs one command, unless it was done before. A training that was stopped is not done.
fn take(step: &Step, machine: &Machine) -> Result<()> {
    if done(step)? {
        return Ok(());
    }
    if !machine.quiet {
        print::remark(step.line());
    }
    let words = std::iter::once("advbnn".to_owned()).chain(step.arguments.iter().cloned());
    let Machine { engine, provider, threads, quiet } = *machine;
    let cli = Cli::try_parse_from(words).with_context(|| step.line())?;
    crate::run(Cli { machine: Machine { engine, provider, threads, quiet }, ..cli })
        .with_context(|| step.line())?;
    if !step.leaves.exists() || watch_ctrl_c()?.load(Ordering::Relaxed) {
        bail!("{} is not finished; the same command goes on from there", step.line());
    }
    let identity = step.identity();
    Ok(runtime::write_whole(&step.mark(), |file| file.write_all(identity.as_bytes()))?)
}

fn write(flags: &Reproduce, name: &str, text: &str) -> Result<()> {
    let path = flags.output.join(name);
    Ok(runtime::write_whole(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
}
