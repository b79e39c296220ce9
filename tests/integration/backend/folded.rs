//! What the table of operators infers and computes: shapes, and constants.

use graphs::{Fact, Model, Tensor};
use passes::{Error, Fold, Lower, Pipeline, ops};
use runtime::engine::Engine;

use super::cases::{NodeTest, Run};
use super::values::{bind, run, upgraded};
use super::verdict::Verdict::{self, Failed, Inapplicable, Passed};
use crate::engines::Values;

/// A model with static shapes, all of whose inputs are constants but some of floating point.
pub(super) struct Folded {
    pub(super) model: Model,
    /// The inputs that are left, and the outputs.
    pub(super) run: Run,
}

impl Folded {
    /// Leaves all inputs of floating point free; where a rule wants a constant among them, the
    /// first; or none.
    pub(super) fn new(test: &NodeTest, run: &Run) -> Result<Folded, Verdict> {
        let float = |(_, tensor): &(&String, &Tensor)| tensor.dtype().is_float();
        let free: Values =
            run.inputs.iter().filter(float).map(|(k, v)| (k.clone(), v.clone())).collect();
        let first = free.iter().take(1).map(|(k, v)| (k.clone(), v.clone())).collect();
        let mut refused = None;
        for inputs in [free, first, Values::new()] {
            match fold(test, run, &inputs) {
                Ok(model) => {
                    if let Some(op) = without_row(&model) {
                        return Err(Inapplicable("no row for it".to_owned(), op));
                    }
                    return Ok(Folded { model, run: Run { inputs, outputs: run.outputs.clone() } });
                }
                Err(error) => _ = refused.get_or_insert(error),
            }
        }
        Err(match refused {
            Some(Error::UnknownOperator { op, .. }) => Inapplicable("no row for it".to_owned(), op),
            Some(error) if upgraded(test, run).is_err() => {
                Inapplicable("the upgrade refuses it".to_owned(), error.to_string())
            }
            error => Failed(error.map_or_else(String::new, |error| error.to_string())),
        })
    }
}

/// An operator of which nothing is inferred but what the file says.
fn without_row(model: &Model) -> Option<String> {
    let bodies = ["If", "Loop", "Scan"];
    let mut ops = model.graph.ids().filter_map(|id| model.graph.node(id).op());
    let op = ops.find(|op| ops::find(op).is_none() && !bodies.contains(&&*op.op_type))?;
    Some(op.op_type.clone())
}

/// The folded model on `inputs`; the other ones are constants.
fn fold(test: &NodeTest, given: &Run, inputs: &Values) -> passes::Result<Model> {
    let model = bind(upgraded(test, given)?, &given.inputs, |_| false);
    let rest = given.inputs.iter().filter(|(name, _)| !inputs.contains_key(*name));
    let rest = rest.map(|(name, value)| (name.clone(), value.clone())).collect();
    let mut model = bind(model, &rest, |_| true);
    Pipeline::new().then(Fold).then(Lower).run(&mut model)?;
    Ok(model)
}

/// Types and shapes that were inferred, and the outputs of the folded model wherever an engine
/// gives the right ones without folding.
pub(super) fn agrees(engines: &[Box<dyn Engine>], test: &NodeTest, runs: &[Run]) -> Verdict {
    for given in runs {
        let folded = match Folded::new(test, given) {
            Ok(folded) => folded,
            Err(verdict) => return verdict,
        };
        for (name, expected) in &given.outputs {
            let port = folded.model.graph.port(name).expect("an output");
            let (inferred, expected) = (folded.model.graph.fact(port.value), Fact::of(expected));
            if *inferred != expected {
                return Failed(format!("output `{name}` is {expected}, inferred {inferred}"));
            }
        }
        for engine in engines {
            let Err(trouble) = run(engine.as_ref(), &folded.model, &folded.run) else {
                continue;
            };
            let plain = upgraded(test, given).expect("a model that was upgraded before");
            if run(engine.as_ref(), &plain, given).is_ok() {
                return Failed(format!("on {} only when folded: {trouble}", engine.name()));
            }
        }
    }
    Passed
}
