//! BatchNormalization with random parameters, which tract refuses: goes into the weights
//! of the convolution before it, as engines do when all is constant, or becomes a
//! depthwise convolution.

use graphs::{Attribute, DType, Graph, NodeId, Op, Tensor, Value};

use super::normals::Builder;
use crate::{Result, tape};

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
        if op.int("training_mode", 0) != 0 {
            continue;
        }
        let (uses, outputs) = (graph.uses(id.into()), graph.node(id).outputs.clone());
        let affine = affine(graph, &op, parameters, channels);
        let y = match convolution(graph, x, affine) {
            Some(kernel) => scale_weights(graph, x.node, kernel, affine),
            None => scale_channels(graph, x, affine),
        };
        graph.node_mut(y.node).outputs = outputs;
        graph.redirect(uses, y);
    }
    Ok(())
}

/// `x * factor + offset`, one of each for every channel.
#[derive(Clone, Copy)]
struct Affine {
    factor: Value,
    offset: Value,
    channels: usize,
}

/// `factor = scale / sqrt(var + epsilon)` and `offset = shift - mean * factor`.
fn affine(
    graph: &mut Graph,
    op: &Op,
    [scale, shift, mean, variance]: [Value; 4],
    channels: usize,
) -> Affine {
    let dtype = graph.fact(variance).dtype.unwrap_or(DType::F32);
    let builder = &mut Builder { graph, scope: "normalization" };
    let epsilon = op.float("epsilon", 1e-5);
    let number = tape::number(dtype, f64::from(epsilon));
    let epsilon = builder.constant(number.unwrap_or_else(|| Tensor::scalar(epsilon)));
    let sum = builder.apply("Add", &[variance, epsilon]);
    let deviation = builder.apply("Sqrt", &[sum]);
    let factor = builder.apply("Div", &[scale, deviation]);
    let centre = builder.apply("Mul", &[mean, factor]);
    let offset = builder.apply("Sub", &[shift, centre]);
    Affine { factor, offset, channels }
}

/// The shape `[C, 1, ...]` that a factor needs to scale the weights of the convolution
/// behind `x`, if `x` comes from one that nothing else reads.
fn convolution(graph: &Graph, x: Value, affine: Affine) -> Option<Vec<i64>> {
    graph.node(x.node).op().filter(|op| op.is("Conv"))?;
    let mut shape = graph.fact(graph.argument(x.node, 1)?).known_shape()?;
    let shown = graph.outputs.iter().any(|port| port.value == x);
    let alone = graph.readers(x).len() == 1 && !shown;
    let independent = !graph.ancestors([affine.factor, affine.offset]).contains(x.node);
    if !alone || !independent || shape.first() != Some(&affine.channels) {
        return None;
    }
    shape.iter_mut().skip(1).for_each(|size| *size = 1);
    Some(crate::signed(&shape))
}

/// Scales the filters of the convolution `conv`, and its bias.
fn scale_weights(graph: &mut Graph, conv: NodeId, shape: Vec<i64>, affine: Affine) -> Value {
    let (weight, bias) = (graph.argument(conv, 1), graph.argument(conv, 2));
    let weight = weight.map(|weight| scale_filters(graph, weight, shape, affine.factor));
    let builder = &mut Builder { graph, scope: "normalization" };
    let bias = match bias {
        None => affine.offset,
        Some(bias) => {
            let scaled = builder.apply("Mul", &[bias, affine.factor]);
            builder.apply("Add", &[scaled, affine.offset])
        }
    };
    let arguments = [graph.argument(conv, 0), weight, Some(bias)];
    let Some(op) = graph.node(conv).op().cloned() else { return conv.into() };
    let name = graph.node(conv).name.clone();
    let outputs = graph.node(conv).outputs.clone();
    graph.op(&name, op, &arguments, outputs).into()
}

/// Multiplies the filters of a convolution by factors, which `shape` lays along the first axis: while
/// they are rows of a matrix still, if a Reshape made them of one.
fn scale_filters(graph: &mut Graph, weight: Value, shape: Vec<i64>, factor: Value) -> Value {
    let reshape = graph.node(weight.node).op().filter(|op| op.is("Reshape")).cloned();
    let arguments: Vec<Value> = graph.arguments(weight.node).into_iter().flatten().collect();
    let rows = |matrix: Value| graph.fact(matrix).known_shape().filter(|sizes| sizes.len() == 2);
    let channels = shape.first().copied().unwrap_or_default();
    let matrix = match (reshape, arguments.as_slice()) {
        (Some(op), &[matrix, axes]) => rows(matrix)
            .filter(|sizes| crate::signed(sizes).first() == Some(&channels))
            .map(|_| (op, matrix, axes)),
        _ => None,
    };
    let facts = graph.node(weight.node).outputs.clone();
    let builder = &mut Builder { graph, scope: "normalization" };
    let mut scaled = |weight: Value, shape: &[i64]| {
        let shape = builder.constant(Tensor::vector(shape));
        let factor = builder.apply("Reshape", &[factor, shape]);
        builder.apply("Mul", &[weight, factor])
    };
    let Some((op, matrix, axes)) = matrix else { return scaled(weight, &shape) };
    let matrix = scaled(matrix, &[channels, 1]);
    let weight = builder.op(op, &[matrix, axes]);
    graph.node_mut(weight.node).outputs = facts;
    weight
}

/// A depthwise convolution over `[N, C, L]`, whatever axes there are.
fn scale_channels(graph: &mut Graph, x: Value, affine: Affine) -> Value {
    let channels = affine.channels as i64;
    let builder = &mut Builder { graph, scope: "normalization" };
    // 0 keeps a size, so the batch size stays free.
    let flat = builder.constant(Tensor::vector(&[0i64, 0, -1]));
    let flat = builder.apply("Reshape", &[x, flat]);
    let kernel = builder.constant(Tensor::vector(&[channels, 1, 1]));
    let kernel = builder.apply("Reshape", &[affine.factor, kernel]);
    let depthwise = Op::new("Conv").with("group", Attribute::Int(channels));
    let y = builder.op(depthwise, &[flat, kernel, affine.offset]);
    let shape = builder.apply("Shape", &[x]);
    builder.apply("Reshape", &[y, shape])
}
