//! Models as attackers and judges meet them: programs and parameters.

use graphs::{Tensor, names};

use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::predict::each_draw;
use crate::sessions::{Compile, Purpose, Sessions};
use crate::target::{Form, Target};
use crate::uncertainty::Tally;
use crate::{Error, Result};

/// How often the size of a run is halved at most when few images are left: each size is a
/// program of its own to compile.
const HALVINGS: u32 = 3;

/// A model: where its programs come from, and its parameters in the engine.
pub struct Network<'a> {
    /// Makes the programs.
    pub compile: &'a Compile<'a>,
    /// The parameters.
    pub state: State,
}

/// A model at work on images of one data set.
pub(crate) struct Running<'a> {
    pub(crate) sessions: Sessions<'a>,
    pub(crate) state: State,
    /// How it takes the images.
    pub(crate) form: Form,
    /// Whether two predictions of the same image may differ.
    pub(crate) random: bool,
    /// The most images of a run.
    batch: usize,
}

impl<'a> Running<'a> {
    /// # Errors
    /// When the data do not fit the model, or its program cannot be compiled.
    pub(crate) fn new(
        engine: &'a dyn Engine,
        network: Network<'a>,
        dataset: &Dataset,
        batch: usize,
    ) -> Result<Running<'a>> {
        let mut sessions = Sessions::new(engine, network.compile);
        let batch = batch.min(dataset.len());
        let predict = sessions.get(Purpose::Predict, batch)?;
        let form = Form::new(&predict.images()?, dataset)?;
        let random = predict.is_random();
        if let Some(classes) = predict.classes() {
            dataset.check(classes)?;
        }
        Ok(Running { sessions, state: network.state, form, random, batch })
    }

    /// # Errors
    /// When other images are not of the size that the network was opened for.
    pub(crate) fn check(&self, dataset: &Dataset) -> Result<()> {
        let ([c, h, w], [channels, height, width]) = (self.form.image, dataset.shape());
        if dataset.shape() == self.form.image {
            return Ok(());
        }
        Err(Error::Data(format!(
            "they are {channels}x{height}x{width} (channels, height, width), the others {c}x{h}x{w}; \
             give images of that size"
        )))
    }

    /// How many images the run has that so many (at most a batch) are put into.
    pub(crate) fn size(&self, images: usize) -> usize {
        let mut halves = (0..=HALVINGS).map(|halving| self.batch.div_ceil(1 << halving));
        halves.rfind(|size| *size >= images).unwrap_or(images)
    }

    /// How many draws an average of `wanted` takes: one where all would be the same.
    pub(crate) fn draws(&self, wanted: u64) -> u64 {
        if self.random { wanted.max(1) } else { 1 }
    }

    /// What `samples` draws say of `images`.
    ///
    /// # Errors
    /// When the program fails or returns no probabilities.
    pub(crate) fn predict(
        &mut self,
        images: &Tensor,
        samples: u64,
        draws: &mut Draws,
    ) -> Result<Tally> {
        let mut tally = Tally::default();
        self.each_draw(images, samples, draws, |probabilities, classes| {
            tally.add(probabilities, classes);
        })?;
        Ok(tally)
    }

    /// Shows `see` the probabilities `[N, classes]` of `images` by each of `samples` draws.
    ///
    /// # Errors
    /// When the program fails or returns no probabilities.
    pub(crate) fn each_draw(
        &mut self,
        images: &Tensor,
        samples: u64,
        draws: &mut Draws,
        mut see: impl FnMut(&[f32], usize),
    ) -> Result<()> {
        let rows = images.shape().first().copied().unwrap_or(0);
        let size = self.size(rows);
        self.state.put(names::IMAGES, &padded(images, size)?)?;
        let own = |probabilities: &[f32], classes: usize| {
            see(probabilities.get(..rows * classes).unwrap_or_default(), classes);
        };
        each_draw(&mut self.sessions, &self.state, size, samples, draws, own)?;
        Ok(())
    }
}

/// `[N, ...]` with rows repeated until there are `rows`, and `N` at least one.
///
/// # Errors
/// When there is no row to repeat.
pub(crate) fn padded(tensor: &Tensor, rows: usize) -> Result<Tensor> {
    let Some((&n, rest)) = tensor.shape().split_first().filter(|(n, _)| **n < rows) else {
        return Ok(tensor.clone());
    };
    let row = tensor.bytes().len() / n.max(1);
    let bytes: Vec<u8> = tensor.bytes().iter().copied().cycle().take(rows * row).collect();
    let shape = [&[rows], rest].concat();
    Ok(Tensor::from_bytes(tensor.dtype(), shape, bytes.into())?)
}

/// The images at `indices` as a network takes them.
///
/// # Errors
/// When there are none.
pub(crate) fn target(network: &Running, dataset: &Dataset, indices: &[usize]) -> Result<Target> {
    let mut batches = dataset.batches(indices.len()).layout(network.form.layout).only(indices);
    let lacking = || Error::Program("a batch without images".to_owned());
    network.form.target(batches.next().ok_or_else(lacking)?)
}
