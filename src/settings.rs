//! What the training flags and presets mean together.

use std::fmt::Debug;

use anyhow::Result;
use passes::{Defense, KlScope, Optimizer, Training};
use runtime::attack::Pgd;
use runtime::train::Schedule;
use serde::{Deserialize, Serialize};

use crate::cli::TrainingFlags;
use crate::misuse;

/// How to train: every flag resolved.
#[derive(Clone, Debug)]
pub(crate) struct Recipe {
    pub(crate) defense: Defense,
    pub(crate) attack: Option<Pgd>,
    pub(crate) alpha: f64,
    pub(crate) learning_rate: f64,
    pub(crate) batch: usize,
    pub(crate) training: Training,
    /// The preset's epochs per stage, if a preset was asked for.
    pub(crate) schedule: Option<Schedule>,
}

/// The recipe as `config.toml` shows it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    defense: String,
    optimizer: String,
    kl_scope: String,
    prior: Option<f32>,
    batchnorm_momentum: f32,
}

/// What a preset fixes; the values of the published code where it and the paper differ.
struct Preset {
    name: &'static str,
    eps: f64,
    alpha: f64,
    prior: f32,
    stages: &'static [u64],
}

const PRESETS: [Preset; 3] = [
    Preset {
        name: "paper-cifar10",
        eps: 8.0 / 256.0,
        alpha: 1.0,
        prior: 0.05,
        stages: &[80, 60, 40, 20],
    },
    Preset {
        name: "paper-stl10",
        eps: 8.0 / 256.0,
        alpha: 0.02,
        prior: 0.08,
        stages: &[60, 40, 20],
    },
    Preset {
        name: "paper-imagenet143",
        eps: 0.01,
        alpha: 0.02,
        prior: 0.1,
        stages: &[30, 20, 20, 10],
    },
];

impl Recipe {
    /// Resolves the flags: what is given wins over the preset, the preset over defaults.
    pub(crate) fn new(flags: &TrainingFlags) -> Result<Recipe> {
        let preset = flags.preset.as_deref().map(find_preset).transpose()?;
        let preset = preset.as_ref();
        let defense: Defense = match &flags.defense {
            None => Defense::AdvBnn,
            Some(text) => text.parse().map_err(|e| misuse(format!("--defense: {e}")))?,
        };
        // The published plain Bayesian network has its own weight of the KL and prior.
        let plain_bnn = preset.is_some() && defense == Defense::Bnn;
        let alpha = match preset {
            _ if plain_bnn => 0.01,
            Some(preset) => preset.alpha,
            None => 1.0,
        };
        let prior = if plain_bnn { Some(0.15) } else { preset.map(|preset| preset.prior) };
        let training = Training {
            optimizer: optimizer(flags.optimizer.as_deref(), defense)?,
            kl_scope: kl_scope(flags.kl_scope.as_deref())?,
            prior: positive("--prior", flags.prior.or(prior))?,
            ..Training::published(defense)
        };
        Ok(Recipe {
            defense,
            attack: defense.is_adversarial().then(|| attack(flags, preset)).transpose()?,
            alpha: flags.alpha.unwrap_or(alpha),
            learning_rate: flags.lr.unwrap_or(0.01),
            batch: flags.batch.unwrap_or(128),
            training,
            schedule: preset.map(|preset| Schedule::Stages(preset.stages.to_vec())),
        })
    }

    /// The part that `config.toml` shows beside the settings of the run, for a model
    /// that notes the prior `noted`.
    pub(crate) fn shown(&self, noted: f32) -> Shown {
        Shown {
            defense: self.defense.to_string(),
            optimizer: match self.training.optimizer {
                Optimizer::Adam { .. } => "adam".to_owned(),
                Optimizer::Sgd { .. } => "sgd".to_owned(),
            },
            kl_scope: match self.training.kl_scope {
                KlScope::All => "all".to_owned(),
                KlScope::LastLayer => "last-layer".to_owned(),
            },
            prior: self.defense.is_bayesian().then(|| self.training.prior.unwrap_or(noted)),
            batchnorm_momentum: self.training.momentum,
        }
    }
}

impl Shown {
    /// Checks that a run with the recipe `old` can go on with this one.
    ///
    /// # Errors
    /// Names the first setting that differs.
    pub(crate) fn check_continues(&self, old: &Shown) -> Result<()> {
        let differs = |name: &str, new: &dyn Debug, old: &dyn Debug| {
            let (new, old) = (format!("{new:?}"), format!("{old:?}"));
            match new == old {
                true => Ok(()),
                false => Err(misuse(format!(
                    "{name}: the run to resume has {old}, but {new} is asked for; give the same settings, or start a run in another folder"
                ))),
            }
        };
        differs("defense", &self.defense, &old.defense)?;
        differs("optimizer", &self.optimizer, &old.optimizer)?;
        differs("kl-scope", &self.kl_scope, &old.kl_scope)?;
        differs("prior", &self.prior, &old.prior)?;
        differs("BatchNormalization momentum", &self.batchnorm_momentum, &old.batchnorm_momentum)
    }
}

/// The flags that were given and that the defence does not read.
pub(crate) fn unused(flags: &TrainingFlags, defense: Defense) -> Vec<&'static str> {
    let attack = [
        ("--eps", flags.eps.is_some()),
        ("--steps", flags.steps.is_some()),
        ("--step-size", flags.step_size.is_some()),
        ("--random-start", flags.random_start),
        ("--draws", flags.draws.is_some()),
    ];
    let bayesian = [
        ("--alpha", flags.alpha.is_some()),
        ("--prior", flags.prior.is_some()),
        ("--kl-scope", flags.kl_scope.is_some()),
    ];
    let attack = attack.into_iter().filter(|_| !defense.is_adversarial());
    let bayesian = bayesian.into_iter().filter(|_| !defense.is_bayesian());
    attack.chain(bayesian).filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}

fn find_preset(name: &str) -> Result<Preset> {
    let known = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let found = PRESETS.into_iter().find(|preset| preset.name == name);
    found.ok_or_else(|| misuse(format!("--preset {name}: use one of {known}")))
}

fn attack(flags: &TrainingFlags, preset: Option<&Preset>) -> Result<Pgd> {
    let usual = Pgd::default();
    let number = |flag, text: &Option<String>, default| match text {
        None => Ok(default),
        Some(text) => fraction(text).filter(|number| *number <= 1.0).ok_or_else(|| {
            misuse(format!("{flag} {text}: give a number of 0 to 1 or a fraction such as 8/255"))
        }),
    };
    Ok(Pgd {
        eps: number("--eps", &flags.eps, preset.map_or(usual.eps, |preset| preset.eps))?,
        steps: flags.steps.map_or(usual.steps, |steps| steps as u64),
        step_size: number("--step-size", &flags.step_size, usual.step_size)?,
        random_start: flags.random_start,
        draws: flags.draws.map_or(usual.draws, |draws| draws as u64),
    })
}

fn optimizer(flag: Option<&str>, defense: Defense) -> Result<Optimizer> {
    match flag {
        None => Ok(Training::published(defense).optimizer),
        Some("adam") => Ok(Optimizer::ADAM),
        // Weight decay stands for a prior, which a variational model has already.
        Some("sgd") if defense.is_bayesian() => {
            Ok(Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 })
        }
        Some("sgd") => Ok(Optimizer::SGD),
        Some(other) => Err(misuse(format!("--optimizer {other}: use adam or sgd"))),
    }
}

fn kl_scope(flag: Option<&str>) -> Result<KlScope> {
    match flag {
        None | Some("all") => Ok(KlScope::All),
        Some("last-layer") => Ok(KlScope::LastLayer),
        Some(other) => Err(misuse(format!("--kl-scope {other}: use all or last-layer"))),
    }
}

fn positive(flag: &str, value: Option<f32>) -> Result<Option<f32>> {
    match value {
        Some(value) if !(value.is_finite() && value > 0.0) => {
            Err(misuse(format!("{flag} {value}: a standard deviation is positive")))
        }
        _ => Ok(value),
    }
}

/// `0.03` or `8/255`, finite and not negative.
pub(crate) fn fraction(text: &str) -> Option<f64> {
    let number = |part: &str| part.trim().parse::<f64>().ok();
    let value = match text.split_once('/') {
        Some((top, bottom)) => number(top)? / number(bottom)?,
        None => number(text)?,
    };
    (value.is_finite() && value >= 0.0).then_some(value)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn fractions() {
        assert_eq!(fraction("8/255"), Some(8.0 / 255.0));
        assert_eq!(fraction("0.1"), Some(0.1));
        for bad in ["", "a", "1/0", "-1", "nan", "1/2/3", "inf"] {
            assert_eq!(fraction(bad), None, "{bad}");
        }
    }

    #[test]
    fn flags_win_over_presets_and_presets_over_defaults() {
        let none = TrainingFlags {
            defense: None,
            eps: None,
            steps: None,
            step_size: None,
            random_start: false,
            alpha: None,
            prior: None,
            draws: None,
            kl_scope: None,
            optimizer: None,
            lr: None,
            batch: None,
            preset: None,
        };
        assert_eq!(Recipe::new(&none).unwrap().attack.unwrap().eps, 8.0 / 255.0);
        let stl = TrainingFlags { preset: Some("paper-stl10".into()), ..none.clone() };
        let recipe = Recipe::new(&stl).unwrap();
        assert_eq!((recipe.alpha, recipe.training.prior), (0.02, Some(0.08)));
        assert_eq!(recipe.schedule.unwrap().epochs(), Some(120));
        let own = TrainingFlags { alpha: Some(0.5), eps: Some("0.1".into()), ..stl };
        let recipe = Recipe::new(&own).unwrap();
        assert_eq!((recipe.alpha, recipe.attack.unwrap().eps), (0.5, 0.1));
        let plain = TrainingFlags { defense: Some("none".into()), ..none };
        assert!(Recipe::new(&plain).unwrap().attack.is_none());
    }
}
