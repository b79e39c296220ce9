//! The update program of a network so small that its gradient can be written down, against the
//! same steps in double precision.

use std::collections::BTreeMap;

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, names};
use passes::{Defense, InitStd, Optimizer, Training};

use crate::engines::{Runner, engines};
use crate::models::{
    CLASSES, PRIOR, convert, doubles, initial_state, labels, noise, number, uniform,
};

const BATCH: usize = 4;
const CHANNELS: usize = 2;
const PIXELS: usize = 9;
const EPSILON: f32 = 1e-3;
const MOMENTUM: f32 = 0.1;
const RATE: f32 = 0.02;
const KL_SCALE: f32 = 1e-3;
/// Of the parameters and running statistics, in units of the greatest.
const TOLERANCE: f64 = 2e-6;

type Numbers = BTreeMap<String, Vec<f64>>;

/// BatchNormalization, average over the image, Gemm.
fn tiny() -> Model {
    let mut graph = Graph::new("tiny");
    let shape = [BATCH, CHANNELS, 3, 3];
    let fact = |shape: &[usize]| vec![Fact::new(DType::F32, shape)];
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &shape));
    let mut constant = |name: &str, shape: &[usize], low, high| {
        Some(graph.initializer(name, uniform(name, 1, shape, low, high)))
    };
    let gamma = constant("gamma", &[CHANNELS], 0.5, 1.5);
    let beta = constant("beta", &[CHANNELS], -0.5, 0.5);
    let mean = constant("mean", &[CHANNELS], -0.5, 0.5);
    let var = constant("var", &[CHANNELS], 0.5, 1.5);
    let w = constant("w", &[CLASSES, CHANNELS], -1.0, 1.0);
    let b = constant("b", &[CLASSES], -1.0, 1.0);
    let norm = Op::new("BatchNormalization").with("epsilon", EPSILON);
    let y = graph.op("bn", norm, &[Some(x), gamma, beta, mean, var], fact(&shape)).into();
    let pooled = fact(&[BATCH, CHANNELS, 1, 1]);
    let y = graph.op("pool", Op::new("GlobalAveragePool"), &[Some(y)], pooled).into();
    let flat = fact(&[BATCH, CHANNELS]);
    let y = graph.op("flat", Op::new("Flatten"), &[Some(y)], flat).into();
    let gemm = Op::new("Gemm").with("transB", 1);
    let y = graph.op("gemm", gemm, &[Some(y), w, b], fact(&[BATCH, CLASSES])).into();
    graph.output("logits", y);
    convert(Model::new(graph), InitStd::Constant(0.3))
}

/// One step in double precision: the gradient of every parameter and the outputs of the program;
/// the running statistics of `state` move on.
fn reference(state: &mut Numbers, noise: &Numbers, images: &[f64]) -> (Numbers, [f64; 3]) {
    let names = ["gamma", "beta", "w", "b"];
    let weight = |name: &str| -> Vec<f64> {
        let [mean, s] = ["mean", "log_std"].map(|part| &state[&format!("{name}.{part}")]);
        let draw = mean.iter().zip(s).zip(&noise[&format!("{name}.noise")]);
        draw.map(|((m, s), e)| m + s.exp() * e).collect()
    };
    let [gamma, beta, w, b] = names.map(weight);

    // The average over the image of what BatchNormalization makes before scale and shift.
    let count = (BATCH * PIXELS) as f64;
    let (mut centred, mut statistics) = (vec![[0.0; CHANNELS]; BATCH], Vec::new());
    for c in 0..CHANNELS {
        let image = |n: usize| &images[(n * CHANNELS + c) * PIXELS..][..PIXELS];
        let all = || (0..BATCH).flat_map(image);
        let mean = all().sum::<f64>() / count;
        let var = all().map(|x| (x - mean).powi(2)).sum::<f64>() / count;
        for (n, row) in centred.iter_mut().enumerate() {
            let average = image(n).iter().sum::<f64>() / PIXELS as f64;
            row[c] = (average - mean) / (var + f64::from(EPSILON)).sqrt();
        }
        statistics.push((mean, var * count / (count - 1.0)));
    }
    let [mut dgamma, mut dbeta] = [(); 2].map(|()| vec![0.0; CHANNELS]);
    let (mut dw, mut db) = (vec![0.0; CLASSES * CHANNELS], vec![0.0; CLASSES]);
    let (mut entropy, mut correct) = (0.0, 0.0);
    for (n, row) in centred.iter().enumerate() {
        let z: Vec<f64> = (0..CHANNELS).map(|c| gamma[c] * row[c] + beta[c]).collect();
        let logit =
            |k: usize| (0..CHANNELS).map(|c| w[k * CHANNELS + c] * z[c]).sum::<f64>() + b[k];
        let logits: Vec<f64> = (0..CLASSES).map(logit).collect();
        let total: f64 = logits.iter().map(|l| l.exp()).sum();
        let label = n % CLASSES;
        entropy += (total.ln() - logits[label]) / BATCH as f64;
        correct += f64::from(u8::from(logits.iter().all(|l| *l <= logits[label])));
        for (k, logit) in logits.iter().enumerate() {
            let hot = if k == label { 1.0 } else { 0.0 };
            let d = (logit.exp() / total - hot) / BATCH as f64;
            db[k] += d;
            for c in 0..CHANNELS {
                dw[k * CHANNELS + c] += d * z[c];
                dgamma[c] += d * w[k * CHANNELS + c] * row[c];
                dbeta[c] += d * w[k * CHANNELS + c];
            }
        }
    }
    let precision = f64::from(PRIOR).powi(-2);
    let (mut gradients, mut kl) = (Numbers::new(), 0.0);
    for (name, slopes) in names.iter().zip([dgamma, dbeta, dw, db]) {
        let [mean, log_std] = ["mean", "log_std"].map(|part| format!("{name}.{part}"));
        let (mut to_mean, mut to_log_std) = (Vec::new(), Vec::new());
        for (i, slope) in slopes.iter().enumerate() {
            let (m, s, e) =
                (state[&mean][i], state[&log_std][i], noise[&format!("{name}.noise")][i]);
            let scale = f64::from(KL_SCALE);
            to_mean.push(slope + scale * m * precision);
            to_log_std.push(slope * s.exp() * e + scale * ((2.0 * s).exp() * precision - 1.0));
            kl += f64::from(PRIOR).ln() - s + ((2.0 * s).exp() + m * m) * precision / 2.0 - 0.5;
        }
        gradients.insert(mean, to_mean);
        gradients.insert(log_std, to_log_std);
    }
    let share = f64::from(MOMENTUM);
    for (c, (mean, var)) in statistics.into_iter().enumerate() {
        for (name, value) in [("mean", mean), ("var", var)] {
            let old = &mut state.get_mut(name).expect("a running statistic")[c];
            *old = (1.0 - share) * *old + share * value;
        }
    }
    (gradients, [entropy, kl, correct])
}

/// SGD and Adam as their definitions have them.
fn descend(optimizer: Optimizer, step: i32, state: &mut Numbers, gradients: &Numbers) {
    for (name, gradient) in gradients {
        let mut parameter = state[name].clone();
        let kept = |suffix: &str| {
            let zeros = || vec![0.0; gradient.len()];
            state.get(&format!("{name}.{suffix}")).cloned().unwrap_or_else(zeros)
        };
        let [mut velocity, mut first, mut second] = ["velocity", "moment1", "moment2"].map(kept);
        for (i, &g) in gradient.iter().enumerate() {
            let direction = match optimizer {
                Optimizer::Sgd { momentum, weight_decay } => {
                    let decayed = g + f64::from(weight_decay) * parameter[i];
                    velocity[i] = f64::from(momentum) * velocity[i] + decayed;
                    velocity[i]
                }
                Optimizer::Adam { beta1, beta2, epsilon } => {
                    let [beta1, beta2, epsilon] = [beta1, beta2, epsilon].map(f64::from);
                    first[i] = beta1 * first[i] + (1.0 - beta1) * g;
                    second[i] = beta2 * second[i] + (1.0 - beta2) * g * g;
                    let mean = first[i] / (1.0 - beta1.powi(step));
                    let variance = second[i] / (1.0 - beta2.powi(step));
                    mean / (variance.sqrt() + epsilon)
                }
            };
            parameter[i] -= f64::from(RATE) * direction;
        }
        state.insert(name.clone(), parameter);
        let moments = match optimizer {
            Optimizer::Sgd { .. } => vec![("velocity", velocity)],
            Optimizer::Adam { .. } => vec![("moment1", first), ("moment2", second)],
        };
        state.extend(moments.into_iter().map(|(suffix, v)| (format!("{name}.{suffix}"), v)));
    }
}

fn assert_near(found: &[f64], expected: &[f64], tolerance: f64, what: &str) {
    let scale = expected.iter().fold(1e-3f64, |most, v| most.max(v.abs()));
    assert_eq!(found.len(), expected.len(), "{what}");
    let near = |(a, b): (&f64, &f64)| (a - b).abs() <= tolerance * scale;
    assert!(found.iter().zip(expected).all(near), "{what}: {found:?}, expected {expected:?}");
}

fn steps_agree(optimizer: Optimizer) {
    let model = tiny();
    let training =
        Training { optimizer, momentum: MOMENTUM, ..Training::published(Defense::AdvBnn) };
    let program: Program = passes::update(&model, BATCH, &training).expect("an update program");
    let initial = initial_state(&model, &[&program]);
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial);
        let mut state: Numbers =
            initial.iter().map(|(name, value)| (name.clone(), doubles(value))).collect();
        for step in 1..=3u8 {
            let seed = u64::from(step);
            let images = uniform("x", seed, &[BATCH, CHANNELS, 3, 3], 0.0, 1.0);
            let mut feeds = noise(&program.model, seed);
            let drawn = feeds.iter().map(|(name, value)| (name.clone(), doubles(value))).collect();
            let (gradients, expected) = reference(&mut state, &drawn, &doubles(&images));
            descend(optimizer, i32::from(step), &mut state, &gradients);

            feeds.insert(names::IMAGES.into(), images);
            feeds.insert(names::LABELS.into(), labels(BATCH));
            feeds.insert(names::LEARNING_RATE.into(), Tensor::scalar(RATE));
            feeds.insert(names::KL_SCALE.into(), Tensor::scalar(KL_SCALE));
            if matches!(optimizer, Optimizer::Adam { .. }) {
                feeds.insert(names::STEP.into(), Tensor::scalar(f32::from(step)));
            }
            let outputs = runner.run(&feeds).expect("a run");
            let [entropy, kl, correct] = expected;
            for (name, expected) in [
                (names::CROSS_ENTROPY, entropy),
                (names::KL, kl),
                (names::CORRECT, correct),
                (names::LOSS, entropy + f64::from(KL_SCALE) * kl),
            ] {
                assert_near(&[number(&outputs[name])], &[expected], 1e-5, name);
            }
            for (name, expected) in &state {
                let what = format!("{name} after step {step} on {}", engine.name());
                assert_near(&doubles(&runner.held(name)), expected, TOLERANCE, &what);
            }
        }
    }
}

#[test]
fn sgd_and_running_statistics_are_what_their_definitions_say() {
    steps_agree(Optimizer::SGD);
}

#[test]
fn adam_is_what_its_definition_says() {
    steps_agree(Optimizer::ADAM);
}
