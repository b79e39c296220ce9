//! What one draw of an exported network returns.

use graphs::{DType, Dim, Fact, Graph, Op, names};

use super::normals::Builder;
use crate::{Error, Likelihood, Result, fixed_batch, loss};

/// Makes `probabilities` `[N, classes]`, the Softmax over the classes of the logits, or of a
/// regression `outputs` `[N, K]` the only output, in float32.
///
/// # Errors
/// When the model has no output.
pub(super) fn only_output(graph: &mut Graph, likelihood: Likelihood) -> Result<()> {
    let none = || Error::Model("the model has no output".to_owned());
    let first = graph.outputs.first().ok_or_else(none)?.value;
    let shape = graph.fact(first).shape.clone();
    let (value, dtype) = match likelihood {
        Likelihood::Categorical => loss::logits_of(graph)?,
        Likelihood::Gaussian { .. } => (first, graph.fact(first).dtype),
    };
    let width = match (likelihood, shape.as_deref()) {
        (Likelihood::Gaussian { .. }, Some([_])) => Dim::Known(1),
        (_, shape) => shape.and_then(|shape| shape.get(1)).cloned().unwrap_or(Dim::Unknown),
    };
    let batch = fixed_batch(graph).map_or_else(|| Dim::Named("N".to_owned()), Dim::Known);
    let builder = &mut Builder { graph, scope: "export" };
    let mut output = builder.op(Op::new("Flatten").with("axis", 1), &[value]);
    if dtype != Some(DType::F32) {
        output = builder.cast(output, DType::F32);
    }
    let name = match likelihood {
        Likelihood::Categorical => {
            output = builder.op(Op::new("Softmax").with("axis", -1), &[output]);
            names::PROBABILITIES
        }
        Likelihood::Gaussian { .. } => names::OUTPUTS,
    };
    let fact = Fact { dtype: Some(DType::F32), shape: Some(vec![batch, width]) };
    graph.node_mut(output.node).outputs = vec![fact];
    graph.outputs.clear();
    graph.output(name, output);
    graph.sweep();
    Ok(())
}
