//! What the flags of `train` mean together.

use anyhow::Result;
use runtime::attack::Pgd;
use runtime::train::{Holdout, OnCollapse, Schedule, Settings};

use crate::cli::Train;
use crate::misuse;
use crate::settings::Recipe;

/// Draws that a prediction of an image held out averages.
const HOLDOUT_SAMPLES: u64 = 8;

/// What the flags and the recipe say, but for images held out.
pub(super) fn settings(flags: &Train, recipe: &Recipe) -> Result<Settings> {
    let schedule = match &flags.schedule {
        Some(text) => text.parse().map_err(|e| misuse(format!("--schedule: {e}")))?,
        None => recipe.schedule.clone().unwrap_or(Schedule::Constant),
    };
    let epochs = flags.epochs.map(|epochs| epochs as u64).or(schedule.epochs()).unwrap_or(10);
    let on_collapse = match flags.on_collapse.as_deref() {
        None | Some("stop") => OnCollapse::Stop,
        Some("warn") => OnCollapse::Warn,
        Some(other) => return Err(misuse(format!("--on-collapse {other}: use stop or warn"))),
    };
    Ok(Settings { on_collapse, ..of_recipe(recipe, epochs, schedule, flags.seed) })
}

/// What the recipe says, without augmentation and images held out.
pub(crate) fn of_recipe(recipe: &Recipe, epochs: u64, schedule: Schedule, seed: u64) -> Settings {
    Settings {
        epochs,
        batch: recipe.batch,
        seed,
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
        on_collapse: OnCollapse::Stop,
        holdout: None,
    }
}

/// Images held out where `flags` say nothing; a guard has to see enough of them to tell a
/// collapse from chance, at little cost.
fn usual(recipe: &Recipe, images: usize) -> usize {
    if recipe.fast { (images / 10).min(256) } else { 0 }
}

/// Checks the settings, and the flags of images held out however many the data have.
pub(super) fn check_holdout(flags: &Train, recipe: &Recipe, settings: &Settings) -> Result<()> {
    let counts =
        [("--holdout-steps", flags.holdout_steps), ("--holdout-draws", flags.holdout_draws)];
    if let Some((flag, _)) = counts.iter().find(|(_, count)| *count == Some(0)) {
        return Err(misuse(format!("{flag} 0: give at least 1")));
    }
    let holdout = holdout(flags, recipe, usize::MAX)?;
    Settings { holdout, ..settings.clone() }.check().map_err(misuse)
}

/// What is held out of `images` images.
pub(super) fn holdout(flags: &Train, recipe: &Recipe, images: usize) -> Result<Option<Holdout>> {
    let count = flags.holdout.unwrap_or(usual(recipe, images));
    needs_images(flags, count)?;
    if count == 0 {
        return Ok(None);
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

fn needs_images(flags: &Train, count: usize) -> Result<()> {
    let given = [
        ("--holdout-steps", flags.holdout_steps.is_some()),
        ("--holdout-draws", flags.holdout_draws.is_some()),
        ("--on-collapse", flags.on_collapse.is_some()),
    ];
    match given.iter().find(|(_, given)| *given && count == 0) {
        Some((flag, _)) => Err(misuse(format!("{flag} needs images held out: --holdout N"))),
        None => Ok(()),
    }
}

/// The published code's augmentation, if it is asked for.
pub(super) fn augmented(settings: Settings, flags: &Train) -> Result<Settings> {
    let on = match flags.augment.as_str() {
        "on" => true,
        "off" => false,
        "auto" => flags.training.preset.is_some(),
        other => return Err(misuse(format!("--augment {other}: use auto, on or off"))),
    };
    Ok(if on { Settings { crop_padding: 4, flip: true, ..settings } } else { settings })
}
