//! `advbnn evaluate`: clean and robust accuracy.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};
use comfy_table::Table;
use graphs::Model;
use runtime::Network;
use runtime::attack::{AttackSpec, Norm};
use runtime::data::Dataset;
use runtime::engine::Engine;
use runtime::evaluate::{EvalSettings, Progress, Report, evaluate};
use serde::Serialize;

use crate::cli::{Evaluate, Machine};
use crate::programs::{Programs, open_engine};
use crate::settings::fraction;
use crate::{data, misuse, model, print, progress};

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) model: String,
    #[serde(flatten)]
    pub(crate) report: Report,
    pub(crate) engine: String,
    pub(crate) seed: u64,
}

pub(crate) fn run(flags: &Evaluate, machine: &Machine) -> Result<()> {
    let settings = settings(flags)?;
    let mut network = model::read(&flags.model)?;
    model::normalize(&mut network, flags.normalize.as_deref())?;
    let split = data::split(&flags.split)?;
    let dataset = data::load(&flags.data, split, &network, flags.limit, machine.quiet)?;
    let engine = open_engine(machine)?;
    let evaluation =
        measure(&network, &flags.model, &dataset, engine.as_ref(), &settings, machine.quiet)?;
    if let Some(folder) = &flags.output {
        let path = folder.join("results.json");
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        let text = serde_json::to_string_pretty(&evaluation)?;
        runtime::write_whole(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?;
    }
    if flags.json {
        print::line(serde_json::to_string(&evaluation)?)?;
    } else {
        print::line(table(&[("", &evaluation)]))?;
    }
    Ok(())
}

fn settings(flags: &Evaluate) -> Result<EvalSettings> {
    let radius = |text: &String| {
        let reason = "give numbers or fractions such as 8/255";
        fraction(text).ok_or_else(|| misuse(format!("--eps {text}: {reason}")))
    };
    let mut eps: Vec<f64> = flags.eps.iter().map(radius).collect::<Result<_>>()?;
    let mut specs = flags.attack.clone();
    if specs.is_empty() && !eps.is_empty() {
        specs.push("pgd".to_owned());
    }
    if eps.is_empty() {
        eps.push(8.0 / 255.0);
    }
    let attacks: Result<Vec<AttackSpec>> = specs
        .iter()
        .map(|spec| spec.parse().map_err(|e| misuse(format!("--attack {spec}: {e}"))))
        .collect();
    let attacks = attacks?;
    let largest = eps.iter().copied().fold(0.0, f64::max);
    if let Some(spec) = attacks.iter().find(|a| a.norm() == Norm::Linf && largest > 1.0) {
        let text = spec.text();
        return Err(misuse(format!(
            "--eps {largest}: a radius of the L-infinity attack {text} is 0 to 1, as in 8/255"
        )));
    }
    if flags.samples == 0 || flags.batch == 0 {
        return Err(misuse("--samples and --batch are at least 1"));
    }
    Ok(EvalSettings {
        attacks,
        eps,
        samples: flags.samples as u64,
        batch: flags.batch,
        seed: flags.seed,
        cumulative: flags.cumulative,
    })
}

/// The other models that attacks look at, by the names that the attacks give them.
fn surrogates(settings: &EvalSettings) -> Result<BTreeMap<String, Model>> {
    let names = settings.attacks.iter().filter_map(AttackSpec::from);
    names.map(|name| Ok((name.to_owned(), model::read(Path::new(name))?))).collect()
}

/// Evaluates, with a progress bar.
pub(crate) fn measure(
    network: &Model,
    path: &Path,
    dataset: &Dataset,
    engine: &dyn Engine,
    settings: &EvalSettings,
    quiet: bool,
) -> Result<Evaluation> {
    let programs = Programs::new(network).on(engine);
    let compile = |purpose, batch| programs.compile(purpose, batch);
    let victim = Network { compile: &compile, state: programs.state(engine, path)? };
    let others = surrogates(settings)?;
    let sources: Vec<Programs> =
        others.values().map(|other| Programs::new(other).on(engine)).collect();
    let compilers: Vec<_> =
        sources.iter().map(|source| move |purpose, batch| source.compile(purpose, batch)).collect();
    let mut surrogates = BTreeMap::new();
    for (name, (programs, compile)) in others.keys().zip(sources.iter().zip(&compilers)) {
        let state = programs.state(engine, Path::new(name))?;
        surrogates.insert(name.clone(), Network { compile, state });
    }
    let bar = progress::bar(dataset.len() as u64, "images", quiet);
    let mut show = |progress: Progress| {
        let name = progress
            .attack
            .map_or("clean".to_owned(), |method| format!("{method} {:.4}", progress.eps));
        if bar.prefix() != name {
            bar.reset();
            bar.set_length(progress.images as u64);
            bar.set_prefix(name);
        }
        bar.set_position(progress.done as u64);
        let accuracy = 100.0 * progress.correct as f64 / progress.done.max(1) as f64;
        bar.set_message(format!("{accuracy:.1} %"));
    };
    let report = evaluate(engine, victim, surrogates, dataset, settings, &mut show);
    bar.finish_and_clear();
    Ok(Evaluation {
        model: path.display().to_string(),
        report: report?,
        engine: engine.name().to_owned(),
        seed: settings.seed,
    })
}

/// Accuracies of several models side by side.
pub(crate) fn table(models: &[(&str, &Evaluation)]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    let mut header = vec!["attack".to_owned(), "radius".to_owned()];
    header.extend(models.iter().map(|(name, evaluation)| match name.is_empty() {
        true => format!("accuracy, {} images", evaluation.report.images),
        false => (*name).to_owned(),
    }));
    table.set_header(header);
    let mut row = |name: String, radius: String, accuracies: Vec<f64>| {
        let mut cells = vec![name, radius];
        cells.extend(accuracies.iter().map(|accuracy| format!("{accuracy:.2} %")));
        table.add_row(cells);
    };
    let clean = models.iter().map(|(_, e)| e.report.clean.accuracy).collect();
    row("clean".to_owned(), String::new(), clean);
    let Some((_, first)) = models.first() else { return table };
    for (i, attacked) in first.report.attacks.iter().enumerate() {
        // Draws collapse to one for a plain model, so the greatest number is the request.
        let draws = models.iter().filter_map(|(_, e)| Some(e.report.attacks.get(i)?.draws)).max();
        let mut name = attacked.attack.clone();
        if attacked.steps > 0 {
            name = format!("{name}-{}", attacked.steps);
        }
        if let Some(draws) = draws.filter(|draws| *draws > 1) {
            name = format!("EOT-{name}, {draws} draws");
        }
        let accuracies =
            models.iter().filter_map(|(_, e)| Some(e.report.attacks.get(i)?.accuracy)).collect();
        row(name, radius(attacked.norm, attacked.eps), accuracies);
    }
    for (i, worst) in first.report.worst.iter().enumerate().filter(|(_, w)| w.attacks > 1) {
        let name = format!("worst of {}", worst.attacks);
        let accuracies =
            models.iter().filter_map(|(_, e)| Some(e.report.worst.get(i)?.accuracy)).collect();
        row(name, radius(worst.norm, worst.eps), accuracies);
    }
    table
}

fn radius(norm: Norm, eps: f64) -> String {
    match norm {
        Norm::Linf => format!("{eps:.4}"),
        Norm::L2 => format!("{eps:.4} L2"),
    }
}
