//! What `config.toml` shows of a recipe, and whether a run goes on with the same.

use std::fmt::Debug;

use anyhow::Result;
use passes::{Estimator, KlScope, Likelihood, Loss, Optimizer, Prior};
use serde::{Deserialize, Serialize};

use super::Recipe;
use crate::misuse;

/// The recipe as `config.toml` shows it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Shown {
    defense: String,
    /// Runs of versions before are of classes.
    #[serde(default = "classes")]
    likelihood: String,
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

fn classes() -> String {
    Likelihood::Categorical.to_string()
}

impl Recipe {
    /// The part that `config.toml` shows beside the settings of the run, for a model
    /// that notes this prior and likelihood.
    pub(crate) fn shown(&self, noted: Prior, likelihood: Likelihood) -> Shown {
        Shown {
            defense: self.defense.to_string(),
            likelihood: likelihood.to_string(),
            optimizer: match self.training.optimizer {
                Optimizer::Adam { .. } => "adam".to_owned(),
                Optimizer::Sgd { .. } => "sgd".to_owned(),
            },
            loss: match (self.training.loss, likelihood) {
                (Loss::CrossEntropy, Likelihood::Categorical) => "cross-entropy".to_owned(),
                (Loss::CrossEntropy, Likelihood::Gaussian { .. }) => {
                    "negative log-likelihood".to_owned()
                }
                (Loss::Trades { .. }, _) => "trades".to_owned(),
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
        differs("likelihood", &self.likelihood, &old.likelihood)?;
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
