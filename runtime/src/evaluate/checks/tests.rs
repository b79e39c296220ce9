//! Each check on evidence that it has to pass, and on evidence that it has to warn of.

use super::*;

fn row(method: Method, draws: u64, steps: u64, accuracy: f64) -> Row {
    let (restarts, random_start) = (1, method == Method::Noise);
    Row { method, eps: 0.1, steps, draws, restarts, random_start, accuracy, unmoved: 0.0 }
}

/// What a sound evaluation of a model with noise finds.
fn sound() -> Evidence {
    let pgd = |draws, accuracy| row(Method::Pgd, draws, 20, accuracy);
    let at = |eps, accuracy| Row { eps, ..pgd(20, accuracy) };
    let again = Row { restarts: 2, random_start: true, ..pgd(20, 40.0) };
    Evidence {
        eps: 0.1,
        rows: vec![
            pgd(1, 48.0),
            pgd(5, 43.0),
            pgd(10, 41.0),
            pgd(20, 40.5),
            pgd(40, 40.0),
            row(Method::Pgd, 20, 5, 45.0),
            row(Method::Pgd, 20, 40, 40.0),
            again,
            at(0.05, 60.0),
            at(0.2, 10.0),
            at(0.5, 0.0),
            row(Method::Fgsm, 20, 1, 46.0),
            row(Method::Noise, 1, 0, 78.0),
            row(Method::FixedNoise, 1, 20, 47.0),
            row(Method::MeanWeight, 1, 20, 44.0),
            row(Method::ApgdDlr, 10, 20, 40.0),
            row(Method::Square, 10, 500, 55.0),
            row(Method::Pgd, 1, 1000, 41.0),
        ],
        clean: 80.0,
        random: true,
        chance: 11.0,
        farthest: Some(1.0),
        repeated: Some(97.0),
    }
}

fn verdicts(evidence: &Evidence) -> Vec<Verdict> {
    all(evidence).into_iter().map(|check| check.verdict).collect()
}

/// The names of the checks that warn after a change of the sound evidence.
fn warnings(change: impl FnOnce(&mut Evidence)) -> Vec<String> {
    let mut evidence = sound();
    change(&mut evidence);
    let warn = |check: &Check| check.verdict == Verdict::Warn;
    all(&evidence).into_iter().filter(warn).map(|check| check.check).collect()
}

/// Sets the accuracy of the rows of a method, of those draws and steps.
fn set(evidence: &mut Evidence, method: Method, draws: u64, steps: u64, accuracy: f64) {
    let same = |row: &&mut Row| (row.method, row.draws, row.steps) == (method, draws, steps);
    let rows = evidence.rows.iter_mut().filter(same).filter(|row| row.eps == 0.1);
    rows.for_each(|row| row.accuracy = accuracy);
}

#[test]
fn a_sound_evaluation_passes_everything() {
    let found = all(&sound());
    assert!(found.iter().all(|check| check.verdict == Verdict::Pass), "{found:#?}");
}

#[test]
fn each_defect_is_named() {
    let name = "more draws cost no more accuracy";
    assert_eq!(warnings(|e| set(e, Method::Pgd, 40, 20, 38.0)), [name]);
    let name = "twice the steps change little";
    assert_eq!(warnings(|e| set(e, Method::Pgd, 20, 40, 39.0)), [name]);
    let name = "very many steps find no more";
    assert_eq!(warnings(|e| set(e, Method::Pgd, 1, 1000, 38.5)), [name]);
    let again = |e: &mut Evidence| e.rows[7].accuracy = 39.0;
    assert_eq!(warnings(again), ["more restarts change little"]);
    let name = "one step is weaker than many";
    assert_eq!(warnings(|e| set(e, Method::Fgsm, 20, 1, 30.0)), [name]);
    let name = "random points are weaker than the gradient";
    assert_eq!(warnings(|e| set(e, Method::Noise, 1, 0, 30.0)), [name]);
    let name = "one frozen draw is weaker than fresh ones";
    assert_eq!(warnings(|e| set(e, Method::FixedNoise, 1, 20, 30.0)), [name]);
    let name = "the mean weights are weaker than draws";
    assert_eq!(warnings(|e| set(e, Method::MeanWeight, 1, 20, 30.0)), [name]);
    let name = "another loss is no stronger than cross-entropy";
    assert_eq!(warnings(|e| set(e, Method::ApgdDlr, 10, 20, 30.0)), [name]);
    let name = "attacks without its gradient are weaker";
    assert_eq!(warnings(|e| set(e, Method::Square, 10, 500, 30.0)), [name]);
    let farther = |e: &mut Evidence| e.rows[9].accuracy = 50.0;
    assert_eq!(warnings(farther), ["accuracy falls as the radius grows"]);
    let left = |e: &mut Evidence| e.rows[10].accuracy = 12.0;
    assert_eq!(
        warnings(left),
        ["accuracy falls as the radius grows", "no accuracy is left at radius 0.5"]
    );
    let unmoved = |e: &mut Evidence| e.rows[3].unmoved = 30.0;
    assert_eq!(warnings(unmoved), ["the gradient is nowhere zero"]);
    let outside = |e: &mut Evidence| e.farthest = Some(1.1);
    assert_eq!(warnings(outside), ["attacked images are in the ball and in [0, 1]"]);
    let lucky = |e: &mut Evidence| e.repeated = Some(60.0);
    assert_eq!(warnings(lucky), ["successes hold on fresh draws"]);
}

#[test]
fn a_point_is_within_the_tolerance() {
    assert_eq!(warnings(|e| set(e, Method::Pgd, 40, 20, 39.5)), [""; 0]);
    assert_eq!(warnings(|e| set(e, Method::Fgsm, 20, 1, 39.0)), [""; 0]);
}

#[test]
fn what_was_not_measured_is_not_run() {
    let nothing = Evidence { rows: Vec::new(), farthest: None, repeated: None, ..sound() };
    assert!(verdicts(&nothing).iter().all(|verdict| *verdict == Verdict::NotRun));
    let one = Evidence { rows: vec![row(Method::Pgd, 1, 20, 40.0)], ..sound() };
    let passed = all(&one).into_iter().filter(|check| check.verdict == Verdict::Pass);
    assert_eq!(passed.count(), 3, "the gradient, the ball, fresh draws");
    let noiseless = all(&Evidence { random: false, ..sound() });
    let idle = noiseless.iter().filter(|check| check.verdict == Verdict::NotRun);
    assert!(idle.clone().all(|check| check.detail.contains("no noise")));
    assert_eq!(idle.count(), 4);
}

#[test]
fn figures_are_in_the_detail() {
    let detail = |place: usize| all(&sound())[place].detail.clone();
    assert_eq!(
        detail(0),
        "48.0 / 43.0 / 41.0 / 40.5 / 40.0 % at 1 / 5 / 10 / 20 / 40 draws a step; the last step \
         costs 0.5 points"
    );
    assert_eq!(detail(2), "41.0 % after 1000 steps of one draw, 40.0 % at least after fewer");
    assert_eq!(detail(4), "FGSM leaves 46.0 %, PGD 40.0 %");
}
