//! `advbnn train`: a run folder from a model and data.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use anyhow::{Context, Result};
use graphs::{Model, Tensor};
use indicatif::ProgressBar;
use runtime::attack::Pgd;
use runtime::checkpoint;
use runtime::data::{Dataset, Split};
use runtime::engine::Engine;
use runtime::train::{self, Event, Holdout, Job, OnCollapse, Outcome, Schedule, Settings, Span};
use serde::{Deserialize, Serialize};

use crate::cli::{Machine, Train};
use crate::programs::{Programs, open_engine};
use crate::settings::{Recipe, Shown, unused};
use crate::{data, misuse, model, print, progress};

/// Draws that a prediction of an image held out averages.
const HOLDOUT_SAMPLES: u64 = 8;

pub(crate) fn run(flags: &Train, machine: &Machine) -> Result<()> {
    let recipe = Recipe::new(&flags.training)?;
    let settings = augmented(settings(flags, &recipe)?, flags)?;
    let unused = unused(&flags.training, recipe.defense, flags.holdout.is_some());
    if !unused.is_empty() && !machine.quiet {
        let unused = unused.join(", ");
        print::remark(format_args!("note: `{}` does not use {unused}", recipe.defense));
    }
    let mut network = model::read(&flags.model)?;
    model::normalize(&mut network, flags.normalize.as_deref())?;
    recipe.apply(&mut network).with_context(|| flags.model.display().to_string())?;
    let split = data::split(&flags.split)?;
    let dataset = data::load(&flags.data, split, &network, flags.limit, machine.quiet)?;
    let settings = Settings { holdout: holdout(flags, &recipe, dataset.len())?, ..settings };
    let engine = open_engine(machine)?;

    create_folder(&flags.output)?;
    let shown = recipe.shown(passes::noted_prior(&network)?);
    Config::new(flags, split, shown, &settings, engine.as_ref())
        .save(&flags.output, flags.resume)?;
    let stop = watch_ctrl_c()?;
    let trained = train(&Training {
        model: &network,
        path: &flags.model,
        recipe: &recipe,
        settings: &settings,
        dataset: &dataset,
        engine: engine.as_ref(),
        folder: &flags.output,
        resume: flags.resume,
        stop: &stop,
        quiet: machine.quiet,
    })?;
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
            "stopped after step {}; `--resume` goes on from there",
            trained.step
        )),
    }
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
    pub(crate) resume: bool,
    pub(crate) stop: &'a AtomicBool,
    pub(crate) quiet: bool,
}

/// Trains, shows progress, and writes the best weights as `model.onnx`.
pub(crate) fn train(training: &Training) -> Result<Outcome> {
    let programs = Programs::training(training.model, training.recipe.training).on(training.engine);
    let judge = Programs::new(training.model).on(training.engine);
    let initial = programs.initial(training.path)?;
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
        resume: training.resume,
        stop: training.stop,
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
            let held = state.holdout_accuracy.zip(state.holdout_robust).map_or(
                String::new(),
                |(clean, robust)| format!("  held out {clean:.1} %, attacked {robust:.1} %"),
            );
            bar.suspend(|| {
                print::remark(format_args!(
                    "epoch {:3}  loss {:.4}  accuracy {:.2} %{kl}{held}  {:.0} images/s  {:.1} s",
                    metrics.epoch,
                    metrics.loss,
                    metrics.train_accuracy,
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

fn settings(flags: &Train, recipe: &Recipe) -> Result<Settings> {
    let schedule = match &flags.schedule {
        Some(text) => text.parse().map_err(|e| misuse(format!("--schedule: {e}")))?,
        None => recipe.schedule.clone().unwrap_or(Schedule::Constant),
    };
    let epochs = flags.epochs.map(|epochs| epochs as u64).or(schedule.epochs()).unwrap_or(10);
    Ok(Settings {
        epochs,
        batch: recipe.batch,
        seed: flags.seed,
        learning_rate: recipe.learning_rate,
        schedule,
        alpha: recipe.alpha,
        crop_padding: 0,
        flip: false,
        log_every: 50,
        checkpoint_seconds: 120,
        attack: recipe.attack,
        kl_warmup: recipe.kl_warmup,
        ema: recipe.ema,
        on_collapse: match flags.on_collapse.as_deref() {
            None | Some("stop") => OnCollapse::Stop,
            Some("warn") => OnCollapse::Warn,
            Some(other) => return Err(misuse(format!("--on-collapse {other}: use stop or warn"))),
        },
        holdout: None,
    })
}

/// What is held out of `images` images.
fn holdout(flags: &Train, recipe: &Recipe, images: usize) -> Result<Option<Holdout>> {
    // A guard has to see enough images to tell a collapse from chance, at little cost.
    let usual = if recipe.fast { (images / 10).min(256) } else { 0 };
    let count = flags.holdout.unwrap_or(usual);
    if count == 0 {
        let given = [
            ("--holdout-steps", flags.holdout_steps.is_some()),
            ("--holdout-draws", flags.holdout_draws.is_some()),
            ("--on-collapse", flags.on_collapse.is_some()),
        ];
        return match given.iter().find(|(_, given)| *given) {
            Some((flag, _)) => Err(misuse(format!("{flag} needs images held out: --holdout N"))),
            None => Ok(None),
        };
    }
    let steps = flags.holdout_steps.unwrap_or(10) as u64;
    let attack = Pgd {
        eps: recipe.eps,
        steps,
        // Madry et al. 2018: enough to cross the ball, and to come back.
        step_size: (2.5 * recipe.eps / steps.max(1) as f64).max(f64::MIN_POSITIVE),
        random_start: true,
        draws: flags.holdout_draws.unwrap_or(1) as u64,
    };
    Ok(Some(Holdout { images: count, attack, samples: HOLDOUT_SAMPLES }))
}

/// The published code's augmentation, if it is asked for.
fn augmented(settings: Settings, flags: &Train) -> Result<Settings> {
    let on = match flags.augment.as_str() {
        "on" => true,
        "off" => false,
        "auto" => flags.training.preset.is_some(),
        other => return Err(misuse(format!("--augment {other}: use auto, on or off"))),
    };
    Ok(if on { Settings { crop_padding: 4, flip: true, ..settings } } else { settings })
}

fn create_folder(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).with_context(|| format!("{}: cannot be made", path.display()))
}

/// Ctrl-C asks the run to save and end; a second one ends the program at once. All trainings of
/// one process share the flag, for there is but one handler.
pub(crate) fn watch_ctrl_c() -> Result<Arc<AtomicBool>> {
    static STOP: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    if let Some(stop) = STOP.get() {
        return Ok(Arc::clone(stop));
    }
    let stop = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&stop);
    let handler = move || {
        if asked.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        print::remark("stopping after this step; press Ctrl-C again to stop at once");
    };
    ctrlc::set_handler(handler).context("Ctrl-C cannot be watched")?;
    Ok(Arc::clone(STOP.get_or_init(|| stop)))
}

/// `config.toml`: every setting, resolved.
#[derive(Debug, Serialize)]
struct Config<'a> {
    model: &'a Path,
    data: &'a Path,
    split: String,
    limit: Option<NonZeroUsize>,
    normalize: Option<&'a str>,
    version: &'static str,
    engine: Machinery,
    recipe: Shown,
    training: &'a Settings,
}

#[derive(Debug, Serialize)]
struct Machinery {
    name: String,
    version: String,
    provider: String,
    threads: usize,
}

impl<'a> Config<'a> {
    fn new(
        flags: &'a Train,
        split: Split,
        recipe: Shown,
        training: &'a Settings,
        engine: &dyn Engine,
    ) -> Config<'a> {
        Config {
            model: &flags.model,
            data: &flags.data,
            split: split.to_string(),
            limit: flags.limit,
            normalize: flags.normalize.as_deref(),
            version: env!("CARGO_PKG_VERSION"),
            engine: Machinery {
                name: engine.name().to_owned(),
                version: engine.version().to_owned(),
                provider: engine.provider().to_string(),
                threads: engine.threads(),
            },
            recipe,
            training,
        }
    }

    /// Writes the settings, unless the folder holds a run that is not to be resumed
    /// ([`train::train`] refuses that then).
    ///
    /// # Errors
    /// When the run to resume was made by another recipe.
    fn save(&self, folder: &Path, resume: bool) -> Result<()> {
        #[derive(Deserialize)]
        struct Old {
            recipe: Shown,
            normalize: Option<String>,
        }
        let path = folder.join("config.toml");
        if folder.join(train::LAST).exists() {
            if !resume {
                return Ok(());
            }
            let text =
                std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let old: Old = toml::from_str(&text).with_context(|| path.display().to_string())?;
            self.recipe.check_continues(&old.recipe)?;
            if old.normalize.as_deref() != self.normalize {
                let (old, new) = (old.normalize.as_deref(), self.normalize);
                let [old, new] = [old, new].map(|given| given.unwrap_or("none"));
                return Err(misuse(format!(
                    "--normalize: the run to resume has {old}, but {new} is asked for; give the same settings, or start a run in another folder"
                )));
            }
        }
        let text = toml::to_string(self)?;
        Ok(runtime::write_whole(&path, |file| std::io::Write::write_all(file, text.as_bytes()))?)
    }
}
