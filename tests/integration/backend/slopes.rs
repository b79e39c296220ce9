//! Gradients of node tests against finite differences.

use graphs::{DType, Graph, Model, NodeId, Tensor, Value};
use passes::ops::{self, Gradient};
use runtime::engine::Engine;

use super::cases::{NodeTest, Run};
use super::folded::Folded;
use super::values::{Trouble, run};
use super::verdict::Verdict::{self, Failed, Inapplicable, Passed};
use crate::differences::{Point, Trial};
use crate::engines::engines;
use crate::models::{doubles, uniform};

/// The greatest error of a gradient, relative to its norm; and of one among kinks.
const TOLERANCES: [f64; 2] = [1e-3, 2e-2];
/// How far elements move, in the order of attempts; by the last ones kinks may be met.
const REACHES: [(f32, bool); 6] = [
    (1.0 / 32.0, false),
    (1.0 / 4.0, false),
    (1.0 / 256.0, false),
    (2.0, false),
    (1.0 / 256.0, true),
    (1.0 / 2048.0, true),
];

/// The gradient of a random sum of all outputs with respect to every input.
pub(super) fn agree(engine: &dyn Engine, test: &NodeTest, runs: &[Run]) -> Verdict {
    let because = |kind: &str, reason: &str| Inapplicable(kind.to_owned(), reason.to_owned());
    let Some(given) = runs.first() else { return because("no data", "") };
    let Folded { mut model, run: given } = match Folded::new(test, given) {
        Ok(folded) => folded,
        Err(Failed(reason)) => return because("no shapes are inferred", &reason),
        Err(verdict) => return verdict,
    };
    model.graph.prune_inputs();
    if let Some(reason) = coarse(&given) {
        return because(reason, "");
    }
    if let Some(op) = without_rule(&model.graph) {
        return because("no gradient rule", &op);
    }
    match run(engine, &model, &given) {
        // A rule can agree with one of them only.
        Ok(()) if contested(&model, &given) => return because("the engines differ on it", ""),
        Ok(()) => {}
        Err(Trouble::Refused(reason)) => {
            return because(&format!("{} refuses the function", engine.name()), &reason);
        }
        Err(Trouble::Differs(reason)) => {
            return because(&format!("{} gives other values of it", engine.name()), &reason);
        }
    }
    let mut graph = model.graph;
    let float = |graph: &Graph, y: Value| graph.fact(y).dtype.is_some_and(DType::is_float);
    let outputs: Vec<Value> = graph.outputs.drain(..).map(|port| port.value).collect();
    let outputs: Vec<Value> = outputs.into_iter().filter(|&y| float(&graph, y)).collect();
    let target = |&id: &NodeId| {
        let name = graph.node(id).name.clone();
        let value = given.inputs.get(&name).filter(|value| !value.is_empty())?.clone();
        Some((Value::from(id), Point { name, value, reach: 0.0 }))
    };
    let targets: Vec<(Value, Point)> = graph.inputs.iter().filter_map(target).collect();
    if targets.is_empty() || outputs.is_empty() {
        return because("no floating point that varies", "");
    }
    match Trial::new(graph, &outputs, &targets) {
        Ok(trial) => differ(engine, trial),
        Err(error) if error.to_string().contains("gradient") => {
            because("the rule refuses this form by name", &error.to_string())
        }
        Err(error) => Failed(error.to_string()),
    }
}

/// Whether some engine gives other values of the function.
fn contested(model: &Model, given: &Run) -> bool {
    let differs =
        |engine: &dyn Engine| matches!(run(engine, model, given), Err(Trouble::Differs(_)));
    engines().iter().any(|engine| differs(engine.as_ref()))
}

/// Why no difference can tell a gradient.
fn coarse(given: &Run) -> Option<&'static str> {
    let values = || given.inputs.values().chain(given.outputs.values());
    if values().any(|t| t.dtype().is_float() && t.dtype().bits() < 32) {
        return Some("16 bits are too coarse for differences");
    }
    let finite = |t: &Tensor| !t.dtype().is_float() || doubles(t).iter().all(|v| v.is_finite());
    (!values().all(finite)).then_some("it has infinite values")
}

/// The first operator between inputs and outputs without a gradient rule.
fn without_rule(graph: &Graph) -> Option<String> {
    let reads = |id: NodeId| graph.ancestors([Value::from(id)]);
    let free = |id: &NodeId| graph.inputs.iter().any(|input| reads(*id).contains(*input));
    let lacks = |id: NodeId| {
        let op = graph.node(id).op()?;
        match ops::find(op).map(|def| def.gradient) {
            Some(Gradient::Rule(_) | Gradient::Body(_) | Gradient::Zero) => None,
            _ => Some(op.op_type.clone()),
        }
    };
    graph.ids().filter(free).find_map(lacks)
}

/// Whether differences agree at the given point, or else at one beside it: examples like to lie
/// on a kink, or at the end of where the function is defined.
fn differ(engine: &dyn Engine, mut trial: Trial) -> Verdict {
    let mut errors = Vec::new();
    for beside in [false, true] {
        for point in trial.points.iter_mut().filter(|_| beside) {
            point.value = nearby(&point.name, &point.value);
        }
        for (reach, kinks) in REACHES {
            trial.kinks = kinks;
            trial.points.iter_mut().for_each(|point| point.reach = reach);
            match trial.error(engine) {
                Ok((error, _)) if error <= TOLERANCES[usize::from(kinks)] => return Passed,
                Ok((error, input)) => errors.push(format!("{input} {error:.1e}")),
                Err(error) => return Failed(error.to_string()),
            }
        }
    }
    Failed(format!("off by {}", errors.join(", ")))
}

fn nearby(name: &str, value: &Tensor) -> Tensor {
    let shape = value.shape();
    let steps = uniform(&format!("beside {name}"), 1, shape, 0.05, 0.15);
    let moved = doubles(value).into_iter().zip(doubles(&steps)).map(|(v, step)| v + step);
    let moved = match value.dtype() {
        DType::F64 => Tensor::new(shape, moved.collect()),
        _ => Tensor::new(shape, moved.map(|v| v as f32).collect()),
    };
    moved.expect("as many values")
}
