//! Compiles a model into the programs that train and attack it.
//!
//! All of them read the same state (parameters, running statistics, the images under
//! attack), under the same names, so that an engine keeps it once.

mod image_gradient;
mod prepare;
mod state;

use graphs::{Model, Program, Role, Value, names};

use crate::absorb::absorb_normalization;
use crate::optimizer::{Carried, Optimizer};
use crate::{Build, Defense, Error, Result, gradients, loss, statistics};

pub use image_gradient::{AttackLoss, image_gradient};
use prepare::{Drawn, prepare};
pub use state::{initial_state, note_prior, noted_prior, store_state};

/// What the update step minimises besides the cross-entropy, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Which posteriors the KL sums over.
    pub kl_scope: KlScope,
    /// The standard deviation of the prior; `None` takes the one that `convert` noted
    /// in the model.
    pub prior: Option<f32>,
    /// The share of the new batch in running statistics.
    pub momentum: f32,
}

impl Training {
    /// As the published code trains: Adam for a Bayesian defence, SGD for a plain one; the
    /// KL over all posteriors; running statistics that take a tenth of each batch.
    pub fn published(defense: Defense) -> Training {
        Training {
            optimizer: if defense.is_bayesian() { Optimizer::ADAM } else { Optimizer::SGD },
            kl_scope: KlScope::All,
            prior: None,
            momentum: 0.1,
        }
    }
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
/// `[N, classes]`.
///
/// # Errors
/// When the model is no image classifier or holds an operator without a rule.
pub fn predict(model: &Model, build: impl Into<Build>) -> Result<Program> {
    let mut prepared = prepare(model, build.into(), Drawn::Outside)?;
    absorb_normalization(&mut prepared.graph)?;
    let tape = &mut prepared.tape("predict");
    let logits = loss::logits(tape)?;
    let softmax = graphs::Op::new("Softmax").with("axis", -1);
    let probabilities = tape.op(softmax, &[logits])?;
    prepared.program(&[(names::PROBABILITIES, probabilities), (names::LOGITS, logits)], &[])
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
    let mut prepared = prepare(model, build.into(), Drawn::Outside)?;
    let images = prepared.images;
    let labels = prepared.labels();
    let fact = prepared.graph.fact(images).clone();
    let clean = prepared.graph.input(names::CLEAN, Role::Data, fact.clone());
    let before = prepared.graph.input(names::GRADIENT, Role::State, fact);
    let keep = prepared.scalar(names::KEEP);
    let radius = prepared.scalar(names::RADIUS);
    let step_size = prepared.scalar(names::STEP_SIZE);

    absorb_normalization(&mut prepared.graph)?;
    let tape = &mut prepared.tape("attack");
    let logits = loss::logits(tape)?;
    let losses = loss::cross_entropy(tape, logits, labels)?;
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

/// One training step on the (attacked) `images`: forward with batch statistics, mean
/// cross-entropy + `kl_scale` * KL, backward, optimizer. Carries parameters, optimizer
/// state and running statistics; returns `loss`, `cross_entropy`, `kl` (only with
/// posteriors) and `correct`.
///
/// # Errors
/// As [`attack`], or when nothing is to be trained.
pub fn update(model: &Model, build: impl Into<Build>, training: &Training) -> Result<Program> {
    let mut prepared = prepare(model, build.into(), Drawn::Inside)?;
    if prepared.trained.is_empty() {
        return Err(Error::Model("the model has no weights to train".to_owned()));
    }
    let prior = training.prior.map_or_else(|| noted_prior(model), Ok)?;
    let running = statistics::use_batch_statistics(&mut prepared.graph, training.momentum)?;
    let labels = prepared.labels();
    let learning_rate = prepared.scalar(names::LEARNING_RATE);
    let step = prepared.scalar(names::STEP);
    let kl_scale = prepared.scalar(names::KL_SCALE);
    let scope = match training.kl_scope {
        KlScope::All => prepared.posteriors.clone(),
        KlScope::LastLayer => std::mem::take(&mut prepared.last_layer),
    };
    let trained: Vec<(String, Value)> = prepared
        .trained
        .iter()
        .map(|&value| (prepared.graph.node(value.node).name.clone(), value))
        .collect();

    let tape = &mut prepared.tape("update");
    let logits = loss::logits(tape)?;
    let losses = loss::cross_entropy(tape, logits, labels)?;
    let correct = loss::correct(tape, logits, labels)?;
    let zero = tape.ints(&[0]);
    let mean = graphs::Op::new("ReduceMean").with("keepdims", 0);
    let cross_entropy = tape.op(mean, &[losses, zero])?;
    let mut total = cross_entropy;
    let mut outputs = vec![(names::CROSS_ENTROPY, cross_entropy), (names::CORRECT, correct)];
    if !scope.is_empty() {
        let kl = loss::kl(tape, &scope, prior)?;
        let scaled = tape.apply("Mul", &[kl, kl_scale])?;
        total = tape.apply("Add", &[cross_entropy, scaled])?;
        outputs.push((names::KL, kl));
    }
    outputs.push((names::LOSS, total));

    let targets: Vec<Value> = trained.iter().map(|(_, value)| *value).collect();
    let slopes = gradients(tape, total, &targets)?;
    let schedule = training.optimizer.schedule(tape, learning_rate, step)?;
    let mut carried: Vec<Carried> =
        running.iter().map(|r| Carried { old: r.old, new: r.new }).collect();
    for ((name, parameter), gradient) in trained.iter().zip(slopes) {
        carried.extend(training.optimizer.update(tape, name, *parameter, gradient, schedule)?);
    }
    prepared.program(&outputs, &carried)
}
