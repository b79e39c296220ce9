//! The numbers that exports draw are standard normal and independent.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};
use passes::export::{Mode, Noise, SEED, Target, export};
use passes::{InitStd, Platform};

use crate::engines::{Runner, Values, onnxruntime};
use crate::models::{convert, doubles};

/// Weights of each of the two tensors.
const COUNT: usize = 1_000_000;
/// How many standard errors count as chance: 1 in 147,000 for a single one.
const CHANCE: f64 = 4.5;

/// The draws of two weight tensors: logits that are a 0, then both tensors (of mean 0
/// and log-std 0) times 1. Against the 0, Softmax can be undone.
struct Draws(Runner);

impl Draws {
    fn new(noise: Noise, platform: Platform) -> Draws {
        let mut graph = Graph::new("draws");
        let fact = |columns: usize| Fact::new(DType::F32, &[1, columns]);
        let x = graph.input("x", Role::Data, fact(1));
        let zero = graph.initializer("zero", Tensor::scalar(0f32));
        let first = graph.op("first", Op::new("Mul"), &[Some(x), Some(zero)], vec![fact(1)]);
        let mut parts = vec![Some(first.into())];
        for name in ["a", "b"] {
            let weight = Tensor::full(&[1, COUNT], 0f32).expect("zeros");
            let weight = graph.initializer(name, weight);
            let product = Op::new("MatMul");
            let y = graph.op(name, product, &[Some(x), Some(weight)], vec![fact(COUNT)]);
            parts.push(Some(y.into()));
        }
        let concat = Op::new("Concat").with("axis", 1);
        let logits = graph.op("logits", concat, &parts, vec![fact(2 * COUNT + 1)]);
        graph.output("logits", logits.into());
        let model = convert(Model::new(graph), InitStd::Constant(1.0));
        let mode = Mode::Stochastic { noise, samples: 1, functions: false };
        let target = Target { opset: graphs::OPSET, platform };
        let model = export(&model, &mode, target).expect("an export");
        Draws(Runner::of_model(onnxruntime(), &model).expect("a session"))
    }

    fn next(&mut self, seed: Option<i64>) -> [Vec<f64>; 2] {
        let one = Tensor::full(&[1, 1], 1f32).expect("a one");
        let mut feeds = Values::from([("x".to_owned(), one)]);
        feeds.extend(seed.map(|seed| (SEED.to_owned(), Tensor::scalar(seed))));
        let outputs = self.0.run(&feeds).expect("a run");
        let probabilities = doubles(&outputs[graphs::names::PROBABILITIES]);
        let (zero, rest) = probabilities.split_first().expect("probabilities");
        let (a, b) = rest.split_at(COUNT);
        [a, b].map(|part| part.iter().map(|p| (p / zero).ln()).collect())
    }
}

/// Asserts that a mean of `count` independent numbers of variance `variance` is `expected`.
#[track_caller]
fn assert_chance(what: &str, found: f64, expected: f64, variance: f64, count: usize) {
    let error = (found - expected) / (variance / count as f64).sqrt();
    assert!(error.abs() < CHANCE, "{what}: {found}, {error} standard errors off");
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Values and squares of both are uncorrelated.
#[track_caller]
fn assert_uncorrelated(what: &str, a: &[f64], b: &[f64]) {
    let count = a.len().min(b.len());
    let pairs = || a[..count].iter().zip(&b[..count]);
    assert_chance(what, mean(pairs().map(|(a, b)| a * b)), 0.0, 1.0, count);
    let squares = mean(pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)));
    assert_chance(&format!("squares, {what}"), squares, 0.0, 4.0, count);
}

/// Every draw is standard normal, and independent of the others.
#[track_caller]
fn assert_normal(drawn: &[[Vec<f64>; 2]]) {
    for [a, b] in drawn {
        for x in [a, b] {
            // Variances of the powers of a standard normal number: 1, 2, 15, 96.
            assert_chance("mean", mean(x.iter().copied()), 0.0, 1.0, COUNT);
            assert_chance("variance", mean(x.iter().map(|x| x * x)), 1.0, 2.0, COUNT);
            assert_chance("third moment", mean(x.iter().map(|x| x.powi(3))), 0.0, 15.0, COUNT);
            assert_chance("kurtosis", mean(x.iter().map(|x| x.powi(4))), 3.0, 96.0, COUNT);
            for (end, expected) in [
                (0.5, 0.617_075_077),
                (1.0, 0.317_310_508),
                (2.0, 0.045_500_264),
                (3.0, 0.002_699_796),
                (4.0, 0.000_063_342),
            ] {
                let beyond = mean(x.iter().map(|x| f64::from(u8::from(x.abs() > end))));
                let variance = expected * (1.0 - expected);
                assert_chance(&format!("share beyond {end}"), beyond, expected, variance, COUNT);
            }
            for lag in [1, 2, 3, 4, 8, 16, 64, 256, 1 << 16, COUNT / 2] {
                assert_uncorrelated(&format!("lag {lag}"), x, &x[lag..]);
            }
        }
        assert_uncorrelated("tensors", a, b);
    }
    for (i, one) in drawn.iter().enumerate() {
        for other in &drawn[..i] {
            for (a, b) in one.iter().zip(other) {
                assert_uncorrelated("draws", a, b);
            }
        }
    }
}

#[test]
fn draws_of_a_seed_are_standard_normal_and_independent() {
    let mut draws = Draws::new(Noise::Seed, Platform::Any);
    assert_normal(&[0, 1, 2, -1, 1 << 32].map(|seed| draws.next(Some(seed))));
}

#[test]
fn draws_of_random_operators_are_standard_normal_and_independent() {
    for platform in [Platform::Any, Platform::OpenVino] {
        let mut draws = Draws::new(Noise::Random, platform);
        assert_normal(&[(); 3].map(|()| draws.next(None)));
    }
}
