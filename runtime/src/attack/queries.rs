//! What an attacker asks of a model, averaged over draws of its weights.

use graphs::{Tensor, names};

use crate::draws::Draws;
use crate::loaded::Outputs;
use crate::network::{Running, padded};
use crate::sessions::{Loss, Purpose};
use crate::shard::{Shards, stack};
use crate::target::Target;
use crate::uncertainty::{Numbers, add_logs};
use crate::{Error, Result};

/// A model under attack. Every answer is a mean over draws of the weights (EOT, Athalye et
/// al. 2018), one where the model has no noise.
pub(crate) struct Queries<'q, 'a> {
    pub(crate) network: &'q mut Running<'a>,
    pub(crate) draws: &'q mut Draws,
    /// Draws for each answer.
    pub(crate) average: u64,
}

/// Means of the losses of some images, and where they rise.
pub(crate) struct Slopes {
    /// Of each image's loss with respect to it: as many elements as the images.
    pub(crate) gradient: Vec<f32>,
    /// `[N]`
    pub(crate) losses: Vec<f64>,
    /// Of classes [`Scores::margins`], `[N]`.
    pub(crate) margins: Vec<f64>,
}

/// The logarithm of the mean over draws of the class probabilities, up to a constant, `[N,
/// classes]`; there may be more rows than images. It is taken from logits, so that it still
/// tells classes apart whose probabilities are 0 in float32.
pub(crate) struct Scores {
    /// How many classes each image has to have that are not ruled out, by a logit of -inf.
    least: usize,
    pub(crate) classes: usize,
    pub(crate) logs: Vec<f64>,
}

impl Queries<'_, '_> {
    /// The loss of `images` (as many elements as the clean ones of `target`) and its slope;
    /// a targeted loss goes towards the classes `goals`, one for each image.
    ///
    /// # Errors
    /// When the program cannot be compiled or run, or its logits are of no classes, or of too
    /// few for the loss.
    pub(crate) fn slopes(
        &mut self,
        loss: Loss,
        target: &Target,
        images: &[f32],
        goals: &[i64],
    ) -> Result<Slopes> {
        let targeted = loss == Loss::TargetedDlr;
        let (rows, size) = (target.len(), self.network.size(target.len()));
        let mut placed = vec![names::IMAGES, names::LABELS];
        self.place(target, images, size)?;
        if targeted {
            self.network.state.put(names::TARGETS, &padded(&Tensor::vector(goals), size)?)?;
            placed.push(names::TARGETS);
        }
        let mut slopes =
            Slopes { gradient: vec![0.0; images.len()], losses: vec![0.0; rows], margins: vec![] };
        let mut scores = Scores::of(loss.least_classes());
        let count = self.each(Purpose::Gradient(loss), size, &placed, |outputs| {
            if !target.is_regression() {
                scores.add(&joined(outputs, names::LOGITS)?)?;
            }
            let gradient = joined(outputs, names::GRADIENT)?;
            for (sum, part) in slopes.gradient.iter_mut().zip(gradient.floats()?.iter()) {
                *sum += part;
            }
            let losses = joined(outputs, names::LOSSES)?;
            for (sum, part) in slopes.losses.iter_mut().zip(losses.floats()?.iter()) {
                *sum += f64::from(*part);
            }
            Ok(())
        })?;
        slopes.losses.iter_mut().for_each(|sum| *sum /= count as f64);
        if !target.is_regression() {
            slopes.margins = scores.margins(&target.labels)?;
        }
        Ok(slopes)
    }

    /// How `images` are classified, each of them among `least` classes at least.
    ///
    /// # Errors
    /// As [`Queries::slopes`].
    pub(crate) fn scores(
        &mut self,
        target: &Target,
        images: &[f32],
        least: usize,
    ) -> Result<Scores> {
        let size = self.network.size(target.len());
        self.place(target, images, size)?;
        let mut scores = Scores::of(least);
        self.each(Purpose::Predict, size, &[names::IMAGES], |outputs| {
            scores.add(&joined(outputs, names::LOGITS)?)
        })?;
        Ok(scores)
    }

    /// How far `images` are from being answered right, `[N]`: of classes [`Scores::margins`], of a
    /// regression the squared error of the mean answer.
    ///
    /// # Errors
    /// As [`Queries::slopes`].
    pub(crate) fn margins(&mut self, target: &Target, images: &[f32]) -> Result<Vec<f64>> {
        if !target.is_regression() {
            return self.scores(target, images, 1)?.margins(&target.labels);
        }
        let size = self.network.size(target.len());
        self.place(target, images, size)?;
        let mut numbers = Numbers::default();
        self.each(Purpose::Predict, size, &[names::IMAGES], |outputs| {
            let outputs = joined(outputs, names::OUTPUTS)?;
            numbers.add(&outputs.floats()?, outputs.shape().last().copied().unwrap_or(1));
            Ok(())
        })?;
        Ok(numbers.squared_errors(&target.labels.values::<f32>()?))
    }

    /// Puts `images` and the labels of `target` into the state, in a run of `size`.
    fn place(&mut self, target: &Target, images: &[f32], size: usize) -> Result<()> {
        let images = Tensor::new(target.clean.shape(), images.to_vec())?;
        self.draws.show(&target.indices);
        self.network.state.put(names::IMAGES, &padded(&images, size)?)?;
        self.network.state.put(names::LABELS, &padded(&target.labels, size)?)
    }

    /// Shows `see` what every draw returns, a part for each shard; returns how many there
    /// were.
    fn each(
        &mut self,
        purpose: Purpose,
        size: usize,
        placed: &[&str],
        mut see: impl FnMut(&mut [Outputs]) -> Result<()>,
    ) -> Result<u64> {
        let count = self.network.draws(self.average);
        let Running { sessions, state, .. } = &mut *self.network;
        let mut shards = Shards::cut(state, &sessions.shards(purpose, size), placed)?;
        for _ in 0..count {
            see(&mut sessions.run(purpose, size, shards.states(), &[], self.draws)?)?;
        }
        Ok(count)
    }
}

impl Scores {
    fn of(least: usize) -> Scores {
        Scores { least, classes: 0, logs: Vec::new() }
    }

    /// Takes one more draw's `logits` `[size, classes]` in.
    fn add(&mut self, logits: &Tensor) -> Result<()> {
        let &[_, classes] = logits.shape() else {
            return Err(Error::Program(format!("the logits are {logits:?}, not [N, classes]")));
        };
        let values = logits.floats()?;
        if let Some(logit) = values.iter().find(|l| !l.is_finite() && **l != f32::NEG_INFINITY) {
            let reason = format!("a logit is {logit}; the weights are damaged");
            return Err(Error::Program(reason));
        }
        let rows = values.chunks_exact(classes.max(1));
        let possible = |row: &[f32]| row.iter().filter(|logit| logit.is_finite()).count();
        let (fewest, least) = (rows.clone().map(possible).min().unwrap_or(0), self.least);
        if fewest < least {
            let reason = match fewest {
                0 => "all logits of an image are -inf; the weights are damaged".to_owned(),
                _ => format!(
                    "all logits of an image but {fewest} are -inf, and the DLR loss needs {least} \
                     classes; attack with the cross-entropy"
                ),
            };
            return Err(Error::Program(reason));
        }
        self.classes = classes;
        self.logs.resize(values.len(), f64::NEG_INFINITY);
        for (logs, row) in self.logs.chunks_exact_mut(classes.max(1)).zip(rows) {
            let row = row.iter().map(|&logit| f64::from(logit));
            let total = row.clone().fold(f64::NEG_INFINITY, add_logs);
            logs.iter_mut().zip(row).for_each(|(log, logit)| *log = add_logs(*log, logit - total));
        }
        Ok(())
    }

    /// By how much the most likely other class is ahead of the label of each image, in
    /// the logarithm of the mean probability: positive where the image is misclassified; infinite
    /// where the label or all other classes are ruled out.
    ///
    /// # Errors
    /// When the labels are none.
    pub(crate) fn margins(&self, labels: &Tensor) -> Result<Vec<f64>> {
        let labels = labels.values::<i64>()?;
        let margin = |(row, &label): (&[f64], &i64)| {
            let own = usize::try_from(label).ok();
            let log = own.and_then(|own| row.get(own)).copied().unwrap_or(f64::NEG_INFINITY);
            let others = row.iter().enumerate().filter(|(class, _)| Some(*class) != own);
            others.map(|(_, other)| *other).fold(f64::NEG_INFINITY, f64::max) - log
        };
        Ok(self.logs.chunks_exact(self.classes.max(1)).zip(labels.iter()).map(margin).collect())
    }
}

/// An output of all shards.
fn joined(outputs: &mut [Outputs], name: &str) -> Result<Tensor> {
    let parts: Result<Vec<Tensor>> = outputs.iter_mut().map(|part| part.take(name)).collect();
    stack(&parts?)
}
