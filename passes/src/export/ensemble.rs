//! Several draws in one graph: a Scan whose body is the stochastic network and whose
//! state sums its shares of the mean probabilities and entropies, so that memory does
//! not grow with the number of draws.
//!
//! The images and the seed are state too, handed on from draw to draw: OpenVINO reads no
//! Scan whose body takes a value from outside. The shares are scanned rather than
//! constants: tract takes no Scan without a scanned input, and random noise needs none.

use graphs::{Attribute, DType, Dim, Fact, Graph, Kind, NodeId, Op, Role, Tensor, Value, names};

use super::normals::{Builder, Noise};
use super::stochastic::{Randomness, stochastic};
use super::{MUTUAL_INFORMATION, PREDICTIVE_ENTROPY, SEED};
use crate::naming::Names;
use crate::{Error, Result};

/// The data inputs.
pub(super) fn data(graph: &Graph) -> Vec<Value> {
    let is_data = |id: &NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
    graph.inputs.iter().copied().filter(is_data).map(Value::from).collect()
}

/// Rebuilds `graph` (one network, output `probabilities`) around a Scan over `samples`
/// draws.
pub(super) fn ensemble(graph: &mut Graph, random: &Randomness, samples: usize) -> Result<()> {
    let &[input] = data(graph).as_slice() else {
        let reason = "an ensemble takes a model with one data input; export one sample instead";
        return Err(Error::Model(reason.to_owned()));
    };
    let outer_input = graph.node(input.node).clone();
    let fact = graph.outputs.first().map(|port| graph.fact(port.value).clone()).unwrap_or_default();
    let Some(Dim::Known(classes)) = fact.shape.as_ref().and_then(|s| s.get(1)).cloned() else {
        let reason =
            "the number of classes is not known: the model's output lacks a shape [N, classes]";
        return Err(Error::Model(reason.to_owned()));
    };
    let mut body = std::mem::take(graph);
    let mut outer = Graph::new(&body.name);
    let draw = one_draw(&mut body, input, random)?;
    // By the names that the caller knows.
    let noises: Vec<(String, Fact)> = draw
        .noise
        .iter()
        .map(|&value| (body.node(value.node).name.clone(), body.fact(value).clone()))
        .collect();
    close_body(&mut body, &draw, classes)?;

    let images = outer.add(outer_input);
    outer.inputs.push(images);
    let builder = &mut Builder { graph: &mut outer, scope: "ensemble" };
    let mut arguments = vec![Value::from(images)];
    if draw.seed.is_some() {
        let fact = Fact::new(DType::I64, &[]);
        arguments.push(builder.graph.input(SEED, Role::Scalar, fact));
    }
    let handed_on = arguments.len();
    arguments.extend(start(builder, images.into(), classes));
    let states = arguments.len();
    arguments.push(builder.constant(Tensor::full(&[samples, 1], 1.0 / samples as f32)?));
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
    let sums = [0, 1].map(|i| Value { node: scan, slot: handed_on + i });
    finish(builder, sums, classes);
    *graph = outer;
    Ok(())
}

/// The inputs of a body, besides its sums.
struct OneDraw {
    /// Handed on.
    images: Value,
    /// Handed on.
    seed: Option<Value>,
    /// The share of the draw in the means; scanned.
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

/// Gives the body its inputs and outputs. Its state, besides what is handed on: the means of
/// probabilities and of entropies, as far as the draws have come.
fn close_body(body: &mut Graph, draw: &OneDraw, classes: usize) -> Result<()> {
    let Some(port) = body.port(names::PROBABILITIES).cloned() else {
        return Err(Error::Model("the model has no probabilities".to_owned()));
    };
    // What the images around fix, a name in here would leave free.
    for id in body.ids().collect::<Vec<_>>() {
        let shapes = body.node_mut(id).outputs.iter_mut().filter_map(|fact| fact.shape.as_mut());
        for dim in shapes.flatten().filter(|dim| matches!(dim, Dim::Named(_))) {
            *dim = Dim::Unknown;
        }
    }
    let sums =
        [("mean", vec![Dim::Unknown, Dim::Known(classes)]), ("mean_entropy", vec![Dim::Unknown])]
            .map(|(name, shape)| {
                let fact = Fact { dtype: Some(DType::F32), shape: Some(shape) };
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
    let entropy = entropy(builder, port.value);
    let [mean, mean_entropy] = sums;
    let next = [(mean, port.value), (mean_entropy, entropy)].map(|(sum, value)| {
        let part = builder.apply("Mul", &[value, draw.share]);
        let next = builder.apply("Add", &[sum, part]);
        builder.graph.node_mut(next.node).outputs = builder.graph.node(sum.node).outputs.clone();
        next
    });
    body.outputs.clear();
    for value in handed_on {
        let name = format!("{}_next", body.node(value.node).name);
        body.output(&name, value);
    }
    for (name, value) in ["mean_next", "mean_entropy_next"].into_iter().zip(next) {
        body.output(name, value);
    }
    body.sweep();
    Ok(())
}

/// The entropy of each row of `[N, classes]`, `[N]`, in nats; 0 log 0 is 0.
fn entropy(builder: &mut Builder, probabilities: Value) -> Value {
    // The least normal float32 keeps the logarithm finite; its product with 0 is 0.
    let least = builder.constant(Tensor::scalar(f32::MIN_POSITIVE));
    let positive = builder.apply("Max", &[probabilities, least]);
    let log = builder.apply("Log", &[positive]);
    let products = builder.apply("Mul", &[probabilities, log]);
    let axis = builder.constant(Tensor::vector(&[1i64]));
    let sum = builder.op(Op::new("ReduceSum").with("keepdims", 0), &[products, axis]);
    builder.apply("Neg", &[sum])
}

/// Zeros of shapes `[N, classes]` and `[N]`.
fn start(builder: &mut Builder, images: Value, classes: usize) -> [Value; 2] {
    let shape = builder.op(Op::new("Shape").with("start", 0).with("end", 1), &[images]);
    let width = builder.constant(Tensor::vector(&[classes as i64]));
    let full = builder.op(Op::new("Concat").with("axis", 0), &[shape, width]);
    [full, shape].map(|shape| {
        let zero = Tensor::vector(&[0f32]);
        builder.op(Op::new("ConstantOfShape").with("value", zero), &[shape])
    })
}

/// The outputs: means over the draws, and what they say of uncertainty. Rounding must
/// not make the information negative.
fn finish(builder: &mut Builder, [mean, expected]: [Value; 2], classes: usize) {
    let predictive = entropy(builder, mean);
    let information = builder.apply("Sub", &[predictive, expected]);
    let information = builder.apply("Relu", &[information]);
    let batch = Dim::Named("N".to_owned());
    for (name, value, shape) in [
        (names::PROBABILITIES, mean, vec![batch.clone(), Dim::Known(classes)]),
        (PREDICTIVE_ENTROPY, predictive, vec![batch.clone()]),
        (MUTUAL_INFORMATION, information, vec![batch]),
    ] {
        if let Some(fact) = builder.graph.node_mut(value.node).outputs.get_mut(value.slot) {
            *fact = Fact { dtype: Some(DType::F32), shape: Some(shape) };
        }
        builder.graph.output(name, value);
    }
}
