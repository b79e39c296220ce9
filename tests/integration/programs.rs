//! The attack and update programs of a small Bayesian network.

use graphs::{Model, Program, Tensor, names};
use passes::{
    Defense, Estimator, Loss, Mixture, NoiseLayers, Optimizer, Pipeline, Prior, Tape, Training,
};

use crate::differences::{Point, Trial, gradient_of};
use crate::engines::{Runner, Values, assert_close, engines, run};
use crate::models::{
    bayesian_cnn, cnn, images, initial_state, labels, noise, number, uniform, update_feeds,
};

const BATCH: usize = 3;
const RADIUS: f32 = 0.03;
const STEP: f32 = 0.02;

fn plain_sgd() -> Training {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    Training { optimizer, ..Training::published(Defense::AdvBnn) }
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.floats().expect("floats").into_owned()
}

/// One step of PGD whose gradient is the sum over `draws` of the noise, run by the attack
/// program and by hand with the gradient of the mean loss.
fn pgd_by_hand(draws: u64) {
    let model = bayesian_cnn(0.1);
    let attack = passes::attack(&model, BATCH).expect("an attack");
    let gradient = passes::loss_gradient(&model, Some(BATCH), &[]).expect("a gradient");
    let clean = images(1, BATCH);
    // Some start at the edge of the ball, so that the projection matters; all in [0, 1].
    let shift = uniform("shift", 1, clean.shape(), -RADIUS, RADIUS);
    let start =
        floats(&clean).into_iter().zip(floats(&shift)).map(|(x, s)| (x + s).clamp(0.0, 1.0));
    let start = Tensor::new(clean.shape(), start.collect()).expect("images");
    for engine in engines() {
        let mut program = Runner::new(engine.as_ref(), &attack).expect("a session");
        program.put(&initial_state(&model, &[&attack]));
        program.state.put(names::IMAGES, &start).expect("images");
        program
            .state
            .put(names::GRADIENT, &uniform("junk", 1, clean.shape(), -1.0, 1.0))
            .expect("junk");
        let mut by_hand = Runner::of_model(engine.as_ref(), &gradient).expect("a session");
        let mut sum = vec![0f32; clean.len()];
        for draw in 0..draws {
            let mut feeds = noise(&attack.model, draw);
            feeds.insert(names::LABELS.into(), labels(BATCH));
            let mut same = feeds.clone();
            let last = draw + 1 == draws;
            for (name, value) in [
                (names::KEEP, if draw == 0 { 0.0 } else { 1.0 }),
                (names::RADIUS, RADIUS),
                (names::STEP_SIZE, if last { STEP } else { 0.0 }),
            ] {
                feeds.insert(name.into(), Tensor::scalar(value));
            }
            feeds.insert(names::CLEAN.into(), clean.clone());
            let losses = program.run(&feeds).expect("a run");
            same.insert("input".into(), start.clone());
            let outputs = by_hand.run(&same).expect("a run");
            let mean = floats(&losses[names::LOSSES]).iter().sum::<f32>() / BATCH as f32;
            assert!((f64::from(mean) - number(&outputs[names::LOSS])).abs() < 1e-5);
            for (sum, part) in sum.iter_mut().zip(floats(&outputs["input.grad"])) {
                *sum += part * BATCH as f32;
            }
        }
        let sum = Tensor::new(clean.shape(), sum).expect("a gradient");
        let found = program.held(names::GRADIENT);
        assert_close(&found, &sum, 1e-5, &format!("gradient on {}", engine.name()));
        let step = |((x, clean), g): ((f32, f32), f32)| {
            let sign = if g == 0.0 { 0.0 } else { g.signum() };
            (x + STEP * sign).max(clean - RADIUS).min(clean + RADIUS).clamp(0.0, 1.0)
        };
        let moved = floats(&start).into_iter().zip(floats(&clean)).zip(floats(&found)).map(step);
        let moved = Tensor::new(clean.shape(), moved.collect()).expect("images");
        assert_close(&program.held(names::IMAGES), &moved, 1e-6, engine.name());
        let largest = floats(&sum).iter().fold(0f32, |most, g| most.max(g.abs()));
        let nonzero = floats(&sum).iter().filter(|g| g.abs() > 1e-3 * largest).count();
        assert!(nonzero * 2 > sum.len(), "a gradient that moves most pixels");
    }
}

#[test]
fn an_attack_step_is_pgd_by_hand() {
    pgd_by_hand(1);
}

#[test]
fn an_attack_sums_the_gradients_of_draws() {
    pgd_by_hand(2);
}

/// The update's gradient, read off a step of plain SGD at rate 1, against differences of the
/// update's own loss: through batch statistics, the sampled weights and the KL.
fn descends_its_own_loss(network: &Model, training: &Training, parameters: usize) {
    let program = passes::update(network, BATCH, training).expect("an update program");
    let initial = initial_state(network, &[&program]);
    let mut feeds = update_feeds(&program, 1, BATCH, [1.0, 1.0, 1e-4]);
    if program.model.graph.source(names::CLEAN).is_some() {
        feeds.insert(names::CLEAN.to_owned(), images(2, BATCH));
    }
    let mut model = program.model.clone();
    model.metadata.clear();
    let carried: Vec<(String, String)> =
        program.carries().map(|(output, input)| (output.to_owned(), input.to_owned())).collect();
    let mut points = Vec::new();
    for (output, input) in carried {
        let value = initial[&input].clone();
        if input.contains("running") {
            feeds.insert(input, value);
            continue;
        }
        let tape = &mut Tape::new(&mut model.graph, "test");
        let old = tape.graph.source(&input).expect("a state");
        let new = tape.graph.port(&output).expect("its next value").value;
        let gradient = tape.apply("Sub", &[old, new]).expect("a difference");
        model.graph.output(&gradient_of(&input), gradient);
        points.push(Point { name: input, value, reach: 1e-3 });
    }
    model.graph.outputs.retain(|port| !port.name.ends_with(".next"));
    assert_eq!(points.len(), parameters);
    let weights = vec![(names::LOSS.to_owned(), vec![1.0])];
    let trial = Trial { model, points, feeds, weights, kinks: true };
    for engine in engines() {
        let (error, input) = trial.error(engine.as_ref()).expect("a run");
        assert!(error < 3e-3, "{input} on {}: {error}", engine.name());
    }
}

#[test]
fn the_update_descends_its_own_loss() {
    descends_its_own_loss(&bayesian_cnn(0.1), &plain_sgd(), 28);
}

#[test]
fn the_update_of_trades_descends_its_own_loss() {
    let loss = Loss::Trades { beta: 3.0 };
    descends_its_own_loss(&bayesian_cnn(0.1), &Training { loss, ..plain_sgd() }, 28);
}

#[test]
fn the_update_with_smoothed_labels_descends_its_own_loss() {
    let training = Training { label_smoothing: 0.3, ..plain_sgd() };
    descends_its_own_loss(&bayesian_cnn(0.1), &training, 28);
}

#[test]
fn the_update_with_noise_layers_descends_its_own_loss() {
    let mut model = cnn();
    Pipeline::opening().then(NoiseLayers::RSE).run(&mut model).expect("noise layers");
    descends_its_own_loss(&model, &plain_sgd(), 14);
}

#[test]
fn the_update_that_draws_activations_descends_its_own_loss() {
    let training = Training { estimator: Estimator::Local, ..plain_sgd() };
    descends_its_own_loss(&bayesian_cnn(0.1), &training, 28);
}

#[test]
fn the_update_with_a_mixture_prior_descends_its_own_loss() {
    let mixture = Mixture { share: 0.3, first: 0.5, second: 0.1 };
    let training = Training { prior: Some(Prior::Mixture(mixture)), ..plain_sgd() };
    descends_its_own_loss(&bayesian_cnn(0.1), &training, 28);
}

/// Three steps of training: attack and update on one state.
fn train(
    engine: &dyn runtime::engine::Engine,
    programs: [&Program; 2],
    initial: &Values,
) -> Vec<Values> {
    let [attack, update] = programs;
    let mut sessions = programs.map(|program| engine.load(program).expect("a session"));
    let mut state = engine.state();
    for (name, tensor) in initial {
        state.put(name, tensor).expect("a value of the state");
    }
    let mut seen = Vec::new();
    for step in 1..=3u8 {
        let clean = images(u64::from(step), BATCH);
        state.put(names::IMAGES, &clean).expect("images");
        let zero = Tensor::full(clean.shape(), 0f32).expect("zeros");
        state.put(names::GRADIENT, &zero).expect("a gradient");
        let mut feeds = noise(&attack.model, u64::from(step));
        feeds.insert(names::LABELS.into(), labels(BATCH));
        feeds.insert(names::CLEAN.into(), clean);
        for (name, value) in [(names::KEEP, 0.0), (names::RADIUS, RADIUS), (names::STEP_SIZE, STEP)]
        {
            feeds.insert(name.into(), Tensor::scalar(value));
        }
        let [attacker, updater] = &mut sessions;
        seen.push(run(attacker.as_mut(), &mut state, &feeds).expect("an attack"));
        let scalars = [1e-3, f32::from(step), 1e-3];
        let mut feeds = update_feeds(update, u64::from(step) + 10, BATCH, scalars);
        feeds.remove(names::IMAGES);
        seen.push(run(updater.as_mut(), &mut state, &feeds).expect("an update"));
    }
    let names: Vec<String> = state.names().map(str::to_owned).collect();
    let get = |name: String| (name.clone(), state.get(&name).expect("a state").expect("a value"));
    seen.push(names.into_iter().map(get).collect());
    seen
}

#[test]
fn three_steps_of_training_are_the_same_on_both_engines() {
    // Not the prior's deviation: the KL then has no gradient, nor has a bias in front of
    // BatchNormalization, and Adam would scale up the rounding errors that are left.
    let model = bayesian_cnn(0.07);
    let attack = passes::attack(&model, BATCH).expect("an attack program");
    for optimizer in [Optimizer::SGD, Optimizer::ADAM] {
        let training = Training { optimizer, ..plain_sgd() };
        let update = passes::update(&model, BATCH, &training).expect("an update program");
        let initial = initial_state(&model, &[&attack, &update]);
        let [tract, ort] =
            engines().each_ref().map(|engine| train(engine.as_ref(), [&attack, &update], &initial));
        for (step, (tract, ort)) in tract.iter().zip(&ort).enumerate() {
            assert!(tract.keys().eq(ort.keys()));
            for (name, value) in tract {
                assert_close(value, &ort[name], 1e-3, &format!("{name} after run {step}"));
            }
        }
        let last = ort.last().expect("a state");
        assert!(initial.iter().any(|(name, value)| last[name] != *value), "nothing was trained");
    }
}
