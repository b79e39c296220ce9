//! Programs compiled and loaded when they are first needed, one for each batch size.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rayon::prelude::*;

use graphs::{DType, Fact, Graph, Kind, Program, Role, Tensor, Value, names};

use crate::engine::{Engine, Feed, Session, State};
use crate::noise::{Key, fill_normal, hash_name};
use crate::{Error, Result};

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// One draw of one step of an attack.
    Attack,
    /// One training step.
    Update,
    /// Class probabilities for one draw.
    Predict,
}

/// Makes the program of some purpose for batches of so many images. The programs of a
/// model read and carry one state, under the names of [`graphs::names`]. Programs that
/// attack or predict compute each image on its own and take the same noise for any batch
/// size, so that a batch may be cut into shards.
pub type Compile<'a> =
    dyn Fn(Purpose, usize) -> Result<Program, Box<dyn std::error::Error + Send + Sync>> + 'a;

/// Every program that runs so far, loaded, and the host's buffers for their noise.
pub(crate) struct Sessions<'a> {
    engine: &'a dyn Engine,
    /// What shards run on; without it, no batch is cut.
    single_threaded: Option<Box<dyn Engine>>,
    compile: &'a Compile<'a>,
    loaded: BTreeMap<(Purpose, usize), Loaded>,
    /// Of no program in particular: the noise of one run is gone when the next begins.
    buffers: Vec<Vec<f32>>,
}

pub(crate) struct Loaded {
    /// One for each shard.
    sessions: Vec<Box<dyn Session>>,
    /// Of the first shard: shapes of the inputs and outputs as far as they are known.
    graph: Graph,
    noise: Vec<Noise>,
    scalars: Vec<String>,
}

struct Noise {
    name: String,
    hash: u64,
    shape: Vec<usize>,
}

/// A stream of draws of the noise: each run of a program takes the next one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draws {
    seed: u64,
    stream: u64,
    next: u64,
}

impl Draws {
    /// The draws from number `first` on of the stream that is called `stream`.
    pub(crate) fn new(seed: u64, stream: &str, first: u64) -> Draws {
        Draws { seed, stream: hash_name(stream), next: first }
    }

    /// The numbers of the next draw, for each tensor by the hash of its name.
    pub(crate) fn draw(&mut self) -> impl Fn(u64) -> Key + use<> {
        let Draws { seed, stream, next } = *self;
        self.next += 1;
        move |tensor| Key::new(seed, next, tensor ^ stream)
    }
}

impl<'a> Sessions<'a> {
    pub(crate) fn new(engine: &'a dyn Engine, compile: &'a Compile<'a>) -> Sessions<'a> {
        Sessions {
            engine,
            single_threaded: engine.single_threaded(),
            compile,
            loaded: BTreeMap::new(),
            buffers: Vec::new(),
        }
    }

    /// How many of `batch` images each shard of a program of `purpose` has: nearly the
    /// same, in one shard for each thread at most.
    pub(crate) fn shards(&self, purpose: Purpose, batch: usize) -> Vec<usize> {
        let most = match (purpose, &self.single_threaded) {
            (Purpose::Attack | Purpose::Predict, Some(_)) => self.engine.threads(),
            _ => 1,
        };
        let count = most.min(batch).max(1);
        (0..count).map(|shard| batch / count + usize::from(shard < batch % count)).collect()
    }

    /// The program of `purpose` for `batch` images.
    ///
    /// # Errors
    /// When it cannot be compiled or the engine refuses it.
    pub(crate) fn get(&mut self, purpose: Purpose, batch: usize) -> Result<&mut Loaded> {
        let shards = self.shards(purpose, batch);
        match self.loaded.entry((purpose, batch)) {
            Entry::Occupied(loaded) => Ok(loaded.into_mut()),
            Entry::Vacant(place) => {
                let engine = match &self.single_threaded {
                    Some(engine) if shards.len() > 1 => engine.as_ref(),
                    _ => self.engine,
                };
                let compile = |batch| (self.compile)(purpose, batch).map_err(Error::Compile);
                Ok(place.insert(Loaded::new(engine, &shards, compile)?))
            }
        }
    }

    /// Runs the program of `purpose` for `batch` images once: noise comes from the next
    /// draw, every scalar that it has from `scalars`, the rest from `states`, of which
    /// there is one for each of [`Sessions::shards`]. All shards see the same noise.
    ///
    /// # Errors
    /// As [`Session::run`], for any of the shards; the states of the others may then be
    /// ahead.
    pub(crate) fn run(
        &mut self,
        purpose: Purpose,
        batch: usize,
        states: &mut [State],
        scalars: &[(&str, f64)],
        draws: &mut Draws,
    ) -> Result<Vec<Outputs>> {
        let mut buffers = std::mem::take(&mut self.buffers);
        let outputs = self
            .get(purpose, batch)
            .and_then(|loaded| loaded.run(states, scalars, draws, &mut buffers));
        self.buffers = buffers;
        outputs
    }

    /// Runs the update for `batch` images once, as [`Sessions::run`].
    pub(crate) fn update(
        &mut self,
        batch: usize,
        state: &mut State,
        scalars: &[(&str, f64)],
        draws: &mut Draws,
    ) -> Result<Outputs> {
        let states = std::slice::from_mut(state);
        let outputs = self.run(Purpose::Update, batch, states, scalars, draws)?.pop();
        outputs.ok_or_else(|| Error::Program("the update returned nothing".to_owned()))
    }
}

impl Loaded {
    fn new(
        engine: &dyn Engine,
        shards: &[usize],
        compile: impl Fn(usize) -> Result<Program>,
    ) -> Result<Loaded> {
        let (mut sessions, mut graph) = (Vec::new(), None);
        for equal in shards.chunk_by(|a, b| a == b) {
            let Some(&images) = equal.first() else { continue };
            let program = compile(images)?;
            for _ in equal {
                sessions.push(engine.load(&program)?);
            }
            graph.get_or_insert(program.model.graph);
        }
        let graph = graph.unwrap_or_default();
        let (mut noise, mut scalars) = (Vec::new(), Vec::new());
        for &id in &graph.inputs {
            let node = graph.node(id);
            match node.kind {
                Kind::Input(Role::Scalar) => scalars.push(node.name.clone()),
                Kind::Input(Role::Noise) => noise.push(Noise {
                    name: node.name.clone(),
                    hash: hash_name(&node.name),
                    shape: known(&graph, id.into(), &node.name)?,
                }),
                _ => {}
            }
        }
        Ok(Loaded { sessions, graph, noise, scalars })
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

    fn run(
        &mut self,
        states: &mut [State],
        scalars: &[(&str, f64)],
        draws: &mut Draws,
        buffers: &mut Vec<Vec<f32>>,
    ) -> Result<Vec<Outputs>> {
        let key = draws.draw();
        buffers.resize(buffers.len().max(self.noise.len()), Vec::new());
        for (noise, buffer) in self.noise.iter().zip(buffers.iter_mut()) {
            buffer.resize(noise.shape.iter().product(), 0.0);
            fill_normal(key(noise.hash), buffer);
        }
        let wanted = scalars.iter().filter(|(name, _)| self.scalars.iter().any(|s| s == name));
        let scalars: Vec<(&str, [f32; 1])> =
            wanted.map(|&(name, value)| (name, [value as f32])).collect();
        let noise = self.noise.iter().zip(buffers.iter());
        let feeds: Vec<Feed> = noise
            .map(|(noise, values)| Feed::new(&noise.name, &noise.shape, values))
            .chain(scalars.iter().map(|(name, value)| Feed::new(name, &[], value)))
            .collect();
        if let ([session], [state]) = (self.sessions.as_mut_slice(), &mut *states) {
            return Ok(vec![Outputs(session.run(state, &feeds)?)]);
        }
        let shards = self.sessions.par_iter_mut().zip(states).with_max_len(1);
        shards.map(|(session, state)| session.run(state, &feeds).map(Outputs)).collect()
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

/// The static shape of a float32 value.
fn known(graph: &Graph, value: Value, name: &str) -> Result<Vec<usize>> {
    let fact = graph.fact(value);
    let shape = fact.known_shape().filter(|_| fact.dtype == Some(DType::F32));
    shape.ok_or_else(|| {
        Error::Program(format!("input `{name}` is {fact}, not float32 of a known shape"))
    })
}
