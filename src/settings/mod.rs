//! What the training flags and presets mean together.

mod flags;
mod shown;

use anyhow::Result;
use graphs::Model;
use passes::{Defense, Likelihood, NoiseLayers, Pipeline, Prior, Training};
use runtime::attack::Pgd;
use runtime::evaluate::MOST_DRAWS;
use runtime::train::Schedule;

use crate::cli::TrainingFlags;
use crate::{misuse, model};
use flags::{attack, estimator, kl_scope, loss, noise, optimizer, share};

pub(crate) use flags::likelihood;
pub(crate) use shown::Shown;

/// Checks `--samples` of a command that averages predictions.
pub(crate) fn check_samples(samples: usize) -> Result<()> {
    match (1..=MOST_DRAWS).contains(&(samples as u64)) {
        true => Ok(()),
        false => Err(misuse(format!("--samples is 1 to {MOST_DRAWS}"))),
    }
}

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
    /// What the model's output is for, where that was asked for.
    pub(crate) likelihood: Option<Likelihood>,
    /// Whether the loss is not just the usual one.
    pub(crate) loss_given: bool,
    /// The preset's epochs per stage, if a preset was asked for.
    pub(crate) schedule: Option<Schedule>,
    /// The noise layers that training puts into the model.
    pub(crate) noise: Option<NoiseLayers>,
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
        let attack = attack(flags, preset, training.loss)?;
        let likelihood = likelihood(flags.likelihood.as_deref())?;
        let recipe = Recipe {
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
            likelihood,
            loss_given: flags.loss.is_some(),
            schedule: preset.map(|preset| Schedule::Stages(preset.stages.to_vec())),
            noise: noise(flags.noise.as_deref(), defense)?,
        };
        likelihood.map_or(Ok(()), |likelihood| recipe.fits(likelihood))?;
        Ok(recipe)
    }

    /// Checks that nothing was asked for that such answers have not.
    fn fits(&self, likelihood: Likelihood) -> Result<()> {
        self.training.check(likelihood).map_err(misuse)?;
        match likelihood {
            Likelihood::Gaussian { .. } if self.loss_given => Err(misuse(format!(
                "--loss is about classes, and likelihood {likelihood} has its own; leave it out"
            ))),
            _ => Ok(()),
        }
    }

    /// Makes of a model what this recipe trains: notes prior and likelihood, inserts noise layers.
    ///
    /// # Errors
    /// When the defence does not train such a model, or the loss is not one of its likelihood.
    pub(crate) fn apply(&self, network: &mut Model) -> Result<()> {
        self.defense.check(network)?;
        let likelihood = model::note_likelihood(network, self.likelihood)?;
        self.fits(likelihood)?;
        if let Some(prior) = self.training.prior.filter(|_| self.defense.is_bayesian()) {
            passes::note_prior(network, &prior);
        }
        match self.noise {
            Some(layers) => Ok(Pipeline::opening().then(layers).run(network)?),
            None => Ok(()),
        }
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use passes::{Estimator, Loss};

    use super::*;

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
            likelihood: None,
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
