//! Exported graphs on both engines.

use std::collections::HashMap;

use graphs::{Kind, Model, Tensor};
use passes::InitStd;
use passes::export::{MUTUAL_INFORMATION, Mode, Noise, PREDICTIVE_ENTROPY, SEED, export};

use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::{CLASSES, bayesian_cnn, cnn, convert, doubles, images, noise};

const PROBABILITIES: &str = graphs::names::PROBABILITIES;
const SAMPLES: usize = 8;

fn stochastic(noise: Noise, samples: usize) -> Model {
    let mode = Mode::Stochastic { noise, samples, functions: false };
    export(&bayesian_cnn(0.3), &mode, graphs::OPSET).expect("an export")
}

fn feeds(count: usize) -> Values {
    Values::from([("input".to_owned(), images(1, count))])
}

/// What a model gives for `feeds` on each engine.
fn on_both(model: &Model, feeds: &Values) -> [Values; 2] {
    engines().each_ref().map(|engine| {
        let mut runner = Runner::of_model(engine.as_ref(), model)
            .unwrap_or_else(|error| panic!("{} loads it: {error}", engine.name()));
        runner.run(feeds).expect("a run")
    })
}

fn with_seed(seed: i64) -> Values {
    let mut feeds = feeds(3);
    feeds.insert(SEED.to_owned(), Tensor::scalar(seed));
    feeds
}

#[test]
fn a_seed_gives_the_same_everywhere_and_another_something_else() {
    for samples in [1, SAMPLES] {
        let model = stochastic(Noise::Seed, samples);
        let mut seen: Vec<Tensor> = Vec::new();
        for seed in [0, 1, -1, 1 << 32, i64::MAX, i64::MIN] {
            let [tract, ort] = on_both(&model, &with_seed(seed));
            assert_eq!(tract.len(), if samples == 1 { 1 } else { 3 });
            for (name, value) in &ort {
                assert_close(&tract[name], value, 1e-5, &format!("{name} of seed {seed}"));
            }
            let [_, again] = on_both(&model, &with_seed(seed));
            assert_eq!(ort, again, "seed {seed}");
            assert!(!seen.contains(&ort[PROBABILITIES]), "seed {seed} repeats another");
            seen.push(ort[PROBABILITIES].clone());
        }
    }
}

/// A file of an old format lists its constants among the inputs.
#[test]
fn constants_that_are_listed_as_inputs_stay_constants_in_an_ensemble() {
    let mut model = bayesian_cnn(0.3);
    let graph = &mut model.graph;
    let constants: Vec<_> =
        graph.ids().filter(|&id| matches!(graph.node(id).kind, Kind::Initializer(_))).collect();
    assert!(constants.len() > 4);
    graph.inputs.extend(constants);
    for noise in [Noise::Random, Noise::Input] {
        let mode = Mode::Stochastic { noise, samples: 3, functions: false };
        let model = export(&model, &mode, graphs::OPSET).expect("an export");
        let names: Vec<&str> =
            model.graph.inputs.iter().map(|&id| model.graph.node(id).name.as_str()).collect();
        let noises = names.iter().filter(|name| name.ends_with(".noise")).count();
        assert_eq!(noises > 0, noise == Noise::Input);
        assert_eq!(names.len(), 1 + noises, "{names:?}");
        if noise == Noise::Random {
            on_both(&model, &feeds(2));
        }
    }
}

/// Slice `i` along the first axis.
fn slice(tensor: &Tensor, i: usize) -> Tensor {
    let shape = &tensor.shape()[1..];
    let size: usize = shape.iter().product();
    let values = tensor.floats().expect("floats")[i * size..][..size].to_vec();
    Tensor::new(shape, values).expect("a slice")
}

fn entropy(probabilities: &[f64]) -> f64 {
    -probabilities.iter().map(|p| if *p > 0.0 { p * p.ln() } else { 0.0 }).sum::<f64>()
}

#[test]
fn an_ensemble_is_the_mean_over_its_draws() {
    let [one, many] = [1, SAMPLES].map(|samples| stochastic(Noise::Input, samples));
    const IMAGES: usize = 3;
    let draws = noise(&many, 5);
    let mut all = feeds(IMAGES);
    all.extend(draws.clone());
    let ensembles = on_both(&many, &all);
    for (engine, ensemble) in engines().iter().zip(ensembles) {
        let mut single = Runner::of_model(engine.as_ref(), &one).expect("a session");
        let mut mean = vec![0.0; IMAGES * CLASSES];
        let mut expected_entropy = vec![0.0; IMAGES];
        for draw in 0..SAMPLES {
            let mut feeds = feeds(IMAGES);
            feeds.extend(draws.iter().map(|(name, noise)| (name.clone(), slice(noise, draw))));
            let outputs = single.run(&feeds).expect("a run");
            let probabilities = doubles(&outputs[PROBABILITIES]);
            for (mean, p) in mean.iter_mut().zip(&probabilities) {
                *mean += p / SAMPLES as f64;
            }
            for (sum, row) in expected_entropy.iter_mut().zip(probabilities.chunks(CLASSES)) {
                *sum += entropy(row) / SAMPLES as f64;
            }
        }
        let predictive: Vec<f64> = mean.chunks(CLASSES).map(entropy).collect();
        let information = predictive.iter().zip(&expected_entropy).map(|(h, e)| h - e).collect();
        for (name, expected) in [
            (PROBABILITIES, mean),
            (PREDICTIVE_ENTROPY, predictive),
            (MUTUAL_INFORMATION, information),
        ] {
            for (found, expected) in doubles(&ensemble[name]).iter().zip(&expected) {
                let near = (found - expected).abs() < 2e-6;
                assert!(near, "{name} on {}: {found}, {expected}", engine.name());
            }
        }
        assert!(doubles(&ensemble[MUTUAL_INFORMATION]).iter().all(|mi| *mi > 1e-3));
    }
}

/// Softmax of the logits of the model that [`bayesian_cnn`] was made from.
fn probabilities_of_original(outputs: &Values) -> Tensor {
    let logits = doubles(&outputs["logits"]);
    let softmax = |row: &[f64]| -> Vec<f32> {
        let sum: f64 = row.iter().map(|l| l.exp()).sum();
        row.iter().map(|l| (l.exp() / sum) as f32).collect()
    };
    let values: Vec<f32> = logits.chunks(CLASSES).flat_map(softmax).collect();
    Tensor::new(outputs["logits"].shape(), values).expect("probabilities")
}

#[test]
fn the_mean_of_a_converted_model_is_the_original() {
    let converted = convert(cnn(), InitStd::Moped(0.1));
    let mean = export(&converted, &Mode::Mean, 21).expect("an export");
    let originals = on_both(&cnn(), &feeds(3));
    for (mean, original) in on_both(&mean, &feeds(3)).iter().zip(&originals) {
        let expected = probabilities_of_original(original);
        assert_close(&mean[PROBABILITIES], &expected, 1e-5, "probabilities");
    }
}

#[test]
fn a_frozen_graph_holds_the_draw_it_was_given() {
    let fed = stochastic(Noise::Input, 1);
    let draw = noise(&fed, 9);
    let of_posterior = |(name, noise): (&String, &Tensor)| {
        (name.strip_suffix(".noise").expect("a noise input").to_owned(), noise.clone())
    };
    let mode = Mode::Frozen(draw.iter().map(of_posterior).collect::<HashMap<_, _>>());
    let frozen = export(&bayesian_cnn(0.3), &mode, graphs::OPSET).expect("an export");
    let mut all = feeds(3);
    all.extend(draw);
    let pairs = on_both(&frozen, &feeds(3)).into_iter().zip(on_both(&fed, &all));
    for (frozen, fed) in pairs {
        assert_close(&frozen[PROBABILITIES], &fed[PROBABILITIES], 1e-5, "probabilities");
    }
}

#[test]
fn random_noise_is_new_at_every_run_and_in_every_draw() {
    for samples in [1, SAMPLES] {
        let model = stochastic(Noise::Random, samples);
        for engine in engines() {
            let mut runner = Runner::of_model(engine.as_ref(), &model)
                .unwrap_or_else(|error| panic!("{} loads it: {error}", engine.name()));
            let [first, second] = [(); 2].map(|()| runner.run(&feeds(3)).expect("a run"));
            assert_ne!(first[PROBABILITIES], second[PROBABILITIES], "{}", engine.name());
            if let Some(information) = first.get(MUTUAL_INFORMATION) {
                let information = doubles(information);
                assert!(information.iter().all(|mi| *mi > 1e-3), "{information:?}");
            }
        }
    }
}

#[test]
fn functions_draw_their_own_noise() {
    let mode = Mode::Stochastic { noise: Noise::Random, samples: 1, functions: true };
    let model = export(&bayesian_cnn(0.3), &mode, graphs::OPSET).expect("an export");
    assert!(!model.functions.is_empty());
    let mut runner = Runner::of_model(onnxruntime(), &model).expect("a session");
    let [first, second] = [(); 2].map(|()| runner.run(&feeds(3)).expect("a run"));
    assert_ne!(first[PROBABILITIES], second[PROBABILITIES]);
    for outputs in [first, second] {
        let rows = doubles(&outputs[PROBABILITIES]);
        assert!(rows.chunks(CLASSES).all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-5));
    }
}

#[test]
fn one_file_takes_every_batch_size() {
    for samples in [1, SAMPLES] {
        let model = stochastic(Noise::Seed, samples);
        for engine in engines() {
            let mut runner = Runner::of_model(engine.as_ref(), &model).expect("a session");
            let mut run = |batch: Tensor| {
                let seed = Tensor::scalar(3i64);
                let feeds = [("input".to_owned(), batch), (SEED.to_owned(), seed)];
                runner.run(&Values::from(feeds)).expect("a run").remove(PROBABILITIES).expect("p")
            };
            let five = run(images(1, 5));
            assert_eq!(five.shape(), [5, CLASSES]);
            for i in 0..5 {
                let image = slice(&images(1, 5), i);
                let shape: Vec<usize> = std::iter::once(1).chain(image.shape().to_vec()).collect();
                let alone = run(image.reshaped(&shape).expect("one image"));
                let row = slice(&five, i).reshaped(&[1, CLASSES]).expect("one row");
                assert_close(&alone, &row, 1e-5, &format!("image {i} on {}", engine.name()));
            }
        }
    }
}

#[test]
fn every_opset_that_is_offered_runs_on_onnx_runtime() {
    for opset in 18..=21 {
        for noise in [Noise::Seed, Noise::Random] {
            let mode = Mode::Stochastic { noise, samples: SAMPLES, functions: false };
            let model = export(&bayesian_cnn(0.3), &mode, opset).expect("an export");
            let mut feeds = with_seed(4);
            feeds.retain(|name, _| noise == Noise::Seed || name != SEED);
            let mut runner = Runner::of_model(onnxruntime(), &model).expect("a session");
            assert_eq!(runner.run(&feeds).expect("a run")[PROBABILITIES].shape(), [3, CLASSES]);
        }
    }
    assert!(export(&bayesian_cnn(0.3), &Mode::Mean, 22).is_err());
}
