//! Runs the rules of a row on one case, for unit tests.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use graphs::{DType, Fact, Graph, Role, Tensor, Value};

use super::{Argument, Call, Case};
use crate::Result;

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
