//! Converted networks of every kind of layer, on both engines.

mod nets;

use std::collections::BTreeSet;

use graphs::{Attribute, Model, Op, Tensor, names};
use passes::export::{Mode, Noise, SEED, export};
use passes::{Convert, InitStd, Layer, Pipeline};

use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::{PRIOR, initial_state, noise, posteriors, uniform, update_feeds};

pub(crate) use nets::attention;
use nets::{all, difference};

const BATCH: usize = 2;
const CLASSES: usize = 3;

fn converted(model: &Model, init: InitStd) -> Model {
    let mut model = model.clone();
    let convert = Convert {
        layers: BTreeSet::from(Layer::ALL),
        include: None,
        exclude: None,
        init,
        prior: PRIOR,
        bias: true,
    };
    Pipeline::new().then(convert).run(&mut model).expect("a model to convert");
    model
}

fn images(model: &Model) -> Tensor {
    let x = model.graph.source("input").expect("the input");
    let mut shape = model.graph.fact(x).known_shape().expect("a known shape");
    shape[0] = BATCH;
    uniform("images", 1, &shape, -1.0, 1.0)
}

fn probabilities(model: &Model, engine: usize, feeds: &Values) -> Tensor {
    let engine = engines()[engine].as_ref();
    let mut runner = Runner::of_model(engine, model).unwrap_or_else(|e| panic!("{e}"));
    runner.run(feeds).expect("a run").remove(names::PROBABILITIES).expect("probabilities")
}

fn stochastic(noise: Noise) -> Mode {
    Mode::Stochastic { noise, samples: 1, functions: false }
}

#[test]
fn means_give_what_the_original_gives() {
    for (name, model, count) in all() {
        let bayes = converted(&model, InitStd::Moped(0.01));
        assert_eq!(posteriors(&bayes).len(), count, "{name}");
        let feeds = Values::from([("input".to_owned(), images(&model))]);
        let original = export(&model, &Mode::Mean, graphs::OPSET).expect("an export");
        let expected = probabilities(&original, 1, &feeds);
        let mean = export(&bayes, &Mode::Mean, graphs::OPSET).expect("an export");
        for engine in 0..2 {
            let found = probabilities(&mean, engine, &feeds);
            assert_close(&found, &expected, 1e-6, &format!("{name} on engine {engine}"));
        }
    }
}

#[test]
fn a_draw_is_the_same_given_frozen_and_on_each_engine() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Constant(0.2));
        let given = export(&bayes, &stochastic(Noise::Input), graphs::OPSET).expect("an export");
        let draws = noise(&given, 5);
        let plain = Values::from([("input".to_owned(), images(&model))]);
        let mut feeds = plain.clone();
        feeds.extend(draws.clone());
        let [tract, ort] = [0, 1].map(|engine| probabilities(&given, engine, &feeds));
        assert_close(&tract, &ort, 1e-5, name);
        let draws = draws.into_iter().map(|(key, value)| {
            (key.strip_suffix(".noise").expect("a noise input").to_owned(), value)
        });
        let frozen = export(&bayes, &Mode::Frozen(draws.collect()), graphs::OPSET);
        let found = probabilities(&frozen.expect("an export"), 1, &plain);
        assert_close(&found, &ort, 1e-5, &format!("{name}, frozen"));
        let mean = export(&bayes, &Mode::Mean, graphs::OPSET).expect("an export");
        let mean = probabilities(&mean, 1, &plain);
        assert_eq!(mean == ort, name == "difference", "{name}: noise shows");
    }
}

#[test]
fn seeds_and_random_noise_run_everywhere() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Constant(0.2));
        let mut feeds = Values::from([("input".to_owned(), images(&model))]);
        let random = export(&bayes, &stochastic(Noise::Random), graphs::OPSET).expect("an export");
        for engine in 0..2 {
            let [one, two] = [(); 2].map(|()| probabilities(&random, engine, &feeds));
            assert_eq!(one.shape(), [BATCH, CLASSES], "{name}");
            assert!(one.floats().expect("floats").iter().all(|p| p.is_finite()), "{name}");
            assert_eq!(two.shape(), [BATCH, CLASSES], "{name}");
        }
        let seeded = export(&bayes, &stochastic(Noise::Seed), graphs::OPSET).expect("an export");
        feeds.insert(SEED.to_owned(), Tensor::scalar(11i64));
        let [tract, ort] = [0, 1].map(|engine| probabilities(&seeded, engine, &feeds));
        assert_close(&tract, &ort, 1e-5, name);
    }
}

#[test]
fn one_draw_serves_all_that_share_a_weight() {
    let bayes = converted(&difference(), InitStd::Constant(0.5));
    let feeds = Values::from([("input".to_owned(), images(&bayes))]);
    // The variational form itself, through its functions, at the batch size of the file.
    let mut runner = Runner::of_model(onnxruntime(), &bayes).expect("a session");
    let x = uniform("images", 1, &[1, 4], -1.0, 1.0);
    let found = runner.run(&Values::from([("input".to_owned(), x)])).expect("a run");
    let zeros = Tensor::full(&[1, CLASSES], 0f32).expect("zeros");
    let near = |a: &Tensor| a.floats().expect("floats").iter().all(|v| v.abs() < 1e-5);
    assert!(near(&found["logits"]), "{:?} is not {zeros:?}", found["logits"].floats());
    let random = export(&bayes, &stochastic(Noise::Random), graphs::OPSET).expect("an export");
    let even = Tensor::full(&[BATCH, CLASSES], 1.0 / CLASSES as f32).expect("even");
    for engine in 0..2 {
        assert_close(&probabilities(&random, engine, &feeds), &even, 1e-5, "even odds");
    }
}

#[test]
fn training_moves_every_posterior_behind_its_views() {
    for (name, model, count) in all() {
        // Noise cancels in one; the other computes in float64.
        if ["difference", "types"].contains(&name) {
            continue;
        }
        let bayes = converted(&model, InitStd::Constant(0.1));
        let training = passes::Training::published(passes::Defense::Bnn);
        let program = passes::update(&bayes, BATCH, &training).expect("an update program");
        let mut feeds = update_feeds(&program, 1, BATCH, [0.01, 1.0, 1.0]);
        feeds.insert(names::IMAGES.into(), images(&model));
        let initial = initial_state(&bayes, &[&program]);
        // tract 0.23.9 cannot plan the weight gradient of a grouped convolution over three axes.
        let first = usize::from(name == "dimensions");
        for engine in &engines()[first..] {
            let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
            runner.put(&initial);
            runner.run(&feeds).expect("a run");
            for posterior in posteriors(&bayes) {
                for moved in ["mean", "log_std"].map(|part| format!("{}.{part}", posterior.name)) {
                    let what = format!("{name}: {moved} on {}", engine.name());
                    assert_ne!(runner.held(&moved), initial[&moved], "{what}");
                }
            }
        }
        let states = program.model.graph.inputs.iter();
        let means = states.filter(|&&id| program.model.graph.node(id).name.ends_with(".mean"));
        assert_eq!(means.count(), count, "{name}: each posterior once");
    }
}

#[test]
fn the_form_of_a_file_runs_as_it_is() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Moped(1e-6));
        let x = images(&model);
        let shape = [&[1], &x.shape()[1..]].concat();
        let x = uniform("images", 1, &shape, -1.0, 1.0);
        let feeds = Values::from([("input".to_owned(), x)]);
        let run = |model: &Model| {
            let mut runner = Runner::of_model(onnxruntime(), model).expect("a session");
            runner.run(&feeds).expect("a run").remove("logits").expect("logits")
        };
        assert_close(&run(&bayes), &run(&model), 1e-3, name);
        let ops = bayes.graph.ids().filter_map(|id| bayes.graph.node(id).op());
        let made: Vec<&Op> = ops.filter(|op| op.domain == passes::DOMAIN).collect();
        let slots = |op: &&Op| matches!(op.attributes.get("variational"), Some(Attribute::Ints(_)));
        assert!(!made.is_empty() && made.iter().all(slots), "{name}");
    }
}
