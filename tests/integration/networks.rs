//! Random small networks: what the rules of single operators add up to.

use graphs::{DType, Fact, Graph, Op, Role, Value};
use passes::Tape;
use runtime::noise::{Key, hash_name};

use crate::differences::{Point, Trial};
use crate::engines::engines;
use crate::models::uniform;

const NETWORKS: u64 = 24;
/// The greatest error of a gradient, relative to its norm.
const TOLERANCE: f64 = 5e-3;
/// Long enough for float32, and so short that few kinks of ReLU and MaxPool are met.
const REACH: f32 = 1e-3;

/// A network that grows by random layers.
struct Network<'g> {
    tape: Tape<'g>,
    targets: Vec<(Value, Point)>,
    key: Key,
    drawn: u64,
    seed: u64,
}

impl Network<'_> {
    /// One of `0..count`.
    fn choice(&mut self, count: usize) -> usize {
        self.drawn += 1;
        self.key.words(self.drawn)[0] as usize % count
    }

    /// An input that a gradient is taken for; weights scale by `1 / sqrt(fan_in)`.
    fn input(&mut self, shape: &[usize], middle: f32, fan_in: usize) -> Value {
        let name = format!("x{}", self.targets.len());
        let half = (3.0 / fan_in as f32).sqrt().min(1.0);
        let value = uniform(&name, self.seed, shape, middle - half, middle + half);
        let input = self.tape.graph.input(&name, Role::Data, Fact::new(DType::F32, shape));
        self.targets.push((input, Point { name, value, reach: REACH }));
        input
    }

    fn op(&mut self, op: Op, arguments: &[Value]) -> Value {
        self.tape.op(op, arguments).expect("a legal layer")
    }

    fn shape(&self, x: Value) -> Vec<usize> {
        self.tape.shape(x).expect("a known shape")
    }

    fn conv(&mut self, x: Value, channels: usize, same: bool) -> Value {
        let shape = self.shape(x);
        let (inputs, size) = (shape[1], shape[2].min(shape[3]));
        let even = [inputs, channels].iter().all(|n| n.is_multiple_of(2));
        let group = if even { 1 + self.choice(2) } else { 1 };
        let kernel = if same { 3 } else { 1 + self.choice(size.min(3)) };
        let stride = if same { 1 } else { 1 + self.choice(2) };
        let pad = if same { 1 } else { self.choice(2).min(kernel - 1) };
        let fan_in = inputs / group * kernel * kernel;
        let weight = self.input(&[channels, inputs / group, kernel, kernel], 0.0, fan_in);
        let bias = self.input(&[channels], 0.0, fan_in);
        let op = Op::new("Conv")
            .with("group", group as i64)
            .with("strides", vec![stride as i64; 2])
            .with("pads", vec![pad as i64; 4]);
        self.op(op, &[x, weight, bias])
    }

    fn batch_norm(&mut self, x: Value) -> Value {
        let channels = [self.shape(x)[1]];
        let mut arguments = vec![x];
        for middle in [1.0, 0.0, 0.0, 2.0] {
            arguments.push(self.input(&channels, middle, 4));
        }
        self.op(Op::new("BatchNormalization"), &arguments)
    }

    fn activation(&mut self, x: Value) -> Value {
        let ops = ["Relu", "Sigmoid", "Tanh", "LeakyRelu", "Softplus", "Elu", "HardSwish"];
        let choice = self.choice(ops.len());
        self.op(Op::new(ops[choice]), &[x])
    }

    fn pool(&mut self, x: Value) -> Value {
        if self.shape(x)[2..].iter().any(|&size| size < 2) {
            return x;
        }
        let op = ["MaxPool", "AveragePool"][self.choice(2)];
        let (stride, pad) = (1 + self.choice(2), self.choice(2));
        let op = Op::new(op)
            .with("kernel_shape", vec![2i64, 2])
            .with("strides", vec![stride as i64; 2])
            .with("pads", vec![pad as i64, 0, pad as i64, 0]);
        self.op(op, &[x])
    }

    fn layer(&mut self, x: Value) -> Value {
        let channels = self.shape(x)[1];
        match self.choice(6) {
            0 => self.conv(x, 2 + 2 * (channels % 3), false),
            1 => {
                let y = self.conv(x, 4, true);
                let y = self.batch_norm(y);
                self.activation(y)
            }
            2 => self.pool(x),
            3 => {
                let y = self.conv(x, channels, true);
                let y = self.activation(y);
                self.op(Op::new("Add"), &[x, y])
            }
            4 => {
                let y = self.conv(x, 2, true);
                let z = self.activation(x);
                self.op(Op::new("Concat").with("axis", 1), &[y, z, x])
            }
            _ => {
                // Squeeze and excitation: one factor for each channel.
                let y = self.op(Op::new("GlobalAveragePool"), &[x]);
                let y = self.op(Op::new("Sigmoid"), &[y]);
                self.op(Op::new("Mul"), &[x, y])
            }
        }
    }

    fn head(&mut self, x: Value) -> Value {
        let x = match self.choice(2) {
            0 => x,
            _ => self.op(Op::new("GlobalAveragePool"), &[x]),
        };
        let x = self.op(Op::new("Flatten"), &[x]);
        let features = self.shape(x)[1];
        let weight = self.input(&[3, features], 0.0, features);
        let bias = self.input(&[3], 0.0, features);
        let logits = self.op(Op::new("Gemm").with("transB", 1), &[x, weight, bias]);
        self.op(Op::new("LogSoftmax"), &[logits])
    }
}

fn network(seed: u64) -> Trial {
    let mut graph = Graph::new("network");
    let mut net = Network {
        tape: Tape::new(&mut graph, "network"),
        targets: Vec::new(),
        key: Key::new(seed, 0, hash_name("network")),
        drawn: 0,
        seed,
    };
    let mut x = net.input(&[2, 3, 6, 7], 0.0, 1);
    for _ in 0..3 + net.choice(3) {
        x = net.layer(x);
    }
    let y = net.head(x);
    let targets = net.targets;
    let mut trial = Trial::new(graph, &[y], &targets).expect("a differentiable network");
    trial.kinks = true;
    trial
}

#[test]
fn random_networks_differentiate_right() {
    let mut failures = Vec::new();
    for seed in 0..NETWORKS {
        let trial = network(seed);
        for engine in engines() {
            let (error, input) = trial.error(engine.as_ref()).expect("a run");
            if error > TOLERANCE {
                failures.push(format!("{seed} on {}: {input}: {error:.2e}", engine.name()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

#[test]
fn a_wrong_gradient_of_a_network_is_caught() {
    let mut trial = network(0);
    trial.spoil(1.05);
    let (error, _) = trial.error(engines()[0].as_ref()).expect("a run");
    assert!(error > 4.0 * TOLERANCE, "{error}");
}
