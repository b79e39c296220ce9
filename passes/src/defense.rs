//! The defences that can be trained.

use std::fmt;
use std::str::FromStr;

use graphs::Model;

use crate::variational::posteriors;
use crate::{Error, Result};

/// What training defends against, and how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Defense {
    /// Plain training.
    None,
    /// Adversarial training (Madry et al. 2018).
    Adv,
    /// A Bayesian network by variational inference, trained on clean images.
    Bnn,
    /// Adversarial training of a Bayesian network (Adv-BNN, Liu et al. 2019).
    AdvBnn,
    /// Plain training of a network with noise layers (random self-ensemble, Liu et al. 2018).
    Rse,
}

impl Defense {
    /// Every defence.
    pub const ALL: [Defense; 5] =
        [Defense::None, Defense::Adv, Defense::Bnn, Defense::AdvBnn, Defense::Rse];

    /// True when training attacks its images.
    pub fn is_adversarial(self) -> bool {
        matches!(self, Defense::Adv | Defense::AdvBnn)
    }

    /// True when the weights are random.
    pub fn is_bayesian(self) -> bool {
        matches!(self, Defense::Bnn | Defense::AdvBnn)
    }

    /// Checks that the model is of the kind that the defence trains.
    ///
    /// # Errors
    /// When a Bayesian defence meets a plain model, or the reverse.
    pub fn check(self, model: &Model) -> Result<()> {
        let bayesian = !posteriors(&model.graph)?.is_empty();
        match (self.is_bayesian(), bayesian) {
            (true, false) => Err(Error::Model(format!(
                "`{self}` trains a variational model, and this one has no variational node; run `advbnn convert` first"
            ))),
            (false, true) => Err(Error::Model(format!(
                "`{self}` trains a plain model, and this one is variational; use bnn or adv-bnn, or train the original"
            ))),
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Defense {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Defense::None => "none",
            Defense::Adv => "adv",
            Defense::Bnn => "bnn",
            Defense::AdvBnn => "adv-bnn",
            Defense::Rse => "rse",
        })
    }
}

impl FromStr for Defense {
    type Err = Error;

    fn from_str(text: &str) -> Result<Defense> {
        let found = Defense::ALL.into_iter().find(|defense| defense.to_string() == text);
        found.ok_or_else(|| {
            Error::Model(format!("no defence `{text}`; use none, adv, bnn, adv-bnn or rse"))
        })
    }
}
