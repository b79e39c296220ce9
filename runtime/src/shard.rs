//! Batches cut into shards that run side by side.
//!
//! An attack and a prediction compute each image on its own, so where an engine gains
//! little from threads inside an operator, every thread runs a part of the batch instead.

use bytes::Bytes;
use graphs::Tensor;

use crate::engine::State;
use crate::{Error, Result};

/// The states of the shards of one batch: each has its own rows of what belongs to the
/// images, and shares the rest.
pub(crate) struct Shards(Vec<State>);

impl Shards {
    /// Cuts the values `names` of `state`, each `[N, ...]`, into shards of so many rows.
    ///
    /// # Errors
    /// When a value is not there or has another number of rows, or the engine has no
    /// memory for its parts.
    pub(crate) fn cut(state: &State, sizes: &[usize], names: &[&str]) -> Result<Shards> {
        let mut shards: Vec<State> = sizes.iter().map(|_| state.share()).collect();
        if shards.len() > 1 {
            for name in names {
                let lacking = || Error::Program(format!("`{name}` is not in the state"));
                let whole = state.get(name)?.ok_or_else(lacking)?;
                for (shard, part) in shards.iter_mut().zip(unstack(&whole, sizes, name)?) {
                    shard.put(name, &part)?;
                }
            }
        }
        Ok(Shards(shards))
    }

    /// The state of each shard.
    pub(crate) fn states(&mut self) -> &mut [State] {
        &mut self.0
    }

    /// Puts the value `name` of all shards together again, into `state`.
    ///
    /// # Errors
    /// When a shard does not have it, or the engine has no memory for it; the state then
    /// is as it was.
    pub(crate) fn join(&self, state: &mut State, name: &str) -> Result<()> {
        if let [one] = self.0.as_slice() {
            state.adopt(name, one);
            return Ok(());
        }
        let lacking = || Error::Program(format!("`{name}` is not in the state of a shard"));
        let part = |shard: &State| shard.get(name)?.ok_or_else(lacking);
        let parts: Result<Vec<Tensor>> = self.0.iter().map(part).collect();
        state.put(name, &stack(&parts?)?)
    }
}

/// The rows of `whole`, `[N, ...]`, in parts of so many rows.
fn unstack(whole: &Tensor, sizes: &[usize], name: &str) -> Result<Vec<Tensor>> {
    let rows = sizes.iter().sum::<usize>();
    let Some((_, row)) = whole.shape().split_first().filter(|(n, _)| **n == rows && rows > 0)
    else {
        return Err(Error::Program(format!("`{name}` is {whole:?}, not of {rows} images")));
    };
    let size = whole.bytes().len() / rows;
    let mut rest = whole.bytes().clone();
    let part = |&rows: &usize| {
        let shape = [&[rows], row].concat();
        Ok(Tensor::from_bytes(whole.dtype(), shape, rest.split_to(rows * size))?)
    };
    sizes.iter().map(part).collect()
}

/// Tensors `[n, ...]` one after another, `[N, ...]`.
///
/// # Errors
/// When they differ in more than the number of rows.
pub(crate) fn stack(parts: &[Tensor]) -> Result<Tensor> {
    let lacking = || Error::Program("there are no shards".to_owned());
    let (first, others) = parts.split_first().ok_or_else(lacking)?;
    if others.is_empty() {
        return Ok(first.clone());
    }
    let row = first.shape().get(1..);
    let (mut rows, mut data) = (0, Vec::new());
    for part in parts {
        if (part.dtype(), part.shape().get(1..)) != (first.dtype(), row) {
            return Err(Error::Program(format!("shards returned {first:?} and {part:?}")));
        }
        rows += part.shape().first().unwrap_or(&0);
        data.extend_from_slice(part.bytes());
    }
    let shape = [&[rows], row.unwrap_or_default()].concat();
    Ok(Tensor::from_bytes(first.dtype(), shape, Bytes::from(data))?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Value, names};

    use super::*;
    use crate::attack::{Pgd, strongest};
    use crate::draws::Draws;
    use crate::engine::{Choice, Engine, Settings, open};
    use crate::linear::{Linear, SHAPE, dataset, weight};
    use crate::network::{Network, Running};
    use crate::predict::{PredictSettings, Predictions, predict};
    use crate::sessions::{Purpose, Sessions};
    use crate::target::{Form, Target};

    const N: usize = 7;

    fn tract(threads: usize) -> Box<dyn Engine> {
        let settings =
            Settings { engine: Choice::Tract, threads: Some(threads), ..Settings::default() };
        open(&settings).unwrap()
    }

    fn state(engine: &dyn Engine) -> State {
        let mut state = engine.state();
        state.put("weight", &weight(3)["weight"]).unwrap();
        state
    }

    fn target() -> Target {
        let (dataset, [c, h, w]) = (dataset(N, 3), SHAPE);
        let form = Form::new(&[N, c, h, w], &dataset).unwrap();
        form.target(dataset.batches(N).next().unwrap()).unwrap()
    }

    #[test]
    fn shards_are_nearly_equal_and_only_of_programs_that_may_be_cut() {
        let compile = |purpose, batch| Linear { classes: 3, std: None }.compile(purpose, batch);
        let (one, three) = (tract(1), tract(3));
        let sessions = Sessions::new(&*three, &compile);
        assert_eq!(sessions.shards(Purpose::Attack, N), [3, 2, 2]);
        assert_eq!(sessions.shards(Purpose::Predict, 2), [1, 1]);
        assert_eq!(sessions.shards(Purpose::Update, N), [N]);
        assert_eq!(Sessions::new(&*one, &compile).shards(Purpose::Attack, N), [N]);
    }

    /// Random starts, several draws and restarts, a noisy model: all that could differ.
    #[test]
    fn attacks_and_predictions_do_not_depend_on_the_threads() {
        let compile =
            |purpose, batch| Linear { classes: 3, std: Some(0.3) }.compile(purpose, batch);
        let results = |threads| -> (Vec<f32>, Predictions) {
            let engine = tract(threads);
            let data = dataset(N, 3);
            let network = Network { compile: &compile, state: state(&*engine) };
            let mut network = Running::new(&*engine, network, &data, N).unwrap();
            let mut images = Vec::new();
            for spec in
                ["pgd:steps=4,eot=3,restarts=2", "apgd-ce:steps=4,eot=2", "square:queries=9"]
            {
                let (spec, draws) = (spec.parse().unwrap(), Draws::new(5, "attack", 0));
                let found = strongest(&mut network, &spec, 0.1, &target(), draws).unwrap();
                images.extend_from_slice(&found.values::<f32>().unwrap());
            }
            let settings = PredictSettings { batch: 4, samples: 5, seed: 1 };
            let mut state = network.state;
            (images, predict(&*engine, &compile, &mut state, &data, &settings).unwrap())
        };
        let near = |found: &[f32], expected: &[f32]| {
            assert_eq!(found.len(), expected.len());
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-5));
        };
        let (images, predictions) = results(1);
        for threads in [2, 3, 16] {
            let (other_images, other) = results(threads);
            near(&other_images, &images);
            near(&other.probabilities, &predictions.probabilities);
            near(&other.predictive_entropy, &predictions.predictive_entropy);
            near(&other.mutual_information, &predictions.mutual_information);
        }
    }

    /// images <- images + table[label], which fails for a label that the table lacks.
    fn pick(batch: usize) -> Program {
        let mut graph = Graph::new("pick");
        let fact = Fact::new(DType::I64, &[batch]);
        let labels = graph.input(names::LABELS, Role::Label, fact);
        let images = Fact::new(DType::F32, &[batch, 1, 2, 2]);
        let images = graph.input(names::IMAGES, Role::Data, images);
        let table = graph.initializer("table", Tensor::full(&[3, 1, 2, 2], 0.5f32).unwrap());
        let mut op = |name: &str, arguments: [Value; 2]| -> Value {
            let fact = vec![Fact::default()];
            graph.op(name, Op::new(name), &arguments.map(Some), fact).into()
        };
        let picked = op("Gather", [table, labels]);
        let next = op("Add", [images, picked]);
        graph.output("next", next);
        Program::new(Model::new(graph), &[("next".to_owned(), names::IMAGES.to_owned())])
    }

    #[test]
    fn a_shard_that_fails_fails_the_run_which_leaves_the_state() {
        let engine = tract(3);
        let compile = |_, batch| Ok(pick(batch));
        let mut sessions = Sessions::new(&*engine, &compile);
        let (mut state, mut draws) = (engine.state(), Draws::new(0, "attack", 0));
        let mut attack = |labels: [i64; N]| {
            let target = Target { labels: Tensor::vector(&labels), ..target() };
            let attack = Pgd { steps: 2, ..Pgd::default() };
            let result = attack.run(&mut sessions, &mut state, &target, &mut draws);
            let pixel = |images: Tensor| images.values::<f32>().unwrap()[N * 4 - 1];
            let left = pixel(state.get(names::IMAGES).unwrap().unwrap());
            (result.map_err(|error| error.to_string()), left - pixel(target.clean))
        };
        let (error, moved) = attack([0, 1, 2, 0, 1, 7, 0]);
        assert!(error.unwrap_err().contains("Gather"));
        assert_eq!(moved, 0.0);
        assert_eq!(attack([0; N]), (Ok(()), 1.0));
    }
}
