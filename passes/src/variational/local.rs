//! Local reparameterization (Kingma et al. 2015): the activations of a random layer are drawn
//! in place of its weights, each image with noise of its own.
//!
//! For weights N(m, v) a product `y = x w + b` has mean `x m + m_b` and variance
//! `x^2 v + v_b`. In a convolution the places of an image share their weights, so their sums
//! are correlated, which is left out here as it is in the literature: means and variances are
//! right, correlations between places are not.

use std::collections::{HashMap, HashSet};

use graphs::{Attribute, DType, Fact, Graph, Model, NodeId, Op, Role, Tensor, Value};

use super::{SLOTS, expand_means, is_sample, of_node, plain_type, random_arguments, set_call};
use crate::pass::Pass;
use crate::{Fold, Result};

/// Keeps the slope of the square root finite where a layer reads nothing but zeros.
const LEAST_VARIANCE: f32 = 1e-10;

/// Makes every layer with a random weight of its own (Conv, ConvTranspose, Gemm, MatMul) draw
/// its activations, from inputs `WEIGHT.activation.noise` `[N, ...]`. Other variational nodes
/// stay: normalizations, a bias that is an Add, weights that several nodes share. The model
/// has a fixed batch size.
///
/// # Errors
/// When the shapes cannot be inferred.
pub(crate) fn draw_activations(model: &mut Model) -> Result<()> {
    let shapes = output_shapes(model)?;
    let graph = &mut model.graph;
    for id in graph.op_order()? {
        let Some(shape) = shapes.get(&id) else { continue };
        if let Some(layer) = Layer::of(graph, id) {
            layer.rewrite(graph, shape);
        }
    }
    Ok(())
}

/// The shapes of the float32 outputs of variational nodes.
fn output_shapes(model: &Model) -> Result<HashMap<NodeId, Vec<usize>>> {
    let mut probe = model.clone();
    expand_means(&mut probe.graph)?;
    Fold.run(&mut probe)?;
    let random = |id: &NodeId| random_arguments(&model.graph, *id).is_some();
    let shape = |id: NodeId| {
        let fact = probe.graph.get(id)?.outputs.first()?;
        (fact.dtype == Some(DType::F32)).then(|| Some((id, fact.known_shape()?)))?
    };
    Ok(model.graph.ids().filter(random).filter_map(shape).collect())
}

/// A product with random weights.
struct Layer {
    node: NodeId,
    op: Op,
    /// After the weight's name.
    name: String,
    /// The arguments of the plain operator: as they are, or mean and log-std.
    arguments: Vec<Argument>,
}

#[derive(Clone, Copy)]
enum Argument {
    Absent,
    Plain(Value),
    Random(Value, Value),
}

impl Layer {
    /// The layer at a node, if it multiplies by exactly one random factor.
    fn of(graph: &Graph, id: NodeId) -> Option<Layer> {
        let mut op = graph.node(id).op()?.clone();
        let random = random_arguments(graph, id)?;
        let products = ["Conv", "ConvTranspose", "Gemm", "MatMul"];
        let factors = random.iter().filter(|(slot, ..)| *slot < 2).count();
        if is_sample(graph, id) || !products.contains(&plain_type(&op)) || factors != 1 {
            return None;
        }
        let name = of_node(graph, id).first()?.name.clone();
        let by_mean: HashMap<Value, Value> = random.iter().map(|(_, m, s)| (*m, *s)).collect();
        let log_stds: HashSet<Value> = by_mean.values().copied().collect();
        let argument = |value: Option<Value>| match value {
            None => Some(Argument::Absent),
            Some(value) if log_stds.contains(&value) => None,
            Some(value) => Some(
                by_mean.get(&value).map_or(Argument::Plain(value), |s| Argument::Random(value, *s)),
            ),
        };
        let arguments = graph.arguments(id).into_iter().filter_map(argument).collect();
        op.op_type = plain_type(&op).to_owned();
        op.attributes.remove(SLOTS);
        op.domain.clear();
        op.overload.clear();
        Some(Layer { node: id, op, name, arguments })
    }

    fn rewrite(self, graph: &mut Graph, shape: &[usize]) {
        let fact = Fact::new(DType::F32, shape);
        let named = |part: &str| format!("{}.activation.{part}", self.name);
        let means = self.arguments.iter().map(|argument| match argument {
            Argument::Absent => None,
            Argument::Plain(value) | Argument::Random(value, _) => Some(*value),
        });
        let means: Vec<_> = means.collect();
        let mean = call(graph, &named("mean"), self.op.clone(), &means, &fact);

        let mut squares = Vec::new();
        for (slot, argument) in self.arguments.iter().enumerate() {
            squares.push(match *argument {
                Argument::Random(_, log_std) => {
                    let double =
                        apply(graph, &named(&format!("double{slot}")), "Add", [log_std; 2]);
                    Some(unary(graph, &named(&format!("variance{slot}")), "Exp", double))
                }
                Argument::Plain(x) if slot < 2 => {
                    Some(apply(graph, &named("square"), "Mul", [x; 2]))
                }
                // A bias that is not random has no variance.
                Argument::Plain(_) | Argument::Absent => None,
            });
        }
        let mut op = self.op.clone();
        for factor in ["alpha", "beta"] {
            if let Some(Attribute::Float(value)) = op.attributes.get_mut(factor) {
                *value *= *value;
            }
        }
        let variance = call(graph, &named("variance"), op, &squares, &fact);
        let least = graph.initializer(&named("least"), Tensor::scalar(LEAST_VARIANCE));
        let positive = apply(graph, &named("positive"), "Add", [variance, least]);
        let std = unary(graph, &named("std"), "Sqrt", positive);
        let noise = graph.input(&named("noise"), Role::ImageNoise, fact);
        let deviation = apply(graph, &named("deviation"), "Mul", [std, noise]);
        set_call(graph, self.node, Op::new("Add"), &[Some(mean), Some(deviation)]);
    }
}

fn call(graph: &mut Graph, name: &str, op: Op, arguments: &[Option<Value>], fact: &Fact) -> Value {
    graph.op(name, op, arguments, vec![fact.clone()]).into()
}

fn apply(graph: &mut Graph, name: &str, op: &str, arguments: [Value; 2]) -> Value {
    call(graph, name, Op::new(op), &arguments.map(Some), &Fact::default())
}

fn unary(graph: &mut Graph, name: &str, op: &str, x: Value) -> Value {
    call(graph, name, Op::new(op), &[Some(x)], &Fact::default())
}
