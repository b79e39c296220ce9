//! Compiles a model into the programs that train and attack it.
//!
//! All of them read the same state (parameters, running statistics, the images under
//! attack), under the same names, so that an engine keeps it once.

mod image_gradient;
mod prepare;
mod state;
mod twin;
mod update;

use graphs::{Model, Program, Role, Value, names};

use crate::absorb::absorb_normalization;
use crate::optimizer::{Carried, Optimizer};
use crate::{Build, Defense, Error, Likelihood, Prior, Result, gradients, loss};

pub use image_gradient::{AttackLoss, image_gradient};
use prepare::{Drawn, Prepared, prepare};
pub use state::{initial_state, note_prior, noted_prior, store_state};
use twin::twin;
pub use update::update;

/// What the update step minimises, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// What it minimises besides the KL.
    pub loss: Loss,
    /// The share of the uniform distribution in the labels (Szegedy et al. 2016), 0 to 1.
    pub label_smoothing: f32,
    /// Which posteriors the KL sums over.
    pub kl_scope: KlScope,
    /// The prior; `None` takes the one that is noted in the model.
    pub prior: Option<Prior>,
    /// What is drawn.
    pub estimator: Estimator,
    /// The share of the new batch in running statistics.
    pub momentum: f32,
    /// Whether averages over steps are kept of parameters and running statistics.
    pub ema: bool,
}

impl Training {
    /// As the published code trains: Adam for a Bayesian defence, SGD for a plain one; the
    /// KL over all posteriors; running statistics that take a tenth of each batch.
    pub fn published(defense: Defense) -> Training {
        Training {
            optimizer: if defense.is_bayesian() { Optimizer::ADAM } else { Optimizer::SGD },
            loss: Loss::CrossEntropy,
            label_smoothing: 0.0,
            kl_scope: KlScope::All,
            prior: None,
            estimator: Estimator::Weights,
            momentum: 0.1,
            ema: false,
        }
    }

    /// Checks that what is minimised is defined of such answers.
    ///
    /// # Errors
    /// When it is of classes, and the answers are numbers.
    pub fn check(&self, likelihood: Likelihood) -> Result<()> {
        let classes = match (likelihood, self.loss) {
            (Likelihood::Categorical, _) => return Ok(()),
            (_, Loss::Trades { .. }) => "TRADES compares the probabilities of classes",
            _ if self.label_smoothing > 0.0 => "label smoothing mixes classes",
            _ => return Ok(()),
        };
        Err(Error::Model(format!("{classes}, and likelihood {likelihood} has none; leave it out")))
    }
}

/// What training minimises on images and attacks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Loss {
    /// The cross-entropy of the attacked images, which the attack maximises (Madry et al.
    /// 2018); of a regression the negative log-likelihood.
    #[default]
    CrossEntropy,
    /// TRADES (Zhang et al. 2019, eq. 5): the cross-entropy of the clean images + `beta` *
    /// KL(clean probabilities || attacked ones), which the attack maximises.
    Trades {
        /// Weighs robustness against accuracy; 6 in the paper.
        beta: f32,
    },
}

/// What training draws at every run of the network (Adv-BNN, section 3).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Estimator {
    /// The weights, once for all images of a batch (Blundell et al. 2015), as prediction does.
    #[default]
    Weights,
    /// The activations of products with random weights, for each image (Kingma et al. 2015).
    Local,
}

/// Which posteriors the KL sums over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KlScope {
    /// All, as the paper has it.
    #[default]
    All,
    /// Those of the last variational node only, as the published code's VGG does.
    LastLayer,
}

/// One draw of the weights: `images`, noise -> `probabilities` and `logits`, both
/// `[N, classes]`, or of a regression `outputs` `[N, K]`.
///
/// # Errors
/// When the model is no classifier or regression of images or holds an operator without a rule.
pub fn predict(model: &Model, build: impl Into<Build>) -> Result<Program> {
    let mut prepared = prepare(model, build.into(), Estimator::Weights, Drawn::Outside)?;
    absorb_normalization(&mut prepared.graph)?;
    let likelihood = prepared.likelihood;
    let tape = &mut prepared.tape("predict");
    let said = likelihood.outputs(tape)?;
    let mut outputs = Vec::new();
    if likelihood == Likelihood::Categorical {
        let softmax = graphs::Op::new("Softmax").with("axis", -1);
        outputs.push((names::PROBABILITIES, tape.op(softmax, &[said])?));
    }
    outputs.push((likelihood.name(), said));
    prepared.program(&outputs, &[])
}

/// One draw of one step of PGD under L-infinity (Adv-BNN, algorithm 1).
///
/// `gradient` becomes `keep * gradient` plus the gradient of this draw, then `images`
/// move by `step_size * sign(gradient)`, stay within `radius` of `clean`, then within
/// [0, 1]. Both are carried. With `keep` 0 and the step size this is a whole step of
/// PGD; k runs of which the last alone has a step size and the first alone `keep` 0
/// are a step of EOT-PGD with k draws. BatchNormalization uses its running statistics.
/// Returns `losses` `[N]` of the images before the step.
///
/// # Errors
/// As [`predict`], or when an operator has no gradient rule.
pub fn attack(model: &Model, build: impl Into<Build>) -> Result<Program> {
    likelihood_attack(prepare(model, build.into(), Estimator::Weights, Drawn::Outside)?)
}

/// The attack that training makes: on what its loss says, drawing what it draws.
///
/// Of TRADES the losses are KL(probabilities of `clean` || those of `images`), both for the same
/// draw, and no labels are read. They have no slope where the images are the clean ones, so the
/// attack has to start elsewhere.
///
/// # Errors
/// As [`attack`].
pub fn training_attack(
    model: &Model,
    build: impl Into<Build>,
    training: &Training,
) -> Result<Program> {
    let prepared = prepare(model, build.into(), training.estimator, Drawn::Outside)?;
    match training.loss {
        Loss::CrossEntropy => likelihood_attack(prepared),
        Loss::Trades { .. } => {
            training.check(prepared.likelihood)?;
            divergence_attack(prepared)
        }
    }
}

fn likelihood_attack(mut prepared: Prepared) -> Result<Program> {
    absorb_normalization(&mut prepared.graph)?;
    let likelihood = prepared.likelihood;
    let labels = prepared.labels()?;
    let clean = prepared.clean();
    let tape = &mut prepared.tape("attack");
    let said = likelihood.outputs(tape)?;
    let losses = likelihood.losses(tape, said, labels)?;
    step_of_pgd(prepared, clean, losses)
}

fn divergence_attack(mut prepared: Prepared) -> Result<Program> {
    absorb_normalization(&mut prepared.graph)?;
    let clean = prepared.clean();
    let images = prepared.images;
    let attacked = loss::logits(&mut prepared.tape("attack"))?;
    let twins = twin(&mut prepared.graph, [(images, clean)].into())?;
    let natural = twins.get(&attacked).copied().unwrap_or(attacked);
    let tape = &mut prepared.tape("attack");
    let losses = loss::divergence(tape, natural, attacked)?;
    step_of_pgd(prepared, clean, losses)
}

/// A step that makes `losses` `[N]` greater.
fn step_of_pgd(mut prepared: Prepared, clean: Value, losses: Value) -> Result<Program> {
    let images = prepared.images;
    let fact = prepared.graph.fact(images).clone();
    let before = prepared.graph.input(names::GRADIENT, Role::State, fact);
    let keep = prepared.scalar(names::KEEP);
    let radius = prepared.scalar(names::RADIUS);
    let step_size = prepared.scalar(names::STEP_SIZE);

    let tape = &mut prepared.tape("attack");
    let sum = tape.reduce_sum(losses, &[0], false)?;
    let mut gradient = tape.apply("Mul", &[before, keep])?;
    for part in gradients(tape, sum, &[images])? {
        gradient = tape.apply("Add", &[gradient, part])?;
    }
    let sign = tape.apply("Sign", &[gradient])?;
    let step = tape.apply("Mul", &[sign, step_size])?;
    let moved = tape.apply("Add", &[images, step])?;
    let least = tape.apply("Sub", &[clean, radius])?;
    let most = tape.apply("Add", &[clean, radius])?;
    let above = tape.apply("Max", &[moved, least])?;
    let inside = tape.apply("Min", &[above, most])?;
    let [zero, one] = [tape.number(0.0, images)?, tape.number(1.0, images)?];
    let next = tape.apply("Clip", &[inside, zero, one])?;
    let carried = [Carried { old: images, new: next }, Carried { old: before, new: gradient }];
    prepared.program(&[(names::LOSSES, losses)], &carried)
}
