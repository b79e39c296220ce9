//! Accuracies and uncertainties of a linear classifier.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::State;
use crate::engine::tests::engines;
use crate::linear::{Linear, dataset, weight};
use crate::predict::{PredictSettings, predict};

const N: usize = 10;

fn settings(attacks: &[&str]) -> EvalSettings {
    EvalSettings {
        attacks: attacks.iter().map(|spec| spec.parse().unwrap()).collect(),
        eps: vec![0.0, 0.05, 1.0],
        samples: 8,
        batch: 4,
        seed: 3,
        cumulative: false,
    }
}

/// Weights that name the brightest pixel, as the labels do.
fn identity(engine: &dyn Engine) -> State {
    let mut state = engine.state();
    let values = (0..12).map(|i| f32::from(i / 3 == i % 3) * 4.0).collect();
    state.put("weight", &Tensor::new(&[4, 3], values).unwrap()).unwrap();
    state
}

fn report(engine: &dyn Engine, std: Option<f32>, settings: &EvalSettings) -> Report {
    let model = Linear { classes: 3, std };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let network = Network { compile: &compile, state: identity(engine) };
    evaluate(engine, network, BTreeMap::new(), &dataset(N, 3), settings, &mut |_| {}).unwrap()
}

#[test]
fn accuracy_falls_from_all_to_none_and_radius_0_is_clean() {
    for engine in engines() {
        let report = report(&*engine, None, &settings(&["pgd", "fgsm", "noise"]));
        assert_eq!((report.images, report.samples, report.clean.accuracy), (N, 1, 100.0));
        let accuracies: Vec<f64> = report.attacks.iter().map(|row| row.accuracy).collect();
        assert_eq!(accuracies[..6], [100.0, 100.0, 0.0, 100.0, 100.0, 0.0]);
        assert!(accuracies[8] > 0.0, "noise is no attack");
    }
}

#[test]
fn draws_and_samples_of_a_model_without_noise_are_one() {
    let engine = &*engines()[0];
    let sure = report(engine, None, &settings(&["pgd:eot=10"]));
    assert_eq!((sure.samples, sure.attacks[0].draws), (1, 1));
    let random = report(engine, Some(0.1), &settings(&["pgd:eot=10,restarts=2"]));
    let row = &random.attacks[1];
    assert_eq!((random.samples, row.draws, row.restarts, row.steps), (8, 10, 2, 20));
    let json = serde_json::to_value(&random).unwrap();
    assert_eq!(json["clean"]["accuracy"], 100.0);
    assert_eq!(json["attacks"][1]["attack"], "pgd");
    assert_eq!(json["attacks"][1]["eps"], 0.05);
}

#[test]
fn progress_counts_every_image_under_every_attack() {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: None };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let mut seen = Vec::new();
    evaluate(
        engine,
        Network { compile: &compile, state: identity(engine) },
        BTreeMap::new(),
        &dataset(N, 3),
        &EvalSettings { eps: vec![0.1], ..settings(&["fgsm"]) },
        &mut |progress| seen.push((progress.attack, progress.done, progress.images)),
    )
    .unwrap();
    let counts = |attack| [4, 8, 10].map(|done| (attack, done, N));
    assert_eq!(seen, [counts(None), counts(Some(Method::Fgsm))].concat());
}

#[test]
fn settings_and_labels_that_make_no_sense_are_refused() {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: None };
    let error = |dataset: &Dataset, settings: &EvalSettings| {
        let compile = |purpose, batch| model.compile(purpose, batch);
        let network = Network { compile: &compile, state: identity(engine) };
        evaluate(engine, network, BTreeMap::new(), dataset, settings, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let good = settings(&["pgd"]);
    let wide = EvalSettings { eps: vec![8.0], ..good.clone() };
    assert!(error(&dataset(N, 3), &wide).contains("radius 8 is not between 0 and 1"));
    assert!(
        error(&dataset(N, 3), &EvalSettings { samples: 0, ..good.clone() }).contains("samples")
    );
    assert!(error(&dataset(N, 4), &good).contains("the model has 3 classes"));
    let wrong = Dataset::new([1, 3, 3], vec![0; 9], vec![0], Vec::new()).unwrap();
    assert!(error(&wrong, &good).contains("the images are 1x3x3"));
}

#[test]
fn uncertainty_is_of_the_mean_less_that_of_the_draws() {
    for engine in engines() {
        let images = dataset(N, 3);
        let of = |std, samples| {
            let model = Linear { classes: 3, std };
            let compile = |purpose, batch| model.compile(purpose, batch);
            let mut state = engine.state();
            state.put("weight", &weight(3)["weight"]).unwrap();
            let settings = PredictSettings { batch: 4, samples, seed: 1 };
            predict(&*engine, &compile, &mut state, &images, &settings).unwrap()
        };
        let sure = of(None, 5);
        assert_eq!((sure.classes, sure.probabilities.len()), (3, 3 * N));
        assert!(sure.mutual_information.iter().all(|&information| information < 1e-6));
        let unsure = of(Some(2.0), 50);
        assert!(unsure.mutual_information.iter().all(|&information| information > 0.05));
        for (row, &entropy) in unsure.probabilities.chunks(3).zip(&unsure.predictive_entropy) {
            assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-5);
            let expected = -row.iter().map(|p| p * p.ln()).sum::<f32>();
            assert!((entropy - expected).abs() < 1e-5 && entropy <= 3f32.ln() + 1e-6);
        }
        assert_eq!(of(Some(2.0), 50), unsure, "the same seed says the same");
    }
}
