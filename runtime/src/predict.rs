//! Class probabilities averaged over draws of the weights, and their uncertainty.

use graphs::names;

use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::sessions::{Compile, Purpose, Sessions};
use crate::shard::{Shards, stack};
use crate::target::Form;
use crate::uncertainty::{Tally, entropy};
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
        let (count, samples) = (target.len(), settings.samples);
        let tally = tally(&mut sessions, state, count, samples, &mut draws)?;
        all.classes = tally.classes();
        for (row, expected) in tally.means().zip(tally.expected_entropies()) {
            let predictive = entropy(row.iter().copied());
            all.probabilities.extend(row.iter().map(|&p| p as f32));
            all.predictive_entropy.push(predictive as f32);
            // Rounding alone can make it negative.
            all.mutual_information.push((predictive - expected).max(0.0) as f32);
        }
    }
    Ok(all)
}

/// What `samples` draws say of the `batch` images in the state.
///
/// # Errors
/// As [`each_draw`].
pub(crate) fn tally(
    sessions: &mut Sessions,
    state: &State,
    batch: usize,
    samples: u64,
    draws: &mut Draws,
) -> Result<Tally> {
    let mut tally = Tally::default();
    each_draw(sessions, state, batch, samples, draws, |probabilities, classes| {
        tally.add(probabilities, classes);
    })?;
    Ok(tally)
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
