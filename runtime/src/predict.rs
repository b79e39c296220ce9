//! Predictions averaged over draws of the weights, and their uncertainty.

use graphs::names;

use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::sessions::{Compile, Purpose, Sessions};
use crate::shard::{Shards, stack};
use crate::target::Form;
use crate::uncertainty::{Numbers, Tally, entropy};
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
    let mut all = Predictions {
        classes: 0,
        probabilities: Vec::new(),
        predictive_entropy: Vec::new(),
        mutual_information: Vec::new(),
    };
    each_batch(engine, compile, state, images, settings, |sessions, state, count, draws| {
        let tally: Tally = over_draws(sessions, state, count, settings.samples, draws)?;
        all.classes = tally.classes();
        for (row, expected) in tally.means().zip(tally.expected_entropies()) {
            let predictive = entropy(row.iter().copied());
            all.probabilities.extend(row.iter().map(|&p| p as f32));
            all.predictive_entropy.push(predictive as f32);
            // Rounding alone can make it negative.
            all.mutual_information.push((predictive - expected).max(0.0) as f32);
        }
        Ok(())
    })?;
    Ok(all)
}

/// What a regression says of some images.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PredictedNumbers {
    /// How many numbers there are for an image.
    pub width: usize,
    /// Their means over the draws, `[N, width]`.
    pub outputs: Vec<f32>,
    /// Their standard deviations over the draws, `[N, width]`.
    pub std: Vec<f32>,
}

/// The same of a regression.
///
/// # Errors
/// As [`predict`].
pub fn predict_numbers(
    engine: &dyn Engine,
    compile: &Compile,
    state: &mut State,
    images: &Dataset,
    settings: &PredictSettings,
) -> Result<PredictedNumbers> {
    let mut all = PredictedNumbers::default();
    each_batch(engine, compile, state, images, settings, |sessions, state, count, draws| {
        let numbers: Numbers = over_draws(sessions, state, count, settings.samples, draws)?;
        all.width = numbers.width();
        all.outputs.extend(numbers.means().iter().map(|&mean| mean as f32));
        all.std.extend(numbers.variances().iter().map(|variance| variance.sqrt() as f32));
        Ok(())
    })?;
    Ok(all)
}

/// Shows `see` the state with one batch of `images` after the other, how many there are in it, and
/// the draws to predict them by.
fn each_batch<'a>(
    engine: &'a dyn Engine,
    compile: &'a Compile<'a>,
    state: &mut State,
    images: &Dataset,
    settings: &PredictSettings,
    mut see: impl FnMut(&mut Sessions<'a>, &State, usize, &mut Draws) -> Result<()>,
) -> Result<()> {
    let mut sessions = Sessions::new(engine, compile);
    let batch = settings.batch.clamp(1, images.len());
    let form = Form::new(&sessions.get(Purpose::Predict, batch)?.images()?, images)?;
    let mut draws = Draws::new(settings.seed, "predict", 0);
    for batch in images.batches(batch).layout(form.layout) {
        let target = form.target(batch)?;
        state.put(names::IMAGES, &target.clean)?;
        see(&mut sessions, state, target.len(), &mut draws)?;
    }
    Ok(())
}

/// What is made of an output `[N, K]` of several draws.
pub(crate) trait OfDraws: Default {
    /// The name of the output.
    const OUTPUT: &str;

    /// Takes in one more draw, whose rows are so wide.
    fn take(&mut self, output: &[f32], width: usize);
}

impl OfDraws for Tally {
    const OUTPUT: &str = names::PROBABILITIES;

    fn take(&mut self, output: &[f32], width: usize) {
        self.add(output, width);
    }
}

impl OfDraws for Numbers {
    const OUTPUT: &str = names::OUTPUTS;

    fn take(&mut self, output: &[f32], width: usize) {
        self.add(output, width);
    }
}

/// What `samples` draws say of the `batch` images in the state.
///
/// # Errors
/// As [`each_draw`].
pub(crate) fn over_draws<T: OfDraws>(
    sessions: &mut Sessions,
    state: &State,
    batch: usize,
    samples: u64,
    draws: &mut Draws,
) -> Result<T> {
    let mut all = T::default();
    let see = |output: &[f32], width| all.take(output, width);
    each_draw(sessions, state, (T::OUTPUT, batch), samples, draws, see)?;
    Ok(all)
}

/// Shows `see` the output `name`, `[N, K]`, of each of `samples` draws for the `batch` images in
/// the state, or of one draw where all would be the same; returns how many there were.
///
/// # Errors
/// When the program cannot be compiled or run, or returns no such output.
pub(crate) fn each_draw(
    sessions: &mut Sessions,
    state: &State,
    (name, batch): (&str, usize),
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
        let parts = outputs.into_iter().map(|mut part| part.take(name));
        let output = stack(&parts.collect::<Result<Vec<_>>>()?)?;
        let values = output.floats()?;
        match *output.shape() {
            [n, width] if n == batch && width > 0 && values.iter().all(|v| v.is_finite()) => {
                see(&values, width);
            }
            [n, width] if n == batch && width > 0 => {
                return Err(Error::Program(format!(
                    "one of the {name} is not finite; the weights are damaged or their noise too large"
                )));
            }
            _ => {
                return Err(Error::Program(format!("`{name}` is {output:?}, not [{batch}, K]")));
            }
        }
    }
    Ok(count)
}
