//! Noise layers (RSE) in programs, exports and files, on both engines.

use graphs::{Model, Tensor, names};
use passes::export::{Mode, Noise, SEED, export};
use passes::{NoiseLayers, Pass, Pipeline, noise_layers};
use runtime::data::Dataset;
use runtime::engine::{self, Choice, Settings};
use runtime::predict::{PredictSettings, predict};
use runtime::sessions::Purpose;

use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::{CLASSES, IMAGE, cnn, doubles, images, initial_state, noise};

const BATCH: usize = 3;
const FIRST: f32 = 0.2;

fn noisy(first: f32, later: f32) -> Model {
    let mut model = cnn();
    Pipeline::opening().then(NoiseLayers { first, later }).run(&mut model).expect("noise layers");
    model
}

#[test]
fn every_convolution_gets_one_layer_and_a_second_time_none() {
    let mut model = noisy(FIRST, 0.1);
    let layers = noise_layers(&model.graph).expect("layers");
    assert_eq!(layers.iter().map(|layer| layer.std).collect::<Vec<_>>(), [FIRST, 0.1, 0.1]);
    assert_eq!(model.functions.len(), 1);
    NoiseLayers::RSE.run(&mut model).expect("nothing to do");
    assert_eq!(noise_layers(&model.graph).expect("layers"), layers);
    let mut plain = graphs::Model::new(graphs::Graph::new("empty"));
    let error = NoiseLayers::RSE.run(&mut plain).expect_err("no convolution").to_string();
    assert!(error.contains("no convolution"), "{error}");
}

/// Noise in front of the first convolution alone is noise on the images.
#[test]
fn the_first_layer_is_noise_on_the_images() {
    let program = passes::predict(&noisy(FIRST, 0.0), BATCH).expect("a program");
    let plain = passes::predict(&cnn(), BATCH).expect("a program");
    let feeds = noise(&program.model, 3);
    assert_eq!(feeds.len(), 3);
    let clean = images(1, BATCH);
    let first = feeds.values().find(|noise| noise.shape() == clean.shape()).expect("a noise");
    let sum =
        doubles(&clean).into_iter().zip(doubles(first)).map(|(x, e)| x + f64::from(FIRST) * e);
    let sum = Tensor::new(clean.shape(), sum.map(|x| x as f32).collect()).expect("images");
    for engine in engines() {
        let probabilities = |program, images: &Tensor, noise: &Values| {
            let mut runner = Runner::new(engine.as_ref(), program).expect("a session");
            runner.put(&initial_state(&noisy(FIRST, 0.0), &[program]));
            let mut feeds = noise.clone();
            feeds.insert(names::IMAGES.into(), images.clone());
            runner.run(&feeds).expect("a run").remove(names::PROBABILITIES).expect("probabilities")
        };
        let found = probabilities(&program, &clean, &feeds);
        let expected = probabilities(&plain, &sum, &Values::new());
        assert_close(&found, &expected, 1e-5, engine.name());
        let without = probabilities(&plain, &clean, &Values::new());
        assert_ne!(expected, without);
    }
}

/// Each image keeps its own noise however its batch is cut.
#[test]
fn predictions_do_not_depend_on_threads_and_engines() {
    let model = noisy(FIRST, 0.1);
    let (count, [c, h, w]) = (7, IMAGE);
    let pixels = (0..count * c * h * w).map(|i| (i * 37 % 251) as u8).collect();
    let data = Dataset::new(IMAGE, pixels, vec![0; count], Vec::new()).expect("images");
    type Compiled = Result<graphs::Program, Box<dyn std::error::Error + Send + Sync>>;
    let compile = |purpose: Purpose, batch: usize| -> Compiled {
        match purpose {
            Purpose::Predict => Ok(passes::predict(&model, batch)?),
            _ => Err("only predictions".into()),
        }
    };
    let initial = initial_state(&model, &[&passes::predict(&model, 1).expect("a program")]);
    let settings = PredictSettings { batch: 5, samples: 3, seed: 4 };
    let probabilities = |engine, threads| {
        let settings_of = Settings { engine, threads: Some(threads), ..Settings::default() };
        let engine = engine::open(&settings_of).expect("an engine");
        let mut state = engine.state();
        for (name, tensor) in &initial {
            state.put(name, tensor).expect("a value");
        }
        let found = predict(engine.as_ref(), &compile, &mut state, &data, &settings);
        let found = found.expect("predictions");
        assert!(found.mutual_information.iter().any(|mi| *mi > 1e-6), "the noise has no effect");
        Tensor::new(&[count, CLASSES], found.probabilities).expect("probabilities")
    };
    _ = engines();
    let one = probabilities(Choice::Tract, 1);
    for (engine, threads) in
        [(Choice::Tract, 2), (Choice::Tract, 3), (Choice::Tract, 16), (Choice::OnnxRuntime, 1)]
    {
        let other = probabilities(engine, threads);
        assert_close(&other, &one, 1e-5, &format!("{engine:?}, {threads} threads"));
    }
}

fn stochastic(noise: Noise, samples: usize, functions: bool) -> Model {
    let mode = Mode::Stochastic { noise, samples, functions };
    export(&noisy(FIRST, 0.1), &mode, graphs::OPSET).expect("an export")
}

/// The probabilities that a model gives for three images, once for each of `feeds`.
fn run(engine: &dyn runtime::engine::Engine, model: &Model, feeds: &[Values]) -> Vec<Tensor> {
    let mut runner = Runner::of_model(engine, model)
        .unwrap_or_else(|error| panic!("{} loads it: {error}", engine.name()));
    let one = |feeds: &Values| {
        let mut feeds = feeds.clone();
        feeds.insert("input".to_owned(), images(1, BATCH));
        let outputs = runner.run(&feeds);
        let outputs = outputs.unwrap_or_else(|error| panic!("{}: {error}", engine.name()));
        outputs[names::PROBABILITIES].clone()
    };
    feeds.iter().map(one).collect()
}

fn seed(seed: i64) -> Values {
    Values::from([(SEED.to_owned(), Tensor::scalar(seed))])
}

#[test]
fn exports_draw_anew_or_as_the_seed_says() {
    for samples in [1, 4] {
        let seeded = stochastic(Noise::Seed, samples, false);
        let random = stochastic(Noise::Random, samples, false);
        let seeds = [seed(1), seed(2), seed(1)];
        let [tract, ort] = engines().each_ref().map(|engine| run(engine.as_ref(), &seeded, &seeds));
        for found in [&tract, &ort] {
            assert_eq!(found[0], found[2]);
            assert_ne!(found[0], found[1]);
        }
        assert_close(&tract[0], &ort[0], 1e-5, &format!("seed 1, {samples} samples"));
        for engine in engines() {
            let found = run(engine.as_ref(), &random, &[Values::new(), Values::new()]);
            assert_ne!(found[0], found[1], "{}", engine.name());
        }
    }
}

#[test]
fn an_export_with_noise_inputs_is_the_program_and_the_mean_has_no_noise() {
    let program = passes::predict(&noisy(FIRST, 0.1), BATCH).expect("a program");
    let draw = noise(&program.model, 6);
    let fed = stochastic(Noise::Input, 1, false);
    let mean = export(&noisy(FIRST, 0.1), &Mode::Mean, graphs::OPSET).expect("an export");
    let original = export(&cnn(), &Mode::Mean, graphs::OPSET).expect("an export");
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial_state(&noisy(FIRST, 0.1), &[&program]));
        let mut feeds = draw.clone();
        feeds.insert(names::IMAGES.into(), images(1, BATCH));
        let expected = runner.run(&feeds).expect("a run")[names::PROBABILITIES].clone();
        let found = run(engine.as_ref(), &fed, std::slice::from_ref(&draw)).remove(0);
        assert_close(&found, &expected, 1e-5, engine.name());
        let [mean, original] =
            [&mean, &original].map(|model| run(engine.as_ref(), model, &[Values::new()]).remove(0));
        assert_close(&mean, &original, 1e-6, engine.name());
        assert_ne!(mean, expected);
    }
    let frozen = export(&noisy(FIRST, 0.1), &Mode::Frozen(Default::default()), graphs::OPSET);
    assert!(frozen.expect_err("no frozen draw").to_string().contains("every image"));
}

/// The spread of what the function adds to zeros is `std`, and no image has another's noise.
#[test]
fn the_file_itself_draws_from_its_function() {
    let model = noisy(FIRST, 0.0);
    let found =
        run(onnxruntime(), &stochastic(Noise::Random, 1, true), &[Values::new(), Values::new()]);
    assert_ne!(found[0], found[1]);

    let mut alone = model;
    let layer = noise_layers(&alone.graph).expect("layers").remove(0);
    alone.graph.outputs.clear();
    alone.graph.output("y", layer.node.into());
    alone.graph.sweep();
    let mut runner = Runner::of_model(onnxruntime(), &alone).expect("a session");
    let [c, h, w] = IMAGE;
    let zeros = Tensor::full(&[64, c, h, w], 0f32).expect("zeros");
    let feeds = Values::from([("input".to_owned(), zeros)]);
    let drawn = doubles(&runner.run(&feeds).expect("a run")["y"]);
    let variance = drawn.iter().map(|x| x * x).sum::<f64>() / drawn.len() as f64;
    // 8,192 numbers: the standard error of the deviation is 0.8 %.
    assert!((variance.sqrt() / f64::from(FIRST) - 1.0).abs() < 0.04, "{variance}");
    let (first, second) = drawn.split_at(c * h * w);
    assert_ne!(first, &second[..c * h * w]);
}
