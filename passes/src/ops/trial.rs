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

#[test]
fn every_gradient_has_the_shape_of_its_argument() {
    for def in table() {
        for case in (def.cases)() {
            let (mut graph, arguments) = arguments(&case);
            let targets: Vec<Value> = arguments
                .iter()
                .flatten()
                .copied()
                .filter(|&v| graph.fact(v).dtype == Some(DType::F32))
                .collect();
            let mut tape = Tape::new(&mut graph, "trial");
            let call = tape.call(case.op.clone(), &arguments, case.outputs).unwrap();
            let differentiable = tape.dtype(call.into()).unwrap().is_float();
            if matches!(def.gradient, Gradient::Missing) || !differentiable {
                continue;
            }
            let axes: Vec<usize> = (0..tape.shape(call.into()).unwrap().len()).collect();
            let loss = tape.reduce_sum(call.into(), &axes, false).unwrap();
            for (gradient, target) in
                gradients(&mut tape, loss, &targets).unwrap().iter().zip(&targets)
            {
                assert_eq!(tape.fact(*gradient), tape.fact(*target), "{case:?}");
            }
        }
    }
}
