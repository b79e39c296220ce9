//! What a training run depends on, besides the model and the images.

use serde::{Deserialize, Serialize};

use super::{Holdout, OnCollapse, Schedule};
use crate::attack::Pgd;
use crate::data::Augment;
use crate::{Error, Result};

/// The settings of a run, as its `config.toml` and its checkpoints keep them.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How often to go through the images.
    pub epochs: u64,
    /// Images in a batch; the last batch of an epoch may have fewer.
    pub batch: usize,
    /// Fixes the order of the images, the augmentation, the noise and random starts.
    pub seed: u64,
    /// The learning rate at first.
    pub learning_rate: f64,
    /// How the learning rate falls.
    pub schedule: Schedule,
    /// The KL counts `alpha / number of training images`.
    pub alpha: f64,
    /// Pads images with this many zeros on each side and cuts a random part of the
    /// old size.
    pub crop_padding: usize,
    /// Mirrors every second image, at random.
    pub flip: bool,
    /// Steps between two lines of metrics; 0 writes only one line an epoch.
    pub log_every: u64,
    /// Seconds between two checkpoints within an epoch.
    pub checkpoint_seconds: u64,
    /// Epochs over which the factor of the KL rises from nothing to all of it.
    #[serde(default)]
    pub kl_warmup: f64,
    /// How much of the averages over steps is kept at a step, if there are averages.
    #[serde(default)]
    pub ema: Option<f64>,
    /// What happens when the images held out tell that training has collapsed.
    #[serde(default)]
    pub on_collapse: OnCollapse,
    /// What the images are attacked with before each step; nothing trains on clean images.
    pub attack: Option<Pgd>,
    /// The images that tell which epoch was the best; without them it is the accuracy on the
    /// attacked training images.
    #[serde(default)]
    pub holdout: Option<Holdout>,
}

impl Settings {
    /// Whether every number makes sense.
    ///
    /// # Errors
    /// Names the first setting that makes no sense, and what to give instead.
    pub fn check(&self) -> Result<()> {
        let bad = |text: String| Err(Error::Setting(text));
        if !(1..=1_000_000).contains(&self.epochs) {
            return bad(format!("epochs: {} is not between 1 and 1000000", self.epochs));
        }
        if self.batch == 0 {
            return bad("batch: 0 is no batch size; give at least 1".to_owned());
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return bad(format!("learning rate: {} is not positive", self.learning_rate));
        }
        if !(self.alpha.is_finite() && self.alpha >= 0.0) {
            return bad(format!("alpha: {} is neither 0 nor positive", self.alpha));
        }
        if !(0.0..=1e6).contains(&self.kl_warmup) {
            return bad(format!("KL warm-up: {} is no number of epochs", self.kl_warmup));
        }
        if let Some(decay) = self.ema.filter(|decay| !(*decay > 0.0 && *decay < 1.0)) {
            return bad(format!("EMA: the decay {decay} is not between 0 and 1"));
        }
        if let Some(holdout) = &self.holdout {
            holdout.attack.check()?;
            if holdout.samples == 0 {
                return bad("holdout: 0 draws for a prediction; give at least 1".to_owned());
            }
        }
        self.attack.as_ref().map_or(Ok(()), Pgd::check)
    }

    /// The factor of the KL, before it is divided by the images, at `step`, counted from 0.
    pub(super) fn alpha_at(&self, step: u64, per_epoch: u64) -> f64 {
        let steps = self.kl_warmup * per_epoch as f64;
        let done = (step as f64 + 1.0) / steps.max(1.0);
        self.alpha * done.min(1.0)
    }

    pub(super) fn augment(&self) -> Option<Augment> {
        let augment = Augment { padding: self.crop_padding, flip: self.flip };
        (augment != Augment::default()).then_some(augment)
    }

    /// Checks that a run with `old` settings can go on with these: what only decides
    /// how long it runs and how often it reports may differ.
    ///
    /// # Errors
    /// Names the first setting that differs.
    pub(super) fn check_continues(&self, old: &Settings) -> Result<()> {
        type Fields = serde_json::Map<String, serde_json::Value>;
        let comparable = |settings: &Settings| -> Result<Fields> {
            let mut settings = settings.clone();
            (settings.log_every, settings.checkpoint_seconds) = (0, 0);
            settings.on_collapse = OnCollapse::default();
            if settings.schedule != Schedule::Cosine {
                settings.epochs = 0;
            }
            match serde_json::to_value(settings) {
                Ok(serde_json::Value::Object(fields)) => Ok(fields),
                other => Err(Error::Setting(format!("the settings are no object but {other:?}"))),
            }
        };
        let (old, new) = (comparable(old)?, comparable(self)?);
        let Some((name, value)) = new.iter().find(|(name, value)| old.get(*name) != Some(value))
        else {
            return Ok(());
        };
        let before = old.get(name).unwrap_or(&serde_json::Value::Null);
        let name = name.replace('_', " ");
        Err(Error::Setting(format!(
            "{name}: the run to resume has {before}, but {value} is asked for; give the same \
             settings, or start a run in another folder"
        )))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn settings() -> Settings {
        Settings {
            epochs: 3,
            batch: 8,
            seed: 1,
            learning_rate: 0.01,
            schedule: Schedule::Stages(vec![2, 1]),
            alpha: 1.0,
            crop_padding: 4,
            flip: true,
            log_every: 50,
            checkpoint_seconds: 300,
            attack: Some(Pgd { eps: 0.03, steps: 10, ..Pgd::default() }),
            kl_warmup: 0.0,
            ema: None,
            holdout: None,
            on_collapse: OnCollapse::Stop,
        }
    }

    #[test]
    fn a_run_goes_on_with_other_reports_and_more_epochs_but_nothing_else() {
        let old = settings();
        let longer = Settings { epochs: 9, log_every: 1, checkpoint_seconds: 1, ..settings() };
        longer.check_continues(&old).unwrap();
        let other = Settings { seed: 2, ..settings() };
        let error = other.check_continues(&old).unwrap_err().to_string();
        assert!(error.starts_with("seed: the run to resume has 1, but 2"), "{error}");
        assert!(Settings { attack: None, ..settings() }.check_continues(&old).is_err());
        let cosine = Settings { schedule: Schedule::Cosine, ..settings() };
        assert!(Settings { epochs: 4, ..cosine.clone() }.check_continues(&cosine).is_err());
    }

    #[test]
    fn settings_survive_as_text() {
        let text = serde_json::to_string(&settings()).unwrap();
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings());
        assert!(serde_json::from_str::<Settings>(&text.replace("flip", "flop")).is_err());
    }

    #[test]
    fn nonsense_names_the_setting() {
        let error = |settings: Settings| settings.check().unwrap_err().to_string();
        assert!(error(Settings { epochs: 0, ..settings() }).starts_with("epochs"));
        assert!(error(Settings { batch: 0, ..settings() }).starts_with("batch"));
        assert!(error(Settings { learning_rate: f64::NAN, ..settings() }).starts_with("learning"));
        assert!(error(Settings { alpha: -1.0, ..settings() }).starts_with("alpha"));
        assert!(error(Settings { ema: Some(1.0), ..settings() }).starts_with("EMA"));
        assert!(error(Settings { kl_warmup: -1.0, ..settings() }).starts_with("KL warm-up"));
        settings().check().unwrap();
    }

    #[test]
    fn the_kl_warms_up_in_a_straight_line() {
        let settings = Settings { alpha: 2.0, kl_warmup: 1.5, ..settings() };
        let found: Vec<f64> = (0..8).map(|step| settings.alpha_at(step, 4)).collect();
        let expected = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 6.0, 6.0].map(|sixths| sixths / 3.0);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-12), "{found:?}");
        assert_eq!(Settings { kl_warmup: 0.0, ..settings }.alpha_at(0, 4), 2.0);
    }
}
