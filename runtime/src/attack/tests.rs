//! Attacks on a linear classifier, whose worst case is known in closed form.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::tests::engines;
use crate::linear::{Linear, dataset, weight};
use crate::network::{Network, Running};
use crate::target::Form;

const N: usize = 6;

fn target() -> Target {
    let dataset = dataset(N, 2);
    let form = Form::new(&[N, 1, 2, 2], &dataset).unwrap();
    form.target(dataset.batches(N).next().unwrap()).unwrap()
}

/// The images after `spec` at `eps`.
fn attacked(engine: &dyn crate::engine::Engine, model: Linear, spec: &str, eps: f64) -> Vec<f32> {
    let compile = |purpose, batch| model.compile(purpose, batch);
    let mut state = engine.state();
    state.put("weight", &weight(model.classes)["weight"]).unwrap();
    let network = Network { compile: &compile, state };
    let mut network = Running::new(engine, network, &dataset(N, 2), N).unwrap();
    let (spec, draws) = (spec.parse().unwrap(), Draws::new(5, "attack", 0));
    let images = strongest(&mut network, &spec, eps, &target(), draws).unwrap();
    images.values::<f32>().unwrap().into_owned()
}

/// Every pixel as far as allowed along the difference of the two classes' weights.
fn worst(eps: f32) -> Vec<f32> {
    let (target, weight) = (target(), weight(2));
    let weight = weight["weight"].values::<f32>().unwrap().into_owned();
    let labels = target.labels.values::<i64>().unwrap().into_owned();
    let clean = target.clean.values::<f32>().unwrap().into_owned();
    let pixel = |(i, clean): (usize, f32)| {
        let difference = weight[i % 4 * 2 + 1] - weight[i % 4 * 2];
        let away = if labels[i / 4] == 0 { difference } else { -difference };
        (clean + eps * away.signum()).clamp(0.0, 1.0)
    };
    clean.into_iter().enumerate().map(pixel).collect()
}

fn assert_near(found: &[f32], expected: &[f32]) {
    assert_eq!(found.len(), expected.len());
    for (found, expected) in found.iter().zip(expected) {
        assert!((found - expected).abs() < 1e-6, "{found} {expected}");
    }
}

#[test]
fn every_attack_reaches_the_worst_case_of_a_linear_classifier() {
    let model = Linear { classes: 2, std: None };
    for engine in engines() {
        for spec in [
            "fgsm",
            "pgd",
            "pgd:random-start,steps=40",
            "pgd:restarts=3,steps=40",
            "pgd:momentum=0.25,steps=40",
            "fixed-noise",
            "mean-weight",
        ] {
            assert_near(&attacked(&*engine, model, spec, 0.1), &worst(0.1));
        }
        // So little noise changes nothing, but an attack then does not stop at the first
        // image that is misclassified.
        let model = Linear { std: Some(1e-9), ..model };
        for spec in ["apgd-ce:steps=20", "apgd-ce:steps=20,restarts=2", "square:queries=400"] {
            assert_near(&attacked(&*engine, model, spec, 0.1), &worst(0.1));
        }
    }
}

/// Under L2 the worst case is `eps` along the difference of the two classes' weights, where
/// that stays in [0, 1].
#[test]
fn l2_attacks_reach_the_worst_case_of_a_linear_classifier() {
    const EPS: f32 = 0.2;
    let (target, values) = (target(), weight(2));
    let values = values["weight"].values::<f32>().unwrap().into_owned();
    let difference: Vec<f32> = values.chunks(2).map(|pair| pair[1] - pair[0]).collect();
    let length = difference.iter().map(|d| d * d).sum::<f32>().sqrt();
    let clean = target.clean.values::<f32>().unwrap().into_owned();
    let labels = target.labels.values::<i64>().unwrap().into_owned();
    let image = |(row, &label): (&[f32], &i64)| -> Vec<f32> {
        let away = if label == 0 { EPS / length } else { -EPS / length };
        row.iter().zip(&difference).map(|(clean, d)| clean + away * d).collect()
    };
    let expected: Vec<Vec<f32>> = clean.chunks(4).zip(&labels).map(image).collect();
    let inside = |image: &Vec<f32>| image.iter().all(|pixel| (0.0..=1.0).contains(pixel));
    assert!(expected.iter().filter(|image| inside(image)).count() >= 2);
    let model = Linear { classes: 2, std: Some(1e-9) };
    for engine in engines() {
        for spec in [
            "fgsm:norm=l2",
            "pgd:norm=l2",
            "pgd:norm=l2,momentum=0.25,restarts=2,steps=40,step=0.5eps",
            "apgd-ce:norm=l2",
        ] {
            let found = attacked(&*engine, model, spec, f64::from(EPS));
            for (found, expected) in found.chunks(4).zip(&expected).filter(|(_, e)| inside(e)) {
                for (found, expected) in found.iter().zip(expected) {
                    assert!((found - expected).abs() < 1e-3, "{spec}: {found} {expected}");
                }
            }
        }
    }
}

#[test]
fn a_fixed_draw_is_seen_again_and_the_mean_is_none() {
    let key = |draws: &mut Draws| {
        let mut numbers = [0f32; 8];
        draws.draw().fill(7, &mut numbers);
        numbers
    };
    let fresh = Draws::new(1, "attack", 0);
    let mut frozen = fresh.clone().of(crate::draws::Kind::Frozen(2));
    let seen: Vec<[f32; 8]> = (0..5).map(|_| key(&mut frozen)).collect();
    assert!(seen[0] == seen[2] && seen[1] == seen[3] && seen[0] == seen[4] && seen[0] != seen[1]);
    assert_eq!(key(&mut fresh.clone().of(crate::draws::Kind::Mean)), [0.0; 8]);
    assert_eq!(key(&mut { fresh }), seen[0]);
}

/// The mean of noisy weights is the classifier without noise.
#[test]
fn the_mean_weight_attack_is_the_attack_on_the_mean() {
    for engine in engines() {
        let random = Linear { classes: 2, std: Some(3.0) };
        let [mean, one] = ["mean-weight:steps=1,step=0.1", "pgd:steps=1,step=0.1"]
            .map(|spec| attacked(&*engine, random, spec, 0.1));
        assert_near(&mean, &worst(0.1));
        assert!(one != mean, "one draw misleads");
    }
}

/// The batch that an image is in decides neither its random start nor its result.
#[test]
fn restarts_do_not_depend_on_the_batch() {
    let model = Linear { classes: 3, std: None };
    let compile = |purpose, batch| model.compile(purpose, batch);
    for engine in engines() {
        let run = |rows: &[usize]| {
            let mut state = engine.state();
            state.put("weight", &weight(3)["weight"]).unwrap();
            let network = Network { compile: &compile, state };
            let mut network = Running::new(&*engine, network, &dataset(N, 3), N).unwrap();
            let target = target().rows(rows).unwrap();
            let (spec, draws) =
                ("apgd-ce:steps=3,restarts=3".parse().unwrap(), Draws::new(5, "a", 0));
            let images = strongest(&mut network, &spec, 0.02, &target, draws).unwrap();
            images.values::<f32>().unwrap().into_owned()
        };
        let all = run(&[0, 1, 2, 3, 4, 5]);
        assert_near(&run(&[4, 1]), &[&all[16..20], &all[4..8]].concat());
    }
}

#[test]
fn draws_change_nothing_without_noise() {
    let model = Linear { classes: 3, std: None };
    for engine in engines() {
        for method in ["pgd", "pgd:norm=l2", "apgd-ce", "fixed-noise"] {
            let colon = if method.contains(':') { ',' } else { ':' };
            let [one, ten] = ["steps=3", "steps=3,eot=10"]
                .map(|more| attacked(&*engine, model, &format!("{method}{colon}{more}"), 0.1));
            assert_eq!(one, ten, "{method}");
        }
    }
}

/// PGD on the host, one program a slope, is PGD in one program.
#[test]
fn both_ways_of_pgd_are_the_same() {
    let model = Linear { classes: 3, std: Some(0.3) };
    let compile = |purpose, batch| model.compile(purpose, batch);
    for engine in engines() {
        let mut state = engine.state();
        state.put("weight", &weight(3)["weight"]).unwrap();
        let network = Network { compile: &compile, state };
        let mut network = Running::new(&*engine, network, &dataset(N, 3), N).unwrap();
        let target = target();
        let clean = target.clean.values::<f32>().unwrap().into_owned();
        let mut draws = Draws::new(5, "attack", 0);
        let mut queries = queries::Queries { network: &mut network, draws: &mut draws, average: 3 };
        let ball = Ball { norm: Norm::Linf, eps: 0.1 };
        let stride = ball::Stride { size: 0.03, momentum: 0.0 };
        let host = ascent::Ascent { ball, steps: 6, stride };
        let found = host.run(&mut queries, &target, clean).unwrap();
        assert_near(&found, &attacked(&*engine, model, "pgd:steps=6,step=0.03,eot=3", 0.1));
    }
}

#[test]
fn many_draws_see_through_noise_that_misleads_one() {
    let model = Linear { classes: 2, std: Some(3.0) };
    for engine in engines() {
        let missed = |spec: &str| {
            let images = attacked(&*engine, model, spec, 0.1);
            images
                .iter()
                .zip(worst(0.1))
                .filter(|(found, worst)| (*found - worst).abs() > 1e-3)
                .count()
        };
        let [one, many] = ["pgd:steps=1,step=0.1", "pgd:steps=1,step=0.1,eot=400"].map(missed);
        assert!(many < one, "one draw missed {one} pixels, 400 draws {many}");
    }
}

#[test]
fn engines_agree_on_every_draw() {
    let model = Linear { classes: 3, std: Some(0.3) };
    let images: Vec<Vec<f32>> = engines()
        .iter()
        .map(|engine| attacked(&**engine, model, "pgd:steps=4,eot=3,restarts=2", 0.1))
        .collect();
    for other in &images {
        assert_near(other, &images[0]);
    }
    let noise = attacked(&*engines()[0], model, "noise", 0.1);
    assert!(noise != images[0], "random points are no attack");
}

#[test]
fn settings_that_make_no_sense_are_refused() {
    Pgd::default().check().unwrap();
    for bad in [
        Pgd { eps: -0.1, ..Pgd::default() },
        Pgd { eps: f64::NAN, ..Pgd::default() },
        Pgd { eps: 8.0, ..Pgd::default() },
        Pgd { steps: 0, ..Pgd::default() },
        Pgd { draws: 0, ..Pgd::default() },
        Pgd { step_size: 0.0, ..Pgd::default() },
    ] {
        assert!(bad.check().is_err(), "{bad:?}");
    }
}
