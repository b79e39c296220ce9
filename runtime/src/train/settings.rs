//! What a training run depends on, besides the model and the images.

use serde::{Deserialize, Serialize};

use super::Schedule;
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
    /// What the images are attacked with before each step; nothing trains on clean images.
    pub attack: Option<Pgd>,
}

impl Settings {
    /// # Errors
    /// Names the first setting that makes no sense, and what to give instead.
    pub(super) fn check(&self) -> Result<()> {
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
        self.attack.as_ref().map_or(Ok(()), Pgd::check)
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
        let comparable = |settings: &Settings| {
            let mut settings = settings.clone();
            (settings.log_every, settings.checkpoint_seconds) = (0, 0);
            if settings.schedule != Schedule::Cosine {
                settings.epochs = 0;
            }
            // A struct of plain fields always becomes an object.
            match serde_json::to_value(settings) {
                Ok(serde_json::Value::Object(fields)) => fields,
                _ => serde_json::Map::new(),
            }
        };
        let (old, new) = (comparable(old), comparable(self));
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
        settings().check().unwrap();
    }
}
