//! `advbnn reproduce`: experiments of the paper, as command lines of this program.

mod accuracies;
mod affinity;
mod comparison;
mod convergence;
mod mark;
mod plan;
mod presets;
mod step;
mod tradeoff;

use std::num::NonZeroUsize;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use runtime::report::{Chart, Matrix};
use serde::Serialize;
use serde_json::Value;

use crate::cli::{Machine, Reproduce};
use crate::machinery::Machinery;
use crate::programs::open_engine;
use crate::{misuse, print};
use comparison::comparison;
use presets::{PRESETS, Preset};
use step::Step;

/// What there is to reproduce.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Experiment {
    /// Accuracy of the five defences at the radii of the paper's table 1.
    Table1,
    /// The same at many radii (figure 2).
    Fig2,
    /// How well attacks on one defence fool another (figure 3).
    Fig3,
    /// Accuracy against the draws of a prediction and the steps of the attack (figure 4).
    Fig4,
    /// Clean against robust accuracy, over the training radius and the weight of the KL.
    Tradeoff,
}

/// What came of an experiment.
struct Found {
    /// The figures, for `EXPERIMENT.json`.
    data: Value,
    csv: String,
    /// Test images that were attacked.
    images: u64,
    /// In Markdown: a table and what it says.
    page: String,
    plots: Vec<Plot>,
}

/// A drawing and the name of its files.
struct Plot {
    name: String,
    svg: String,
    png: Vec<u8>,
}

/// `EXPERIMENT.json`
#[derive(Debug, Serialize)]
struct Results<'a> {
    experiment: &'a str,
    preset: &'a str,
    variant: Option<&'a str>,
    /// The network that the training started from, where it was not a fresh one.
    pretrained: Option<&'a Path>,
    seed: u64,
    /// Epochs of every training, where they are not the preset's.
    epochs: Option<NonZeroUsize>,
    /// Training images, where they are not all.
    limit: Option<NonZeroUsize>,
    /// Test images that were attacked.
    images: u64,
    /// Draws that a prediction averages.
    samples: NonZeroUsize,
    /// Of this run of the command; what was done before is not counted.
    seconds: f64,
    #[serde(flatten)]
    machinery: Machinery,
    rows: Value,
}

impl Experiment {
    const ALL: [(&str, Experiment); 5] = [
        ("table1", Experiment::Table1),
        ("fig2", Experiment::Fig2),
        ("fig3", Experiment::Fig3),
        ("fig4", Experiment::Fig4),
        ("tradeoff", Experiment::Tradeoff),
    ];

    fn of(flags: &Reproduce) -> Result<Experiment> {
        let asked = flags.experiment.as_str();
        let found = Experiment::ALL.iter().find(|(name, _)| *name == asked);
        let unknown =
            || misuse(format!("reproduce {asked}: use table1, fig2, fig3, fig4 or tradeoff"));
        found.map(|(_, experiment)| *experiment).ok_or_else(unknown)
    }

    /// Every command, in order.
    fn steps(self, flags: &Reproduce, preset: &Preset) -> Result<Vec<Step>> {
        match self {
            Experiment::Table1 => accuracies::steps(flags, preset, &preset.table()),
            Experiment::Fig2 => accuracies::steps(flags, preset, &preset.curve()),
            Experiment::Fig3 => affinity::steps(flags, preset),
            Experiment::Fig4 => convergence::steps(flags, preset),
            Experiment::Tradeoff => tradeoff::steps(flags, preset),
        }
    }

    /// What of the preset it varies.
    fn varies(self) -> &'static [&'static str] {
        match self {
            Experiment::Tradeoff => &["radii"],
            _ => &[],
        }
    }

    /// What the commands have left.
    fn found(self, flags: &Reproduce, preset: &Preset) -> Result<Found> {
        match self {
            Experiment::Table1 => accuracies::found(flags, preset, &preset.table()),
            Experiment::Fig2 => accuracies::found(flags, preset, &preset.curve()),
            Experiment::Fig3 => affinity::found(flags, preset),
            Experiment::Fig4 => convergence::found(flags, preset),
            Experiment::Tradeoff => tradeoff::found(flags, preset),
        }
    }
}

pub(crate) fn run(flags: &Reproduce, machine: &Machine) -> Result<()> {
    let start = Instant::now();
    let (experiment, preset) = (Experiment::of(flags)?, preset(flags)?);
    if let Some(other) = flags.variant.as_deref().filter(|name| !["paper", "code"].contains(name)) {
        return Err(misuse(format!("--variant {other}: use paper or code")));
    }
    let steps = experiment.steps(flags, preset)?;
    steps.iter().try_for_each(Step::check)?;
    let folder = flags.output.as_path();
    let machinery = Machinery::of(open_engine(machine)?.as_ref());
    for step in &steps {
        step.state(&machinery)?;
    }
    crate::folder::create(folder)?;
    let name = flags.experiment.as_str();
    let lines: Vec<String> = steps.iter().map(Step::line).collect();
    write(folder, &format!("{name}.sh"), format!("{}\n", lines.join("\n")).as_bytes())?;
    for step in &steps {
        step.take(machine, &machinery)?;
    }
    let found = experiment.found(flags, preset)?;
    let results = Results {
        experiment: name,
        preset: preset.name,
        variant: flags.variant.as_deref(),
        pretrained: flags.pretrained.as_deref(),
        seed: flags.seed,
        epochs: flags.epochs,
        limit: flags.limit,
        images: found.images,
        samples: flags.samples,
        seconds: start.elapsed().as_secs_f64(),
        machinery,
        rows: found.data,
    };
    write(folder, &format!("{name}.json"), serde_json::to_string_pretty(&results)?.as_bytes())?;
    write(folder, &format!("{name}.csv"), found.csv.as_bytes())?;
    for plot in &found.plots {
        write(folder, &format!("{}.svg", plot.name), plot.svg.as_bytes())?;
        write(folder, &format!("{}.png", plot.name), &plot.png)?;
    }
    let page = format!("{}\n{}\n", found.page, comparison(flags, preset, experiment.varies()));
    write(folder, &format!("{name}.md"), page.as_bytes())?;
    print::line(page)
}

/// How far one accuracy is from another, in the digits that are shown.
fn than(difference: f64, more: &str, less: &str, same: &str) -> String {
    match (10.0 * difference).round() / 10.0 {
        d if d > 0.0 => format!("{d:.1} points {more}"),
        d if d < 0.0 => format!("{:.1} points {less}", -d),
        _ => same.to_owned(),
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
    if flags.variant.as_deref() == Some("code") && flags.pretrained.is_some() {
        return Err(misuse(
            "--variant code is about the published networks; leave out --pretrained",
        ));
    }
    Ok(preset)
}

impl Plot {
    fn chart(name: &str, chart: &Chart) -> Result<Plot> {
        Ok(Plot { name: name.to_owned(), svg: chart.svg()?, png: chart.png()? })
    }

    fn matrix(name: &str, matrix: &Matrix) -> Result<Plot> {
        Ok(Plot { name: name.to_owned(), svg: matrix.svg()?, png: matrix.png()? })
    }
}

/// A file of JSON that a command has left.
fn read(path: &Path) -> Result<Value> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    serde_json::from_str(&text).with_context(|| path.display().to_string())
}

fn write(folder: &Path, name: &str, content: &[u8]) -> Result<()> {
    Ok(runtime::write_whole(&folder.join(name), |file| file.write_all(content))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::plan::tests::flags;
    use super::*;
    use crate::cli::Cli;

    #[test]
    fn every_step_of_every_experiment_is_a_command_that_the_program_takes() {
        for (name, experiment) in Experiment::ALL {
            for preset in &PRESETS {
                let line = format!("{name} --data data -o out --limit 100 --epochs 2");
                let mut flags = flags(&line);
                flags.pretrained = preset.network.is_none().then(|| "net.onnx".into());
                for variant in [None, Some("paper".to_owned()), Some("code".to_owned())] {
                    flags.variant = variant;
                    let steps = experiment.steps(&flags, preset).unwrap();
                    let (trained, left) = match experiment {
                        Experiment::Table1 | Experiment::Fig2 => (5, 5),
                        Experiment::Fig3 => (5, 1),
                        Experiment::Fig4 => (2, 3),
                        Experiment::Tradeoff => (9, 9),
                    };
                    let made = usize::from(preset.network.is_some());
                    let converted = if trained == 5 { 2 } else { 1 };
                    assert_eq!(steps.len(), made + converted + trained + left, "{}", preset.name);
                    for step in steps {
                        let words =
                            std::iter::once("advbnn".to_owned()).chain(step.arguments.clone());
                        if let Err(error) = Cli::try_parse_from(words) {
                            panic!("{}: {error}", step.line());
                        }
                        assert!(!step.line().contains("  "));
                        step.check().unwrap();
                    }
                }
            }
        }
    }

    #[test]
    fn differences_are_told_in_the_digits_that_are_shown() {
        let words = |d| than(d, "above", "below", "level with");
        assert_eq!(
            [words(0.04), words(-0.04), words(0.06), words(-1.0)],
            ["level with", "level with", "0.1 points above", "1.0 points below"]
        );
    }

    #[test]
    fn experiments_in_one_folder_train_alike_and_leave_other_files() {
        let preset = &PRESETS[0];
        let steps = |name: &str, experiment: Experiment| {
            let steps = experiment.steps(&flags(&format!("{name} --data d -o o")), preset).unwrap();
            steps.iter().map(Step::line).collect::<Vec<_>>()
        };
        let all = Experiment::ALL.map(|(name, experiment)| steps(name, experiment));
        let made = |line: &&String| !line.contains(" evaluate ") && !line.contains(" transfer ");
        for lines in &all[..4] {
            for line in lines.iter().filter(made) {
                assert!(all[0].contains(line), "{line}");
            }
        }
        // The network, the variational one, and the two that are trained as the preset says.
        let shared = all[4].iter().filter(|line| all[0].contains(line));
        assert_eq!(shared.count(), 4, "{:?}", all[4]);
        // What is the same is done once; what is not leaves something else.
        let mut lines: Vec<&String> = all.iter().flatten().collect();
        lines.sort();
        lines.dedup();
        let left = |line: &&String| {
            line.split(" -o ").nth(1).map(|rest| rest.split(' ').next().unwrap().to_owned())
        };
        let mut left: Vec<_> = lines.iter().map(left).collect();
        left.sort();
        left.dedup();
        assert_eq!(left.len(), lines.len());
    }
}
