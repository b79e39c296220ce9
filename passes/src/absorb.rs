//! BatchNormalization with running statistics inside the convolution in front of it.

use graphs::{Graph, NodeId, Op, Value};

use crate::{Result, Tape};

/// Multiplies the weights of convolutions by the factors of the BatchNormalization that alone
/// reads them, and moves its offsets into their biases: `scale (w x + b - mean) / d + shift`
/// with d = sqrt(var + epsilon) is `(w scale / d) x + (b - mean) scale / d + shift`. The same
/// up to rounding where the statistics are given; not for a batch's own. Only where the weights are no
/// more than the activations: one of the two is multiplied.
///
/// # Errors
/// When the graph has a cycle, or a factor does not fit its weight.
pub(crate) fn absorb_normalization(graph: &mut Graph) -> Result<()> {
    for id in graph.op_order()? {
        let Some(layer) = layer(graph, id)? else { continue };
        let uses = graph.uses(id.into());
        let epsilon = graph.node(id).op().map_or(1e-5, |op| op.float("epsilon", 1e-5));
        let statistics: Vec<Value> = graph.arguments(id).into_iter().flatten().skip(1).collect();
        let &[scale, shift, mean, variance] = statistics.as_slice() else { continue };
        let name = graph.node(id).name.clone();
        let tape = &mut Tape::new(graph, &name);
        let epsilon = tape.number(f64::from(epsilon), variance)?;
        let sum = tape.apply("Add", &[variance, epsilon])?;
        let deviation = tape.apply("Sqrt", &[sum])?;
        let factor = tape.apply("Div", &[scale, deviation])?;
        let centre = match layer.bias {
            Some(bias) => tape.apply("Sub", &[mean, bias])?,
            None => mean,
        };
        let centre = tape.apply("Mul", &[centre, factor])?;
        let bias = tape.apply("Sub", &[shift, centre])?;
        let factor = tape.reshape(factor, &layer.factors)?;
        let weight = tape.apply("Mul", &[layer.weight, factor])?;
        let y = tape.op(layer.op, &[layer.image, weight, bias])?;
        tape.graph.redirect(uses, y);
    }
    Ok(())
}

/// A convolution in front of a BatchNormalization.
struct Convolution {
    op: Op,
    image: Value,
    weight: Value,
    bias: Option<Value>,
    /// The shape of one factor a channel beside the weight.
    factors: Vec<usize>,
}

fn layer(graph: &Graph, id: NodeId) -> Result<Option<Convolution>> {
    let normalizes = |op: &&Op| op.is("BatchNormalization") && op.int("training_mode", 0) == 0;
    let Some(_) = graph.node(id).op().filter(normalizes) else { return Ok(None) };
    let Some(x) = graph.argument(id, 0).filter(|&x| graph.uses(x).count() == 1) else {
        return Ok(None);
    };
    let Some(op) = graph.node(x.node).op() else { return Ok(None) };
    let axis = match op.op_type.as_str() {
        "Conv" if op.in_onnx_domain() => 0,
        "ConvTranspose" if op.in_onnx_domain() && op.int("group", 1) == 1 => 1,
        _ => return Ok(None),
    };
    let argument = |slot| graph.argument(x.node, slot);
    let (Some(image), Some(weight)) = (argument(0), argument(1)) else { return Ok(None) };
    let shape = |value| graph.fact(value).known_shape();
    let (Some(activations), Some(weights)) = (shape(x), shape(weight)) else { return Ok(None) };
    let count = |shape: &[usize]| shape.iter().product::<usize>();
    if count(&weights) > count(&activations) {
        return Ok(None);
    }
    let mut factors = vec![1; weights.len()];
    for (i, factor) in factors.iter_mut().enumerate().filter(|&(i, _)| i == axis) {
        *factor = weights.get(i).copied().unwrap_or(1);
    }
    let op = op.clone();
    Ok(Some(Convolution { op, image, weight, bias: argument(2), factors }))
}
