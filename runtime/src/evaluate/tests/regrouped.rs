//! Images that are judged, and attacked, in other batches.

use super::*;

/// The weights of so much noise that many images lie beside a boundary.
const NOISY: Option<f32> = Some(6.0);

/// What remains of some images is regrouped for the next attack.
#[test]
fn what_an_attack_does_not_move_is_judged_as_before_whatever_is_beside_it() {
    let engine = &*engines()[0];
    let settings = EvalSettings {
        eps: vec![1e-30],
        cumulative: true,
        batch: 3,
        ..settings(&["noise", "noise:restarts=2", "fgsm", "noise:restarts=3"])
    };
    for seed in 0..8 {
        let report = report(engine, NOISY, &EvalSettings { seed, ..settings.clone() });
        let clean = report.clean.accuracy;
        let accuracies: Vec<f64> = report.attacks.iter().map(|r| r.measured.accuracy).collect();
        assert_eq!(accuracies, [clean; 4], "seed {seed}");
        assert_eq!(report.worst[0].accuracy, clean);
    }
}

#[test]
fn the_worst_case_is_the_same_whether_all_images_are_attacked_or_what_is_left() {
    let engine = &*engines()[0];
    let attacks = ["noise", "fgsm:eot=2", "pgd:steps=3,eot=2,restarts=2", "square:queries=9"];
    for seed in 0..4 {
        let whole = EvalSettings { eps: vec![0.02, 0.2], batch: 3, seed, ..settings(&attacks) };
        let rest = EvalSettings { cumulative: true, ..whole.clone() };
        let [whole, rest] = [whole, rest].map(|settings| report(engine, NOISY, &settings));
        let worst = |report: &Report| -> Vec<(f64, f64)> {
            report.worst.iter().map(|worst| (worst.eps, worst.accuracy)).collect()
        };
        assert_eq!(worst(&rest), worst(&whole), "seed {seed}");
        assert!(rest.attacks.iter().any(|row| row.tried < N), "seed {seed}");
    }
}

#[test]
fn figures_do_not_depend_on_the_batch() {
    let engine = &*engines()[0];
    let of = |batch| {
        let settings = EvalSettings { batch, ..settings(&["pgd:steps=3,eot=2", "fixed-noise"]) };
        report(engine, Some(0.8), &settings)
    };
    let (small, large) = (of(3), of(N));
    let figures = |report: &Report| {
        let attacked = report.attacks.iter().map(|row| &row.measured);
        let all = [&report.clean].into_iter().chain(attacked);
        all.map(|m| (m.accuracy, m.spread.clone(), m.uncertainty.nll)).collect::<Vec<_>>()
    };
    for (small, large) in figures(&small).into_iter().zip(figures(&large)) {
        assert_eq!((small.0, &small.1), (large.0, &large.1));
        assert!((small.2 - large.2).abs() < 1e-5, "{} {}", small.2, large.2);
    }
}
