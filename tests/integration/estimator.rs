//! Local reparameterization against the draw of the weights: the same distribution of the
//! outputs of a layer, and a gradient of lower variance.

use graphs::{Model, Op, Tensor, names};
use passes::{Defense, Estimator, InitStd, Optimizer, Training};

use crate::engines::{Runner, Values, engines, onnxruntime};
use crate::models::{
    CLASSES, PIXELS, bayesian_cnn, convert, doubles, initial_state, labels, linear, noise, number,
    uniform,
};

const BATCH: usize = 16;

fn training(estimator: Estimator) -> Training {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    Training { optimizer, estimator, ..Training::published(Defense::AdvBnn) }
}

/// logits = 2 x w + 0.5 b, everything random.
fn random() -> Model {
    let gemm = Op::new("Gemm").with("alpha", 2.0f32).with("beta", 0.5f32);
    convert(linear(BATCH, gemm), InitStd::Constant(0.3))
}

fn feeds(program: &Model, seed: u64) -> Values {
    let mut feeds = noise(program, seed);
    feeds.insert(names::IMAGES.into(), uniform("x", 1, &[BATCH, PIXELS], 0.0, 1.0));
    feeds.insert(names::LABELS.into(), labels(BATCH));
    for (name, value) in
        [(names::LEARNING_RATE, 1.0f32), (names::STEP, 1.0), (names::KL_SCALE, 0.0)]
    {
        if program.graph.source(name).is_some() {
            feeds.insert(name.into(), Tensor::scalar(value));
        }
    }
    feeds
}

#[test]
fn activations_have_the_mean_and_variance_of_the_layer() {
    let model = random();
    let program = passes::update(&model, BATCH, &training(Estimator::Local)).expect("a program");
    let initial = initial_state(&model, &[&program]);
    let fed = feeds(&program.model, 5);
    let drawn: Vec<&String> = fed.keys().filter(|name| name.ends_with("noise")).collect();
    assert_eq!(drawn, ["w.activation.noise"], "the weights themselves are not drawn");
    let (x, eps) = (doubles(&fed[names::IMAGES]), doubles(&fed["w.activation.noise"]));
    let of = |name: &str| doubles(&initial[name]);
    let (w, s, b, t) = (of("w.mean"), of("w.log_std"), of("b.mean"), of("b.log_std"));
    let logit = |n: usize, k: usize| {
        let terms = |f: &dyn Fn(f64, usize) -> f64| -> f64 {
            (0..PIXELS).map(|i| f(x[n * PIXELS + i], i * CLASSES + k)).sum()
        };
        let mean = 2.0 * terms(&|x, i| x * w[i]) + 0.5 * b[k];
        let variance = 4.0 * terms(&|x, i| x * x * (2.0 * s[i]).exp()) + 0.25 * (2.0 * t[k]).exp();
        mean + variance.sqrt() * eps[n * CLASSES + k]
    };
    let mut expected = 0.0;
    for n in 0..BATCH {
        let logits: Vec<f64> = (0..CLASSES).map(|k| logit(n, k)).collect();
        let total = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
        expected += (total - logits[n % CLASSES]) / BATCH as f64;
    }
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial);
        let found = number(&runner.run(&fed).expect("a run")[names::CROSS_ENTROPY]);
        assert!((found - expected).abs() < 1e-5, "{found}, {expected} on {}", engine.name());
    }
}

/// The mean over draws of every gradient, and the variances summed over all of them.
fn moments(estimator: Estimator) -> (Vec<f64>, f64) {
    const DRAWS: u64 = 400;
    let model = random();
    let program = passes::update(&model, BATCH, &training(estimator)).expect("a program");
    let initial = initial_state(&model, &[&program]);
    let mut runner = Runner::new(onnxruntime(), &program).expect("a session");
    let (mut sums, mut squares) = (Vec::new(), Vec::new());
    for seed in 0..DRAWS {
        runner.put(&initial);
        runner.run(&feeds(&program.model, seed)).expect("a run");
        let slope = |(name, old): (&String, &Tensor)| {
            let pairs = doubles(old).into_iter().zip(doubles(&runner.held(name)));
            pairs.map(|(old, new)| old - new).collect::<Vec<f64>>()
        };
        let gradient: Vec<f64> = initial.iter().flat_map(slope).collect();
        sums.resize(gradient.len(), 0.0);
        squares.resize(gradient.len(), 0.0);
        for ((sum, square), g) in sums.iter_mut().zip(&mut squares).zip(gradient) {
            *sum += g / DRAWS as f64;
            *square += g * g / DRAWS as f64;
        }
    }
    let variance = squares.iter().zip(&sums).map(|(square, mean)| square - mean * mean).sum();
    (sums, variance)
}

#[test]
fn local_gradients_agree_on_average_and_vary_less() {
    let (weights, local) = (moments(Estimator::Weights), moments(Estimator::Local));
    // One draw of the weights for 16 images against one draw for each of them.
    assert!(4.0 * local.1 < weights.1, "variance {} against {}", local.1, weights.1);
    let scale = weights.0.iter().fold(0f64, |most, g| most.max(g.abs()));
    for (i, (a, b)) in weights.0.iter().zip(&local.0).enumerate() {
        assert!((a - b).abs() < 0.15 * scale, "gradient {i}: {a}, {b} of {scale}");
    }
}

#[test]
fn a_network_draws_its_products_locally_and_predicts_with_weights() {
    let model = bayesian_cnn(0.1);
    let training = training(Estimator::Local);
    let names_of = |program: &Model| -> Vec<String> {
        noise(program, 0).into_keys().filter(|name| name.ends_with(".activation.noise")).collect()
    };
    let update = passes::update(&model, 3, &training).expect("a program");
    let attack = passes::training_attack(&model, 3, &training).expect("a program");
    assert_eq!(names_of(&update.model).len(), 4, "three convolutions and a Gemm");
    assert_eq!(names_of(&attack.model), names_of(&update.model));
    let predict = passes::predict(&model, 3).expect("a program");
    assert!(names_of(&predict.model).is_empty());
    // Scale and shift of three normalizations are still drawn as weights.
    assert_eq!(noise(&update.model, 0).len(), 4 + 6);
}
