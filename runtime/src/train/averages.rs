//! What training keeps beside the parameters: the optimizer's moments and averages over steps.

use std::collections::BTreeMap;

use graphs::{DType, Fact, Tensor, names};

use crate::loaded::Loaded;
use crate::{Error, Result};

/// The state that an update takes and `initial` lacks.
pub(super) struct Kept {
    /// What only the optimizer reads and writes, at zero.
    pub(super) moments: BTreeMap<String, Tensor>,
    /// Averages over steps, at what they average.
    pub(super) averages: BTreeMap<String, Tensor>,
}

impl Kept {
    /// # Errors
    /// When something is neither: then a parameter was forgotten.
    pub(super) fn new(update: &Loaded, initial: &BTreeMap<String, Tensor>) -> Result<Kept> {
        let mut kept = Kept { moments: BTreeMap::new(), averages: BTreeMap::new() };
        for (name, fact) in update.state().filter(|(name, _)| !initial.contains_key(*name)) {
            if let Some(value) = name.strip_suffix(names::EMA).and_then(|name| initial.get(name)) {
                kept.averages.insert(name.to_owned(), value.clone());
            } else {
                kept.moments.insert(name.to_owned(), moment(name, fact, initial)?);
            }
        }
        Ok(kept)
    }

    /// All of it.
    pub(super) fn all(&self) -> impl Iterator<Item = (&String, &Tensor)> {
        self.moments.iter().chain(&self.averages)
    }
}

fn moment(name: &str, fact: &Fact, initial: &BTreeMap<String, Tensor>) -> Result<Tensor> {
    let parameter = [names::VELOCITY, names::MOMENT1, names::MOMENT2]
        .iter()
        .find_map(|suffix| name.strip_suffix(suffix))
        .filter(|parameter| initial.contains_key(*parameter));
    let shape = fact.known_shape().filter(|_| fact.dtype == Some(DType::F32));
    match (parameter, shape) {
        (Some(_), Some(shape)) => Ok(Tensor::full(&shape, 0f32)?),
        _ => Err(Error::Program(format!("nothing says how the state `{name}` begins"))),
    }
}

/// How much of an average is kept at `step` (1, 2, ...): `decay`, and less at first, when the
/// average would otherwise be that of the start (TensorFlow's ExponentialMovingAverage).
pub(super) fn decay_at(decay: f64, step: u64) -> f64 {
    decay.min((1.0 + step as f64) / (10.0 + step as f64))
}

/// The tensors of a checkpoint with every parameter and statistic that has an average over steps
/// replaced by it: what is to be used.
pub fn averaged(mut tensors: BTreeMap<String, Tensor>) -> BTreeMap<String, Tensor> {
    let names: Vec<String> = tensors.keys().filter(|n| n.ends_with(names::EMA)).cloned().collect();
    for average in names {
        let base = average.strip_suffix(names::EMA).unwrap_or_default().to_owned();
        if tensors.contains_key(&base)
            && let Some(value) = tensors.remove(&average)
        {
            tensors.insert(base, value);
        }
    }
    tensors
}
