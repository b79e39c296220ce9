//! How far an evaluation says that it is.

use super::*;

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
        Subject { dataset: &dataset(N, 3), foreign: None, notes: None },
        &EvalSettings { eps: vec![0.1], ..settings(&["fgsm"]) },
        &mut |progress| seen.push(progress),
    )
    .unwrap();
    let counts: Vec<(Option<&str>, usize)> =
        seen.iter().map(|p| (p.attack.as_ref().map(|(spec, _)| spec.as_str()), p.done)).collect();
    let of = |attack| [4, 8, 10].map(|done| (attack, done));
    assert_eq!(counts, [of(None), of(Some("fgsm"))].concat());
    assert!(seen.windows(2).all(|pair| pair[0].share < pair[1].share));
    assert!((seen[5].share - 1.0).abs() < 1e-9);
}

/// Images that are not tried, and probes that the evaluation itself runs, are no work left over.
#[test]
fn progress_ends_when_all_is_done() {
    let engine = &*engines()[0];
    let model = Linear { classes: 3, std: None };
    let compile = |purpose, batch| model.compile(purpose, batch);
    let runs = ["pgd:eot=2", "pgd:eot=4", "fgsm"].map(|spec| (spec.parse().unwrap(), 0.3));
    let probing = Probing { images: 4, norm: Norm::Linf, eps: 0.3, runs: runs.into() };
    for cumulative in [true, false] {
        let probing = Some(probing.clone());
        let attacks = settings(&["pgd", "fgsm"]);
        let settings = EvalSettings { eps: vec![0.3, 1.0], cumulative, probing, ..attacks };
        let network = Network { compile: &compile, state: identity(engine) };
        let subject = Subject { dataset: &dataset(N, 3), foreign: None, notes: None };
        let mut share = 0.0;
        let mut see = |progress: Progress| {
            assert!(progress.share >= share);
            share = progress.share;
        };
        evaluate(engine, network, BTreeMap::new(), subject, &settings, &mut see).unwrap();
        assert!((share - 1.0).abs() < 1e-9, "{share}");
    }
}
