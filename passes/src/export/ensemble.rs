//! Several draws in one graph: a Scan whose body is the stochastic network and whose
//! state sums probabilities and entropies, so that memory does not grow with the
//! number of draws.

use graphs::{Attribute, DType, Dim, Fact, Graph, Kind, Op, Role, Tensor, Value, names};

use super::normals::{Builder, Noise};
use super::{Draw, MUTUAL_INFORMATION, PREDICTIVE_ENTROPY, SEED, stochastic};
use crate::variational::Posterior;
use crate::{Error, Result};

/// The one data input.
pub(super) fn images(graph: &Graph) -> Result<Value> {
    let is_data = |&&id: &&graphs::NodeId| {
        matches!(graph.node(id).kind, Kind::Input(Role::Data) | Kind::Capture(_))
    };
    let captured = graph.ids().find(|&id| matches!(graph.node(id).kind, Kind::Capture(0)));
    let mut data = graph.inputs.iter().filter(is_data);
    match (captured, data.next(), data.next()) {
        (Some(id), ..) | (None, Some(&id), None) => Ok(id.into()),
        _ => Err(Error::Model("a classifier of images has exactly one data input".to_owned())),
    }
}

/// Rebuilds `graph` (one network, output `probabilities`) around a Scan over `samples`
/// draws.
pub(super) fn ensemble(
    graph: &mut Graph,
    noise: Noise,
    posteriors: &[Posterior],
    samples: usize,
) -> Result<()> {
    let input = images(graph)?;
    let outer_input = graph.node(input.node).clone();
    let fact = graph.outputs.first().map(|port| graph.fact(port.value).clone()).unwrap_or_default();
    let Some(Dim::Known(classes)) = fact.shape.as_ref().and_then(|s| s.get(1)).cloned() else {
        let reason =
            "the number of classes is not known: the model's output lacks a shape [N, classes]";
        return Err(Error::Model(reason.to_owned()));
    };
    let mut body = std::mem::take(graph);
    let mut outer = Graph::new(&body.name);
    let scanned = body_of_one_draw(&mut body, input, noise, posteriors)?;
    close_body(&mut body, &scanned)?;

    let images = outer.add(outer_input);
    outer.inputs.push(images);
    let mut arguments = Vec::new();
    let mut captures = vec![Value::from(images)];
    let builder = &mut Builder { graph: &mut outer, scope: "ensemble" };
    let (sum, entropy) = start(builder, images.into(), classes);
    arguments.extend([sum, entropy]);
    match noise {
        Noise::Input => {
            for node in &scanned {
                let shape = node.known_shape.iter().copied();
                let shape: Vec<usize> = std::iter::once(samples).chain(shape).collect();
                let fact = Fact::new(DType::F32, &shape);
                arguments.push(builder.graph.input(&node.name, Role::Noise, fact));
            }
        }
        Noise::Seed | Noise::Random => {
            let numbers: Vec<i64> = (0..samples as i64).collect();
            arguments.push(builder.constant(Tensor::vector(&numbers)));
        }
    }
    if noise == Noise::Seed {
        let fact = Fact::new(DType::I64, &[]);
        captures.push(builder.graph.input(SEED, Role::Scalar, fact));
    }
    let scan = Op::new("Scan")
        .with("body", Attribute::Graph(Box::new(body)))
        .with("num_scan_inputs", (arguments.len() - 2) as i64);
    let formal: Vec<_> = arguments.iter().copied().map(Some).collect();
    let scan = builder.graph.op("ensemble/Scan", scan, &formal, vec![Fact::default(); 2]);
    for (i, capture) in captures.into_iter().enumerate() {
        builder.graph.connect(capture, scan, formal.len() + i);
    }
    finish(builder, scan, samples, classes);
    *graph = outer;
    Ok(())
}

/// An input of the body that the Scan slices.
struct Scanned {
    node: graphs::NodeId,
    name: String,
    known_shape: Vec<usize>,
}

/// Turns the network into one draw: its images and seed become captures, the rest of
/// what it needs is returned as scanned inputs.
fn body_of_one_draw(
    body: &mut Graph,
    input: Value,
    noise: Noise,
    posteriors: &[Posterior],
) -> Result<Vec<Scanned>> {
    body.inputs.retain(|&id| id != input.node);
    let node = body.node_mut(input.node);
    node.kind = Kind::Capture(0);
    node.name = String::new();
    let draw = match noise {
        Noise::Input => Draw::Once,
        Noise::Seed | Noise::Random => {
            Draw::Number(body.input("draw", Role::Scalar, Fact::new(DType::I64, &[])))
        }
    };
    stochastic(body, noise, posteriors, draw)?;
    if let Some(seed) = body.source(SEED).filter(|_| noise == Noise::Seed) {
        body.inputs.retain(|&id| id != seed.node);
        let node = body.node_mut(seed.node);
        node.kind = Kind::Capture(1);
        node.name = String::new();
    }
    let scanned = body.inputs.iter().filter(|&&id| matches!(body.node(id).kind, Kind::Input(_)));
    Ok(scanned
        .map(|&id| Scanned {
            node: id,
            name: body.node(id).name.clone(),
            known_shape: body.fact(id.into()).known_shape().unwrap_or_default(),
        })
        .collect())
}

/// Adds the state of the Scan to the body: sums of probabilities and of entropies.
fn close_body(body: &mut Graph, scanned: &[Scanned]) -> Result<()> {
    let Some(port) = body.port(names::PROBABILITIES).cloned() else {
        return Err(Error::Model("the model has no probabilities".to_owned()));
    };
    let probabilities = port.value;
    body.inputs.clear();
    let state = Fact { dtype: Some(DType::F32), shape: None };
    let sum = body.input("probabilities_sum", Role::State, state.clone());
    let entropy_sum = body.input("entropy_sum", Role::State, state);
    body.inputs.extend(scanned.iter().map(|s| s.node));
    let builder = &mut Builder { graph: body, scope: "draw" };
    let entropy = entropy(builder, probabilities);
    let next_sum = builder.apply("Add", &[sum, probabilities]);
    let next_entropy = builder.apply("Add", &[entropy_sum, entropy]);
    for value in [next_sum, next_entropy] {
        if let Some(fact) = body.node_mut(value.node).outputs.first_mut() {
            fact.dtype = Some(DType::F32);
        }
    }
    body.outputs.clear();
    body.output("probabilities_next", next_sum);
    body.output("entropy_next", next_entropy);
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
fn start(builder: &mut Builder, images: Value, classes: usize) -> (Value, Value) {
    let shape = builder.op(Op::new("Shape").with("start", 0).with("end", 1), &[images]);
    let width = builder.constant(Tensor::vector(&[classes as i64]));
    let full = builder.op(Op::new("Concat").with("axis", 0), &[shape, width]);
    let zeros = |builder: &mut Builder, shape| {
        let zero = Tensor::vector(&[0f32]);
        builder.op(Op::new("ConstantOfShape").with("value", zero), &[shape])
    };
    (zeros(builder, full), zeros(builder, shape))
}

/// The outputs: means over the draws, and what they say of uncertainty.
fn finish(builder: &mut Builder, scan: graphs::NodeId, samples: usize, classes: usize) {
    let count = builder.constant(Tensor::scalar(samples as f32));
    let [sum, entropy_sum] = [0, 1].map(|slot| Value { node: scan, slot });
    let mean = builder.apply("Div", &[sum, count]);
    let expected = builder.apply("Div", &[entropy_sum, count]);
    let predictive = entropy(builder, mean);
    let information = builder.apply("Sub", &[predictive, expected]);
    let batch = Dim::Named("N".to_owned());
    for (name, value, shape) in [
        (names::PROBABILITIES, mean, vec![batch.clone(), Dim::Known(classes)]),
        (PREDICTIVE_ENTROPY, predictive, vec![batch.clone()]),
        (MUTUAL_INFORMATION, information, vec![batch]),
    ] {
        builder.graph.node_mut(value.node).outputs =
            vec![Fact { dtype: Some(DType::F32), shape: Some(shape) }];
        builder.graph.output(name, value);
    }
}
