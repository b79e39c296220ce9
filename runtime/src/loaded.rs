//! One program, ready to run on every shard of a batch.

use std::collections::BTreeMap;

use rayon::prelude::*;

use graphs::{DType, Fact, Graph, Kind, Program, Role, Tensor, Value, names};

use crate::draws::Draws;
use crate::engine::{Engine, Feed, Session, State};
use crate::noise::hash_name;
use crate::{Error, Result};

/// A program, loaded once for each shard of its batch.
pub(crate) struct Loaded {
    /// One for each shard.
    sessions: Vec<Box<dyn Session>>,
    /// The images of each shard.
    sizes: Vec<usize>,
    /// Of the first shard: shapes of the inputs and outputs as far as they are known.
    graph: Graph,
    noise: Vec<Noise>,
    scalars: Vec<String>,
}

struct Noise {
    name: String,
    hash: u64,
    /// That of the whole batch.
    shape: Vec<usize>,
    /// The rows of each image, of which a shard takes those of its own images; otherwise all
    /// shards take the same numbers.
    per_image: Option<usize>,
    /// Mean and log-std in the state, where the input takes drawn weights.
    posterior: Option<(String, String)>,
}

impl Loaded {
    /// The program that `compile` makes, for shards of so many images each.
    ///
    /// # Errors
    /// When it cannot be compiled, the engine refuses it, or it draws noise of no fixed
    /// shape, or noise of images for another number of them.
    pub(crate) fn new(
        engine: &dyn Engine,
        shards: &[usize],
        compile: impl Fn(usize) -> Result<Program>,
    ) -> Result<Loaded> {
        let (mut sessions, mut graph, mut draws) = (Vec::new(), None, Vec::new());
        for equal in shards.chunk_by(|a, b| a == b) {
            let Some(&images) = equal.first() else { continue };
            let program = compile(images)?;
            for _ in equal {
                sessions.push(engine.load(&program)?);
            }
            draws = program.draws().collect();
            graph.get_or_insert(program.model.graph);
        }
        let graph = graph.unwrap_or_default();
        let (mut noise, mut scalars) = (Vec::new(), Vec::new());
        for &id in &graph.inputs {
            let node = graph.node(id);
            match node.kind {
                Kind::Input(Role::Scalar) => scalars.push(node.name.clone()),
                Kind::Input(role @ (Role::Noise | Role::ImageNoise)) => {
                    let name = node.name.clone();
                    let mut shape = known(&graph, id.into(), &name)?;
                    let per_image = match role {
                        Role::ImageNoise => Some(whole(&mut shape, shards, &name)?),
                        _ => None,
                    };
                    let hash = hash_name(&noise_name(&name));
                    let draw = draws.iter().find(|draw| draw.input == name);
                    let posterior = draw.map(|draw| (draw.mean.clone(), draw.log_std.clone()));
                    noise.push(Noise { name, hash, shape, per_image, posterior });
                }
                _ => {}
            }
        }
        Ok(Loaded { sessions, sizes: shards.to_vec(), graph, noise, scalars })
    }

    /// Whether two runs on the same images may differ.
    pub(crate) fn is_random(&self) -> bool {
        !self.noise.is_empty()
    }

    /// The shape of the images, `[N, ...]`, N those of the first shard.
    ///
    /// # Errors
    /// When the program takes no images.
    pub(crate) fn images(&self) -> Result<Vec<usize>> {
        let lacking = || Error::Program(format!("it has no input `{}`", names::IMAGES));
        let value = self.graph.source(names::IMAGES).ok_or_else(lacking)?;
        known(&self.graph, value, names::IMAGES)
    }

    /// The number of classes, if it is known before the program runs.
    pub(crate) fn classes(&self) -> Option<usize> {
        let port = self.graph.port(names::PROBABILITIES)?;
        self.graph.fact(port.value).known_shape()?.last().copied()
    }

    /// Every input of role state, with what is known of it.
    pub(crate) fn state(&self) -> impl Iterator<Item = (&str, &Fact)> {
        self.graph.inputs.iter().filter_map(|&id| {
            let node = self.graph.node(id);
            let stated = matches!(node.kind, Kind::Input(Role::State));
            stated.then(|| (node.name.as_str(), self.graph.fact(id.into())))
        })
    }

    /// Runs once, as [`crate::sessions::Sessions::run`]; `buffers` are for the noise.
    pub(crate) fn run(
        &mut self,
        states: &mut [State],
        scalars: &[(&str, f64)],
        draws: &mut Draws,
        buffers: &mut Vec<Vec<f32>>,
    ) -> Result<Vec<Outputs>> {
        let draw = draws.draw();
        buffers.resize(buffers.len().max(self.noise.len()), Vec::new());
        for (noise, buffer) in self.noise.iter().zip(buffers.iter_mut()) {
            buffer.resize(noise.shape.iter().product(), 0.0);
            match (&noise.posterior, &*states) {
                (None, _) => match (noise.per_image, noise.shape.split_first()) {
                    (Some(rows), Some((_, row))) => {
                        let size = rows * row.iter().product::<usize>();
                        draw.fill_images(noise.hash, size, buffer);
                    }
                    _ => draw.fill(noise.hash, buffer),
                },
                (Some((mean, log_std)), [state, ..]) => {
                    let (mean, log_std) = (state.floats(mean)?, state.floats(log_std)?);
                    if [mean.len(), log_std.len()] != [buffer.len(); 2] {
                        let name = &noise.name;
                        let reason =
                            format!("the posterior of `{name}` has another size in the state");
                        return Err(Error::Program(reason));
                    }
                    draw.weights(noise.hash, mean, log_std, buffer);
                }
                (Some(_), []) => return Err(Error::Program("it runs on no state".to_owned())),
            }
        }
        let wanted = scalars.iter().filter(|(name, _)| self.scalars.iter().any(|s| s == name));
        let scalars: Vec<(&str, [f32; 1])> =
            wanted.map(|&(name, value)| (name, [value as f32])).collect();
        let (noise, scalars) = (&self.noise, &scalars);
        let starts = self.sizes.iter().scan(0, |end, size| {
            let start = *end;
            *end += size;
            Some((start, *size))
        });
        let all: Vec<_> = starts.map(|(start, size)| parts(noise, buffers, start, size)).collect();
        if let ([session], [state], [parts]) =
            (self.sessions.as_mut_slice(), &mut *states, all.as_slice())
        {
            return Ok(vec![Outputs(session.run(state, &feeds(parts, scalars))?)]);
        }
        let shards = self.sessions.par_iter_mut().zip(states).zip(&all).with_max_len(1);
        let run = |((session, state), parts): ((&mut Box<dyn Session>, &mut State), &Vec<_>)| {
            session.run(state, &feeds(parts, scalars)).map(Outputs)
        };
        shards.map(run).collect()
    }
}

/// What one shard takes of a noise: its name, shape and numbers.
type Part<'a> = (&'a str, Vec<usize>, &'a [f32]);

/// The noise of the shard whose `size` images begin at number `start`.
fn parts<'a>(
    noise: &'a [Noise],
    buffers: &'a [Vec<f32>],
    start: usize,
    size: usize,
) -> Vec<Part<'a>> {
    let part = |(noise, values): (&'a Noise, &'a Vec<f32>)| {
        let mut shape = noise.shape.clone();
        let mut values = values.as_slice();
        if let (Some(rows), Some(first)) = (noise.per_image, shape.first_mut()) {
            let image = rows * (values.len() / (*first).max(1));
            values = values.get(start * image..(start + size) * image).unwrap_or_default();
            *first = rows * size;
        }
        (noise.name.as_str(), shape, values)
    };
    noise.iter().zip(buffers).map(part).collect()
}

fn feeds<'a>(noise: &'a [Part], scalars: &'a [(&str, [f32; 1])]) -> Vec<Feed<'a>> {
    let noise = noise.iter().map(|(name, shape, values)| Feed::new(name, shape, values));
    noise.chain(scalars.iter().map(|(name, value)| Feed::new(name, &[], value))).collect()
}

/// Makes the shape of the first shard's noise that of all shards; returns the rows of an image.
fn whole(shape: &mut [usize], shards: &[usize], name: &str) -> Result<usize> {
    match (shape.first_mut(), shards.first()) {
        (Some(rows), Some(&images)) if images > 0 && rows.is_multiple_of(images) => {
            let per_image = *rows / images;
            *rows = per_image * shards.iter().sum::<usize>();
            Ok(per_image)
        }
        (_, images) => Err(Error::Program(format!(
            "input `{name}` is noise of {shape:?}, not of {} images",
            images.unwrap_or(&0)
        ))),
    }
}

/// What one run returned.
#[derive(Debug)]
pub(crate) struct Outputs(BTreeMap<String, Tensor>);

impl Outputs {
    /// The output of that name.
    ///
    /// # Errors
    /// When the program has no such output.
    pub(crate) fn take(&mut self, name: &str) -> Result<Tensor> {
        self.0.remove(name).ok_or_else(|| Error::Program(format!("it has no output `{name}`")))
    }

    /// The one number of an output; `None` when the program has no such output.
    ///
    /// # Errors
    /// When the output is not one float.
    pub(crate) fn number(&self, name: &str) -> Result<Option<f64>> {
        let Some(tensor) = self.0.get(name) else { return Ok(None) };
        match tensor.floats()?.as_ref() {
            [number] => Ok(Some(f64::from(*number))),
            _ => Err(Error::Program(format!("output `{name}` is {tensor:?}, not one number"))),
        }
    }
}

/// Drawn weights come from the same numbers as noise: those of the posterior.
fn noise_name(input: &str) -> String {
    match input.strip_suffix(names::DRAW) {
        Some(posterior) => format!("{posterior}{}", names::NOISE),
        None => input.to_owned(),
    }
}

/// The static shape of a float32 value.
fn known(graph: &Graph, value: Value, name: &str) -> Result<Vec<usize>> {
    let fact = graph.fact(value);
    let shape = fact.known_shape().filter(|_| fact.dtype == Some(DType::F32));
    shape.ok_or_else(|| {
        Error::Program(format!("input `{name}` is {fact}, not float32 of a known shape"))
    })
}

#[cfg(test)]
mod tests;
