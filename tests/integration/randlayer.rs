//! The gradients that the paper writes by hand (Adv-BNN, appendix B, algorithm 1) against those of
//! the update program.

use graphs::{Tensor, names};
use passes::{Defense, Optimizer, Training};

use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{
    PRIOR, bayesian_cnn, cnn, doubles, initial_state, noise, posteriors, update_feeds,
};

const BATCH: usize = 3;
/// So few that the KL's share of the gradient can be seen.
const IMAGES: f64 = 40.0;
/// A step of plain SGD so long that its rounding does not hide the gradient.
const RATE: f32 = 64.0;

/// The gradient of every state that a step moved, from `before`.
fn gradients(runner: &Runner, before: &Values) -> Vec<(String, Vec<f64>)> {
    let slope = |(name, old): (&String, &Tensor)| {
        let (old, new) = (doubles(old), doubles(&runner.held(name)));
        let slope = old.iter().zip(new).map(|(old, new)| (old - new) / f64::from(RATE));
        (name.clone(), slope.collect())
    };
    before.iter().map(slope).collect()
}

#[test]
fn randlayers_gradients_are_those_of_the_update() {
    // Not the prior's deviation, where the KL has no slope.
    let (model, plain) = (bayesian_cnn(0.07), cnn());
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    let training = Training { optimizer, ..Training::published(Defense::AdvBnn) };
    let update = passes::update(&model, BATCH, &training).expect("an update program");
    let plain_update = passes::update(&plain, BATCH, &training).expect("an update program");
    let draw = noise(&update.model, 4);
    let initial = initial_state(&model, &[&update]);
    let scalars = [RATE, 1.0, 1.0 / IMAGES as f32];

    // The network that the draw makes.
    let mut drawn = initial_state(&plain, &[&plain_update]);
    for posterior in posteriors(&model) {
        let of = |end: &str| doubles(&initial[&format!("{}{end}", posterior.name)]);
        let eps = doubles(&draw[&format!("{}.noise", posterior.name)]);
        let weights = of(names::MEAN).into_iter().zip(of(names::LOG_STD)).zip(eps);
        let weights = weights.map(|((mean, s), eps)| (mean + s.exp() * eps) as f32).collect();
        let shape = drawn[&posterior.name].shape().to_vec();
        drawn.insert(posterior.name, Tensor::new(&shape, weights).expect("weights"));
    }
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &plain_update).expect("a session");
        runner.put(&drawn);
        runner.run(&update_feeds(&plain_update, 1, BATCH, scalars)).expect("a run");
        let outputs: Values = gradients(&runner, &drawn)
            .into_iter()
            .map(|(name, slope)| {
                let slope = slope.into_iter().map(|x| x as f32).collect();
                let slope = Tensor::new(drawn[&name].shape(), slope).expect("a gradient");
                (name, slope)
            })
            .collect();

        let mut runner = Runner::new(engine.as_ref(), &update).expect("a session");
        runner.put(&initial);
        let mut feeds = update_feeds(&update, 1, BATCH, scalars);
        feeds.extend(draw.clone());
        runner.run(&feeds).expect("a run");
        let found: std::collections::BTreeMap<_, _> =
            gradients(&runner, &initial).into_iter().collect();
        let precision = 1.0 / (f64::from(PRIOR).powi(2) * IMAGES);
        for posterior in posteriors(&model) {
            let name = |end: &str| format!("{}{end}", posterior.name);
            let [mean, s] = [names::MEAN, names::LOG_STD].map(|end| doubles(&initial[&name(end)]));
            let (output, eps) = (doubles(&outputs[&posterior.name]), &draw[&name(".noise")]);
            let eps = doubles(eps);
            let to_mean = (0..mean.len()).map(|i| output[i] + mean[i] * precision);
            let to_s = (0..s.len()).map(|i| {
                output[i] * s[i].exp() * eps[i] - 1.0 / IMAGES + (2.0 * s[i]).exp() * precision
            });
            let shape = initial[&name(names::MEAN)].shape();
            let tensor = |values: Vec<f64>| {
                let values = values.into_iter().map(|x| x as f32).collect();
                Tensor::new(shape, values).expect("a gradient")
            };
            for (end, expected) in
                [(names::MEAN, to_mean.collect()), (names::LOG_STD, to_s.collect::<Vec<_>>())]
            {
                let what = format!("{} on {}", name(end), engine.name());
                let found = tensor(found[&name(end)].clone());
                // A bias in front of BatchNormalization has no gradient but the KL's.
                assert_close(&found, &tensor(expected), 2e-3, &what);
            }
        }
    }
}
