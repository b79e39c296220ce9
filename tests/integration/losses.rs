//! Label smoothing, TRADES and averages over steps in the update program, against their
//! formulas in double precision.

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, names};
use passes::{Defense, Loss, Optimizer, Training};
use runtime::engine::Engine;

use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{
    CLASSES, PIXELS, bayesian_cnn, doubles, images, initial_state, labels, linear, number, uniform,
    update_feeds,
};

const BATCH: usize = 4;
const BETA: f32 = 2.5;
const SMOOTHING: f32 = 0.2;

fn training() -> Training {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    Training { optimizer, ..Training::published(Defense::Adv) }
}

/// The rows of log softmax(x w + b).
fn log_probabilities(x: &[f64], w: &[f64], b: &[f64]) -> Vec<Vec<f64>> {
    let row = |x: &[f64]| -> Vec<f64> {
        let logit = |k: usize| (0..PIXELS).map(|i| x[i] * w[i * CLASSES + k]).sum::<f64>() + b[k];
        let logits: Vec<f64> = (0..CLASSES).map(logit).collect();
        let total = logits.iter().map(|l| l.exp()).sum::<f64>().ln();
        logits.iter().map(|l| l - total).collect()
    };
    x.chunks(PIXELS).map(row).collect()
}

/// What the formulas say of a batch: loss, cross-entropy, divergence, number right.
struct Expected {
    loss: f64,
    cross_entropy: f64,
    divergence: f64,
    correct: f64,
}

/// Of the log-probabilities of the images that the cross-entropy is of, and of attacked ones.
fn expected(natural: &[Vec<f64>], attacked: &[Vec<f64>], beta: f64, smoothing: f64) -> Expected {
    let count = natural.len() as f64;
    let mut found = Expected { loss: 0.0, cross_entropy: 0.0, divergence: 0.0, correct: 0.0 };
    for (n, (p, q)) in natural.iter().zip(attacked).enumerate() {
        let label = n % CLASSES;
        let target =
            |k: usize| smoothing / CLASSES as f64 + if k == label { 1.0 - smoothing } else { 0.0 };
        let smooth: f64 = -(0..CLASSES).map(|k| target(k) * p[k]).sum::<f64>();
        let divergence: f64 = p.iter().zip(q).map(|(p, q)| p.exp() * (p - q)).sum();
        found.loss += (smooth + beta * divergence) / count;
        found.cross_entropy -= p[label] / count;
        found.divergence += divergence / count;
        found.correct += f64::from(u8::from(q.iter().all(|l| *l <= q[label])));
    }
    found
}

fn run_update(engine: &dyn Engine, model: &Model, training: &Training, feeds: &Values) -> Values {
    let program = passes::update(model, BATCH, training).expect("an update program");
    let mut runner = Runner::new(engine, &program).expect("a session");
    runner.put(&initial_state(model, &[&program]));
    let known = |name: &String| program.model.graph.source(name).is_some();
    let feeds = feeds.iter().filter(|(name, _)| known(name));
    let feeds = feeds.map(|(name, value)| (name.clone(), value.clone())).collect();
    runner.run(&feeds).expect("a run")
}

#[test]
fn the_losses_are_what_their_formulas_say() {
    let model = linear(BATCH, Op::new("Gemm"));
    let [w, b] = ["w", "b"].map(|name| {
        let value = model.graph.source(name).expect("a weight");
        doubles(model.graph.tensor(value).expect("a constant"))
    });
    let shape = [BATCH, PIXELS];
    let [clean, attacked] = [1, 2].map(|seed| uniform("x", seed, &shape, 0.0, 1.0));
    let mut feeds = Values::from([
        (names::IMAGES.to_owned(), attacked.clone()),
        (names::CLEAN.to_owned(), clean.clone()),
        (names::LABELS.to_owned(), labels(BATCH)),
    ]);
    for (name, value) in [(names::LEARNING_RATE, 0.1f32), (names::KL_SCALE, 0.0)] {
        feeds.insert(name.to_owned(), Tensor::scalar(value));
    }
    let [clean, attacked] = [clean, attacked].map(|x| log_probabilities(&doubles(&x), &w, &b));
    let trades = Loss::Trades { beta: BETA };
    for (loss, natural, beta) in
        [(Loss::CrossEntropy, &attacked, 0.0), (trades, &clean, f64::from(BETA))]
    {
        for smoothing in [0.0, SMOOTHING] {
            let training = Training { loss, label_smoothing: smoothing, ..training() };
            let expected = expected(natural, &attacked, beta, f64::from(smoothing));
            for engine in engines() {
                let found = run_update(engine.as_ref(), &model, &training, &feeds);
                let mut pairs = vec![
                    (names::LOSS, expected.loss),
                    (names::CROSS_ENTROPY, expected.cross_entropy),
                    (names::CORRECT, expected.correct),
                ];
                if beta > 0.0 {
                    pairs.push((names::DIVERGENCE, expected.divergence));
                }
                assert_eq!(found.len(), pairs.len());
                for (name, expected) in pairs {
                    let found = number(&found[name]);
                    let what = format!("{name} of {loss:?}, smoothing {smoothing}");
                    assert!((found - expected).abs() < 1e-5, "{what}: {found}, {expected}");
                }
            }
        }
    }
}

/// The gradient to attacked images of KL(p || q) is (q - p) w^T for a linear model.
#[test]
fn the_attack_of_trades_climbs_the_divergence() {
    let model = linear(BATCH, Op::new("Gemm"));
    let training = Training { loss: Loss::Trades { beta: BETA }, ..training() };
    let program = passes::training_attack(&model, BATCH, &training).expect("an attack program");
    let [w, b] = ["w", "b"].map(|name| {
        let value = model.graph.source(name).expect("a weight");
        doubles(model.graph.tensor(value).expect("a constant"))
    });
    let clean = uniform("x", 1, &[BATCH, PIXELS], 0.3, 0.7);
    let start = uniform("x", 2, &[BATCH, PIXELS], 0.3, 0.7);
    for engine in engines() {
        let step = |start: &Tensor| {
            let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
            runner.put(&initial_state(&model, &[&program]));
            runner.state.put(names::IMAGES, start).expect("images");
            let zeros = Tensor::full(start.shape(), 0f32).expect("zeros");
            runner.state.put(names::GRADIENT, &zeros).expect("a gradient");
            let mut feeds = Values::from([(names::CLEAN.to_owned(), clean.clone())]);
            for (name, value) in
                [(names::KEEP, 0.0f32), (names::RADIUS, 1.0), (names::STEP_SIZE, 0.01)]
            {
                feeds.insert(name.to_owned(), Tensor::scalar(value));
            }
            let losses = doubles(&runner.run(&feeds).expect("a run")[names::LOSSES]);
            (losses, runner.held(names::GRADIENT), runner.held(names::IMAGES))
        };
        let (losses, gradient, moved) = step(&start);
        let [p, q] = [&clean, &start].map(|x| log_probabilities(&doubles(x), &w, &b));
        for (n, loss) in losses.iter().enumerate() {
            let expected: f64 = p[n].iter().zip(&q[n]).map(|(p, q)| p.exp() * (p - q)).sum();
            assert!((loss - expected).abs() < 1e-5, "{loss}, {expected}");
        }
        let slope = |n: usize, i: usize| -> f32 {
            let part = |k: usize| (q[n][k].exp() - p[n][k].exp()) * w[i * CLASSES + k];
            (0..CLASSES).map(part).sum::<f64>() as f32
        };
        let slopes = (0..BATCH).flat_map(|n| (0..PIXELS).map(move |i| (n, i)));
        let slopes: Vec<f32> = slopes.map(|(n, i)| slope(n, i)).collect();
        let slopes = Tensor::new(&[BATCH, PIXELS], slopes).expect("a gradient");
        assert_close(&gradient, &slopes, 1e-5, engine.name());
        let steps = doubles(&moved).into_iter().zip(doubles(&start)).map(|(a, b)| a - b);
        for (step, slope) in steps.zip(doubles(&slopes)) {
            assert!((step - 0.01 * slope.signum()).abs() < 1e-6, "{step} along {slope}");
        }
        // At the clean images there is neither loss nor slope.
        let (losses, gradient, _) = step(&clean);
        assert!(losses.iter().all(|loss| loss.abs() < 1e-6));
        assert!(doubles(&gradient).iter().all(|slope| slope.abs() < 1e-6));
    }
}

/// BatchNormalization of the images themselves, then a Gemm.
fn normalized() -> Model {
    let mut graph = Graph::new("normalized");
    let shape = [BATCH, 2, 3, 1];
    let fact = |shape: &[usize]| vec![Fact::new(DType::F32, shape)];
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &shape));
    let mut constant = |name: &str, shape: &[usize]| {
        Some(graph.initializer(name, uniform(name, 1, shape, 0.5, 1.5)))
    };
    let norm = ["gamma", "beta", "mean", "var"].map(|name| constant(name, &[2]));
    let [w, b] = [constant("w", &[CLASSES, 6]), constant("b", &[CLASSES])];
    let arguments: Vec<_> = [Some(x)].into_iter().chain(norm).collect();
    let y = graph.op("bn", Op::new("BatchNormalization"), &arguments, fact(&shape)).into();
    let y = graph.op("flat", Op::new("Flatten"), &[Some(y)], fact(&[BATCH, 6])).into();
    let gemm = Op::new("Gemm").with("transB", 1);
    let y = graph.op("gemm", gemm, &[Some(y), w, b], fact(&[BATCH, CLASSES])).into();
    graph.output("logits", y);
    Model::new(graph)
}

#[test]
fn running_statistics_of_trades_see_the_clean_batch_then_the_attacked_one() {
    let model = normalized();
    let training = Training { loss: Loss::Trades { beta: BETA }, ..training() };
    let program = passes::update(&model, BATCH, &training).expect("an update program");
    let initial = initial_state(&model, &[&program]);
    let shape = [BATCH, 2, 3, 1];
    let [clean, attacked] = [1, 2].map(|seed| uniform("x", seed, &shape, 0.0, 1.0));
    let channel_mean = |x: &Tensor, c: usize| {
        let x = doubles(x);
        let values = (0..BATCH * 3).map(|i| x[(i / 3 * 2 + c) * 3 + i % 3]);
        values.sum::<f64>() / (BATCH * 3) as f64
    };
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial);
        let mut feeds = Values::from([
            (names::IMAGES.to_owned(), attacked.clone()),
            (names::CLEAN.to_owned(), clean.clone()),
            (names::LABELS.to_owned(), labels(BATCH)),
        ]);
        feeds.insert(names::LEARNING_RATE.to_owned(), Tensor::scalar(0.1f32));
        runner.run(&feeds).expect("a run");
        let [before, after] = [doubles(&initial["mean"]), doubles(&runner.held("mean"))];
        for c in 0..2 {
            let first = 0.9 * before[c] + 0.1 * channel_mean(&clean, c);
            let expected = 0.9 * first + 0.1 * channel_mean(&attacked, c);
            assert!((after[c] - expected).abs() < 1e-6, "{}, {expected}", after[c]);
        }
    }
}

#[test]
fn averages_follow_parameters_and_statistics() {
    const DECAY: f32 = 0.7;
    let model = bayesian_cnn(0.1);
    let training = Training { ema: true, ..training() };
    let program: Program = passes::update(&model, BATCH, &training).expect("an update program");
    let without = passes::update(&model, BATCH, &Training { ema: false, ..training }).expect("one");
    let mut initial = initial_state(&model, &[&program]);
    let learnt: Vec<String> = without.carries().map(|(_, input)| input.to_owned()).collect();
    assert!(learnt.iter().any(|name| name.contains("running")), "{learnt:?}");
    let averages: Vec<String> = learnt.iter().map(|name| format!("{name}.ema")).collect();
    assert_eq!(program.carries().count(), 2 * learnt.len());
    for (name, average) in learnt.iter().zip(&averages) {
        let start = uniform(average, 3, initial[name].shape(), -1.0, 1.0);
        initial.insert(average.clone(), start);
    }
    let mut feeds = update_feeds(&program, 1, BATCH, [0.05, 1.0, 1e-4]);
    feeds.insert(names::IMAGES.into(), images(1, BATCH));
    feeds.insert(names::EMA_DECAY.into(), Tensor::scalar(DECAY));
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial);
        runner.run(&feeds).expect("a run");
        let mut moved = 0;
        for (name, average) in learnt.iter().zip(&averages) {
            let (old, new) = (doubles(&initial[average]), doubles(&runner.held(name)));
            let mean = old
                .iter()
                .zip(&new)
                .map(|(old, new)| f64::from(DECAY) * old + (1.0 - f64::from(DECAY)) * new);
            let mean = mean.map(|value| value as f32).collect();
            let mean = Tensor::new(initial[name].shape(), mean).expect("an average");
            assert_close(&runner.held(average), &mean, 1e-6, average);
            moved += usize::from(runner.held(name) != initial[name]);
        }
        assert!(2 * moved > learnt.len(), "{moved} of {} have moved", learnt.len());
    }
}
