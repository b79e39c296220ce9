//! Programs made for different platforms compute the same.

use std::collections::BTreeSet;

use graphs::{Model, Program, Tensor, names};
use passes::{Architecture, Build, Defense, InitStd, KlScope, Optimizer, Platform, Training};

use crate::engines::{Runner, Values, engines};
use crate::models::{convert, doubles, initial_state, noise, uniform};

const PLATFORMS: [Platform; 3] = [Platform::Any, Platform::OnnxRuntime, Platform::OpenVino];
const BATCH: usize = 8;
const IMAGES: [usize; 4] = [BATCH, 3, 32, 32];

/// Wide enough behind, and with few enough windows, for every choice that a platform makes.
fn network() -> Model {
    let vgg = Architecture::Vgg16.build([3, 32, 32], 10, 0.2, 3).expect("a network");
    convert(vgg, InitStd::Constant(0.02))
}

fn operators(program: &Program) -> BTreeSet<String> {
    let graph = &program.model.graph;
    let ops = graph.ids().filter_map(|id| graph.node(id).op().map(|op| op.op_type.clone()));
    ops.collect()
}

/// What a program carries after one run with the same images, labels and noise.
fn run(program: &Program, state: &Values, scalars: &[(&str, f32)], tract: bool) -> Values {
    let engine = &engines()[usize::from(!tract)];
    let mut runner = Runner::new(engine.as_ref(), program).expect("a session");
    let start = uniform("images", 1, &IMAGES, 0.1, 0.9);
    runner.put(state);
    for name in [names::IMAGES, names::CLEAN] {
        runner.state.put(name, &start).expect("images");
    }
    let zeros = Tensor::full(&IMAGES, 0f32).expect("zeros");
    runner.state.put(names::GRADIENT, &zeros).expect("a gradient");
    let mut feeds = noise(&program.model, 5);
    let labels: Vec<i64> = (0..BATCH as i64).collect();
    feeds.insert(names::LABELS.to_owned(), Tensor::vector(&labels));
    for &(name, value) in scalars {
        feeds.insert(name.to_owned(), Tensor::scalar(value));
    }
    runner.run(&feeds).expect("a run");
    program.carries().map(|(_, input)| (input.to_owned(), runner.held(input))).collect()
}

/// Within 5e-4 of the greatest element, or of 0.02 where that is more: the gradient of a bias
/// that a normalization swallows is nothing but rounding.
#[track_caller]
fn assert_near(found: &Tensor, expected: &Tensor, name: &str) {
    let (found, expected) = (doubles(found), doubles(expected));
    assert_eq!(found.len(), expected.len(), "{name}");
    let greatest = expected.iter().fold(0.02, |most: f64, x| most.max(x.abs()));
    let apart = found.iter().zip(&expected).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
    assert!(apart <= 5e-4 * greatest, "{name}: {apart} apart, greatest {greatest}");
}

fn compare(programs: &[Program], state: &Values, scalars: &[(&str, f32)]) {
    let (first, others) = programs.split_first().expect("a program");
    let expected = run(first, state, scalars, false);
    assert!(expected.len() > 1);
    for (tract, program) in others.iter().map(|p| (false, p)).chain([(true, &programs[1])]) {
        for (name, value) in run(program, state, scalars, tract) {
            assert_near(&value, &expected[&name], &name);
        }
    }
}

#[test]
fn an_attack_is_the_same_on_every_platform() {
    let model = network();
    let programs = PLATFORMS.map(|platform| {
        passes::attack(&model, Build { batch: BATCH, platform }).expect("a program")
    });
    let [any, runtime, openvino] = [0, 1, 2].map(|i| operators(&programs[i]));
    assert!(runtime.contains("Resize") && !any.contains("Resize"), "pools by ranks");
    assert!(runtime.contains("HardSigmoid") && openvino.contains("Greater"), "steps");
    let state = initial_state(&model, &[&programs[0]]);
    let scalars = [(names::KEEP, 0.0), (names::RADIUS, 0.03), (names::STEP_SIZE, 0.0)];
    compare(&programs, &state, &scalars);
}

#[test]
fn an_update_is_the_same_on_every_platform() {
    let model = network();
    let training = Training {
        optimizer: Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 },
        kl_scope: KlScope::All,
        ..Training::published(Defense::AdvBnn)
    };
    let programs = PLATFORMS.map(|platform| {
        let build = Build { batch: BATCH, platform };
        passes::update(&model, build, &training).expect("a program")
    });
    let state = initial_state(&model, &[&programs[0]]);
    let scalars = [(names::LEARNING_RATE, 0.1), (names::KL_SCALE, 1e-6)];
    compare(&programs, &state, &scalars);
}
