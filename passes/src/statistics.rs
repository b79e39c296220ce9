//! BatchNormalization with the statistics of the batch, as training wants it, computed
//! by plain operators: engines disagree on `training_mode`, or refuse it.

use graphs::{Fact, Graph, Kind, NodeId, Op, Role, Value};

use crate::naming::Names;
use crate::{Result, Tape, sources, variational};

/// Gives every running statistic a constant of its own. Exporters store equal tensors
/// once, so that a fresh network's variances are its scales, yet training moves them apart.
pub(crate) fn separate(graph: &mut Graph, names: &mut Names) {
    let ids: Vec<NodeId> = graph.ids().collect();
    for id in ids {
        let normalizes = |op: &Op| variational::plain_type(op) == "BatchNormalization";
        if !graph.node(id).op().is_some_and(normalizes) {
            continue;
        }
        for (slot, argument) in graph.arguments(id).into_iter().enumerate() {
            let statistic = matches!(variational::plain_slot(graph, id, slot), 3 | 4);
            let Some(value) = argument.filter(|_| statistic) else { continue };
            let Some(tensor) = graph.tensor(sources::stored(graph, value)).cloned() else {
                continue;
            };
            let node = graph.node(value.node);
            let shared = graph.readers(value).len() > 1;
            let same = node.op().is_some_and(|op| op.is("Identity"));
            let name = node.extras.names.first().cloned().unwrap_or_default();
            if same && !shared && !name.is_empty() {
                // The copy that the exporter has spared, under the name that it kept.
                graph.set_argument(value.node, 0, None);
                let node = graph.node_mut(value.node);
                node.extras.names.clear();
                node.outputs = vec![Fact::of(&tensor)];
                (node.name, node.kind) = (name, Kind::Initializer(tensor));
            } else if same || (shared && node.op().is_none()) {
                let wanted = if same { name } else { node.name.clone() };
                let own = graph.initializer(&names.claim(&wanted), tensor);
                graph.set_argument(id, slot, Some(own));
            }
        }
    }
}

/// A running statistic and its value after this batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Running {
    /// The statistic that the node read.
    pub(crate) old: Value,
    /// `(1 - momentum) * old + momentum * batch`, with the unbiased batch variance.
    pub(crate) new: Value,
}

/// Makes every BatchNormalization of the graph use the mean and variance of its batch.
/// Returns the running statistics to carry on.
///
/// `momentum` is PyTorch's: the share of the new batch (0.1 in the published code).
///
/// # Errors
/// When a node's shapes are not known.
pub(crate) fn use_batch_statistics(graph: &mut Graph, momentum: f32) -> Result<Vec<Running>> {
    let mut running = Vec::new();
    for id in graph.op_order()? {
        if graph.node(id).op().is_some_and(|op| op.is("BatchNormalization")) {
            running.extend(replace(graph, id, momentum)?);
        }
    }
    Ok(running)
}

fn replace(graph: &mut Graph, id: NodeId, momentum: f32) -> Result<Vec<Running>> {
    let node = graph.node(id);
    let epsilon = node.op().map_or(1e-5, |op| op.float("epsilon", 1e-5));
    let describe = node.name.clone();
    let arguments: Vec<Value> = graph.arguments(id).into_iter().flatten().collect();
    let &[x, scale, shift, old_mean, old_var] = arguments.as_slice() else { return Ok(vec![]) };
    // What the graph computes is no running statistic: weights are standardized so, too.
    let kept = |v: Value| matches!(graph.node(v.node).kind, Kind::Input(Role::State));
    if !kept(old_mean) || !kept(old_var) {
        return Ok(vec![]);
    }
    let uses = graph.uses(id.into());
    let tape = &mut Tape::new(graph, &describe);
    let [y, mean, variance] = normalize(tape, epsilon, [x, scale, shift])?;

    // PyTorch keeps the unbiased variance; a batch of one value has none.
    let total: usize = tape.shape(x)?.iter().product();
    let channels: usize = tape.shape(mean)?.iter().product();
    let count = total / channels.max(1);
    let unbias = count as f64 / (count.max(2) - 1) as f64;
    let unbias = tape.number(unbias, x)?;
    let unbiased = tape.apply("Mul", &[variance, unbias])?;
    let momentum = f64::from(momentum);
    let [new_mean, new_var] =
        [blend(tape, old_mean, mean, momentum)?, blend(tape, old_var, unbiased, momentum)?];
    tape.graph.redirect(uses, y);
    Ok(vec![Running { old: old_mean, new: new_mean }, Running { old: old_var, new: new_var }])
}

/// BatchNormalization of `[x, scale, shift]` by the statistics of the batch, and these: the
/// mean and the variance (of the batch itself, not what it estimates) of every channel.
pub(crate) fn normalize(
    tape: &mut Tape,
    epsilon: f32,
    [x, scale, shift]: [Value; 3],
) -> Result<[Value; 3]> {
    let shape = tape.shape(x)?;
    let channels = shape.get(1).copied().unwrap_or(1);
    let axes: Vec<usize> = (0..shape.len()).filter(|&axis| axis != 1).collect();
    let mean = mean(tape, x, &axes)?;
    let centred = tape.apply("Sub", &[x, mean])?;
    let squares = tape.apply("Mul", &[centred, centred])?;
    let variance = self::mean(tape, squares, &axes)?;
    let [mean, variance] = [tape.reshape(mean, &[channels])?, tape.reshape(variance, &[channels])?];
    let normalize = Op::new("BatchNormalization").with("epsilon", epsilon);
    let y = tape.op(normalize, &[x, scale, shift, mean, variance])?;
    Ok([y, mean, variance])
}

/// `(1 - momentum) * old + momentum * batch`
pub(crate) fn blend(tape: &mut Tape, old: Value, batch: Value, momentum: f64) -> Result<Value> {
    let keep = tape.number(1.0 - momentum, old)?;
    let take = tape.number(momentum, old)?;
    let kept = tape.apply("Mul", &[old, keep])?;
    let taken = tape.apply("Mul", &[batch, take])?;
    tape.apply("Add", &[kept, taken])
}

fn mean(tape: &mut Tape, x: Value, axes: &[usize]) -> Result<Value> {
    let axes = tape.ints(&crate::signed(axes));
    tape.op(Op::new("ReduceMean").with("keepdims", 1), &[x, axes])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{DType, Role, Tensor};

    use super::*;

    #[test]
    fn a_statistic_never_shares_its_constant() {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 2]));
        let ones = graph.initializer("ones", Tensor::vector(&[1f32; 2]));
        let zeros = graph.initializer("zeros", Tensor::vector(&[0f32; 2]));
        let same = graph.op("same", Op::new("Identity"), &[Some(ones)], vec![Fact::default()]);
        graph.node_mut(same).extras.names = vec!["bn.running_var".to_owned()];
        let arguments = [x, ones, zeros, zeros, same.into()].map(Some);
        let bn = graph.op("bn", Op::new("BatchNormalization"), &arguments, vec![Fact::default()]);
        graph.output("y", bn.into());
        let mut names = Names::of(&graph);
        separate(&mut graph, &mut names);
        graph.check().expect("a whole graph");
        let read = |slot| graph.argument(bn, slot).expect("an argument");
        assert_eq!([read(1), read(2)], [ones, zeros]);
        assert_ne!(read(3), zeros);
        assert_eq!(graph.tensor(read(3)), graph.tensor(zeros));
        assert_eq!(Some(read(4)), graph.source("bn.running_var"));
        assert_eq!(graph.tensor(read(4)), graph.tensor(ones));
        let before = graph.len();
        separate(&mut graph, &mut names);
        assert_eq!(graph.len(), before, "nothing is left to do");
    }
}
