//! Attacks that were asked for twice.

use super::*;

#[test]
fn an_attack_that_is_asked_for_twice_is_run_and_counted_once() {
    let engine = &*engines()[0];
    let attacks = ["pgd", "fgsm", "pgd", "pgd:steps=20"];
    let settings = EvalSettings { eps: vec![0.05, 0.1, 0.05], ..settings(&attacks) };
    let report = report(engine, Some(0.5), &settings);
    let rows: Vec<(&str, f64)> =
        report.attacks.iter().map(|row| (row.attack.spec.text(), row.attack.eps)).collect();
    assert_eq!(rows, [("pgd", 0.05), ("pgd", 0.1), ("fgsm", 0.05), ("fgsm", 0.1)]);
    assert_eq!(report.worst.iter().map(|worst| worst.attacks).collect::<Vec<_>>(), [2, 2]);
}

/// A probe that does what the attack that is shown does adds none of its own.
#[test]
fn images_are_pictured_once() {
    let engine = &*engines()[0];
    let attacks = ["fgsm", "pgd:steps=3,eot=2"];
    let runs = vec![(attacks[1].parse().unwrap(), 0.25)];
    let probing = Probing { images: N, norm: Norm::Linf, eps: 0.25, runs };
    let settings = EvalSettings { eps: vec![0.25], cumulative: true, ..settings(&attacks) };
    let of = |probing| {
        let settings = EvalSettings { probing, ..settings.clone() };
        evaluated(engine, Some(0.5), &settings, None).unwrap()
    };
    let (alone, probed) = (of(None), of(Some(probing)));
    assert_eq!(alone.report.shown, Some(1));
    assert!(!alone.pictures.is_empty() && alone.pictures.len() < crate::evaluate::plan::PICTURED);
    assert_eq!(probed.pictures, alone.pictures);
}
