//! Graphs for deployment: stochastic, mean or frozen; one draw or an ensemble.

mod ensemble;
mod normalization;
mod normals;
mod openvino;
mod stochastic;

use std::collections::HashMap;

use graphs::{DType, Dim, Fact, Graph, Kind, Model, Op, Tensor, names};

use crate::half_transpose::transpose_halves_in_single;
use crate::pass::Pipeline;
use crate::variational;
use crate::{Error, Platform, Result, fixed_batch, loss, noise_layers, try_free_batch};

use normals::Builder;
pub use normals::Noise;
use stochastic::{Randomness, stochastic};

/// What the exported graph computes.
#[derive(Clone, Debug, PartialEq)]
pub enum Mode {
    /// A fresh draw of the weights at every run.
    Stochastic {
        /// Where the noise comes from.
        noise: Noise,
        /// The number of draws that are averaged.
        samples: usize,
        /// Leave the variational nodes as calls of model-local functions.
        functions: bool,
    },
    /// The means of the weights.
    Mean,
    /// One draw, written into the file: the noise of every posterior by name.
    Frozen(HashMap<String, Tensor>),
}

/// What the exported file is written in, and for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Target {
    /// The operator set, 18 to 21.
    pub opset: i64,
    /// What is going to run it. Every file runs on every engine; this says where it is fast.
    pub platform: Platform,
}

impl From<i64> for Target {
    fn from(opset: i64) -> Target {
        Target { opset, platform: Platform::Any }
    }
}

/// Far more draws than anyone averages.
const MOST_SAMPLES: usize = 1 << 16;

/// The name of the seed input.
pub const SEED: &str = "seed";
/// Entropy of the mean probabilities, `[N]`, in nats.
pub const PREDICTIVE_ENTROPY: &str = "predictive_entropy";
/// Predictive entropy less the mean entropy of the draws, `[N]`, in nats.
pub const MUTUAL_INFORMATION: &str = "mutual_information";

/// Turns a model into a graph from images to `probabilities` `[N, classes]`, at an
/// opset of 18 to 21, with a free batch size; one that cannot be freed stays (see
/// [`fixed_batch`]). More than one sample adds
/// [`PREDICTIVE_ENTROPY`] and [`MUTUAL_INFORMATION`].
///
/// # Errors
/// When the model has no variational node but the mode needs one, is no classifier, or
/// the opset is out of range.
pub fn export(model: &Model, mode: &Mode, target: impl Into<Target>) -> Result<Model> {
    let Target { opset, platform } = target.into();
    if !(graphs::OPSET..=21).contains(&opset) {
        return Err(Error::Model(format!(
            "cannot export at opset {opset}: 18 to 21 are possible (from 22 on engines lack random operators)"
        )));
    }
    let mut model = model.clone();
    Pipeline::opening().run(&mut model)?;
    _ = try_free_batch(&mut model);
    let posteriors = variational::posteriors(&model.graph)?;
    let layers = noise_layers::noise_layers(&model.graph)?;
    if posteriors.is_empty() && layers.is_empty() && !matches!(mode, Mode::Mean) {
        let reason = "the model has no variational node, so there is nothing random in it; run `advbnn convert` first, or export with --mode mean";
        return Err(Error::Model(reason.to_owned()));
    }
    let shapes = noise_layers::shapes(&model)?;
    probabilities(&mut model.graph)?;
    let noise = match mode {
        Mode::Stochastic { noise, .. } => *noise,
        Mode::Mean | Mode::Frozen(_) => Noise::Random,
    };
    let random = Randomness { noise, posteriors: &posteriors, shapes: &shapes, platform };
    match mode {
        Mode::Mean => variational::expand_means(&mut model.graph)?,
        Mode::Frozen(_) if !layers.is_empty() => {
            let reason = "its noise layers draw anew for every image, so no draw can be frozen; export with --mode mean or stochastic";
            return Err(Error::Model(reason.to_owned()));
        }
        Mode::Frozen(noise) => freeze(&mut model.graph, noise)?,
        Mode::Stochastic { samples, .. } if !(1..=MOST_SAMPLES).contains(samples) => {
            let reason = format!("{samples} samples: give 1 to {MOST_SAMPLES}");
            return Err(Error::Model(reason));
        }
        Mode::Stochastic { noise: Noise::Random, samples: 1, functions: true } => {}
        Mode::Stochastic { functions: true, .. } => {
            let reason = "functions draw their noise themselves: use --functions with --noise random and one sample";
            return Err(Error::Model(reason.to_owned()));
        }
        Mode::Stochastic { samples: 1, .. } => {
            stochastic(&mut model.graph, &random, None)?;
        }
        Mode::Stochastic { samples, .. } => {
            ensemble::ensemble(&mut model.graph, &random, *samples)?;
        }
    }
    transpose_halves_in_single(&mut model.graph)?;
    describe(&mut model, mode);
    model.opsets.insert(String::new(), opset);
    model.opsets.remove("ai.onnx");
    let called = |domain: &str| {
        model.graph.ids().any(|id| model.graph.node(id).op().is_some_and(|op| op.domain == domain))
    };
    if !called(variational::DOMAIN) {
        model.opsets.remove(variational::DOMAIN);
    }
    variational::refresh_functions(&mut model)?;
    model.graph.sweep();
    model.graph.check()?;
    Ok(model)
}

/// Notes in the metadata what the graph is and where its noise comes from.
fn describe(model: &mut Model, mode: &Mode) {
    let (kind, noise, samples) = match mode {
        Mode::Mean => ("mean", None, 1),
        Mode::Frozen(_) => ("frozen", None, 1),
        Mode::Stochastic { noise, samples, .. } => ("stochastic", Some(noise), *samples),
    };
    model.metadata.retain(|key, _| !key.starts_with("advbnn."));
    let mut note = |key: &str, value: &str| {
        model.metadata.insert(format!("advbnn.{key}"), value.to_owned());
    };
    note("mode", kind);
    note("samples", &samples.to_string());
    if let Some(noise) = noise {
        note(
            "noise",
            match noise {
                Noise::Random => "random",
                Noise::Seed => "seed",
                Noise::Input => "input",
            },
        );
    }
}

/// Makes `probabilities` float32 the only output: Softmax over the classes of the logits.
fn probabilities(graph: &mut Graph) -> Result<()> {
    let (logits, dtype) = loss::logits_of(graph)?;
    let classes = graph
        .outputs
        .first()
        .and_then(|port| graph.fact(port.value).shape.as_ref()?.get(1).cloned());
    let batch = fixed_batch(graph).map_or_else(|| Dim::Named("N".to_owned()), Dim::Known);
    let builder = &mut Builder { graph, scope: "export" };
    let mut flat = builder.op(Op::new("Flatten").with("axis", 1), &[logits]);
    if dtype != Some(DType::F32) {
        flat = builder.cast(flat, DType::F32);
    }
    let softmax = builder.op(Op::new("Softmax").with("axis", -1), &[flat]);
    let shape = vec![batch, classes.unwrap_or(Dim::Unknown)];
    let node = graph.node_mut(softmax.node);
    node.outputs = vec![Fact { dtype: Some(DType::F32), shape: Some(shape) }];
    graph.outputs.clear();
    graph.output(names::PROBABILITIES, softmax);
    graph.sweep();
    Ok(())
}

/// Writes one draw into the graph as plain weights.
fn freeze(graph: &mut Graph, noise: &HashMap<String, Tensor>) -> Result<()> {
    for posterior in variational::posteriors(graph)? {
        let error = |reason: &str| Error::Model(format!("`{}`: {reason}", posterior.name));
        let constant = |value| graph.tensor(value).ok_or_else(|| error("it is not a constant"));
        let (mean, log_std) = (constant(posterior.mean)?, constant(posterior.log_std)?);
        let noise = noise.get(&posterior.name).ok_or_else(|| error("no noise is given for it"))?;
        if [log_std, noise].iter().any(|tensor| tensor.shape() != mean.shape()) {
            return Err(error("mean, log-std and noise differ in shape"));
        }
        let (means, log_stds, noise) = (mean.floats()?, log_std.floats()?, noise.floats()?);
        let draws = means.iter().zip(log_stds.iter()).zip(noise.iter());
        let weights = draws.map(|((mean, s), noise)| mean + s.exp() * noise).collect();
        let weights = Tensor::new(mean.shape(), weights)?;
        graph.node_mut(posterior.mean.node).kind = Kind::Initializer(weights);
    }
    variational::expand(graph, |_, _| Ok(None))
}
