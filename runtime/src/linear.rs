//! A linear classifier with hand-written gradients, as the programs that tests run.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::collections::BTreeMap;
use std::error::Error;

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, Value, names};

use crate::data::Dataset;
use crate::sessions::{Loss, Purpose};

/// `[C, H, W]` of its images.
pub(crate) const SHAPE: [usize; 3] = [1, 2, 2];
const PIXELS: usize = 4;

/// logits = x (weight + std * noise), weight `[4, classes]`.
#[derive(Clone, Copy)]
pub(crate) struct Linear {
    pub(crate) classes: usize,
    /// Of the noise on the weights; without it there is no noise input.
    pub(crate) std: Option<f32>,
}

/// Weights that differ between pixels and classes.
pub(crate) fn weight(classes: usize) -> BTreeMap<String, Tensor> {
    let values = (0..PIXELS * classes).map(|i| ((i * 7 + 3) % 11) as f32 / 5.0 - 1.0).collect();
    BTreeMap::from([("weight".to_owned(), Tensor::new(&[PIXELS, classes], values).unwrap())])
}

/// `n` images whose label is told by their brightest pixel.
pub(crate) fn dataset(n: usize, classes: usize) -> Dataset {
    let labels: Vec<i64> = (0..n).map(|i| (i * 5 % classes) as i64).collect();
    let pixel =
        |i: usize, p: usize| (i * 31 + p * 67) as u8 % 100 + 130 * u8::from(labels[i] == p as i64);
    let pixels = (0..n).flat_map(|i| (0..PIXELS).map(move |p| (i, p))).map(|(i, p)| pixel(i, p));
    Dataset::new(SHAPE, pixels.collect(), labels.clone(), Vec::new()).unwrap()
}

struct Parts {
    graph: Graph,
    x: Value,
    flat: Value,
    weight: Value,
    sampled: Value,
    logits: Value,
    probabilities: Value,
}

impl Linear {
    pub(crate) fn compile(
        &self,
        purpose: Purpose,
        batch: usize,
    ) -> Result<Program, Box<dyn Error + Send + Sync>> {
        let mut parts = self.forward(batch);
        let carried = match purpose {
            Purpose::Predict => {
                parts.graph.output(names::PROBABILITIES, parts.probabilities);
                parts.graph.output(names::LOGITS, parts.logits);
                vec![]
            }
            Purpose::Attack => self.attack(&mut parts, batch),
            Purpose::Gradient(Loss::CrossEntropy) => {
                let (losses, slopes) = self.loss(&mut parts, batch);
                let gradient = self.slope(&mut parts, slopes);
                parts.graph.output(names::LOSSES, losses);
                parts.graph.output(names::GRADIENT, gradient);
                parts.graph.output(names::LOGITS, parts.logits);
                vec![]
            }
            Purpose::Gradient(loss) => return Err(format!("no {loss:?} by hand").into()),
            Purpose::Update => self.update(&mut parts, batch),
        };
        let mut carries = Vec::new();
        for (input, value) in carried {
            parts.graph.output(&format!("{input}.next"), value);
            carries.push((format!("{input}.next"), input.to_owned()));
        }
        Ok(Program::new(Model::new(parts.graph), &carries))
    }

    fn forward(&self, batch: usize) -> Parts {
        let mut graph = Graph::new("linear");
        let [c, h, w] = SHAPE;
        let fact = Fact::new(DType::F32, &[batch, c, h, w]);
        let x = graph.input(names::IMAGES, Role::Data, fact);
        let fact = Fact::new(DType::F32, &[PIXELS, self.classes]);
        let weight = graph.input("weight", Role::State, fact.clone());
        let mut sampled = weight;
        if let Some(std) = self.std {
            let noise = graph.input("weight.noise", Role::Noise, fact);
            let std = graph.initializer("std", Tensor::scalar(std));
            let scaled = op(&mut graph, Op::new("Mul"), &[noise, std]);
            sampled = op(&mut graph, Op::new("Add"), &[weight, scaled]);
        }
        let flat = reshape(&mut graph, x, &[batch, PIXELS]);
        let logits = op(&mut graph, Op::new("MatMul"), &[flat, sampled]);
        let probabilities = op(&mut graph, Op::new("Softmax").with("axis", -1), &[logits]);
        graph.node_mut(probabilities.node).outputs =
            vec![Fact::new(DType::F32, &[batch, self.classes])];
        Parts { graph, x, flat, weight, sampled, logits, probabilities }
    }

    /// The cross-entropies `[N]` and their gradients to the logits, `[N, classes]`.
    fn loss(&self, parts: &mut Parts, batch: usize) -> (Value, Value) {
        let graph = &mut parts.graph;
        let labels = graph.input(names::LABELS, Role::Label, Fact::new(DType::I64, &[batch]));
        let column = reshape(graph, labels, &[batch, 1]);
        let classes: Vec<i64> = (0..self.classes as i64).collect();
        let classes = graph.initializer("classes", Tensor::vector(&classes));
        let equal = op(graph, Op::new("Equal"), &[column, classes]);
        let float = Op::new("Cast").with("to", i64::from(DType::F32.code()));
        let truth = op(graph, float, &[equal]);
        let logs = op(graph, Op::new("Log"), &[parts.probabilities]);
        let picked = op(graph, Op::new("Mul"), &[logs, truth]);
        let sums = reduce(graph, "ReduceSum", picked, Some(1));
        let losses = op(graph, Op::new("Neg"), &[sums]);
        let slopes = op(graph, Op::new("Sub"), &[parts.probabilities, truth]);
        (losses, slopes)
    }

    /// The gradient to the images, from that to the logits.
    fn slope(&self, Parts { graph, x, sampled, .. }: &mut Parts, slopes: Value) -> Value {
        let shape = graph.fact(*x).known_shape().unwrap();
        let transposed = op(graph, Op::new("Transpose"), &[*sampled]);
        let flat = op(graph, Op::new("MatMul"), &[slopes, transposed]);
        reshape(graph, flat, &shape)
    }

    fn attack(&self, parts: &mut Parts, batch: usize) -> Vec<(&'static str, Value)> {
        let (losses, slopes) = self.loss(parts, batch);
        let slope = self.slope(parts, slopes);
        let Parts { graph, x, .. } = parts;
        let fact = graph.fact(*x).clone();
        let clean = graph.input(names::CLEAN, Role::Data, fact.clone());
        let before = graph.input(names::GRADIENT, Role::State, fact);
        let [keep, radius, step_size] =
            [names::KEEP, names::RADIUS, names::STEP_SIZE].map(|name| scalar(graph, name));
        let kept = op(graph, Op::new("Mul"), &[before, keep]);
        let gradient = op(graph, Op::new("Add"), &[kept, slope]);
        let sign = op(graph, Op::new("Sign"), &[gradient]);
        let step = op(graph, Op::new("Mul"), &[sign, step_size]);
        let moved = op(graph, Op::new("Add"), &[*x, step]);
        let least = op(graph, Op::new("Sub"), &[clean, radius]);
        let most = op(graph, Op::new("Add"), &[clean, radius]);
        let above = op(graph, Op::new("Max"), &[moved, least]);
        let inside = op(graph, Op::new("Min"), &[above, most]);
        let zero = graph.initializer("zero", Tensor::scalar(0f32));
        let one = graph.initializer("one", Tensor::scalar(1f32));
        let next = op(graph, Op::new("Clip"), &[inside, zero, one]);
        graph.output(names::LOSSES, losses);
        vec![(names::IMAGES, next), (names::GRADIENT, gradient)]
    }

    /// loss = mean cross-entropy + kl_scale * |weight|^2, heavy-ball momentum 0.9.
    fn update(&self, parts: &mut Parts, batch: usize) -> Vec<(&'static str, Value)> {
        let (losses, slopes) = self.loss(parts, batch);
        let Parts { graph, flat, weight, probabilities, .. } = parts;
        let labels = graph.source(names::LABELS).unwrap();
        let best = Op::new("ArgMax").with("axis", 1).with("keepdims", 0);
        let best = op(graph, best, &[*probabilities]);
        let hits = op(graph, Op::new("Equal"), &[best, labels]);
        let float = Op::new("Cast").with("to", i64::from(DType::F32.code()));
        let hits = op(graph, float, &[hits]);
        let correct = reduce(graph, "ReduceSum", hits, None);
        let cross_entropy = reduce(graph, "ReduceMean", losses, None);
        let square = op(graph, Op::new("Mul"), &[*weight, *weight]);
        let kl = reduce(graph, "ReduceSum", square, None);
        let [kl_scale, rate] =
            [names::KL_SCALE, names::LEARNING_RATE].map(|name| scalar(graph, name));
        let scaled = op(graph, Op::new("Mul"), &[kl, kl_scale]);
        let loss = op(graph, Op::new("Add"), &[cross_entropy, scaled]);

        let transposed = op(graph, Op::new("Transpose"), &[*flat]);
        let sums = op(graph, Op::new("MatMul"), &[transposed, slopes]);
        let count = graph.initializer("count", Tensor::scalar(batch as f32));
        let mean = op(graph, Op::new("Div"), &[sums, count]);
        let two = graph.initializer("two", Tensor::scalar(2f32));
        let double = op(graph, Op::new("Mul"), &[*weight, two]);
        let decay = op(graph, Op::new("Mul"), &[double, kl_scale]);
        let gradient = op(graph, Op::new("Add"), &[mean, decay]);
        let velocity = graph.input("weight.velocity", Role::State, graph.fact(*weight).clone());
        let share = graph.initializer("momentum", Tensor::scalar(0.9f32));
        let kept = op(graph, Op::new("Mul"), &[velocity, share]);
        let next_velocity = op(graph, Op::new("Add"), &[kept, gradient]);
        let step = op(graph, Op::new("Mul"), &[next_velocity, rate]);
        let next = op(graph, Op::new("Sub"), &[*weight, step]);
        for (name, value) in [
            (names::LOSS, loss),
            (names::CROSS_ENTROPY, cross_entropy),
            (names::KL, kl),
            (names::CORRECT, correct),
        ] {
            graph.output(name, value);
        }
        vec![("weight", next), ("weight.velocity", next_velocity)]
    }
}

fn op(graph: &mut Graph, op: Op, arguments: &[Value]) -> Value {
    let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
    graph.op("", op, &arguments, vec![Fact::default()]).into()
}

fn scalar(graph: &mut Graph, name: &str) -> Value {
    graph.input(name, Role::Scalar, Fact::new(DType::F32, &[]))
}

fn reshape(graph: &mut Graph, x: Value, shape: &[usize]) -> Value {
    let shape: Vec<i64> = shape.iter().map(|&d| d as i64).collect();
    let shape = graph.initializer(&format!("shape{}", graph.len()), Tensor::vector(&shape));
    op(graph, Op::new("Reshape"), &[x, shape])
}

/// Over one axis, or over all.
fn reduce(graph: &mut Graph, op_type: &str, x: Value, axis: Option<i64>) -> Value {
    let kind = Op::new(op_type).with("keepdims", 0);
    match (op_type, axis) {
        ("ReduceSum", Some(axis)) => {
            let axes = graph.initializer(&format!("axes{}", graph.len()), Tensor::vector(&[axis]));
            op(graph, kind, &[x, axes])
        }
        _ => op(graph, kind, &[x]),
    }
}
