//! `advbnn evaluate` of a regression: errors in place of accuracies.

use std::num::NonZeroUsize;

use anyhow::Result;
use comfy_table::Table;
use graphs::Model;
use runtime::data::Split;
use runtime::engine::Engine;
use runtime::evaluate::{Errors, EvalSettings, RegressionReport, evaluate_regression};
use runtime::{Network, write_whole};
use serde::Serialize;

use super::{PARTS, show, table};
use crate::cli::Evaluate;
use crate::machinery::Machinery;
use crate::programs::Programs;
use crate::{data, folder, misuse, print, progress};

/// What is evaluated, and on which images.
pub(super) struct Subject<'m> {
    pub(super) network: &'m Model,
    /// The standard deviation of the residual.
    pub(super) std: f32,
    pub(super) split: Split,
    pub(super) limit: Option<NonZeroUsize>,
}

/// What `--json` prints, and `results.json` holds.
#[derive(Debug, Serialize)]
struct Evaluation {
    model: String,
    likelihood: String,
    #[serde(flatten)]
    report: RegressionReport,
    #[serde(flatten)]
    machinery: Machinery,
    seed: u64,
}

pub(super) fn run(
    flags: &Evaluate,
    settings: &EvalSettings,
    subject: &Subject,
    engine: &dyn Engine,
    quiet: bool,
) -> Result<()> {
    check(flags, settings)?;
    let Subject { network, std, split, limit } = *subject;
    if let Some(folder) = flags.output.as_deref().filter(|dir| dir.join("report.html").exists()) {
        return Err(misuse(format!(
            "{}: the report of a classifier is there, which would stay beside these results; choose another folder",
            folder.display()
        )));
    }
    let _made = flags.output.as_deref().map(folder::tentative).transpose()?;
    let dataset = data::load(&flags.data, split, network, limit, quiet)?;
    let programs = Programs::new(network).on(engine);
    let compile = |purpose, batch| programs.compile(purpose, batch);
    let victim = Network { compile: &compile, state: programs.state(engine, &flags.model)? };
    let bar = progress::share(PARTS as u64, quiet);
    let mut on_progress = |progress| show(&bar, progress);
    let std = f64::from(std);
    let report = evaluate_regression(engine, victim, &dataset, std, settings, &mut on_progress);
    bar.finish_and_clear();
    let evaluation = Evaluation {
        model: flags.model.display().to_string(),
        likelihood: passes::noted_likelihood(network)?.to_string(),
        report: report?,
        machinery: Machinery::of(engine),
        seed: settings.seed,
    };
    if let Some(folder) = &flags.output {
        let text = serde_json::to_string_pretty(&evaluation)?;
        write_whole(&folder.join("results.json"), |file| file.write_all(text.as_bytes()))?;
    }
    match flags.judging.json {
        true => print::line(serde_json::to_string(&evaluation)?),
        false => print::line(shown(&evaluation.report)),
    }
}

/// Refuses what is of classes.
fn check(flags: &Evaluate, settings: &EvalSettings) -> Result<()> {
    let model = flags.model.display();
    let asked = [
        ("--budget", flags.budget.is_some()),
        ("--cumulative", flags.cumulative),
        ("--ood", flags.ood.is_some()),
        ("--resume", flags.resume),
    ];
    if let Some((flag, _)) = asked.iter().find(|(_, asked)| *asked) {
        return Err(misuse(format!("{flag} is for classes, and {model} is a regression")));
    }
    match settings.attacks.iter().find(|spec| !spec.is_of_numbers()) {
        Some(spec) => Err(misuse(format!(
            "--attack {}: it is for classes, and {model} is a regression; there are fgsm, pgd, noise, fixed-noise and mean-weight",
            spec.text()
        ))),
        None => Ok(()),
    }
}

/// A row for each attack.
fn shown(report: &RegressionReport) -> Table {
    let images = match report.images {
        1 => "RMSE, 1 image".to_owned(),
        images => format!("RMSE, {images} images"),
    };
    let names = ["attack", "radius", &images, "seeds", "one draw", "NLL", "std", "coverage"];
    let mut table = table::new(&names.map(str::to_owned));
    let interval = |rmse: f64, interval: Option<[f64; 2]>| match interval {
        Some([low, high]) => format!("{rmse:.4} ({low:.4} - {high:.4})"),
        None => format!("{rmse:.4}"),
    };
    let mut row = |name: String, radius: String, errors: &Errors| {
        let spread = errors.spread.as_ref();
        table.add_row([
            name,
            radius,
            interval(errors.rmse, errors.interval),
            spread.map_or(String::new(), |s| format!("{:.4} - {:.4}", s.min, s.max)),
            format!("{:.4}", errors.single_draw_rmse),
            format!("{:.4}", errors.nll),
            format!("{:.4}", errors.std),
            format!("{:.1} %", errors.coverage),
        ]);
    };
    row("clean".to_owned(), String::new(), &report.clean);
    for attacked in &report.attacks {
        let attack = &attacked.attack;
        row(attack.title(), table::radius(attack.norm, attack.eps), &attacked.errors);
    }
    for worst in report.worst.iter().filter(|worst| worst.attacks > 1) {
        let cells = [
            format!("worst of {}", worst.attacks),
            table::radius(worst.norm, worst.eps),
            interval(worst.rmse, worst.interval),
        ];
        table.add_row(cells);
    }
    table
}
