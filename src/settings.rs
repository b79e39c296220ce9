//! What the training flags and presets mean together.

use std::fmt::Debug;

use anyhow::Result;
use graphs::Model;
use passes::{
    Defense, Estimator, KlScope, Loss, NoiseLayers, Optimizer, Pipeline, Prior, Training,
};
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
    /// The radius of the attack, also of one on images held out.
    pub(crate) eps: f64,
    /// Single-step training.
    pub(crate) fast: bool,
    pub(crate) kl_warmup: f64,
    pub(crate) ema: Option<f64>,
    pub(crate) alpha: f64,
    pub(crate) learning_rate: f64,
    pub(crate) batch: usize,
    pub(crate) training: Training,
    /// The preset's epochs per stage, if a preset was asked for.
    pub(crate) schedule: Option<Schedule>,
    /// The noise layers that training puts into the model.
    pub(crate) noise: Option<NoiseLayers>,
}

/// The recipe as `config.toml` shows it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    defense: String,
    optimizer: String,
    loss: String,
    trades_beta: Option<f32>,
    label_smoothing: f32,
    kl_scope: String,
    prior: Option<String>,
    estimator: String,
    batchnorm_momentum: f32,
    /// Standard deviations in front of the first and of later convolutions.
    noise: Option<[f32; 2]>,
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
        let prior = match &flags.prior {
            Some(text) => Some(text.parse().map_err(|e| misuse(format!("--prior: {e}")))?),
            None => prior.map(Prior::Gaussian),
        };
        let estimator = estimator(flags.estimator.as_deref(), prior)?;
        let training = Training {
            optimizer: optimizer(flags.optimizer.as_deref(), defense)?,
            kl_scope: kl_scope(flags.kl_scope.as_deref())?,
            prior,
            estimator,
            loss: loss(flags, defense)?,
            label_smoothing: share("--label-smoothing", flags.label_smoothing)?,
            ema: flags.ema.is_some(),
            ..Training::published(defense)
        };
        let attack = attack(flags, preset)?;
        Ok(Recipe {
            defense,
            attack: defense.is_adversarial().then_some(attack),
            eps: attack.eps,
            fast: flags.fast && defense.is_adversarial(),
            kl_warmup: flags.kl_warmup.unwrap_or_default(),
            ema: flags.ema,
            alpha: flags.alpha.unwrap_or(alpha),
            learning_rate: flags.lr.unwrap_or(0.01),
            batch: flags.batch.unwrap_or(128),
            training,
            schedule: preset.map(|preset| Schedule::Stages(preset.stages.to_vec())),
            noise: noise(flags.noise.as_deref(), defense)?,
        })
    }

    /// Makes of a model what this recipe trains: notes the prior, inserts noise layers.
    ///
    /// # Errors
    /// When the defence does not train such a model.
    pub(crate) fn apply(&self, network: &mut Model) -> Result<()> {
        self.defense.check(network)?;
        if let Some(prior) = self.training.prior.filter(|_| self.defense.is_bayesian()) {
            passes::note_prior(network, &prior);
        }
        match self.noise {
            Some(layers) => Ok(Pipeline::opening().then(layers).run(network)?),
            None => Ok(()),
        }
    }

    /// The part that `config.toml` shows beside the settings of the run, for a model
    /// that notes the prior `noted`.
    pub(crate) fn shown(&self, noted: Prior) -> Shown {
        Shown {
            defense: self.defense.to_string(),
            optimizer: match self.training.optimizer {
                Optimizer::Adam { .. } => "adam".to_owned(),
                Optimizer::Sgd { .. } => "sgd".to_owned(),
            },
            loss: match self.training.loss {
                Loss::CrossEntropy => "cross-entropy".to_owned(),
                Loss::Trades { .. } => "trades".to_owned(),
            },
            trades_beta: match self.training.loss {
                Loss::CrossEntropy => None,
                Loss::Trades { beta } => Some(beta),
            },
            label_smoothing: self.training.label_smoothing,
            kl_scope: match self.training.kl_scope {
                KlScope::All => "all".to_owned(),
                KlScope::LastLayer => "last-layer".to_owned(),
            },
            prior: (self.defense.is_bayesian())
                .then(|| self.training.prior.unwrap_or(noted).to_string()),
            estimator: match self.training.estimator {
                Estimator::Weights => "weights".to_owned(),
                Estimator::Local => "local".to_owned(),
            },
            batchnorm_momentum: self.training.momentum,
            noise: self.noise.map(|noise| [noise.first, noise.later]),
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
        differs("loss", &self.loss, &old.loss)?;
        differs("trades-beta", &self.trades_beta, &old.trades_beta)?;
        differs("label-smoothing", &self.label_smoothing, &old.label_smoothing)?;
        differs("kl-scope", &self.kl_scope, &old.kl_scope)?;
        differs("prior", &self.prior, &old.prior)?;
        differs("estimator", &self.estimator, &old.estimator)?;
        differs("noise", &self.noise, &old.noise)?;
        differs("BatchNormalization momentum", &self.batchnorm_momentum, &old.batchnorm_momentum)
    }
}

/// The flags that were given and that the defence does not read; an attack on images held out
/// has a radius in any case.
pub(crate) fn unused(flags: &TrainingFlags, defense: Defense, holdout: bool) -> Vec<&'static str> {
    let attack = [
        ("--eps", flags.eps.is_some() && !holdout),
        ("--fast", flags.fast),
        ("--steps", flags.steps.is_some()),
        ("--step-size", flags.step_size.is_some()),
        ("--random-start", flags.random_start),
        ("--draws", flags.draws.is_some()),
    ];
    let bayesian = [
        ("--alpha", flags.alpha.is_some()),
        ("--kl-warmup", flags.kl_warmup.is_some()),
        ("--prior", flags.prior.is_some()),
        ("--estimator", flags.estimator.is_some()),
        ("--kl-scope", flags.kl_scope.is_some()),
    ];
    let noise = [("--noise", flags.noise.is_some())];
    let attack = attack.into_iter().filter(|_| !defense.is_adversarial());
    let bayesian = bayesian.into_iter().filter(|_| !defense.is_bayesian());
    let noise = noise.into_iter().filter(|_| defense != Defense::Rse);
    attack.chain(bayesian).chain(noise).filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}

fn find_preset(name: &str) -> Result<Preset> {
    let known = PRESETS.iter().map(|preset| preset.name).collect::<Vec<_>>().join(", ");
    let found = PRESETS.into_iter().find(|preset| preset.name == name);
    found.ok_or_else(|| misuse(format!("--preset {name}: use one of {known}")))
}

fn attack(flags: &TrainingFlags, preset: Option<&Preset>) -> Result<Pgd> {
    let usual = Pgd::default();
    if flags.fast && flags.steps.is_some_and(|steps| steps != 1) {
        return Err(misuse("--fast: its attack has one step; leave out --steps"));
    }
    let number = |flag, text: &Option<String>, default| match text {
        None => Ok(default),
        Some(text) => fraction(text).filter(|number| *number <= 1.0).ok_or_else(|| {
            misuse(format!("{flag} {text}: give a number of 0 to 1 or a fraction such as 8/255"))
        }),
    };
    let eps = number("--eps", &flags.eps, preset.map_or(usual.eps, |preset| preset.eps))?;
    // Wong et al. 2020, "Fast is better than free".
    let (steps, step_size) =
        if flags.fast { (1, 1.25 * eps) } else { (usual.steps, usual.step_size) };
    let trades = flags.loss.as_deref() == Some("trades");
    Ok(Pgd {
        eps,
        steps: flags.steps.map_or(steps, |steps| steps as u64),
        step_size: number("--step-size", &flags.step_size, step_size)?,
        random_start: flags.random_start || flags.fast || trades,
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

fn loss(flags: &TrainingFlags, defense: Defense) -> Result<Loss> {
    let beta = flags.trades_beta.unwrap_or(6.0);
    match flags.loss.as_deref() {
        None | Some("cross-entropy") if flags.trades_beta.is_some() => {
            Err(misuse("--trades-beta belongs to --loss trades"))
        }
        None | Some("cross-entropy") => Ok(Loss::CrossEntropy),
        Some("trades") if !defense.is_adversarial() => Err(misuse(format!(
            "--loss trades: `{defense}` has no attack; use it with adv or adv-bnn"
        ))),
        Some("trades") if beta.is_finite() && beta >= 0.0 => Ok(Loss::Trades { beta }),
        Some("trades") => Err(misuse(format!("--trades-beta {beta}: give 0 or a positive number"))),
        Some(other) => Err(misuse(format!("--loss {other}: use cross-entropy or trades"))),
    }
}

/// A number of 0 to 1, or 0.
fn share(flag: &str, value: Option<f32>) -> Result<f32> {
    match value.unwrap_or_default() {
        share if (0.0..=1.0).contains(&share) => Ok(share),
        other => Err(misuse(format!("{flag} {other}: give a number of 0 to 1"))),
    }
}

/// The noise layers of RSE: `FIRST,LATER`.
fn noise(flag: Option<&str>, defense: Defense) -> Result<Option<NoiseLayers>> {
    let Some(text) = flag else {
        return Ok((defense == Defense::Rse).then_some(NoiseLayers::RSE));
    };
    let std = |part: &str| fraction(part).map(|std| std as f32);
    let pair = text.split_once(',').and_then(|(first, later)| Some((std(first)?, std(later)?)));
    let Some((first, later)) = pair else {
        let reason = "give two standard deviations, FIRST,LATER, such as 0.2,0.1";
        return Err(misuse(format!("--noise {text}: {reason}")));
    };
    Ok((defense == Defense::Rse).then_some(NoiseLayers { first, later }))
}

fn kl_scope(flag: Option<&str>) -> Result<KlScope> {
    match flag {
        None | Some("all") => Ok(KlScope::All),
        Some("last-layer") => Ok(KlScope::LastLayer),
        Some(other) => Err(misuse(format!("--kl-scope {other}: use all or last-layer"))),
    }
}

fn estimator(flag: Option<&str>, prior: Option<Prior>) -> Result<Estimator> {
    match (flag, prior) {
        (None | Some("weights"), _) => Ok(Estimator::Weights),
        (Some("local"), None | Some(Prior::Gaussian(_))) => Ok(Estimator::Local),
        (Some("local"), Some(prior)) => Err(misuse(format!(
            "--estimator local draws no weights, and the KL to {prior} is estimated from a draw of them; give a standard deviation as --prior, or --estimator weights"
        ))),
        (Some(other), _) => Err(misuse(format!("--estimator {other}: use weights or local"))),
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
            noise: None,
            fast: false,
            estimator: None,
            loss: None,
            trades_beta: None,
            label_smoothing: None,
            kl_warmup: None,
            ema: None,
        };
        assert_eq!(Recipe::new(&none).unwrap().attack.unwrap().eps, 8.0 / 255.0);
        let stl = TrainingFlags { preset: Some("paper-stl10".into()), ..none.clone() };
        let recipe = Recipe::new(&stl).unwrap();
        assert_eq!((recipe.alpha, recipe.training.prior), (0.02, Some(Prior::Gaussian(0.08))));
        let local = TrainingFlags { estimator: Some("local".into()), ..none.clone() };
        assert_eq!(Recipe::new(&local).unwrap().training.estimator, Estimator::Local);
        let both = TrainingFlags { prior: Some("mixture:0.5,1,0.1".into()), ..local };
        assert!(Recipe::new(&both).is_err());
        assert_eq!(recipe.schedule.unwrap().epochs(), Some(120));
        let own = TrainingFlags { alpha: Some(0.5), eps: Some("0.1".into()), ..stl };
        let recipe = Recipe::new(&own).unwrap();
        assert_eq!((recipe.alpha, recipe.attack.unwrap().eps), (0.5, 0.1));
        let plain = TrainingFlags { defense: Some("none".into()), ..none.clone() };
        assert!(Recipe::new(&plain).unwrap().attack.is_none());
        let fast = TrainingFlags { fast: true, eps: Some("0.1".into()), ..none.clone() };
        let attack = Recipe::new(&fast).unwrap().attack.unwrap();
        assert_eq!((attack.steps, attack.step_size, attack.random_start), (1, 0.125, true));
        assert!(Recipe::new(&TrainingFlags { steps: Some(2), ..fast }).is_err());
        let trades = TrainingFlags { loss: Some("trades".into()), ..none };
        let recipe = Recipe::new(&trades).unwrap();
        assert_eq!(recipe.training.loss, Loss::Trades { beta: 6.0 });
        assert!(recipe.attack.unwrap().random_start);
        assert!(Recipe::new(&TrainingFlags { defense: Some("bnn".into()), ..trades }).is_err());
        let rse = TrainingFlags { defense: Some("rse".into()), ..plain.clone() };
        assert_eq!(Recipe::new(&rse).unwrap().noise, Some(NoiseLayers::RSE));
        let own = TrainingFlags { noise: Some("0.1,1/20".into()), ..rse };
        let own = Recipe::new(&own).unwrap().noise.unwrap();
        assert_eq!((own.first, own.later), (0.1, 0.05));
        let bad = TrainingFlags { noise: Some("0.1".into()), ..plain };
        assert!(Recipe::new(&bad).is_err());
    }
}
