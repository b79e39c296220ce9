//! Every row of the table of operators, on every engine.

use graphs::{DType, Fact, Graph, Model, NodeId, Role, Tensor, Value};
use passes::ops::{Argument, Case, Def, Forms, Gradient, ImageForm, MaxForm, WeightForm, table};
use passes::{Lower, Pass, Tape};
use runtime::engine::Engine;
use runtime::noise::permutation;

use crate::differences::{Point, Trial};
use crate::engines::{Runner, Values, difference, engines, onnxruntime};
use crate::models::uniform;

/// The greatest error of a gradient, relative to its norm.
const TOLERANCE: f64 = 2e-4;
/// How far an element moves at most.
const REACH: f32 = 1.0 / 32.0;

/// A case as a graph.
pub(crate) struct Call {
    pub(crate) graph: Graph,
    pub(crate) node: NodeId,
    /// The arguments that a gradient is taken for.
    pub(crate) targets: Vec<(Value, Point)>,
}

impl Call {
    pub(crate) fn new(case: &Case) -> Call {
        let mut graph = Graph::new("case");
        let (mut arguments, mut targets) = (Vec::new(), Vec::new());
        for (i, (argument, point)) in case.arguments.iter().zip(points(case)).enumerate() {
            arguments.push(match (argument, point) {
                (Argument::Constant(tensor), _) => {
                    Some(graph.initializer(&format!("c{i}"), tensor.clone()))
                }
                (_, Some(point)) => {
                    let fact = Fact::of(&point.value);
                    let value = graph.input(&point.name, Role::Data, fact);
                    targets.push((value, point));
                    Some(value)
                }
                _ => None,
            });
        }
        let mut tape = Tape::new(&mut graph, "case");
        let node = tape.call(case.op.clone(), &arguments, case.outputs).expect("a legal case");
        Call { graph, node, targets }
    }

    fn outputs(&self) -> Vec<Value> {
        let slots = 0..self.graph.node(self.node).outputs.len();
        slots.map(|slot| Value { node: self.node, slot }).collect()
    }

    /// The outputs that a gradient can come from.
    fn floats(&self) -> Vec<Value> {
        let mut outputs = self.outputs();
        outputs.retain(|&y| self.graph.fact(y).dtype == Some(DType::F32));
        outputs
    }
}

/// The values of the random arguments. All distinct ones share one grid of even spaces around 0,
/// so that no two values are equal, of different arguments neither. Some of the grid is left over,
/// so that they do not sum to 0.
fn points(case: &Case) -> Vec<Option<Point>> {
    let distinct: usize = case
        .arguments
        .iter()
        .map(|a| if let Argument::Distinct { shape } = a { shape.iter().product() } else { 0 })
        .sum();
    let count = distinct.next_multiple_of(2) + 2;
    let mut grid =
        permutation(1, 0, count).into_iter().map(|i| (2 * i + 1) as f32 / count as f32 - 1.0);
    let point = |(i, argument): (usize, &Argument)| {
        let name = format!("x{i}");
        match argument {
            Argument::Absent | Argument::Constant(_) => None,
            Argument::Random { shape, low, high } => {
                let value = uniform(&name, 1, shape, *low, *high);
                Some(Point { name, value, reach: REACH.min((high - low) / 4.0) })
            }
            Argument::Distinct { shape } => {
                let values = grid.by_ref().take(shape.iter().product()).collect();
                let value = Tensor::new(shape, values).expect("a share of the grid");
                Some(Point { name, value, reach: REACH.min(0.25 / count as f32) })
            }
        }
    };
    case.arguments.iter().enumerate().map(point).collect()
}

/// Every case of the table.
fn cases() -> impl Iterator<Item = (&'static Def, Case)> {
    table().into_iter().flat_map(|def| (def.cases)().into_iter().map(move |case| (def, case)))
}

/// Panics with all failures.
#[track_caller]
fn none(failures: Vec<String>) {
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}

/// What ONNX Runtime gives for the call itself is what both engines have to give for what the
/// call is lowered to.
#[test]
fn every_case_gives_the_same_on_every_engine_and_what_was_inferred() {
    let mut failures = Vec::new();
    for (_, case) in cases() {
        let mut call = Call::new(&case);
        for (i, output) in call.outputs().into_iter().enumerate() {
            call.graph.output(&format!("y{i}"), output);
        }
        let feeds: Values =
            call.targets.iter().map(|(_, p)| (p.name.clone(), p.value.clone())).collect();
        let mut model = Model::new(call.graph.clone());
        let run = |engine: &dyn Engine, model: &Model| Runner::of_model(engine, model)?.run(&feeds);
        let expected = match run(onnxruntime(), &model) {
            Ok(expected) => expected,
            Err(error) => {
                failures.push(format!("{case:?}: {error}"));
                continue;
            }
        };
        for (i, output) in call.outputs().into_iter().enumerate() {
            let (inferred, found) =
                (call.graph.fact(output), Fact::of(&expected[&format!("y{i}")]));
            if *inferred != found {
                failures.push(format!("{case:?}: output {i} is {found}, inferred {inferred}"));
            }
        }
        Lower.run(&mut model).expect("a model to lower");
        for engine in engines() {
            let lacking = case.tract_lacks.filter(|_| engine.name() == "tract");
            match (run(engine.as_ref(), &model), lacking) {
                (Err(error), None) => failures.push(format!("{case:?}: {error}")),
                (Ok(_), Some(reason)) => {
                    failures.push(format!("{case:?}: tract runs it; no more `{reason}`"));
                }
                (Err(_), Some(_)) => {}
                (Ok(found), None) => {
                    let pairs = found.iter().zip(&expected);
                    let apart = pairs.filter_map(|((name, a), (_, b))| {
                        let difference = difference(a, b, 1e-5)?;
                        Some(format!("{case:?} on {}: {name}: {difference}", engine.name()))
                    });
                    failures.extend(apart);
                }
            }
        }
    }
    none(failures);
}

/// Checks a trial on every engine that can run it; the worst error.
fn check(case: &Case, trial: passes::Result<Trial>, failures: &mut Vec<String>) {
    let trial = match trial {
        Ok(trial) => trial,
        Err(error) => return failures.push(format!("{case:?}: {error}")),
    };
    let graph = &trial.model.graph;
    let called = |id| graph.node(id).op().is_some_and(|op| op.op_type == case.op.op_type);
    for engine in engines() {
        if engine.name() == "tract" && case.tract_lacks.is_some() && graph.ids().any(called) {
            continue;
        }
        match trial.error(engine.as_ref()) {
            Ok((error, _)) if error <= TOLERANCE => {}
            Ok((error, input)) => {
                failures.push(format!("{case:?} on {}: {input}: {error:.2e}", engine.name()));
            }
            Err(error) => failures.push(format!("{case:?}: {error}")),
        }
    }
}

#[test]
fn every_gradient_agrees_with_finite_differences() {
    let mut failures = Vec::new();
    for (def, case) in cases() {
        let call = Call::new(&case);
        let (outputs, targets) = (call.floats(), call.targets);
        let differentiable = !matches!(def.gradient, Gradient::Missing);
        if differentiable && !outputs.is_empty() && !targets.is_empty() {
            check(&case, Trial::new(call.graph, &outputs, &targets), &mut failures);
        }
    }
    none(failures);
}

/// Windowed operators have several, of which each platform takes the one that is quickest there.
#[test]
fn every_form_of_a_gradient_agrees_with_finite_differences() {
    use ImageForm::{Columns, Transposed, Turned, Winograd};
    let plain = Forms::default();
    let image = [Turned, Transposed, Columns, Winograd];
    let image = image.map(|form| Forms { image: Some(form), ..plain });
    let weight = [
        WeightForm::Tiles,
        WeightForm::Columns,
        WeightForm::Taps,
        WeightForm::Products,
        WeightForm::Exchanged,
    ];
    let weight = weight.map(|form| Forms { weight: Some(form), ..plain });
    let max = [MaxForm::Taps, MaxForm::Places, MaxForm::Ranks, MaxForm::Indices];
    let max = max.map(|form| Forms { max: Some(form), ..plain });
    let mut failures = Vec::new();
    for (def, case) in cases() {
        let forms = match def.op {
            "Conv" | "ConvTranspose" => [&image[..], &weight].concat(),
            "MaxPool" => max.to_vec(),
            _ => continue,
        };
        for forms in forms {
            let call = Call::new(&case);
            let outputs = call.floats();
            let trial = Trial::of_forms(call.graph, &outputs, &call.targets, forms);
            let before = failures.len();
            check(&case, trial, &mut failures);
            failures.iter_mut().skip(before).for_each(|failure| *failure += &format!(" {forms:?}"));
        }
    }
    none(failures);
}

#[test]
fn every_second_derivative_agrees_with_finite_differences() {
    let mut failures = Vec::new();
    for (def, case) in cases() {
        let call = Call::new(&case);
        let (outputs, targets) = (call.floats(), call.targets);
        let differentiable = !matches!(def.gradient, Gradient::Missing);
        if differentiable && !outputs.is_empty() && !targets.is_empty() {
            check(&case, Trial::second(call.graph, &outputs, &targets), &mut failures);
        }
    }
    none(failures);
}

#[test]
fn every_gradient_can_be_differentiated_again() {
    let mut failures = Vec::new();
    for (def, case) in cases() {
        let call = Call::new(&case);
        let outputs = call.floats();
        let proves = !outputs.is_empty() && !call.targets.is_empty();
        if matches!(def.gradient, Gradient::Rule(_) | Gradient::Body(_)) && proves {
            let trial = Trial::of_gradient(call.graph, &outputs, &call.targets);
            check(&case, trial, &mut failures);
        }
    }
    none(failures);
}

#[test]
fn every_rule_has_a_case_that_proves_it() {
    let proves = |case: &Case| {
        let call = Call::new(case);
        !call.floats().is_empty() && !call.targets.is_empty()
    };
    for def in table() {
        let proven = (def.cases)().iter().any(proves);
        let ruled = matches!(def.gradient, Gradient::Rule(_) | Gradient::Body(_));
        assert!(proven || !ruled, "{}", def.op);
    }
}

#[test]
fn a_gradient_that_is_five_percent_too_long_is_caught() {
    for (_, case) in cases().filter(|(def, _)| ["Conv", "MaxPool", "Tanh"].contains(&def.op)) {
        let call = Call::new(&case);
        let outputs = call.floats();
        let mut trial = Trial::new(call.graph, &outputs, &call.targets).expect("a trial");
        trial.spoil(1.05);
        for engine in engines() {
            let (error, _) = trial.error(engine.as_ref()).expect("a run");
            assert!(error > 100.0 * TOLERANCE, "{case:?}: {error}");
        }
    }
}
