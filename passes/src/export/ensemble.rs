//! Several draws in one graph: a Scan whose body is the stochastic network and whose
//! state has the sums over the draws, so that memory does not grow with their number.
//!
//! The images and the seed are state too, handed on from draw to draw: OpenVINO reads no
//! Scan whose body takes a value from outside. The shares are scanned rather than
//! constants: tract takes no Scan without a scanned input, and random noise needs none.

use graphs::{Attribute, DType, Dim, Fact, Graph, Kind, NodeId, Op, Role, Tensor, Value};

use super::SEED;
use super::normals::{Builder, Noise};
use super::stochastic::{Randomness, stochastic};
use super::sums::Sums;
use crate::naming::Names;
use crate::{Error, Likelihood, Result};

/// The data inputs.
pub(super) fn data(graph: &Graph) -> Vec<Value> {
    let is_data = |id: &NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
    graph.inputs.iter().copied().filter(is_data).map(Value::from).collect()
}

/// Rebuilds `graph` (one network, one output) around a Scan over `samples` draws.
pub(super) fn ensemble(
    graph: &mut Graph,
    random: &Randomness,
    likelihood: Likelihood,
    samples: usize,
) -> Result<()> {
    let &[input] = data(graph).as_slice() else {
        let reason = "an ensemble takes a model with one data input; export one sample instead";
        return Err(Error::Model(reason.to_owned()));
    };
    let outer_input = graph.node(input.node).clone();
    let fact = graph.outputs.first().map(|port| graph.fact(port.value).clone()).unwrap_or_default();
    let Some(Dim::Known(width)) = fact.shape.as_ref().and_then(|s| s.get(1)).cloned() else {
        let reason =
            "the number of classes is not known: the model's output lacks a shape [N, classes]";
        return Err(Error::Model(reason.to_owned()));
    };
    let sums = Sums::new(likelihood, width);
    let mut body = std::mem::take(graph);
    let mut outer = Graph::new(&body.name);
    let draw = one_draw(&mut body, input, random)?;
    // By the names that the caller knows.
    let noises: Vec<(String, Fact)> = draw
        .noise
        .iter()
        .map(|&value| (body.node(value.node).name.clone(), body.fact(value).clone()))
        .collect();
    close_body(&mut body, &draw, sums)?;

    let images = outer.add(outer_input);
    outer.inputs.push(images);
    let builder = &mut Builder { graph: &mut outer, scope: "ensemble" };
    let mut arguments = vec![Value::from(images)];
    if draw.seed.is_some() {
        let fact = Fact::new(DType::I64, &[]);
        arguments.push(builder.graph.input(SEED, Role::Scalar, fact));
    }
    let handed_on = arguments.len();
    arguments.extend(sums.start(builder, images.into()));
    let states = arguments.len();
    arguments.push(builder.constant(sums.shares(samples)?));
    if draw.number.is_some() {
        let numbers: Vec<i64> = (0..samples as i64).collect();
        arguments.push(builder.constant(Tensor::vector(&numbers)));
    }
    for (name, mut fact) in noises {
        fact.shape.get_or_insert_default().insert(0, Dim::Known(samples));
        arguments.push(builder.graph.input(&name, Role::Noise, fact));
    }
    let scan = Op::new("Scan")
        .with("body", Attribute::Graph(Box::new(body)))
        .with("num_scan_inputs", (arguments.len() - states) as i64);
    let formal: Vec<_> = arguments.iter().copied().map(Some).collect();
    let scan = builder.graph.op("ensemble/Scan", scan, &formal, vec![Fact::default(); states]);
    let last = [0, 1].map(|i| Value { node: scan, slot: handed_on + i });
    sums.finish(builder, last, samples);
    *graph = outer;
    Ok(())
}

/// The inputs of a body, besides its sums.
struct OneDraw {
    /// Handed on.
    images: Value,
    /// Handed on.
    seed: Option<Value>,
    /// How much the draw counts in the means; scanned.
    share: Value,
    /// The number of the draw, if its noise is made from that; scanned.
    number: Option<Value>,
    /// The noise that the caller gives; scanned.
    noise: Vec<Value>,
}

/// Turns the network into one draw.
fn one_draw(body: &mut Graph, images: Value, random: &Randomness) -> Result<OneDraw> {
    // tract panics when it adds axes to a scanned constant, as it would to a scalar.
    let share = body.input("share", Role::Scalar, Fact::new(DType::F32, &[1]));
    let number = (random.noise == Noise::Seed)
        .then(|| body.input("draw", Role::Scalar, Fact::new(DType::I64, &[])));
    let seed = stochastic(body, random, number)?;
    // Constants that the file lists as inputs too stay constants.
    let noisy =
        |id: &NodeId| matches!(body.node(*id).kind, Kind::Input(Role::Noise | Role::ImageNoise));
    let noise = body.inputs.iter().copied().filter(noisy).map(Value::from).collect();
    Ok(OneDraw { images, seed, share, number, noise })
}

/// Gives the body its inputs and outputs. Its state, besides what is handed on: the sums, as far as
/// the draws have come.
fn close_body(body: &mut Graph, draw: &OneDraw, kind: Sums) -> Result<()> {
    let [port] = body.outputs.as_slice() else {
        return Err(Error::Model("the model has not one output".to_owned()));
    };
    let outputs = port.value;
    // What the images around fix, a name in here would leave free.
    for id in body.ids().collect::<Vec<_>>() {
        let shapes = body.node_mut(id).outputs.iter_mut().filter_map(|fact| fact.shape.as_mut());
        for dim in shapes.flatten().filter(|dim| matches!(dim, Dim::Named(_))) {
            *dim = Dim::Unknown;
        }
    }
    let states = kind.states();
    let sums = [&states[0], &states[1]].map(|(name, shape)| {
        let fact = Fact { dtype: Some(DType::F32), shape: Some(shape.clone()) };
        body.input(name, Role::State, fact)
    });
    let handed_on: Vec<Value> = [draw.images].into_iter().chain(draw.seed).collect();
    let scanned = [draw.share].into_iter().chain(draw.number).chain(draw.noise.iter().copied());
    let inputs = handed_on.iter().copied().chain(sums).chain(scanned);
    body.inputs = inputs.map(|value| value.node).collect();
    // No name of a body may be one that is visible around it.
    let mut names = Names::of(body);
    for id in body.inputs.clone() {
        let node = body.node_mut(id);
        node.name = names.claim(&format!("draw/{}", node.name));
    }
    let builder = &mut Builder { graph: body, scope: "draw" };
    let next = kind.next(builder, sums, outputs, draw.share);
    for (next, sum) in next.iter().zip(sums) {
        builder.graph.node_mut(next.node).outputs = builder.graph.node(sum.node).outputs.clone();
    }
    body.outputs.clear();
    for value in handed_on {
        let name = format!("{}_next", body.node(value.node).name);
        body.output(&name, value);
    }
    for ((name, _), value) in states.iter().zip(next) {
        body.output(&format!("{name}_next"), value);
    }
    body.sweep();
    Ok(())
}
