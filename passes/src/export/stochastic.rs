//! Noise for every posterior and noise layer of a graph that draws.

use std::collections::HashMap;

use graphs::{DType, Dim, Fact, Graph, NodeId, Role, Tensor, Value, names};

use super::normals::{Builder, Noise};
use super::{SEED, ensemble, normalization, normals, openvino};
use crate::variational::{self, Draw, Posterior};
use crate::{Error, Platform, Result, fixed_batch, noise_layers};

/// What is random in a model, and where its noise comes from.
#[derive(Clone, Copy)]
pub(super) struct Randomness<'a> {
    pub(super) noise: Noise,
    pub(super) posteriors: &'a [Posterior],
    /// Of noise layers: those of the values that they add noise to, whatever the first axis.
    pub(super) shapes: &'a HashMap<NodeId, Vec<usize>>,
    pub(super) platform: Platform,
}

/// Gives every posterior and noise layer its noise and makes the graph plain; `draw` is the
/// number of the draw (int64) where it is one of several. Returns the seed input, if there
/// is one.
pub(super) fn stochastic(
    graph: &mut Graph,
    random: &Randomness,
    draw: Option<Value>,
) -> Result<Option<Value>> {
    let Randomness { noise, posteriors, platform, .. } = *random;
    let none = || Error::Model("the model has no data input".to_owned());
    let data = ensemble::data(graph).first().copied().ok_or_else(none)?;
    let seed = match noise {
        Noise::Seed if graph.source(SEED).is_some() => {
            let reason = "an input or initializer of the model is called `seed`, as the seed is";
            return Err(Error::Model(reason.to_owned()));
        }
        Noise::Seed => Some(graph.input(SEED, Role::Scalar, Fact::new(DType::I64, &[]))),
        Noise::Random | Noise::Input => None,
    };
    let builder = &mut Builder { graph, scope: "noise" };
    let seeds =
        seed.map(|seed| [seed, draw.unwrap_or_else(|| builder.constant(Tensor::scalar(0i64)))]);
    let shapes = normals::shapes(builder.graph, posteriors);
    let count = shapes.iter().map(|s| s.iter().product::<usize>()).sum();
    let noises = |values: Vec<Value>| values.into_iter().map(Draw::Noise).collect();
    let draws: Vec<Draw> = match (noise, seeds) {
        _ if posteriors.is_empty() => Vec::new(),
        (Noise::Seed, Some([seed, draw])) => {
            let normals = builder.seeded(seed, draw, count);
            noises(builder.split(normals, &shapes))
        }
        (Noise::Random, _) if platform == Platform::OpenVino => {
            let weights = openvino::draw(graph, data, posteriors, &shapes)?;
            weights.into_iter().map(Draw::Weight).collect()
        }
        (Noise::Random, _) => {
            let normals = builder.random(data, count);
            noises(builder.split(normals, &shapes))
        }
        _ => {
            let input = |(posterior, shape): (&Posterior, &Vec<usize>)| {
                let name = format!("{}{}", posterior.name, names::NOISE);
                graph.input(&name, Role::Noise, Fact::new(DType::F32, shape))
            };
            noises(posteriors.iter().zip(&shapes).map(input).collect())
        }
    };
    let by_mean: HashMap<Value, Draw> = posteriors.iter().map(|p| p.mean).zip(draws).collect();
    variational::expand_draws(graph, |_, posterior| {
        Ok(by_mean.get(&posterior.mean).copied().unwrap_or(Draw::Mean))
    })?;
    image_noise(graph, random, seeds)?;
    normalization::expand(graph)?;
    Ok(seed)
}

/// Gives every noise layer its noise and makes it plain.
fn image_noise(graph: &mut Graph, random: &Randomness, seeds: Option<[Value; 2]>) -> Result<()> {
    let mut number = 0;
    noise_layers::expand(graph, |graph, layer| {
        number += 1;
        let rest = random.shapes.get(&layer.node).and_then(|shape| shape.get(1..));
        let rest = rest.unwrap_or_default();
        let mut builder = Builder { graph: &mut *graph, scope: "noise" };
        Ok(Some(match (random.noise, seeds) {
            (Noise::Seed, Some(seeds)) => builder.seeded_like(seeds, layer.x, rest, number),
            (Noise::Input, _) => {
                let images =
                    fixed_batch(graph).map_or_else(|| Dim::Named("N".to_owned()), Dim::Known);
                let shape = [images].into_iter().chain(rest.iter().map(|&n| Dim::Known(n)));
                let fact = Fact { dtype: Some(DType::F32), shape: Some(shape.collect()) };
                graph.input(&layer.input(), Role::ImageNoise, fact)
            }
            _ => builder.random_like(layer.x),
        }))
    })
}
