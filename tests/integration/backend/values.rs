//! Whether a model gives what it must give.

use std::fmt;

use graphs::{Fact, Kind, Model, Tensor};
use passes::Pipeline;
use runtime::engine::Engine;

use super::cases::{NodeTest, Run};
use super::compare::difference;
use super::verdict::Verdict::{self, Failed, Inapplicable, Passed};
use crate::engines::{Runner, Values};

/// The model as every command makes it first. Node tests give even axes and shapes as inputs: where
/// the upgrade wants constants, the inputs of integers and the like are those of `run`.
pub(super) fn upgraded(test: &NodeTest, run: &Run) -> passes::Result<Model> {
    let upgrade = |mut model: Model| Pipeline::opening().run(&mut model).map(|()| model);
    upgrade(test.model.clone()).or_else(|error| {
        let bound = bind(test.model.clone(), &run.inputs, |tensor| !tensor.dtype().is_float());
        upgrade(bound).map_err(|_| error)
    })
}

/// Gives a model's inputs the types and shapes of these; those that are `constant` become constants.
pub(super) fn bind(mut model: Model, inputs: &Values, constant: impl Fn(&Tensor) -> bool) -> Model {
    let graph = &mut model.graph;
    for id in std::mem::take(&mut graph.inputs) {
        let node = graph.node_mut(id);
        match inputs.get(&node.name) {
            Some(tensor) if constant(tensor) => {
                node.outputs = vec![Fact::of(tensor)];
                node.kind = Kind::Initializer(tensor.clone());
            }
            found => {
                if let Some(tensor) = found {
                    node.outputs = vec![Fact::of(tensor)];
                }
                graph.inputs.push(id);
            }
        }
    }
    model
}

/// The outputs of the upgraded model. What the engine cannot do with the file as it is
/// either is not held against the upgrade.
pub(super) fn agree(engine: &dyn Engine, test: &NodeTest, runs: &[Run]) -> Verdict {
    for given in runs {
        let model = match upgraded(test, given) {
            Ok(model) => model,
            Err(error) => return refusal(test, error.to_string()),
        };
        let Err(trouble) = run(engine, &model, given) else { continue };
        return match chance(engine, &model, given) {
            Some(reason) => reason,
            None => blame(engine, test, given, trouble),
        };
    }
    Passed
}

/// Whose fault it is that an upgraded model fails.
fn blame(engine: &dyn Engine, test: &NodeTest, given: &Run, trouble: Trouble) -> Verdict {
    match (run(engine, &test.model, given), trouble) {
        (Err(Trouble::Refused(_)), Trouble::Refused(reason)) => {
            Inapplicable(format!("{} refuses the file too", engine.name()), reason)
        }
        (Err(Trouble::Differs(_)), Trouble::Differs(reason)) => {
            Inapplicable(format!("{} gives other values of the file too", engine.name()), reason)
        }
        (Err(before), trouble) => Failed(format!("{trouble}; as it is: {before}")),
        (Ok(()), trouble) => Failed(format!("{trouble}, but not as it is")),
    }
}

/// A refusal has to say where it cannot come from and go to.
fn refusal(test: &NodeTest, message: String) -> Verdict {
    let named = |opset: i64| message.contains(&format!("opset {opset}"));
    match named(test.model.opset()) && named(graphs::OPSET) {
        true => {
            Inapplicable("the upgrade refuses it, naming operator and opsets".to_owned(), message)
        }
        false => Failed(message),
    }
}

/// Whether a model draws: runs of one session then differ.
fn chance(engine: &dyn Engine, model: &Model, given: &Run) -> Option<Verdict> {
    /// A few bits may well come out the same twice.
    const DRAWS: usize = 10;
    let mut runner = Runner::of_model(engine, model).ok()?;
    let inputs = taken(model, given);
    let first = runner.run(&inputs).ok()?;
    let others = (1..DRAWS).filter_map(|_| runner.run(&inputs).ok());
    if others.into_iter().all(|draw| difference(&draw, &first).is_none()) {
        return None;
    }
    let fits = given.outputs.iter().all(|(name, y)| {
        first.get(name).is_some_and(|d| (d.dtype(), d.shape()) == (y.dtype(), y.shape()))
    });
    Some(match fits {
        true => Inapplicable("it draws: type and shape are right".to_owned(), String::new()),
        false => Failed("it draws something of another type or shape".to_owned()),
    })
}

/// What went wrong on an engine.
#[derive(Debug)]
pub(super) enum Trouble {
    /// It does not load or run the model.
    Refused(String),
    /// It gives something else.
    Differs(String),
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Trouble::Refused(reason) => write!(f, "refused: {reason}"),
            Trouble::Differs(reason) => write!(f, "differs: {reason}"),
        }
    }
}

/// Runs a model and compares.
pub(super) fn run(engine: &dyn Engine, model: &Model, given: &Run) -> Result<(), Trouble> {
    let refused = |error: runtime::Error| Trouble::Refused(error.to_string());
    let mut runner = Runner::of_model(engine, model).map_err(refused)?;
    let found = runner.run(&taken(model, given)).map_err(refused)?;
    difference(&found, &given.outputs)
        .map_or(Ok(()), |difference| Err(Trouble::Differs(difference)))
}

/// The inputs that are still inputs of the model.
fn taken(model: &Model, given: &Run) -> Values {
    let graph = &model.graph;
    let names: Vec<&str> = graph.inputs.iter().map(|&id| graph.node(id).name.as_str()).collect();
    let taken = given.inputs.iter().filter(|(name, _)| names.contains(&name.as_str()));
    taken.map(|(name, value)| (name.clone(), value.clone())).collect()
}
