//! Each check on evidence that it has to pass, and on evidence that it has to warn of.
#![allow(clippy::unwrap_used)]

use super::super::attack::Attack;
use super::*;
use crate::attack::AttackSpec;

fn row(spec: &str, accuracy: f64) -> Probe {
    let spec: AttackSpec = spec.parse().unwrap();
    Probe { attack: Attack::new(&spec, 0.1, spec.draws()), accuracy, unmoved: 0.0 }
}

/// What a sound evaluation of a model with noise finds.
fn sound() -> Evidence {
    let at = |eps, accuracy| {
        let spec: AttackSpec = "pgd:eot=20".parse().unwrap();
        Probe { attack: Attack::new(&spec, eps, 20), ..row("pgd", accuracy) }
    };
    Evidence {
        norm: Norm::Linf,
        eps: 0.1,
        rows: vec![
            row("pgd", 48.0),
            row("pgd:eot=5", 43.0),
            row("pgd:eot=10", 41.0),
            row("pgd:eot=20", 40.5),
            row("pgd:eot=40", 40.0),
            row("pgd:eot=20,steps=5", 45.0),
            row("pgd:eot=20,steps=40", 40.0),
            row("pgd:eot=20,restarts=2", 40.0),
            at(0.05, 60.0),
            at(0.2, 10.0),
            at(0.5, 0.0),
            row("fgsm:eot=20", 46.0),
            row("noise", 78.0),
            row("fixed-noise", 47.0),
            row("mean-weight", 44.0),
            row("apgd-dlr:steps=20,eot=10", 40.0),
            row("square:queries=500,eot=10", 55.0),
            row("pgd:steps=1000", 41.0),
        ],
        clean: 80.0,
        random: true,
        chance: 11.0,
        farthest: Some(1.0),
        outside: 0,
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

/// Sets the accuracy of the row of a spec.
fn set(evidence: &mut Evidence, spec: &str, accuracy: f64) {
    let mut rows = evidence.rows.iter_mut().filter(|row| row.attack.eps == 0.1);
    rows.find(|row| row.attack.spec.text() == spec).unwrap().accuracy = accuracy;
}

#[test]
fn a_sound_evaluation_passes_everything() {
    let found = all(&sound());
    assert!(found.iter().all(|check| check.verdict == Verdict::Pass), "{found:#?}");
}

#[test]
fn each_defect_is_named() {
    let name = "more draws cost no more accuracy";
    assert_eq!(warnings(|e| set(e, "pgd:eot=40", 38.0)), [name]);
    let name = "twice the steps change little";
    assert_eq!(warnings(|e| set(e, "pgd:eot=20,steps=40", 39.0)), [name]);
    let name = "very many steps find no more";
    assert_eq!(warnings(|e| set(e, "pgd:steps=1000", 38.5)), [name]);
    let again = |e: &mut Evidence| e.rows[7].accuracy = 39.0;
    assert_eq!(warnings(again), ["more restarts change little"]);
    let name = "one step is weaker than many";
    assert_eq!(warnings(|e| set(e, "fgsm:eot=20", 30.0)), [name]);
    let name = "random points are weaker than the gradient";
    assert_eq!(warnings(|e| set(e, "noise", 30.0)), [name]);
    let name = "one frozen draw is weaker than fresh ones";
    assert_eq!(warnings(|e| set(e, "fixed-noise", 30.0)), [name]);
    let name = "the mean weights are weaker than draws";
    assert_eq!(warnings(|e| set(e, "mean-weight", 30.0)), [name]);
    let name = "another loss is no stronger than cross-entropy";
    assert_eq!(warnings(|e| set(e, "apgd-dlr:steps=20,eot=10", 30.0)), [name]);
    let name = "attacks without its gradient are weaker";
    assert_eq!(warnings(|e| set(e, "square:queries=500,eot=10", 30.0)), [name]);
    let farther = |e: &mut Evidence| e.rows[9].accuracy = 50.0;
    assert_eq!(warnings(farther), ["accuracy falls as the radius grows"]);
    let left = |e: &mut Evidence| e.rows[10].accuracy = 12.0;
    assert_eq!(
        warnings(left),
        ["accuracy falls as the radius grows", "no accuracy is left at radius 0.5"]
    );
    let unmoved = |e: &mut Evidence| e.rows[3].unmoved = 30.0;
    assert_eq!(warnings(unmoved), ["the gradient is nowhere zero"]);
    let outside = |e: &mut Evidence| e.outside = 1;
    assert_eq!(warnings(outside), ["attacked images are in the ball and in [0, 1]"]);
    let lucky = |e: &mut Evidence| e.repeated = Some(60.0);
    assert_eq!(warnings(lucky), ["successes hold on fresh draws"]);
}

#[test]
fn a_point_is_within_the_tolerance() {
    assert_eq!(warnings(|e| set(e, "pgd:eot=40", 39.5)), [""; 0]);
    assert_eq!(warnings(|e| set(e, "fgsm:eot=20", 39.0)), [""; 0]);
}

#[test]
fn what_was_not_measured_is_not_run() {
    let nothing = Evidence { rows: Vec::new(), farthest: None, repeated: None, ..sound() };
    assert!(verdicts(&nothing).iter().all(|verdict| *verdict == Verdict::NotRun));
    let one = Evidence { rows: vec![row("pgd", 40.0)], ..sound() };
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
    assert_eq!(detail(4), "FGSM leaves 46.0 %; EOT-pgd-20, 40 draws leaves 40.0 %");
    let mut evidence = sound();
    evidence.rows.push(row("apgd-ce:steps=10,eot=10", 39.5));
    let compared = all(&evidence)[4].detail.clone();
    assert_eq!(compared, "FGSM leaves 46.0 %; EOT-apgd-ce-10, 10 draws leaves 39.5 %");
}

/// Without restarts, the reference is an attack whose doubling is there.
#[test]
fn twice_the_steps_are_compared_where_both_are_measured() {
    let of = |rows: &[(&str, f64)]| {
        let rows = rows.iter().map(|(spec, accuracy)| row(spec, *accuracy)).collect();
        let checks = all(&Evidence { rows, ..sound() });
        (checks[1].verdict, checks[1].detail.clone(), checks[0].verdict)
    };
    let (verdict, detail, _) = of(&[("pgd:eot=20", 41.0), ("pgd:eot=20,steps=40", 40.5)]);
    assert_eq!((verdict, &*detail), (Verdict::Pass, "41.0 % after 20 steps, 40.5 % after 40"));
    let (verdict, ..) = of(&[("pgd:eot=20", 41.0), ("pgd:eot=20,steps=40", 39.5)]);
    assert_eq!(verdict, Verdict::Warn);
    let more = [("pgd:eot=20", 41.0), ("pgd:eot=20,steps=40", 40.5), ("pgd:eot=40", 40.4)];
    let (verdict, _, sweep) = of(&more);
    assert_eq!((verdict, sweep), (Verdict::Pass, Verdict::Pass));
    let (verdict, ..) = of(&[("pgd:eot=20", 41.0), ("pgd:eot=20,steps=30", 40.5)]);
    assert_eq!(verdict, Verdict::NotRun);
}

/// Attacks that differ in more than the number in question say nothing of it.
#[test]
fn sweeps_are_of_attacks_that_differ_in_one_number() {
    let found = all(&sound());
    for (spec, accuracy) in [
        ("pgd:eot=80,step=0.0001", 20.0),
        ("pgd:eot=80,momentum=0.5", 20.0),
        ("pgd:eot=80,random-start", 20.0),
        ("pgd:eot=20,steps=40,step=0.0001", 20.0),
        ("pgd:eot=20,steps=40,random-start", 20.0),
        ("pgd:steps=2000,momentum=0.5", 70.0),
        ("pgd:eot=20,restarts=3,momentum=0.5", 20.0),
    ] {
        let mut evidence = sound();
        // Before the rows that it is not to be taken for.
        evidence.rows.insert(0, row(spec, accuracy));
        let changed = all(&evidence);
        let efforts = found.iter().zip(&changed).take(4);
        assert!(efforts.clone().all(|(before, after)| before == after), "{spec}: {changed:#?}");
    }
    let asked_twice = |e: &mut Evidence| e.rows.push(row("pgd:steps=20,eot=40", 40.0));
    assert_eq!(warnings(asked_twice), [""; 0]);
    let mut evidence = sound();
    asked_twice(&mut evidence);
    assert_eq!(all(&evidence), found);
}

#[test]
fn attacks_of_another_norm_are_checked_too() {
    let mut evidence = sound();
    evidence.norm = Norm::L2;
    let of_linf = |row: &Probe| row.attack.eps < 0.5 && row.attack.attack != "square";
    evidence.rows.retain(of_linf);
    for row in &mut evidence.rows {
        let text = row.attack.spec.text();
        let between = if text.contains(':') { ',' } else { ':' };
        let spec: AttackSpec = format!("{text}{between}norm=l2").parse().unwrap();
        row.attack = Attack::new(&spec, row.attack.eps, row.attack.draws);
    }
    let idle: Vec<Check> =
        all(&evidence).into_iter().filter(|check| check.verdict != Verdict::Pass).collect();
    let names: Vec<&str> = idle.iter().map(|check| check.check.as_str()).collect();
    assert_eq!(
        names,
        ["no accuracy is left at radius 0.5", "attacks without its gradient are weaker"]
    );
    assert!(idle.iter().all(|check| check.verdict == Verdict::NotRun));
    assert!(idle[0].detail.contains("L2") && idle[1].detail.contains("Square"), "{idle:?}");
}
