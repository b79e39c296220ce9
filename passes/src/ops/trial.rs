//! Runs the rules of a row on one case, for unit tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use graphs::{DType, Fact, Graph, Role, Tensor, Value};

use super::{Argument, Call, Case, FAMILIES, Gradient, table};
use crate::{Result, Tape, gradients};

/// A graph with the case's arguments.
pub(super) fn arguments(case: &Case) -> (Graph, Vec<Option<Value>>) {
    let mut graph = Graph::new("case");
    let mut values = Vec::new();
    for (i, argument) in case.arguments.iter().enumerate() {
        let name = format!("x{i}");
        values.push(match argument {
            Argument::Absent => None,
            Argument::Random { shape, .. } | Argument::Distinct { shape } => {
                Some(graph.input(&name, Role::Data, Fact::new(DType::F32, shape)))
            }
            Argument::Constant(tensor) => Some(graph.initializer(&name, tensor.clone())),
        });
    }
    (graph, values)
}

/// Types and shapes of the case's outputs.
pub(super) fn infer(case: Case) -> Result<Vec<Fact>> {
    let (graph, arguments) = arguments(&case);
    super::infer(&Call::new(&graph, "trial", &case.op, arguments))
}

/// The shape of the case's only output.
pub(super) fn shape(case: Case) -> Vec<usize> {
    infer(case).expect("a legal call")[0].known_shape().expect("a known shape")
}

/// What is wrong with an illegal case.
pub(super) fn refusal(case: Case) -> String {
    infer(case).expect_err("an illegal call").to_string()
}

/// The case's outputs, computed; none if they cannot be.
pub(super) fn eval(case: Case) -> Vec<Tensor> {
    let (graph, arguments) = arguments(&case);
    let call = Call::new(&graph, "trial", &case.op, arguments);
    let eval = super::row(&case.op, "trial").expect("a row").eval.expect("a row with eval");
    eval(&call).expect("a legal call").unwrap_or_default()
}

/// The case's only output, computed, as integers.
pub(super) fn ints(case: Case) -> Vec<i64> {
    eval(case)[0].integers().expect("integers")
}

#[test]
fn every_operator_has_one_row() {
    let rows: usize = FAMILIES.iter().map(|family| family.len()).sum();
    assert_eq!(table().len(), rows);
}

/// The gradients of the sum of squares of `values` with respect to `targets`.
fn gradients_of(tape: &mut Tape, values: &[Value], targets: &[Value]) -> Result<Vec<Value>> {
    let mut total = tape.constant(Tensor::scalar(0f32));
    for &value in values {
        let axes: Vec<usize> = (0..tape.shape(value)?.len()).collect();
        let square = tape.apply("Mul", &[value, value])?;
        let sum = tape.reduce_sum(square, &axes, false)?;
        total = tape.apply("Add", &[total, sum])?;
    }
    gradients(tape, total, targets)
}

/// The case as a graph, its float arguments and its float outputs, if it has both.
fn differentiable(case: &Case) -> Option<(Graph, Vec<Value>, Vec<Value>)> {
    let (mut graph, arguments) = arguments(case);
    let mut targets: Vec<Value> = arguments.iter().flatten().copied().collect();
    targets.retain(|&v| graph.fact(v).dtype == Some(DType::F32) && graph.tensor(v).is_none());
    let mut tape = Tape::new(&mut graph, "trial");
    let node = tape.call(case.op.clone(), &arguments, case.outputs).unwrap();
    let mut outputs: Vec<Value> = (0..case.outputs).map(|slot| Value { node, slot }).collect();
    outputs.retain(|&y| tape.fact(y).dtype == Some(DType::F32));
    (!targets.is_empty() && !outputs.is_empty()).then_some((graph, targets, outputs))
}

#[test]
fn every_gradient_has_the_shape_of_its_argument_and_a_gradient_of_its_own() {
    for def in table() {
        for case in (def.cases)() {
            let Some((mut graph, targets, outputs)) = differentiable(&case) else { continue };
            if matches!(def.gradient, Gradient::Missing) {
                continue;
            }
            let mut tape = Tape::new(&mut graph, "trial");
            let mut values = outputs;
            for order in 1..=3 {
                values = match gradients_of(&mut tape, &values, &targets) {
                    Ok(values) => values,
                    Err(error) => panic!("gradient {order} of {case:?}: {error}"),
                };
                for (gradient, target) in values.iter().zip(&targets) {
                    assert_eq!(tape.fact(*gradient), tape.fact(*target), "{case:?}");
                }
            }
        }
    }
}
