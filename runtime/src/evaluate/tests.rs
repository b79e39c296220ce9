//! Accuracies and uncertainties of a linear classifier.
#![allow(clippy::unwrap_used)]

mod examples;
mod progress;
mod regrouped;
mod repeated;
mod resumed;

use graphs::Tensor;

use super::*;
use crate::attack::{AttackSpec, Method, Norm};
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
        seeds: 3,
        probing: None,
    }
}

/// Weights that name the brightest pixel, as the labels do.
fn identity(engine: &dyn Engine) -> State {
    let mut state = engine.state();
    let values = (0..12).map(|i| f32::from(i / 3 == i % 3) * 4.0).collect();
    state.put("weight", &Tensor::new(&[4, 3], values).unwrap()).unwrap();
    state
}

/// What comes of a linear classifier with weights of that much noise.
fn evaluated(
    engine: &dyn Engine,
    std: Option<f32>,
    settings: &EvalSettings,
    notes: Option<Notes>,
) -> Result<Evaluation> {
    let model = Linear { classes: 3, std };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let network = Network { compile: &compile, state: identity(engine) };
    let (images, foreign) = (dataset(N, 3), dataset(6, 3));
    let subject = Subject { dataset: &images, foreign: Some(&foreign), notes };
    evaluate(engine, network, BTreeMap::new(), subject, settings, &mut |_| {})
}

fn report(engine: &dyn Engine, std: Option<f32>, settings: &EvalSettings) -> Report {
    evaluated(engine, std, settings, None).unwrap().report
}

#[test]
fn accuracy_falls_from_all_to_none_and_radius_0_is_clean() {
    for engine in engines() {
        let report = report(&*engine, None, &settings(&["pgd", "fgsm", "noise"]));
        assert_eq!((report.images, report.samples, report.clean.accuracy), (N, 1, 100.0));
        let accuracies: Vec<f64> = report.attacks.iter().map(|row| row.measured.accuracy).collect();
        assert_eq!(accuracies[..6], [100.0, 100.0, 0.0, 100.0, 100.0, 0.0]);
        assert!(accuracies[8] > 0.0, "noise is no attack");
    }
}

#[test]
fn draws_and_samples_of_a_model_without_noise_are_one() {
    let engine = &*engines()[0];
    let sure = report(engine, None, &settings(&["pgd:eot=10"]));
    assert_eq!((sure.samples, sure.attacks[0].attack.draws), (1, 1));
    let random = report(engine, Some(0.1), &settings(&["pgd:eot=10,restarts=2"]));
    let row = &random.attacks[1].attack;
    assert_eq!((random.samples, row.draws, row.restarts, row.steps), (8, 10, 2, 20));
    let json = serde_json::to_value(&random).unwrap();
    assert_eq!(json["clean"]["accuracy"], 100.0);
    assert_eq!(json["attacks"][1]["attack"], "pgd");
    assert_eq!(json["attacks"][1]["eps"], 0.05);
}

#[test]
fn settings_and_labels_that_make_no_sense_are_refused() {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: None };
    let error = |dataset: &Dataset, settings: &EvalSettings| {
        let compile = |purpose, batch| model.compile(purpose, batch);
        let network = Network { compile: &compile, state: identity(engine) };
        let subject = Subject { dataset, foreign: None, notes: None };
        evaluate(engine, network, BTreeMap::new(), subject, settings, &mut |_| {})
            .unwrap_err()
            .to_string()
    };
    let good = settings(&["pgd"]);
    let wide = EvalSettings { eps: vec![8.0], ..good.clone() };
    assert!(error(&dataset(N, 3), &wide).contains("radius 8 is not between 0 and 1"));
    assert!(
        error(&dataset(N, 3), &EvalSettings { samples: 0, ..good.clone() }).contains("samples")
    );
    let endless = EvalSettings { samples: u64::MAX, seeds: u64::MAX, ..good.clone() };
    assert!(error(&dataset(N, 3), &endless).contains("at most 100000"));
    assert!(error(&dataset(N, 4), &good).contains("the model has 3 classes"));
    let wrong = Dataset::new([1, 3, 3], vec![0; 9], vec![0], Vec::new()).unwrap();
    assert!(error(&wrong, &good).contains("the images are 1x3x3"));
}

#[test]
fn what_is_measured_belongs_together() {
    let engine = &*engines()[0];
    let report = report(engine, Some(0.8), &settings(&["pgd:steps=3,eot=2"]));
    assert_eq!(report.schema, SCHEMA);
    for measured in [&report.clean, &report.attacks[1].measured] {
        assert_eq!(measured.accuracy, measured.uncertainty.accuracy);
        let [low, high] = measured.interval;
        assert!(low <= measured.accuracy + 1e-9 && measured.accuracy <= high + 1e-9);
        let counts: Vec<u64> = measured.by_samples.iter().map(|row| row.samples).collect();
        assert_eq!(counts, [1, 2, 5, 8]);
        assert_eq!(measured.by_samples[3].uncertainty, measured.uncertainty);
        let spread = measured.spread.as_ref().unwrap();
        assert!(spread.seeds == 3 && spread.min <= spread.mean && spread.mean <= spread.max);
        assert_eq!(measured.reliability.iter().map(|bin| bin.count).sum::<usize>(), N);
    }
    // Radius 0 leaves the images as they are, and the judge's draws are the same.
    assert_eq!(report.attacks[0].measured, report.clean);
    assert_eq!(report.attacks[0].auroc.unwrap().predictive_entropy, 0.5);
    let worst = &report.worst[1];
    assert!(worst.eps == 0.05 && worst.accuracy <= report.attacks[1].measured.accuracy);
    let foreign = report.ood.unwrap();
    let sum = foreign.expected_entropy + foreign.mutual_information;
    assert!((foreign.images, (sum - foreign.predictive_entropy).abs() < 1e-9) == (6, true));
}

/// The figures under an attack are of all images after all attacks so far, though it was tried
/// on some of them or on none.
#[test]
fn every_figure_of_a_cumulative_evaluation_is_of_all_images() {
    let engine = &*engines()[0];
    let attacks = ["noise", "fgsm", "pgd:steps=3,eot=2", "pgd:steps=20"];
    let settings = EvalSettings { eps: vec![0.2, 1.0], cumulative: true, ..settings(&attacks) };
    let report = report(engine, Some(0.5), &settings);
    for eps in [0.2, 1.0] {
        let mut left = (report.clean.accuracy * N as f64 / 100.0).round() as usize;
        let mut before = &report.clean;
        for row in report.attacks.iter().filter(|row| row.attack.eps == eps) {
            let measured = &row.measured;
            assert_eq!(row.tried, left);
            left = (measured.accuracy * N as f64 / 100.0).round() as usize;
            assert_eq!(measured.accuracy, measured.uncertainty.accuracy);
            assert_eq!(measured.interval, crate::uncertainty::wilson(left, N));
            assert_eq!(measured.reliability.iter().map(|bin| bin.count).sum::<usize>(), N);
            assert!(
                measured.uncertainty.nll >= before.uncertainty.nll - 0.05 && row.auroc.is_some()
            );
            if row.tried == 0 {
                assert_eq!(measured, before);
            }
            before = measured;
        }
        let worst = report.worst.iter().find(|worst| worst.eps == eps).unwrap();
        assert_eq!((worst.accuracy, worst.attacks), (before.accuracy, attacks.len()));
    }
    assert_eq!((report.attacks.len(), report.attacks[7].tried), (8, 0));
}

#[test]
fn probes_are_of_the_first_images_and_checks_are_made_of_them() {
    let engine = &*engines()[0];
    let mut probing = Budget::Quick.probing(Norm::Linf, 0.05, &[]).unwrap();
    probing.images = 4;
    // The linear classifier has no program for it.
    let known = |spec: &AttackSpec| spec.method() != Method::ApgdDlr;
    probing.runs.retain(|(spec, _)| known(spec));
    let settings = EvalSettings {
        attacks: Budget::Quick.attacks().unwrap().into_iter().filter(known).collect(),
        eps: vec![0.05],
        probing: Some(probing),
        ..settings(&[])
    };
    let report = report(engine, Some(0.1), &settings);
    let probes = report.probes.unwrap();
    assert_eq!((probes.images, probes.eps), (4, 0.05));
    assert!(probes.rows.len() > 12);
    assert_eq!(report.checks.len(), 15);
    let idle: Vec<&Check> =
        report.checks.iter().filter(|check| check.verdict == Verdict::NotRun).collect();
    let lacking = [
        "another loss is no stronger than cross-entropy",
        "successes hold on fresh draws",
        "very many steps find no more",
    ];
    assert!(idle.iter().all(|check| lacking.contains(&check.check.as_str())), "{idle:?}");
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
