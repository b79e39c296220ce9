//! The program of every attack that chooses its steps on the host.

use graphs::{DType, Fact, Model, Program, Role, names};

use super::prepare::prepare;
use crate::{Result, Tape, dlr, gradients, loss};

/// What an attack raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttackLoss {
    /// The cross-entropy of the label.
    CrossEntropy,
    /// The difference of logits ratio, untargeted (Croce and Hein, ICML 2020, equation 6).
    Dlr,
    /// The same towards the class of `targets` (equation 7).
    TargetedDlr,
}

/// The slope of a loss for one draw of the weights: `images`, `labels` (and for a targeted
/// loss `targets`, int64 `[N]`), noise -> `gradient` of each image's own loss with respect
/// to it, of the shape of the images, `losses` `[N]`, and `logits` `[N, classes]`. Carries
/// nothing. BatchNormalization uses its running statistics.
///
/// # Errors
/// As [`super::predict`], when an operator has no gradient rule, or when the model has too few
/// classes for the loss.
pub fn image_gradient(model: &Model, batch: usize, loss: AttackLoss) -> Result<Program> {
    let mut prepared = prepare(model, batch)?;
    let images = prepared.images;
    let labels = prepared.labels();
    let fact = Fact::new(DType::I64, &[batch]);
    let targets = prepared.graph.input(names::TARGETS, Role::Label, fact);
    let tape = &mut Tape::new(&mut prepared.graph, "attack");
    let logits = loss::logits(tape)?;
    let losses = match loss {
        AttackLoss::CrossEntropy => loss::cross_entropy(tape, logits, labels)?,
        AttackLoss::Dlr => dlr::untargeted(tape, logits, labels)?,
        AttackLoss::TargetedDlr => dlr::targeted(tape, logits, labels, targets)?,
    };
    let sum = tape.reduce_sum(losses, &[0], false)?;
    let mut outputs = vec![(names::LOSSES, losses), (names::LOGITS, logits)];
    outputs.extend(gradients(tape, sum, &[images])?.into_iter().map(|g| (names::GRADIENT, g)));
    prepared.program(&outputs, &[])
}
