//! BatchNormalization with random parameters in plain operators: tract takes constant
//! parameters only.

use graphs::{Attribute, DType, Graph, NodeId, Op, Tensor, Value};

use super::normals::Builder;
use crate::Result;

/// Rewrites every BatchNormalization of inference whose parameters are not all
/// constants.
///
/// # Errors
/// When the graph has a cycle.
pub(super) fn expand(graph: &mut Graph) -> Result<()> {
    for id in graph.op_order()? {
        let Some(op) = graph.node(id).op().filter(|op| op.is("BatchNormalization")).cloned() else {
            continue;
        };
        let arguments: Vec<Value> = graph.arguments(id).into_iter().flatten().collect();
        let &[x, scale, shift, mean, variance] = arguments.as_slice() else { continue };
        let parameters = [scale, shift, mean, variance];
        let tensors = || parameters.iter().filter_map(|&value| graph.tensor(value));
        let channels = tensors().next().map(Tensor::len);
        let Some(channels) = channels.filter(|_| tensors().count() < parameters.len()) else {
            continue;
        };
        if op.int("training_mode", 0) == 0 {
            replace(graph, id, &op, [x, scale, shift, mean, variance], channels);
        }
    }
    Ok(())
}

/// `x * factor + offset`, where the small vectors `factor = scale / sqrt(var + epsilon)`
/// and `offset = shift - mean * factor` are computed once: a depthwise convolution over
/// `[N, C, L]`, whatever axes there are.
fn replace(
    graph: &mut Graph,
    id: NodeId,
    op: &Op,
    [x, scale, shift, mean, variance]: [Value; 5],
    channels: usize,
) {
    let uses = graph.uses(id.into());
    let outputs = graph.node(id).outputs.clone();
    let double = graph.fact(variance).dtype == Some(DType::F64);
    let builder = &mut Builder { graph, scope: "normalization" };
    let epsilon = op.float("epsilon", 1e-5);
    let epsilon = builder.constant(match double {
        true => Tensor::scalar(f64::from(epsilon)),
        false => Tensor::scalar(epsilon),
    });
    let sum = builder.apply("Add", &[variance, epsilon]);
    let deviation = builder.apply("Sqrt", &[sum]);
    let factor = builder.apply("Div", &[scale, deviation]);
    let centre = builder.apply("Mul", &[mean, factor]);
    let offset = builder.apply("Sub", &[shift, centre]);

    // 0 keeps a size, so the batch size stays free.
    let flat = builder.constant(Tensor::vector(&[0i64, 0, -1]));
    let flat = builder.apply("Reshape", &[x, flat]);
    let kernel = builder.constant(Tensor::vector(&[channels as i64, 1, 1]));
    let kernel = builder.apply("Reshape", &[factor, kernel]);
    let depthwise = Op::new("Conv").with("group", Attribute::Int(channels as i64));
    let y = builder.op(depthwise, &[flat, kernel, offset]);
    let shape = builder.apply("Shape", &[x]);
    let y = builder.apply("Reshape", &[y, shape]);
    graph.node_mut(y.node).outputs = outputs;
    graph.redirect(uses, y);
}
