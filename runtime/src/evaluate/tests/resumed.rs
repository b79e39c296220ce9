//! Evaluations that go on.

use super::*;

#[test]
fn an_evaluation_that_was_stopped_ends_as_one_that_was_not() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let settings = settings(&["pgd:steps=3,eot=2", "noise"]);
    let whole = report(engine, Some(0.5), &settings);
    let notes = |resume| Some(Notes { path: &path, about: "this", resume });
    let noted = evaluated(engine, Some(0.5), &settings, notes(false)).unwrap();
    assert_eq!(noted.report, whole);
    let lines = std::fs::read_to_string(&path).unwrap();
    let kept: Vec<&str> = lines.lines().take(6).collect();
    std::fs::write(&path, format!("{}\n{{\"key\": \"cut", kept.join("\n"))).unwrap();
    let resumed = evaluated(engine, Some(0.5), &settings, notes(true)).unwrap();
    assert_eq!((&resumed.report, &resumed.pictures), (&whole, &noted.pictures));
    assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), lines.lines().count());
    let more = EvalSettings { seed: 4, ..settings };
    assert!(evaluated(engine, Some(0.5), &more, notes(true)).is_err());
}

/// A batch of the images that are left may begin and count as one of the first images does.
#[test]
fn a_resumed_cumulative_evaluation_keeps_its_probes_and_its_batches_apart() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let attacks = ["fgsm", "pgd:steps=3,eot=2"];
    let runs = vec![(attacks[1].parse().unwrap(), 0.25)];
    let probing = Probing { images: 4, norm: Norm::Linf, eps: 0.25, runs };
    let settings = EvalSettings {
        eps: vec![0.25],
        cumulative: true,
        probing: Some(probing),
        ..settings(&attacks)
    };
    let notes = |resume| Some(Notes { path: &path, about: "this", resume });
    let noted = evaluated(engine, Some(0.5), &settings, notes(false)).unwrap();
    let left = noted.report.attacks[1].measured.accuracy;
    let resumed = evaluated(engine, Some(0.5), &settings, notes(true)).unwrap();
    assert!(left > 0.0 && left < 100.0, "{left}");
    assert_eq!(resumed.report, noted.report);
}

/// The attack that is shown may be another than the one that was when ranges were noted.
#[test]
fn pictures_that_were_not_noted_are_made() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let [both, one] = [&["fgsm", "pgd:steps=3,eot=2"][..], &["fgsm"]]
        .map(|attacks| EvalSettings { eps: vec![0.1], ..settings(attacks) });
    let notes = |resume| Some(Notes { path: &path, about: "this", resume });
    evaluated(engine, Some(0.5), &both, notes(false)).unwrap();
    let fresh = evaluated(engine, Some(0.5), &one, None).unwrap();
    assert!(!fresh.pictures.is_empty());
    for _ in 0..2 {
        let resumed = evaluated(engine, Some(0.5), &one, notes(true)).unwrap();
        assert_eq!((&resumed.report, &resumed.pictures), (&fresh.report, &fresh.pictures));
    }
}

/// tract is given a part of the batch for each thread.
#[test]
fn an_evaluation_goes_on_with_another_number_of_threads() {
    use crate::engine::{Choice, Settings, open};
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("progress.jsonl");
    let settings = settings(&["pgd:steps=3,eot=2"]);
    let mut reports = Vec::new();
    for (threads, resume) in [(1, false), (3, true), (2, true)] {
        let engine =
            Settings { engine: Choice::Tract, threads: Some(threads), ..Settings::default() };
        let notes = Some(Notes { path: &path, about: "this", resume });
        let engine = open(&engine).unwrap();
        reports.push(evaluated(&*engine, Some(0.5), &settings, notes).unwrap().report);
    }
    assert!(reports.windows(2).all(|pair| pair[0] == pair[1]));
}
