//! The training step.

use std::collections::{HashMap, HashSet};

use graphs::{Model, Op, Program, Role, Value, names};

use super::prepare::{Drawn, Prepared, prepare};
use super::{KlScope, Loss, Training, noted_prior, twin::twin};
use crate::optimizer::Carried;
use crate::statistics::{self, Running};
use crate::{Build, Error, Likelihood, Result, Tape, gradients, loss, regression};

/// One training step on the (attacked) `images`: forward with batch statistics, mean loss +
/// `kl_scale` * KL, backward, optimizer. Carries parameters, optimizer state and running
/// statistics, and of an average its values; returns `loss`, `cross_entropy` (without label smoothing), `kl` (only with
/// posteriors), `divergence` (only of TRADES) and `correct` (of the attacked images); of a regression `nll` and
/// `squared_error` in place of `cross_entropy` and `correct`.
///
/// # Errors
/// As [`attack`](super::attack), or when nothing is to be trained.
pub fn update(model: &Model, build: impl Into<Build>, training: &Training) -> Result<Program> {
    let mut prepared = prepare(model, build.into(), training.estimator, Drawn::Inside)?;
    if prepared.trained.is_empty() {
        return Err(Error::Model("the model has no weights to train".to_owned()));
    }
    let prior = training.prior.map_or_else(|| noted_prior(model), Ok)?;
    let mut running = statistics::use_batch_statistics(&mut prepared.graph, training.momentum)?;
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

    let noise = std::mem::take(&mut prepared.noise);
    let (mut total, mut outputs) = of_images(&mut prepared, training, &mut running)?;
    let tape = &mut prepared.tape("update");
    if !scope.is_empty() {
        let kl = prior.kl(tape, &scope, |posterior| noise.get(&posterior.mean).copied())?;
        let scaled = tape.apply("Mul", &[kl, kl_scale])?;
        total = tape.apply("Add", &[total, scaled])?;
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
    if training.ema {
        let learnt: HashSet<Value> = running.iter().map(|r| r.old).chain(targets).collect();
        let learnt: Vec<Carried> =
            carried.iter().copied().filter(|c| learnt.contains(&c.old)).collect();
        carried.extend(averages(&mut prepared, &learnt)?);
    }
    prepared.program(&outputs, &carried)
}

/// Exponential moving averages of what is learnt: `decay * old + (1 - decay) * new`.
fn averages(prepared: &mut Prepared, learnt: &[Carried]) -> Result<Vec<Carried>> {
    let decay = prepared.scalar(names::EMA_DECAY);
    let tape = &mut prepared.tape("ema");
    let one = tape.number(1.0, decay)?;
    let share = tape.apply("Sub", &[one, decay])?;
    let average = |&Carried { old, new }: &Carried| {
        let name = format!("{}{}", tape.graph.node(old.node).name, names::EMA);
        let fact = tape.fact(old).clone();
        let old = tape.graph.input(&name, Role::State, fact);
        let kept = tape.apply("Mul", &[old, decay])?;
        let taken = tape.apply("Mul", &[new, share])?;
        Ok(Carried { old, new: tape.apply("Add", &[kept, taken])? })
    };
    learnt.iter().map(average).collect()
}

/// Values to return, by name.
type Outputs = Vec<(&'static str, Value)>;

/// The mean loss of the images, and what the program tells of it.
fn of_images(
    prepared: &mut Prepared,
    training: &Training,
    running: &mut [Running],
) -> Result<(Value, Outputs)> {
    training.check(prepared.likelihood)?;
    let labels = prepared.labels()?;
    if let likelihood @ Likelihood::Gaussian { .. } = prepared.likelihood {
        return of_numbers(&mut prepared.tape("update"), likelihood, labels);
    }
    let smoothing = training.label_smoothing;
    match training.loss {
        Loss::CrossEntropy => {
            let tape = &mut prepared.tape("update");
            let logits = loss::logits(tape)?;
            let [total, cross_entropy] = entropies(tape, logits, labels, smoothing)?;
            let correct = loss::correct(tape, logits, labels)?;
            let outputs = vec![(names::CROSS_ENTROPY, cross_entropy), (names::CORRECT, correct)];
            Ok((total, outputs))
        }
        Loss::Trades { beta } => {
            let [natural, attacked] = pair(prepared, running)?;
            let tape = &mut prepared.tape("update");
            let [total, cross_entropy] = entropies(tape, natural, labels, smoothing)?;
            let divergences = loss::divergence(tape, natural, attacked)?;
            let divergence = mean(tape, divergences)?;
            let beta = tape.number(f64::from(beta), divergence)?;
            let scaled = tape.apply("Mul", &[divergence, beta])?;
            let total = tape.apply("Add", &[total, scaled])?;
            let correct = loss::correct(tape, attacked, labels)?;
            let outputs = vec![
                (names::CROSS_ENTROPY, cross_entropy),
                (names::DIVERGENCE, divergence),
                (names::CORRECT, correct),
            ];
            Ok((total, outputs))
        }
    }
}

/// The same of a regression.
fn of_numbers(tape: &mut Tape, likelihood: Likelihood, answers: Value) -> Result<(Value, Outputs)> {
    let said = likelihood.outputs(tape)?;
    let losses = likelihood.losses(tape, said, answers)?;
    let nll = mean(tape, losses)?;
    let errors = regression::squared_errors(tape, said, answers)?;
    let error = mean(tape, errors)?;
    let width = tape.shape(said)?.get(1).copied().unwrap_or(1);
    let share = tape.number(1.0 / width as f64, error)?;
    let error = tape.apply("Mul", &[error, share])?;
    Ok((nll, vec![(names::NLL, nll), (names::SQUARED_ERROR, error)]))
}

/// The logits of the clean and of the attacked images for one draw of the weights, each with
/// the statistics of its own batch. The running statistics see the clean batch first, then the
/// attacked one.
fn pair(prepared: &mut Prepared, running: &mut [Running]) -> Result<[Value; 2]> {
    let (images, clean) = (prepared.images, prepared.clean());
    prepared.graph.rewire(images, clean);
    let natural = loss::logits(&mut prepared.tape("update"))?;
    let mut twins = HashMap::from([(clean, images)]);
    twins.extend(running.iter().map(|running| (running.old, running.new)));
    let twins = twin(&mut prepared.graph, twins)?;
    for statistic in running {
        statistic.new = twins.get(&statistic.new).copied().unwrap_or(statistic.new);
    }
    Ok([natural, twins.get(&natural).copied().unwrap_or(natural)])
}

/// The mean cross-entropy with smoothed labels, and without.
fn entropies(tape: &mut Tape, logits: Value, labels: Value, smoothing: f32) -> Result<[Value; 2]> {
    let losses = loss::cross_entropy(tape, logits, labels)?;
    let plain = mean(tape, losses)?;
    if smoothing == 0.0 {
        return Ok([plain, plain]);
    }
    let uniform = loss::uniform_cross_entropy(tape, logits)?;
    let uniform = mean(tape, uniform)?;
    let mut share = |value, share: f32| {
        let share = tape.number(f64::from(share), value)?;
        tape.apply("Mul", &[value, share])
    };
    let parts = [share(plain, 1.0 - smoothing)?, share(uniform, smoothing)?];
    Ok([tape.apply("Add", &parts)?, plain])
}

/// The mean over `[N]`.
fn mean(tape: &mut Tape, values: Value) -> Result<Value> {
    let zero = tape.ints(&[0]);
    tape.op(Op::new("ReduceMean").with("keepdims", 0), &[values, zero])
}
