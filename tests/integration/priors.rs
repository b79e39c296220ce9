//! Priors without a closed form: the estimate of the KL, against its formula and against what it
//! estimates.

use graphs::{Tensor, names};
use passes::{Defense, Mixture, Optimizer, Prior, Training};

use crate::engines::{Runner, Values, engines, onnxruntime};
use crate::models::{
    bayesian_cnn, doubles, initial_state, noise, number, posteriors, update_feeds,
};

const BATCH: usize = 2;

fn training(prior: Prior) -> Training {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    Training { optimizer, prior: Some(prior), ..Training::published(Defense::AdvBnn) }
}

/// The KL that the update program gives for the draws of some seeds.
fn kl(engine: &dyn runtime::engine::Engine, prior: Prior, seeds: std::ops::Range<u64>) -> Vec<f64> {
    let model = bayesian_cnn(0.1);
    let program = passes::update(&model, BATCH, &training(prior)).expect("an update program");
    let mut runner = Runner::new(engine, &program).expect("a session");
    runner.put(&initial_state(&model, &[&program]));
    let one = |seed| {
        let mut feeds = update_feeds(&program, 1, BATCH, [0.0, 1.0, 1.0]);
        feeds.extend(noise(&program.model, seed));
        number(&runner.run(&feeds).expect("a run")[names::KL])
    };
    seeds.map(one).collect()
}

/// log q(w) - log p(w), summed over every weight, in double precision.
fn by_formula(mixture: Mixture, seed: u64) -> f64 {
    let model = bayesian_cnn(0.1);
    let program = passes::update(&model, BATCH, &training(Prior::Mixture(mixture))).expect("one");
    let initial = initial_state(&model, &[&program]);
    let draw: Values = noise(&program.model, seed);
    let normal =
        |w: f64, std: f64| (-0.5 * (w / std).powi(2)).exp() / (std * std::f64::consts::TAU.sqrt());
    let [share, first, second] = [mixture.share, mixture.first, mixture.second].map(f64::from);
    let mut total = 0.0;
    for posterior in posteriors(&model) {
        let of = |end: &str| doubles(&initial[&format!("{}{end}", posterior.name)]);
        let eps = doubles(&draw[&format!("{}.noise", posterior.name)]);
        for ((mean, s), eps) in of(names::MEAN).into_iter().zip(of(names::LOG_STD)).zip(eps) {
            let w = mean + s.exp() * eps;
            let p = share * normal(w, first) + (1.0 - share) * normal(w, second);
            total += normal(w - mean, s.exp()).ln() - p.ln();
        }
    }
    total
}

#[test]
fn the_estimate_is_its_formula() {
    for mixture in [
        Mixture { share: 0.25, first: 0.5, second: 0.08 },
        Mixture { share: 0.7, first: 0.1, second: 1.0 },
    ] {
        for engine in engines() {
            for prior in [Prior::Mixture(mixture), Prior::SpikeAndSlab(mixture)] {
                let found = kl(engine.as_ref(), prior, 3..4)[0];
                let expected = by_formula(mixture, 3);
                let near = (found - expected).abs() < 1e-4 * expected.abs();
                assert!(near, "{prior} on {}: {found}, {expected}", engine.name());
            }
        }
    }
}

/// A mixture of two equal Gaussians is one, whose KL has a closed form.
#[test]
fn the_estimate_is_right_on_average() {
    const STD: f32 = 0.3;
    let mixture = Mixture { share: 0.4, first: STD, second: STD };
    let draws = kl(onnxruntime(), Prior::Mixture(mixture), 0..64);
    let count = draws.len() as f64;
    let mean = draws.iter().sum::<f64>() / count;
    let variance = draws.iter().map(|d| (d - mean).powi(2)).sum::<f64>() / (count - 1.0);
    let expected = kl(onnxruntime(), Prior::Gaussian(STD), 0..1)[0];
    let error = (variance / count).sqrt();
    assert!(variance > 0.0 && error < 0.02 * expected, "{variance}");
    assert!((mean - expected).abs() < 4.0 * error, "{mean} +- {error}, {expected}");
}

/// A network of weights near zero is likelier under a spike at zero; Tensors far outside both
/// components must not overflow.
#[test]
fn the_spike_draws_small_weights_and_nothing_overflows() {
    let narrow = Prior::SpikeAndSlab(Mixture { share: 0.5, first: 1e-4, second: 0.05 });
    let found = kl(onnxruntime(), narrow, 0..1)[0];
    assert!(found.is_finite(), "{found}");
    let model = bayesian_cnn(0.1);
    let program = passes::update(&model, BATCH, &training(narrow)).expect("an update program");
    let mut state = initial_state(&model, &[&program]);
    for posterior in posteriors(&model) {
        let name = format!("{}{}", posterior.name, names::MEAN);
        let shape = state[&name].shape().to_vec();
        state.insert(name, Tensor::full(&shape, 1e3f32).expect("means"));
    }
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&state);
        let feeds = update_feeds(&program, 1, BATCH, [0.0, 1.0, 1.0]);
        let far = number(&runner.run(&feeds).expect("a run")[names::KL]);
        assert!(far.is_finite() && far > found, "{far} on {}", engine.name());
    }
}
