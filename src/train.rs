//! `advbnn train`: a run folder from a model and data.

mod config;
mod settings;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, bail};
use graphs::{Model, Tensor};
use indicatif::ProgressBar;
use passes::Likelihood;
use runtime::checkpoint;
use runtime::data::{Dataset, Split};
use runtime::engine::Engine;
use runtime::train::{self, Event, Job, Outcome, Settings, Span};

use crate::cli::{Machine, Train};
use crate::interrupt::Watch;
use crate::programs::{Programs, open_engine};
use crate::settings::{Recipe, unused};
use crate::{data, folder, misuse, model, print, progress};
use settings::{augmented, check_holdout, holdout, settings};

pub(crate) use config::{Config, EngineTable};
pub(crate) use settings::of_recipe;

pub(crate) fn run(flags: &Train, machine: &Machine) -> Result<()> {
    let trained = finish(flags, machine)?;
    let folder = flags.output.display();
    match trained.finished {
        _ if trained.collapsed => print::line(format_args!(
            "collapsed after {} steps; wrote {folder}/model.onnx, the best epoch before",
            trained.step
        )),
        true => {
            print::line(format_args!("trained {} steps; wrote {folder}/model.onnx", trained.step))
        }
        false => print::line(format_args!(
            "stopped after step {}; the same command with `--resume` goes on from there",
            trained.step
        )),
    }
}

/// Checks the flags, as a training does before it reads anything.
///
/// # Errors
/// When they make no sense.
pub(crate) fn check(flags: &Train) -> Result<()> {
    meaning(flags).map(drop)
}

/// What the flags say by themselves.
fn meaning(flags: &Train) -> Result<(Recipe, Settings, Split)> {
    let recipe = Recipe::new(&flags.training)?;
    let settings = augmented(settings(flags, &recipe)?, flags)?;
    check_holdout(flags, &recipe, &settings)?;
    Ok((recipe, settings, data::split(&flags.split)?))
}

/// Trains, until it is done, has collapsed or is stopped.
pub(crate) fn finish(flags: &Train, machine: &Machine) -> Result<Outcome> {
    let (recipe, settings, split) = meaning(flags)?;
    if flags.resume && !flags.output.join(train::LAST).exists() {
        bail!(
            "{}: there is no run to resume; leave `--resume` away, or give the folder of one",
            flags.output.display()
        );
    }
    let held_out = flags.holdout.is_some_and(|images| images > 0);
    let unused = unused(&flags.training, recipe.defense, held_out);
    if !unused.is_empty() && !machine.quiet {
        let unused = unused.join(", ");
        print::remark(format_args!("note: `{}` does not use {unused}", recipe.defense));
    }
    let mut network = model::read_normalized(&flags.model, flags.normalize.as_deref())?;
    recipe.apply(&mut network).with_context(|| flags.model.display().to_string())?;
    let likelihood = passes::noted_likelihood(&network)?;
    if likelihood != Likelihood::Categorical && flags.on_collapse.is_some() {
        return Err(misuse(format!(
            "--on-collapse counts images that withstand the attack, and likelihood {likelihood} has no such share; leave it out"
        )));
    }
    let engine = open_engine(machine)?;
    let _made = folder::tentative(&flags.output)?;
    let dataset = data::load(&flags.data, split, &network, flags.limit, machine.quiet)?;
    let settings = Settings { holdout: holdout(flags, &recipe, dataset.len())?, ..settings };
    let config = Config {
        model: &flags.model,
        data: &flags.data,
        split: split.to_string(),
        limit: flags.limit,
        normalize: flags.normalize.as_deref(),
        version: env!("CARGO_PKG_VERSION"),
        engine: EngineTable::of(engine.as_ref()),
        recipe: recipe.shown(passes::noted_prior(&network)?, likelihood),
        training: &settings,
    };
    if flags.resume {
        config.check_continues(&flags.output, machine.quiet)?;
    }
    train(&Training {
        model: &network,
        path: &flags.model,
        recipe: &recipe,
        settings: &settings,
        dataset: &dataset,
        engine: engine.as_ref(),
        folder: &flags.output,
        config: &config,
        resume: flags.resume,
        quiet: machine.quiet,
    })
}

/// Everything that one training needs.
pub(crate) struct Training<'a> {
    pub(crate) model: &'a Model,
    pub(crate) path: &'a Path,
    pub(crate) recipe: &'a Recipe,
    pub(crate) settings: &'a Settings,
    pub(crate) dataset: &'a Dataset,
    pub(crate) engine: &'a dyn Engine,
    pub(crate) folder: &'a Path,
    pub(crate) config: &'a Config<'a>,
    pub(crate) resume: bool,
    pub(crate) quiet: bool,
}

/// Trains until Ctrl-C, shows progress, and writes the best weights as `model.onnx`.
pub(crate) fn train(training: &Training) -> Result<Outcome> {
    let programs = Programs::training(training.model, training.recipe.training).on(training.engine);
    let judge = Programs::new(training.model).on(training.engine);
    let initial = programs.initial(training.path)?;
    let config = training.config.text()?;
    let watch = Watch::start()?;
    let bar = progress::bar(0, "steps", training.quiet);
    bar.set_prefix("train");
    let job = Job {
        engine: training.engine,
        compile: &|purpose, batch| programs.compile(purpose, batch),
        judge: &|purpose, batch| judge.compile(purpose, batch),
        initial: &initial,
        dataset: training.dataset,
        settings: training.settings,
        folder: training.folder,
        config: Some(&config),
        resume: training.resume,
        stop: watch.flag(),
    };
    let outcome = train::train(&job, &mut |event| show(&bar, event, training.quiet));
    bar.finish_and_clear();
    let outcome = outcome?;
    let best = training.folder.join(train::BEST);
    let weights: BTreeMap<String, Tensor> = match best.exists() {
        true => checkpoint::read::<serde_json::Value>(&best)?.0,
        false => outcome.tensors.clone(),
    };
    let mut trained = training.model.clone();
    passes::store_state(&mut trained, &train::averaged(weights))?;
    model::write(&trained, &training.folder.join("model.onnx"))?;
    Ok(outcome)
}

fn show(bar: &ProgressBar, event: Event, quiet: bool) {
    match event {
        Event::Start { step, steps, .. } => {
            bar.set_length(steps);
            bar.set_position(step);
            bar.reset_eta();
        }
        Event::Step { step, loss } => {
            bar.set_position(step);
            bar.set_message(format!("loss {loss:.3}"));
        }
        Event::Metrics(metrics) if metrics.span == Span::Epoch && !quiet => {
            let kl = metrics.kl.map_or(String::new(), |kl| format!("  KL {kl:.0}"));
            let state = &metrics.state;
            let accuracy = state.holdout_accuracy.zip(state.holdout_robust);
            let rmse = state.holdout_rmse.zip(state.holdout_robust_rmse);
            let held = match (accuracy, rmse) {
                (Some((clean, robust)), _) => {
                    format!("  held out {clean:.1} %, attacked {robust:.1} %")
                }
                (_, Some((clean, robust))) => {
                    format!("  held out RMSE {clean:.4}, attacked {robust:.4}")
                }
                (None, None) => String::new(),
            };
            let fit = match (metrics.train_accuracy, metrics.train_rmse) {
                (Some(accuracy), _) => format!("  accuracy {accuracy:.2} %"),
                (_, Some(rmse)) => format!("  RMSE {rmse:.4}"),
                (None, None) => String::new(),
            };
            bar.suspend(|| {
                print::remark(format_args!(
                    "epoch {:3}  loss {:.4}{fit}{kl}{held}  {:.0} images/s  {:.1} s",
                    metrics.epoch,
                    metrics.loss,
                    metrics.images_per_s,
                    metrics.seconds
                ));
            });
        }
        Event::Collapsed { epoch, best, now } => bar.suspend(|| {
            print::remark(format_args!(
                "epoch {epoch}: {now:.1} % of the images held out withstand the attack, and {best:.1} % did at best: the training has collapsed; more steps, a smaller step or --alpha may help"
            ));
        }),
        Event::Metrics(_) | Event::Saved(_) => {}
    }
}
