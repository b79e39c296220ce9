//! Attacks on a linear classifier, whose worst case is known in closed form.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::tests::engines;
use crate::linear::{Linear, dataset, weight};
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
    let mut sessions = Sessions::new(engine, &compile);
    let mut state = engine.state();
    state.put("weight", &weight(model.classes)["weight"]).unwrap();
    let (spec, mut draws) = (spec.parse().unwrap(), Draws::new(5, "attack", 0));
    let target = target();
    let images = strongest(&mut sessions, &mut state, &spec, eps, &target, &mut draws).unwrap();
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
        for spec in ["fgsm", "pgd", "pgd:random-start,steps=40", "pgd:restarts=3,steps=40"] {
            assert_near(&attacked(&*engine, model, spec, 0.1), &worst(0.1));
        }
    }
}

#[test]
fn draws_change_nothing_without_noise() {
    let model = Linear { classes: 3, std: None };
    for engine in engines() {
        let [one, ten] =
            ["pgd:steps=3", "pgd:steps=3,eot=10"].map(|spec| attacked(&*engine, model, spec, 0.1));
        assert_eq!(one, ten);
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
