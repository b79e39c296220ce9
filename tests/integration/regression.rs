//! Programs and exports of regressions: their losses and slopes against closed forms and
//! differences, on both engines.

use graphs::{Fact, Model, Op, Tensor, names};
use passes::export::{Mode, Noise, SEED, STD, export};
use passes::{AttackLoss, Defense, Likelihood, Loss, Optimizer, Training, note_likelihood};

use crate::differences::{Point, Trial, gradient_of};
use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{
    CLASSES, PIXELS, bayesian_cnn, doubles, images, initial_state, linear, noise, number, uniform,
};

const BATCH: usize = 4;
const RESIDUAL: f32 = 0.7;
const RATE: f32 = 0.1;
const SAMPLES: usize = 6;

fn regression(mut model: Model) -> Model {
    note_likelihood(&mut model, Likelihood::Gaussian { std: RESIDUAL });
    model
}

/// A regression of images on one number, its output `[N]`.
fn of_one_number() -> Model {
    // So random that the slopes are large enough for differences of float32.
    let mut model = bayesian_cnn(0.4);
    let graph = &mut model.graph;
    let logits = graph.outputs[0].value;
    let axis = graph.initializer("axis", Tensor::vector(&[1i64]));
    let mean = Op::new("ReduceMean").with("keepdims", 0);
    let mean = graph.op("age", mean, &[Some(logits), Some(axis)], vec![Fact::default()]);
    graph.outputs[0].value = mean.into();
    regression(model)
}

fn targets(width: usize) -> Tensor {
    uniform("targets", 1, &[BATCH, width], -1.0, 1.0)
}

/// What a linear regression says, its distance from the targets, and its loss.
struct ByHand {
    w: Vec<f64>,
    residuals: Vec<f64>,
    losses: Vec<f64>,
}

impl ByHand {
    fn new(model: &Model, x: &[f64]) -> ByHand {
        let [w, b] = ["w", "b"].map(|name| {
            let value = model.graph.source(name).expect("a weight");
            doubles(model.graph.tensor(value).expect("a constant"))
        });
        let y = doubles(&targets(CLASSES));
        let residual = |n: usize, k: usize| {
            let sum: f64 = (0..PIXELS).map(|i| x[n * PIXELS + i] * w[i * CLASSES + k]).sum();
            sum + b[k] - y[n * CLASSES + k]
        };
        let places = (0..BATCH).flat_map(|n| (0..CLASSES).map(move |k| (n, k)));
        let residuals: Vec<f64> = places.map(|(n, k)| residual(n, k)).collect();
        let variance = f64::from(RESIDUAL).powi(2);
        let constant = 0.5 * CLASSES as f64 * (std::f64::consts::TAU * variance).ln();
        let square = |row: &[f64]| row.iter().map(|r| r * r).sum::<f64>();
        let loss = |row: &[f64]| square(row) / (2.0 * variance) + constant;
        let losses = residuals.chunks(CLASSES).map(loss).collect();
        ByHand { w, residuals, losses }
    }

    /// The gradient of each image's loss: (f - y) w^T / std^2.
    fn slope(&self) -> Tensor {
        let slope = |n: usize, i: usize| {
            let of = |k: usize| self.residuals[n * CLASSES + k] * self.w[i * CLASSES + k];
            ((0..CLASSES).map(of).sum::<f64>() / f64::from(RESIDUAL).powi(2)) as f32
        };
        let places = (0..BATCH).flat_map(|n| (0..PIXELS).map(move |i| (n, i)));
        let slopes = places.map(|(n, i)| slope(n, i)).collect();
        Tensor::new(&[BATCH, PIXELS], slopes).expect("a gradient")
    }
}

#[test]
fn the_update_minimises_the_negative_log_likelihood() {
    let model = regression(linear(BATCH, Op::new("Gemm")));
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let training = Training { optimizer, ..Training::published(Defense::Adv) };
    let program = passes::update(&model, BATCH, &training).expect("an update program");
    let x = uniform("x", 1, &[BATCH, PIXELS], 0.0, 1.0);
    let by_hand = ByHand::new(&model, &doubles(&x));
    let mean = by_hand.losses.iter().sum::<f64>() / BATCH as f64;
    let squares = by_hand.residuals.iter().map(|r| r * r).sum::<f64>();
    let feeds = Values::from([
        (names::IMAGES.to_owned(), x.clone()),
        (names::LABELS.to_owned(), targets(CLASSES)),
        (names::LEARNING_RATE.to_owned(), Tensor::scalar(RATE)),
    ]);
    let x = doubles(&x);
    let step = |i: usize, k: usize| {
        let of = |n: usize| x[n * PIXELS + i] * by_hand.residuals[n * CLASSES + k];
        let slope = (0..BATCH).map(of).sum::<f64>() / f64::from(RESIDUAL).powi(2) / BATCH as f64;
        (by_hand.w[i * CLASSES + k] - f64::from(RATE) * slope) as f32
    };
    let places = (0..PIXELS).flat_map(|i| (0..CLASSES).map(move |k| (i, k)));
    let next = places.map(|(i, k)| step(i, k)).collect();
    let next = Tensor::new(&[PIXELS, CLASSES], next).expect("weights");
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial_state(&model, &[&program]));
        let found = runner.run(&feeds).expect("a run");
        let expected = [
            (names::LOSS, mean),
            (names::NLL, mean),
            (names::SQUARED_ERROR, squares / (BATCH * CLASSES) as f64),
        ];
        assert_eq!(found.len(), expected.len());
        for (name, expected) in expected {
            let found = number(&found[name]);
            assert!((found - expected).abs() < 1e-5, "{name}: {found}, {expected}");
        }
        assert_close(&runner.held("w"), &next, 1e-5, engine.name());
    }
}

#[test]
fn attacks_climb_the_negative_log_likelihood() {
    let model = regression(linear(BATCH, Op::new("Gemm")));
    let slope = passes::image_gradient(&model, BATCH, AttackLoss::CrossEntropy).expect("one");
    let attack = passes::attack(&model, BATCH).expect("an attack program");
    let x = uniform("x", 1, &[BATCH, PIXELS], 0.3, 0.7);
    let by_hand = ByHand::new(&model, &doubles(&x));
    let slopes = by_hand.slope();
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &slope).expect("a session");
        runner.put(&initial_state(&model, &[&slope]));
        let mut feeds = Values::from([
            (names::IMAGES.to_owned(), x.clone()),
            (names::LABELS.to_owned(), targets(CLASSES)),
        ]);
        let found = runner.run(&feeds).expect("a run");
        assert_eq!(found.len(), 3);
        assert_close(&found[names::GRADIENT], &slopes, 1e-5, engine.name());
        let said = doubles(&found[names::OUTPUTS]).into_iter().zip(doubles(&targets(CLASSES)));
        for ((said, target), residual) in said.zip(&by_hand.residuals) {
            assert!((said - target - residual).abs() < 1e-5, "{said} - {target}, {residual}");
        }
        for (found, expected) in doubles(&found[names::LOSSES]).iter().zip(&by_hand.losses) {
            assert!((found - expected).abs() < 1e-5, "{found}, {expected}");
        }

        let mut runner = Runner::new(engine.as_ref(), &attack).expect("a session");
        runner.put(&initial_state(&model, &[&attack]));
        runner.state.put(names::IMAGES, &x).expect("images");
        let zeros = Tensor::full(x.shape(), 0f32).expect("zeros");
        runner.state.put(names::GRADIENT, &zeros).expect("a gradient");
        feeds.remove(names::IMAGES);
        feeds.insert(names::CLEAN.to_owned(), x.clone());
        for (name, value) in [(names::KEEP, 0.0f32), (names::RADIUS, 1.0), (names::STEP_SIZE, 0.01)]
        {
            feeds.insert(name.to_owned(), Tensor::scalar(value));
        }
        runner.run(&feeds).expect("a run");
        let moved = doubles(&runner.held(names::IMAGES)).into_iter().zip(doubles(&x));
        for ((moved, from), slope) in moved.zip(doubles(&slopes)) {
            assert!((moved - from - 0.01 * slope.signum()).abs() < 1e-6, "along {slope}");
        }
    }
}

/// Of a network with convolutions whose output is `[N]`, so that targets are `[N, 1]`.
#[test]
fn gradients_are_those_of_the_loss() {
    let model = of_one_number();
    let program = passes::image_gradient(&model, BATCH, AttackLoss::CrossEntropy).expect("one");
    let mut of_losses = program.model.clone();
    for port in &mut of_losses.graph.outputs {
        if port.name == names::GRADIENT {
            port.name = gradient_of(names::IMAGES);
        }
    }
    let mut of_loss = passes::loss_gradient(&model, Some(BATCH), &[]).expect("a gradient");
    for port in &mut of_loss.graph.outputs {
        if port.name == "input.grad" {
            port.name = gradient_of("input");
        }
    }
    for (mut found, name, weights) in [
        (of_losses, names::IMAGES, (names::LOSSES.to_owned(), vec![1.0; BATCH])),
        (of_loss, "input", (names::LOSS.to_owned(), vec![1.0])),
    ] {
        found.metadata.clear();
        let mut feeds = noise(&found, 1);
        feeds.extend(initial_state(&model, &[&program]));
        feeds.insert(names::LABELS.to_owned(), targets(1));
        feeds.retain(|name, _| {
            let source = found.graph.source(name);
            source.is_some_and(|value| found.graph.tensor(value).is_none())
        });
        let points = vec![Point { name: name.to_owned(), value: images(1, BATCH), reach: 1e-3 }];
        let mut trial = Trial { model: found, points, feeds, weights: vec![weights], kinks: true };
        for engine in engines() {
            let (error, _) = trial.error(engine.as_ref()).expect("a run");
            assert!(error < 2e-3, "{name} on {}: {error}", engine.name());
        }
        trial.spoil(1.2);
        let (error, _) = trial.error(engines()[0].as_ref()).expect("a run");
        assert!(error > 1e-2, "{name}: a wrong gradient goes unseen: {error}");
    }
}

#[test]
fn what_is_of_classes_and_what_is_no_regression_is_refused() {
    let model = regression(linear(BATCH, Op::new("Gemm")));
    let adv = Training::published(Defense::Adv);
    let trades = Training { loss: Loss::Trades { beta: 6.0 }, ..adv };
    let smooth = Training { label_smoothing: 0.1, ..adv };
    let wide = {
        let mut model = linear(BATCH, Op::new("Gemm"));
        let graph = &mut model.graph;
        let shape = graph.initializer("shape", Tensor::vector(&[BATCH as i64, 1, 3]));
        let y = graph.outputs[0].value;
        let facts = vec![Fact::default()];
        let y = graph.op("wide", Op::new("Reshape"), &[Some(y), Some(shape)], facts);
        graph.outputs[0].value = y.into();
        regression(model)
    };
    for (found, part) in [
        (passes::update(&model, BATCH, &trades), "TRADES"),
        (passes::training_attack(&model, BATCH, &trades), "TRADES"),
        (passes::update(&model, BATCH, &smooth), "label smoothing"),
        (passes::image_gradient(&model, BATCH, AttackLoss::Dlr), "logits"),
        (passes::predict(&wide, BATCH), "[N] or [N, K]"),
    ] {
        let error = found.expect_err("an error").to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn an_exported_ensemble_gives_the_mean_and_the_spread_of_its_draws() {
    let model = regression(bayesian_cnn(0.3));
    let of = |noise, samples| {
        let mode = Mode::Stochastic { noise, samples, functions: false };
        export(&model, &mode, graphs::OPSET).expect("an export")
    };
    let [one, many] = [1, SAMPLES].map(|samples| of(Noise::Input, samples));
    let seeded = of(Noise::Seed, SAMPLES);
    assert_eq!(many.metadata["advbnn.likelihood"], format!("gaussian:{RESIDUAL}"));
    let input = ("input".to_owned(), images(1, BATCH));
    let noises = noise(&many, 5);
    let mut seen: Vec<Values> = Vec::new();
    for engine in engines() {
        let run = |model: &Model, feeds: Values| {
            let mut runner = Runner::of_model(engine.as_ref(), model).expect("a session");
            runner.run(&[feeds, Values::from([input.clone()])].into_iter().flatten().collect())
        };
        let ensemble = run(&many, noises.clone()).expect("a run");
        let draw = |draw: usize| -> Vec<f64> {
            let of = |(name, noise): (&String, &Tensor)| {
                let shape = &noise.shape()[1..];
                let size: usize = shape.iter().product();
                let part = &noise.floats().expect("floats")[draw * size..(draw + 1) * size];
                (name.clone(), Tensor::new(shape, part.to_vec()).expect("noise"))
            };
            let outputs = run(&one, noises.iter().map(of).collect()).expect("a run");
            assert_eq!(outputs.len(), 1);
            doubles(&outputs[names::OUTPUTS])
        };
        let draws: Vec<Vec<f64>> = (0..SAMPLES).map(draw).collect();
        let [outputs, stds] = [names::OUTPUTS, STD].map(|name| doubles(&ensemble[name]));
        assert_eq!((outputs.len(), stds.len()), (BATCH * CLASSES, BATCH * CLASSES));
        for (i, (output, std)) in outputs.iter().zip(&stds).enumerate() {
            let mean = draws.iter().map(|draw| draw[i]).sum::<f64>() / SAMPLES as f64;
            let squares: f64 = draws.iter().map(|draw| (draw[i] - mean).powi(2)).sum();
            let expected = (squares / SAMPLES as f64).sqrt();
            assert!((output - mean).abs() < 2e-5, "{output}, {mean} on {}", engine.name());
            assert!((std - expected).abs() < 2e-5, "{std}, {expected} on {}", engine.name());
            assert!(*std > 1e-3);
        }
        seen.push(run(&seeded, [(SEED.to_owned(), Tensor::scalar(3i64))].into()).expect("a run"));
    }
    for name in [names::OUTPUTS, STD] {
        assert_close(&seen[0][name], &seen[1][name], 1e-4, name);
    }
}
