//! The program of every attack that chooses its steps on the host.

use graphs::{Model, Program, Role, names};

use super::Estimator;
use super::prepare::{Drawn, prepare};
use crate::absorb::absorb_normalization;
use crate::{Build, Error, Likelihood, Result, dlr, gradients};

/// What an attack raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttackLoss {
    /// The cross-entropy of the label; of a regression the negative log-likelihood.
    CrossEntropy,
    /// The difference of logits ratio, untargeted (Croce and Hein, ICML 2020, equation 6).
    Dlr,
    /// The same towards the class of `targets` (equation 7).
    TargetedDlr,
}

/// The slope of a loss for one draw of the weights: `images`, `labels` (and for a targeted
/// loss `targets`, int64 `[N]`), noise -> `gradient` of each image's own loss with respect
/// to it, of the shape of the images, `losses` `[N]`, and `logits` `[N, classes]` or, of a
/// regression, `outputs` `[N, K]`. Carries nothing. BatchNormalization uses its running statistics.
///
/// # Errors
/// As [`super::predict`], when an operator has no gradient rule, or when the model has too few
/// classes for the loss, or none.
pub fn image_gradient(model: &Model, build: impl Into<Build>, loss: AttackLoss) -> Result<Program> {
    let mut prepared = prepare(model, build.into(), Estimator::Weights, Drawn::Outside)?;
    let images = prepared.images;
    let likelihood = prepared.likelihood;
    let labels = prepared.labels()?;
    let fact = prepared.graph.fact(labels).clone();
    let targets = prepared.graph.input(names::TARGETS, Role::Label, fact);
    absorb_normalization(&mut prepared.graph)?;
    let tape = &mut prepared.tape("attack");
    let said = likelihood.outputs(tape)?;
    let losses = match (loss, likelihood) {
        (AttackLoss::CrossEntropy, _) => likelihood.losses(tape, said, labels)?,
        (AttackLoss::Dlr, Likelihood::Categorical) => dlr::untargeted(tape, said, labels)?,
        (AttackLoss::TargetedDlr, Likelihood::Categorical) => {
            dlr::targeted(tape, said, labels, targets)?
        }
        (AttackLoss::Dlr | AttackLoss::TargetedDlr, Likelihood::Gaussian { .. }) => {
            return Err(Error::Model(
                "the difference of logits ratio is one of classes, and this is a regression"
                    .to_owned(),
            ));
        }
    };
    let sum = tape.reduce_sum(losses, &[0], false)?;
    let mut outputs = vec![(names::LOSSES, losses), (likelihood.name(), said)];
    outputs.extend(gradients(tape, sum, &[images])?.into_iter().map(|g| (names::GRADIENT, g)));
    prepared.program(&outputs, &[])
}
