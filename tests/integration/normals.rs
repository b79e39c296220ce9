//! The numbers that exports draw are standard normal and independent.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};
use passes::export::{Mode, Noise, SEED, Target, export};
use passes::{InitStd, Platform};

use crate::engines::{Runner, Values, onnxruntime};
use crate::models::{convert, doubles};

/// Weights of each of the two tensors.
const COUNT: usize = 1_000_000;
/// Rows of the second tensor; the first has one.
const ROWS: usize = 100;
/// How many standard errors count as chance where a seed decides: 1 in 147,000 for a single one.
const CHANCE: f64 = 4.5;
/// The same where every run is another: 1 in 500 million.
pub(crate) const ANY_RUN: f64 = 6.0;

/// Of two weight tensors (of mean 0 and log-std 0) of so many elements each the draws, for an image
/// of one pixel that is 1: logits that are a 0, then both tensors. Against the 0, Softmax can be
/// undone.
pub(crate) fn model(count: usize) -> Model {
    let mut graph = Graph::new("draws");
    let fact = |shape: &[usize]| vec![Fact::new(DType::F32, shape)];
    let image = graph.input("image", Role::Data, Fact::new(DType::F32, &[1, 1, 1, 1]));
    let x = graph.op("x", Op::new("Flatten"), &[Some(image)], fact(&[1, 1]));
    let zero = graph.initializer("zero", Tensor::scalar(0f32));
    let first = graph.op("first", Op::new("Mul"), &[Some(x.into()), Some(zero)], fact(&[1, 1]));
    let mut parts = vec![Some(first.into())];
    for (name, rows) in [("a", 1), ("b", ROWS)] {
        let columns = count / rows;
        let diagonal = (0..rows * rows).map(|i| f32::from(i % (rows + 1) == 0)).collect();
        let diagonal = Tensor::new(&[rows, rows], diagonal).expect("a matrix");
        let diagonal = graph.initializer(&format!("{name}.diagonal"), diagonal);
        let operands = [Some(x.into()), Some(diagonal)];
        let selected =
            graph.op(&format!("{name}.x"), Op::new("Mul"), &operands, fact(&[rows, rows]));
        let weight = Tensor::full(&[rows, columns], 0f32).expect("zeros");
        let weight = graph.initializer(name, weight);
        let operands = [Some(selected.into()), Some(weight)];
        let y =
            graph.op(&format!("{name}.y"), Op::new("MatMul"), &operands, fact(&[rows, columns]));
        let row = graph.initializer(&format!("{name}.row"), Tensor::vector(&[1i64, -1]));
        let operands = [Some(y.into()), Some(row)];
        let row =
            graph.op(&format!("{name}.all"), Op::new("Reshape"), &operands, fact(&[1, count]));
        parts.push(Some(row.into()));
    }
    let concat = Op::new("Concat").with("axis", 1);
    let logits = graph.op("logits", concat, &parts, fact(&[1, 2 * count + 1]));
    graph.output("logits", logits.into());
    convert(Model::new(graph), InitStd::Constant(1.0))
}

/// The draws of both tensors that the probabilities come from.
pub(crate) fn drawn(probabilities: &[f64]) -> [Vec<f64>; 2] {
    let (zero, rest) = probabilities.split_first().expect("probabilities");
    let (a, b) = rest.split_at(rest.len() / 2);
    [a, b].map(|part| part.iter().map(|p| (p / zero).ln()).collect())
}

/// Draws of an export.
struct Draws(Runner);

impl Draws {
    fn new(noise: Noise, platform: Platform) -> Draws {
        let mode = Mode::Stochastic { noise, samples: 1, functions: false };
        let target = Target { opset: graphs::OPSET, platform };
        let model = export(&model(COUNT), &mode, target).expect("an export");
        Draws(Runner::of_model(onnxruntime(), &model).expect("a session"))
    }

    fn next(&mut self, seed: Option<i64>) -> [Vec<f64>; 2] {
        let one = Tensor::full(&[1, 1, 1, 1], 1f32).expect("a one");
        let mut feeds = Values::from([("image".to_owned(), one)]);
        feeds.extend(seed.map(|seed| (SEED.to_owned(), Tensor::scalar(seed))));
        let outputs = self.0.run(&feeds).expect("a run");
        drawn(&doubles(&outputs[graphs::names::PROBABILITIES]))
    }
}

/// Asserts that a mean of `count` independent numbers of variance `variance` is `expected`.
#[track_caller]
fn assert_chance(
    what: &str,
    [found, expected]: [f64; 2],
    variance: f64,
    count: usize,
    chance: f64,
) {
    let error = (found - expected) / (variance / count as f64).sqrt();
    assert!(error.abs() < chance, "{what}: {found}, {error} standard errors off");
}

fn mean(values: impl ExactSizeIterator<Item = f64>) -> f64 {
    let count = values.len() as f64;
    values.sum::<f64>() / count
}

/// Values and squares of both are uncorrelated.
#[track_caller]
fn assert_uncorrelated(what: &str, a: &[f64], b: &[f64], chance: f64) {
    let count = a.len().min(b.len());
    let pairs = || a[..count].iter().zip(&b[..count]);
    assert_chance(what, [mean(pairs().map(|(a, b)| a * b)), 0.0], 1.0, count, chance);
    let squares = mean(pairs().map(|(a, b)| (a * a - 1.0) * (b * b - 1.0)));
    assert_chance(&format!("squares, {what}"), [squares, 0.0], 4.0, count, chance);
}

/// Every draw is standard normal, and independent of the others.
#[track_caller]
pub(crate) fn assert_normal(drawn: &[[Vec<f64>; 2]], chance: f64) {
    for [a, b] in drawn {
        for x in [a, b] {
            let count = x.len();
            // Variances of the powers of a standard normal number: 1, 2, 15, 96.
            let check = |what: &str, found: f64, expected: f64, variance: f64| {
                assert_chance(what, [found, expected], variance, count, chance);
            };
            check("mean", mean(x.iter().copied()), 0.0, 1.0);
            check("variance", mean(x.iter().map(|x| x * x)), 1.0, 2.0);
            check("third moment", mean(x.iter().map(|x| x.powi(3))), 0.0, 15.0);
            check("kurtosis", mean(x.iter().map(|x| x.powi(4))), 3.0, 96.0);
            for (end, expected) in [
                (0.5, 0.617_075_077),
                (1.0, 0.317_310_508),
                (2.0, 0.045_500_264),
                (3.0, 0.002_699_796),
                (4.0, 0.000_063_342),
            ] {
                let beyond = mean(x.iter().map(|x| f64::from(u8::from(x.abs() > end))));
                let variance = expected * (1.0 - expected);
                check(&format!("share beyond {end}"), beyond, expected, variance);
            }
            for lag in [1, 2, 3, 4, 8, 16, 64, 256, count / 8, count / 2] {
                assert_uncorrelated(&format!("lag {lag}"), x, &x[lag..], chance);
            }
        }
        assert_uncorrelated("tensors", a, b, chance);
    }
    for (i, one) in drawn.iter().enumerate() {
        for other in &drawn[..i] {
            for (a, b) in one.iter().zip(other) {
                assert_uncorrelated("draws", a, b, chance);
            }
        }
    }
}

#[test]
fn draws_of_a_seed_are_standard_normal_and_independent() {
    let mut draws = Draws::new(Noise::Seed, Platform::Any);
    assert_normal(&[0, 1, 2, -1, 1 << 32].map(|seed| draws.next(Some(seed))), CHANCE);
}

#[test]
fn draws_of_random_operators_are_standard_normal_and_independent() {
    for platform in [Platform::Any, Platform::OpenVino] {
        let mut draws = Draws::new(Noise::Random, platform);
        assert_normal(&[(); 3].map(|()| draws.next(None)), ANY_RUN);
    }
}
