//! Class probabilities averaged over draws of the weights, and their uncertainty.

use graphs::names;

use crate::data::Dataset;
use crate::engine::{Engine, State};
use crate::sessions::{Compile, Draws, Purpose, Sessions};
use crate::shard::{Shards, stack};
use crate::target::Form;
use crate::{Error, Result};

/// What a model says of some images. Entropies are in nats.
#[derive(Clone, Debug, PartialEq)]
pub struct Predictions {
    /// How many classes there are.
    pub classes: usize,
    /// The mean of the probabilities over the draws, `[N, classes]`.
    pub probabilities: Vec<f32>,
    /// The entropy of the mean probabilities, `[N]`.
    pub predictive_entropy: Vec<f32>,
    /// The predictive entropy less the mean entropy of the draws, `[N]`: what the model
    /// would learn of its weights from the label (Houlsby et al. 2011, BALD).
    pub mutual_information: Vec<f32>,
}

/// Which images to predict at a time, and with how many draws.
#[derive(Clone, Copy, Debug)]
pub struct PredictSettings {
    /// Images in a batch; the last batch may have fewer.
    pub batch: usize,
    /// Draws of the weights. A model without noise takes one.
    pub samples: u64,
    /// Fixes the draws.
    pub seed: u64,
}

/// Predicts `images`, whose labels are not read, with the parameters in `state`.
///
/// # Errors
/// When the images do not fit the model, or the program cannot be compiled or run.
pub fn predict(
    engine: &dyn Engine,
    compile: &Compile,
    state: &mut State,
    images: &Dataset,
    settings: &PredictSettings,
) -> Result<Predictions> {
    let mut sessions = Sessions::new(engine, compile);
    let batch = settings.batch.clamp(1, images.len());
    let form = Form::new(&sessions.get(Purpose::Predict, batch)?.images()?, images)?;
    let mut draws = Draws::new(settings.seed, "predict", 0);
    let mut all = Predictions {
        classes: 0,
        probabilities: Vec::new(),
        predictive_entropy: Vec::new(),
        mutual_information: Vec::new(),
    };
    for batch in images.batches(batch).layout(form.layout) {
        let target = form.target(batch)?;
        state.put(names::IMAGES, &target.clean)?;
        let mean = mean(&mut sessions, state, target.len(), settings.samples, &mut draws)?;
        all.classes = mean.classes;
        for (row, &expected) in mean.probabilities.chunks_exact(mean.classes).zip(&mean.entropies) {
            let predictive = entropy(row.iter().copied());
            all.probabilities.extend(row.iter().map(|&p| p as f32));
            all.predictive_entropy.push(predictive as f32);
            // Rounding alone can make it negative.
            all.mutual_information.push((predictive - expected).max(0.0) as f32);
        }
    }
    Ok(all)
}

/// Means over draws.
pub(crate) struct Mean {
    pub(crate) classes: usize,
    /// `[N, classes]`
    pub(crate) probabilities: Vec<f64>,
    /// Of each draw's probabilities, `[N]`.
    entropies: Vec<f64>,
}

impl Mean {
    /// Keeps the first `images`.
    pub(crate) fn truncate(&mut self, images: usize) {
        self.probabilities.truncate(images * self.classes);
        self.entropies.truncate(images);
    }

    /// The class with the greatest mean probability of each image, the first of equals.
    pub(crate) fn classes(&self) -> impl Iterator<Item = usize> {
        self.probabilities.chunks_exact(self.classes).map(|row| {
            let first = (0, f64::NEG_INFINITY);
            let greater = |best: (usize, f64), (i, &p)| if p > best.1 { (i, p) } else { best };
            row.iter().enumerate().fold(first, greater).0
        })
    }
}

/// The mean over `samples` draws for the `batch` images in the state.
pub(crate) fn mean(
    sessions: &mut Sessions,
    state: &State,
    batch: usize,
    samples: u64,
    draws: &mut Draws,
) -> Result<Mean> {
    let mut mean = Mean { classes: 1, probabilities: Vec::new(), entropies: vec![0.0; batch] };
    let count = each_draw(sessions, state, batch, samples, draws, |probabilities, classes| {
        mean.classes = classes;
        mean.probabilities.resize(probabilities.len(), 0.0);
        for (sum, &p) in mean.probabilities.iter_mut().zip(probabilities) {
            *sum += f64::from(p);
        }
        for (sum, row) in mean.entropies.iter_mut().zip(probabilities.chunks_exact(classes)) {
            *sum += entropy(row.iter().copied().map(f64::from));
        }
    })?;
    for sum in mean.probabilities.iter_mut().chain(&mut mean.entropies) {
        *sum /= count as f64;
    }
    Ok(mean)
}

/// Shows `see` the probabilities `[N, classes]` of each of `samples` draws, or of one
/// where all would be the same; returns how many there were.
///
/// # Errors
/// When the program cannot be compiled or run, or returns no probabilities.
pub(crate) fn each_draw(
    sessions: &mut Sessions,
    state: &State,
    batch: usize,
    samples: u64,
    draws: &mut Draws,
    mut see: impl FnMut(&[f32], usize),
) -> Result<u64> {
    let random = sessions.get(Purpose::Predict, batch)?.is_random();
    let count = if random { samples.max(1) } else { 1 };
    let sizes = sessions.shards(Purpose::Predict, batch);
    let mut shards = Shards::cut(state, &sizes, &[names::IMAGES])?;
    for _ in 0..count {
        let outputs = sessions.run(Purpose::Predict, batch, shards.states(), &[], draws)?;
        let parts = outputs.into_iter().map(|mut part| part.take(names::PROBABILITIES));
        let probabilities = stack(&parts.collect::<Result<Vec<_>>>()?)?;
        let values = probabilities.floats()?;
        match *probabilities.shape() {
            [n, classes] if n == batch && classes > 0 && values.iter().all(|p| p.is_finite()) => {
                see(&values, classes);
            }
            [n, classes] if n == batch && classes > 0 => {
                return Err(Error::Program(
                    "a probability is not finite; the weights are damaged or their noise too large"
                        .to_owned(),
                ));
            }
            _ => {
                return Err(Error::Program(format!(
                    "the probabilities are {probabilities:?}, not [{batch}, classes]"
                )));
            }
        }
    }
    Ok(count)
}

/// In nats; 0 log 0 is 0.
fn entropy(probabilities: impl Iterator<Item = f64>) -> f64 {
    -probabilities.filter(|p| *p > 0.0).map(|p| p * p.ln()).sum::<f64>()
}
