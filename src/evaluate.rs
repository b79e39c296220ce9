//! `advbnn evaluate`: clean and robust accuracy, uncertainty, and a report of them.

mod regression;
pub(crate) mod settings;
mod table;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use graphs::Model;
use indicatif::ProgressBar;
use passes::Likelihood;
use runtime::data::{Answer, Dataset};
use runtime::engine::Engine;
use runtime::evaluate::{
    EvalSettings, Notes, Progress, Report, Subject, check_resumable, evaluate,
};
use runtime::report::{self, Heading};
use runtime::{Network, write_whole};
use serde::Serialize;

use crate::cli::{Evaluate, Machine};
use crate::machinery::Machinery;
use crate::programs::{Programs, open_engine};
use crate::settings::likelihood;
use crate::{data, folder, model, print, progress};

pub(crate) use table::table;

/// Parts of the work that the progress bar counts.
const PARTS: f64 = 10_000.0;

/// What `--json` prints.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Evaluation {
    pub(crate) model: String,
    #[serde(flatten)]
    pub(crate) report: Report,
    #[serde(flatten)]
    pub(crate) machinery: Machinery,
    pub(crate) seed: u64,
    /// Of single images: for files of their own.
    #[serde(skip)]
    examples: runtime::evaluate::Evaluation,
}

/// Checks the flags, as an evaluation does before it reads anything.
///
/// # Errors
/// When they make no sense.
pub(crate) fn check(flags: &Evaluate) -> Result<()> {
    settings::settings(flags)?;
    likelihood(flags.likelihood.as_deref())?;
    data::split(&flags.judging.split).map(drop)
}

pub(crate) fn run(flags: &Evaluate, machine: &Machine) -> Result<()> {
    let (mut settings, limit) = settings::settings(flags)?;
    let asked = likelihood(flags.likelihood.as_deref())?;
    let split = data::split(&flags.judging.split)?;
    let notes = flags.output.as_ref().map(|folder| folder.join("progress.jsonl"));
    if let Some(notes) = notes.as_deref().filter(|_| flags.resume) {
        check_resumable(notes)?;
    }
    let engine = open_engine(machine)?;
    let mut network = model::read_normalized(&flags.model, flags.normalize.as_deref())?;
    if let Likelihood::Gaussian { std } = model::note_likelihood(&mut network, asked)? {
        let regression = regression::Subject { network: &network, std, split, limit };
        return regression::run(flags, &settings, &regression, engine.as_ref(), machine.quiet);
    }
    let left_out = match Programs::new(&network).answer()? {
        Answer::Class(classes) => settings::fit(&mut settings, flags, classes),
        Answer::Numbers(_) => None,
    };
    if let Some(remark) = left_out.filter(|_| !machine.quiet) {
        print::remark(remark);
    }
    let others = surrogates(&settings)?;
    if flags.normalize.is_some() && !others.is_empty() && !machine.quiet {
        print::remark(
            "note: --normalize is for MODEL alone; the others are taken as their files are, and \
             `advbnn convert --layers none --normalize` writes one with its own",
        );
    }
    // What goes on is there already.
    let new = flags.output.as_deref().filter(|_| !flags.resume);
    let _made = new.map(folder::tentative).transpose()?;
    let dataset = data::load(&flags.data, split, &network, limit, machine.quiet)?;
    let foreign = match &flags.ood {
        Some(path) => Some(data::load_foreign(path, split, &network, limit, machine.quiet)?),
        None => None,
    };
    let about = about(flags, engine.as_ref());
    let subject = Subject {
        dataset: &dataset,
        foreign: foreign.as_ref(),
        notes: notes.as_ref().map(|path| Notes { path, about: &about, resume: flags.resume }),
    };
    let victim = (&network, flags.model.as_path());
    let evaluation = measure(victim, &others, subject, engine.as_ref(), &settings, machine.quiet)?;
    if let Some(folder) = &flags.output {
        save(folder, &evaluation, flags, &dataset)?;
    }
    if flags.judging.json {
        print::line(serde_json::to_string(&evaluation)?)?;
    } else {
        print::line(table(&[("", &evaluation)]))?;
        print::line(table::uncertainty(&evaluation.report))?;
        print::line(table::checks(&evaluation.report))?;
    }
    Ok(())
}

/// What the figures depend on beside parameters, images and settings.
fn about(flags: &Evaluate, engine: &dyn Engine) -> String {
    let normalize = flags.normalize.as_deref().unwrap_or("none");
    format!("{}, normalize {normalize}, {}", flags.model.display(), Machinery::of(engine))
}

/// Writes everything but the notes to the folder.
fn save(folder: &Path, evaluation: &Evaluation, flags: &Evaluate, dataset: &Dataset) -> Result<()> {
    let text = serde_json::to_string_pretty(evaluation)?;
    write_whole(&folder.join("results.json"), |file| file.write_all(text.as_bytes()))?;
    evaluation.examples.write_csv(&folder.join("per_example.csv"))?;
    let heading = Heading {
        model: evaluation.model.clone(),
        data: flags.data.display().to_string(),
        engine: evaluation.machinery.to_string(),
        seed: evaluation.seed,
        class_names: dataset.class_names().to_vec(),
    };
    Ok(report::write(folder, &heading, &evaluation.examples)?)
}

/// The other models that attacks look at, by the names that the attacks give them.
fn surrogates(settings: &EvalSettings) -> Result<BTreeMap<String, Model>> {
    let probed = settings.probing.iter().flat_map(|probing| &probing.runs).map(|(spec, _)| spec);
    let attacks = settings.attacks.iter().chain(probed);
    let names = attacks.filter_map(runtime::attack::AttackSpec::from);
    names.map(|name| Ok((name.to_owned(), model::read(Path::new(name))?))).collect()
}

fn show(bar: &ProgressBar, progress: Progress) {
    let Progress { attack, done, correct, share } = progress;
    bar.set_prefix(
        attack.map_or("no attack".to_owned(), |(spec, eps)| format!("{spec} at {eps:.4}")),
    );
    bar.set_position((PARTS * share) as u64);
    let accuracy = correct.map(|correct| 100.0 * correct as f64 / done.max(1) as f64);
    let accuracy = accuracy.map_or(String::new(), |accuracy| format!(", {accuracy:.1} %"));
    bar.set_message(format!("{done} images{accuracy}"));
}

/// Evaluates a model from a path, attacked by way of `others` too, with a progress bar over the
/// whole work.
pub(crate) fn measure(
    (network, path): (&Model, &Path),
    others: &BTreeMap<String, Model>,
    subject: Subject,
    engine: &dyn Engine,
    settings: &EvalSettings,
    quiet: bool,
) -> Result<Evaluation> {
    let programs = Programs::new(network).on(engine);
    let compile = |purpose, batch| programs.compile(purpose, batch);
    let victim = Network { compile: &compile, state: programs.state(engine, path)? };
    let sources: Vec<Programs> =
        others.values().map(|other| Programs::new(other).on(engine)).collect();
    let compilers: Vec<_> =
        sources.iter().map(|source| move |purpose, batch| source.compile(purpose, batch)).collect();
    let mut surrogates = BTreeMap::new();
    for (name, (programs, compile)) in others.keys().zip(sources.iter().zip(&compilers)) {
        let state = programs.state(engine, Path::new(name))?;
        surrogates.insert(name.clone(), Network { compile, state });
    }
    let bar = progress::share(PARTS as u64, quiet);
    let mut on_progress = |progress| show(&bar, progress);
    let examples = evaluate(engine, victim, surrogates, subject, settings, &mut on_progress);
    bar.finish_and_clear();
    let examples = examples?;
    Ok(Evaluation {
        model: path.display().to_string(),
        report: examples.report.clone(),
        machinery: Machinery::of(engine),
        seed: settings.seed,
        examples,
    })
}
