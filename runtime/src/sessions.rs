//! Programs compiled and loaded when they are first needed, one for each batch size.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use graphs::Program;

use crate::draws::Draws;
use crate::engine::{Engine, State};
use crate::loaded::{Loaded, Outputs};
use crate::{Error, Result};

/// What a program is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Purpose {
    /// One draw of one step of PGD under L-infinity.
    Attack,
    /// One draw of the slope of a loss, for attacks that step on the host.
    Gradient(Loss),
    /// One training step.
    Update,
    /// Class probabilities and logits for one draw.
    Predict,
}

/// What an attack raises.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Loss {
    /// The cross-entropy of the label.
    CrossEntropy,
    /// The difference of logits ratio (Croce and Hein, ICML 2020).
    Dlr,
    /// The same towards a class of the attacker's choice.
    TargetedDlr,
}

impl Loss {
    /// How many classes it is defined of.
    pub(crate) fn least_classes(self) -> usize {
        match self {
            Loss::CrossEntropy => 1,
            Loss::Dlr => 3,
            Loss::TargetedDlr => 4,
        }
    }
}

/// Makes the program of some purpose for batches of so many images. The programs of a
/// model read and carry one state, under the names of [`graphs::names`]. Programs that
/// attack or predict compute each image on its own, and their noise is either the same for any
/// batch size or each image's own, so that a batch may be cut into shards.
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
            (Purpose::Attack | Purpose::Gradient(_) | Purpose::Predict, Some(_)) => {
                self.engine.threads()
            }
            _ => 1,
        };
        let count = most.min(batch).max(1);
        (0..count).map(|shard| batch / count + usize::from(shard < batch % count)).collect()
    }

    /// The program of `purpose` for `batch` images in one piece, whatever the threads.
    ///
    /// # Errors
    /// When it cannot be compiled.
    pub(crate) fn program(&self, purpose: Purpose, batch: usize) -> Result<Program> {
        (self.compile)(purpose, batch).map_err(Error::Compile)
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
    /// As [`crate::engine::Session::run`], for any of the shards; the states of the others may then be
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
