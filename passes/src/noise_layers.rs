//! Noise layers: `y = x + std * noise` with noise ~ N(0, 1) of its own for every element
//! of every image (random self-ensemble, Liu et al. 2018).
//!
//! A noise layer is a node `GaussianNoise` of domain `advbnn` with the attribute `std`; the
//! body of its model-local function draws with `RandomNormalLike`, so that any runtime
//! that inlines functions runs the file as it is. [`expand`] turns it into plain
//! operators.

use std::collections::HashMap;

use graphs::names::NOISE;
use graphs::{Attribute, DType, Fact, Graph, Model, NodeId, NodeSet, Op, Role, Tensor, Value};

use crate::naming::Names;
use crate::normal::normal_like;
use crate::pass::Pass;
use crate::variational::{self, DOMAIN, refresh_functions, set_call};
use crate::{Error, FixBatch, Fold, Pipeline, Result};

const GAUSSIAN: &str = "GaussianNoise";
const STD: &str = "std";

/// Puts a noise layer in front of every convolution that has none yet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NoiseLayers {
    /// The standard deviation in front of a convolution that no other one stands before.
    pub first: f32,
    /// That in front of all others.
    pub later: f32,
}

impl NoiseLayers {
    /// As the published code has it, for images in [0, 1].
    pub const RSE: NoiseLayers = NoiseLayers { first: 0.2, later: 0.1 };
}

impl Pass for NoiseLayers {
    fn name(&self) -> &'static str {
        "noise-layers"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        let convolutions = convolutions(graph)?;
        if convolutions.is_empty() {
            let reason = "it has no convolution, and noise layers go in front of convolutions";
            return Err(Error::Model(reason.to_owned()));
        }
        let mut names = Names::of(graph);
        for (id, first) in convolutions {
            let Some(x) = graph.argument(id, 0).filter(|x| !is_noise_layer(graph, x.node)) else {
                continue;
            };
            let base = format!("{}/noise", graph.node(id).name);
            let name = names.claim_family(base.trim_start_matches('/'), &["", NOISE, ".std"]);
            let std = if first { self.first } else { self.later };
            let mut op = Op::new(GAUSSIAN).with(STD, std);
            DOMAIN.clone_into(&mut op.domain);
            let fact = graph.fact(x).clone();
            let noisy = graph.op(&name, op, &[Some(x)], vec![fact]);
            graph.set_argument(id, 0, Some(noisy.into()));
        }
        refresh_functions(model)
    }
}

/// Every convolution, and whether no other one stands before it.
fn convolutions(graph: &Graph) -> Result<Vec<(NodeId, bool)>> {
    let mut behind = NodeSet::default();
    let mut found = Vec::new();
    for id in graph.op_order()? {
        let reached = graph.arguments(id).iter().flatten().any(|v| behind.contains(v.node));
        let convolves = |op: &Op| variational::plain_type(op) == "Conv";
        let convolution = graph.node(id).op().is_some_and(convolves);
        if convolution {
            found.push((id, !reached));
        }
        if convolution || reached {
            behind.insert(id);
        }
    }
    Ok(found)
}

/// A noise layer of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct NoiseLayer {
    /// The node's name.
    pub name: String,
    /// The node.
    pub node: NodeId,
    /// What the noise is added to.
    pub x: Value,
    /// The standard deviation of the noise.
    pub std: f32,
}

impl NoiseLayer {
    /// The name of the input that brings its noise.
    pub(crate) fn input(&self) -> String {
        format!("{}{NOISE}", self.name)
    }
}

/// True for a node that adds noise.
pub(crate) fn is_noise_layer(graph: &Graph, id: NodeId) -> bool {
    graph.node(id).op().is_some_and(|op| op.domain == DOMAIN && op.op_type == GAUSSIAN)
}

/// Every noise layer, in order.
///
/// # Errors
/// When the graph has a cycle, or a layer lacks its argument or a finite deviation.
pub fn noise_layers(graph: &Graph) -> Result<Vec<NoiseLayer>> {
    let layers = graph.op_order()?.into_iter().filter(|&id| is_noise_layer(graph, id));
    let layer = |id: NodeId| {
        let node = graph.node(id);
        let std = match node.op().and_then(|op| op.attributes.get(STD)) {
            Some(Attribute::Float(std)) if std.is_finite() && *std >= 0.0 => Some(*std),
            _ => None,
        };
        let error = |reason: &str| Error::Node { node: node.describe(), reason: reason.to_owned() };
        let std = std.ok_or_else(|| error("has no finite attribute `std`"))?;
        let x = graph.argument(id, 0).ok_or_else(|| error("has no argument"))?;
        Ok(NoiseLayer { name: node.name.clone(), node: id, x, std })
    };
    layers.map(layer).collect()
}

/// Makes every noise layer plain: `x + std * noise`, where `noise` is called once per
/// layer and gives standard normal values of x's shape, or `None` for x itself.
///
/// # Errors
/// As [`noise_layers`], and those of `noise`.
pub(crate) fn expand(
    graph: &mut Graph,
    mut noise: impl FnMut(&mut Graph, &NoiseLayer) -> Result<Option<Value>>,
) -> Result<()> {
    for layer in noise_layers(graph)? {
        let Some(noise) = noise(graph, &layer)? else {
            set_call(graph, layer.node, Op::new("Identity"), &[Some(layer.x)]);
            continue;
        };
        let fact = graph.fact(noise).clone();
        let std = graph.initializer(&format!("{}.std", layer.name), Tensor::scalar(layer.std));
        let name = format!("{}.mul", layer.name);
        let arguments = [Some(noise), Some(std)];
        let mut scaled = graph.op(&name, Op::new("Mul"), &arguments, vec![fact.clone()]).into();
        if let Some(dtype) = graph.fact(layer.x).dtype.filter(|dtype| *dtype != DType::F32) {
            let cast = Op::new("Cast").with("to", i64::from(dtype.code()));
            let fact = Fact { dtype: Some(dtype), ..fact };
            let name = format!("{}.cast", layer.name);
            scaled = graph.op(&name, cast, &[Some(scaled)], vec![fact]).into();
        }
        set_call(graph, layer.node, Op::new("Add"), &[Some(layer.x), Some(scaled)]);
    }
    Ok(())
}

/// Makes every noise layer of a model with a fixed batch size plain, its noise an input
/// `NAME.noise` `[N, ...]`.
///
/// # Errors
/// As [`shapes`].
pub(crate) fn open(model: &mut Model) -> Result<()> {
    let shapes = shapes(model)?;
    expand(&mut model.graph, |graph, layer| {
        let shape = shapes.get(&layer.node);
        let fact = shape.map_or_else(Fact::default, |shape| Fact::new(DType::F32, shape));
        Ok(Some(graph.input(&layer.input(), Role::ImageNoise, fact)))
    })
}

/// What every noise layer of a model adds noise to, `[N, ...]` with the model's batch size or
/// 1 where that is free. The model has to be at opset 18.
///
/// # Errors
/// When a shape cannot be inferred.
pub(crate) fn shapes(model: &Model) -> Result<HashMap<NodeId, Vec<usize>>> {
    let layers = noise_layers(&model.graph)?;
    if layers.is_empty() {
        return Ok(HashMap::new());
    }
    let mut probe = model.clone();
    if crate::fixed_batch(&probe.graph).is_none() {
        Pipeline::new().then(FixBatch(1)).run(&mut probe)?;
    }
    variational::expand_means(&mut probe.graph)?;
    Fold.run(&mut probe)?;
    let shape = |layer: &NoiseLayer| {
        let reason = || Error::Node {
            node: model.graph.node(layer.node).describe(),
            reason: "the shape of what it adds noise to is not known".to_owned(),
        };
        // Folding may put another value in front, but the layer's own output stays.
        let shape =
            probe.graph.get(layer.node).and_then(|node| node.outputs.first()?.known_shape());
        Ok((layer.node, shape.ok_or_else(reason)?))
    };
    layers.iter().map(shape).collect()
}

/// The body of the function that every noise layer calls.
pub(crate) fn function_body() -> Graph {
    let mut body = Graph::new(GAUSSIAN);
    let x = body.input("x", Role::Data, Fact::default());
    let code = Attribute::Float(0.0).code();
    let std = Attribute::Reference { name: STD.to_owned(), code };
    let normal = normal_like(&mut body, "noise", x);
    let mut call = |op: Op, arguments: &[Value]| -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        body.op("", op, &arguments, vec![Fact::default()]).into()
    };
    let std = call(Op::new("Constant").with("value_float", std), &[]);
    let noise = call(Op::new("Mul"), &[normal, std]);
    let noise = call(Op::new("CastLike"), &[noise, x]);
    let y = call(Op::new("Add"), &[x, noise]);
    body.output("y", y);
    body
}
