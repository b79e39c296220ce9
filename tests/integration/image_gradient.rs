//! The program behind every attack that steps on the host: its losses against their formulas,
//! its gradient against differences and against that of the attack program.

use graphs::{Model, Tensor, names};
use passes::{Architecture, AttackLoss, InitStd};

use crate::differences::{Point, Trial, gradient_of};
use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{IMAGE, convert, doubles, images, initial_state, noise};

const BATCH: usize = 3;
const CLASSES: usize = 5;
const LABELS: [i64; BATCH] = [0, 3, 4];
const TARGETS: [i64; BATCH] = [2, 1, 0];
const LOSSES: [AttackLoss; 3] =
    [AttackLoss::CrossEntropy, AttackLoss::Dlr, AttackLoss::TargetedDlr];

fn network(classes: usize) -> Model {
    let model = Architecture::SmallCnn.build(IMAGE, classes, 0.1, 7).expect("a network");
    convert(model, InitStd::Constant(0.1))
}

fn feeds(model: &Model) -> Values {
    let mut feeds = noise(model, 1);
    feeds.insert(names::IMAGES.into(), images(1, BATCH));
    feeds.insert(names::LABELS.into(), Tensor::vector(&LABELS));
    feeds.insert(names::TARGETS.into(), Tensor::vector(&TARGETS));
    feeds.retain(|name, _| model.graph.source(name).is_some());
    feeds
}

/// The loss of one image from its logits, as the papers write it.
fn by_hand(loss: AttackLoss, logits: &[f64], label: usize, target: usize) -> f64 {
    let mut sorted = logits.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    let others = logits.iter().enumerate().filter(|(class, _)| *class != label);
    let other = others.map(|(_, logit)| *logit).fold(f64::NEG_INFINITY, f64::max);
    match loss {
        AttackLoss::CrossEntropy => {
            logits.iter().map(|logit| (logit - logits[label]).exp()).sum::<f64>().ln()
        }
        AttackLoss::Dlr => -(logits[label] - other) / (sorted[0] - sorted[2]),
        AttackLoss::TargetedDlr => {
            -(logits[label] - logits[target]) / (sorted[0] - (sorted[2] + sorted[3]) / 2.0)
        }
    }
}

#[test]
fn losses_are_those_of_the_papers() {
    let model = network(CLASSES);
    for loss in LOSSES {
        let program = passes::image_gradient(&model, BATCH, loss).expect("a program");
        for engine in engines() {
            let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
            runner.put(&initial_state(&model, &[&program]));
            let outputs = runner.run(&feeds(&program.model)).expect("a run");
            let logits = doubles(&outputs[names::LOGITS]);
            let found = doubles(&outputs[names::LOSSES]);
            assert_eq!((logits.len(), found.len()), (BATCH * CLASSES, BATCH));
            let rows = logits.chunks(CLASSES).zip(LABELS.iter().zip(TARGETS));
            for (found, (row, (&label, target))) in found.iter().zip(rows) {
                let expected = by_hand(loss, row, label as usize, target as usize);
                assert!((found - expected).abs() < 1e-4, "{loss:?}: {found} {expected}");
            }
        }
    }
}

#[test]
fn the_gradient_is_that_of_the_sum_of_losses() {
    let model = network(CLASSES);
    for loss in LOSSES {
        let program = passes::image_gradient(&model, BATCH, loss).expect("a program");
        let mut all = feeds(&program.model);
        all.extend(initial_state(&model, &[&program]));
        let value = all.remove(names::IMAGES).expect("images");
        let mut model = program.model.clone();
        model.metadata.clear();
        for port in &mut model.graph.outputs {
            if port.name == names::GRADIENT {
                port.name = gradient_of(names::IMAGES);
            }
        }
        let points = vec![Point { name: names::IMAGES.into(), value, reach: 1e-3 }];
        let weights = vec![(names::LOSSES.to_owned(), vec![1.0; BATCH])];
        let mut trial = Trial { model, points, feeds: all, weights, kinks: true };
        for engine in engines() {
            let (error, _) = trial.error(engine.as_ref()).expect("a run");
            assert!(error < 2e-3, "{loss:?} on {}: {error}", engine.name());
        }
        trial.spoil(1.2);
        let (error, _) = trial.error(engines()[0].as_ref()).expect("a run");
        assert!(error > 1e-2, "{loss:?}: a wrong gradient goes unseen: {error}");
    }
}

#[test]
fn the_cross_entropy_has_the_gradient_of_the_attack_program() {
    let model = network(CLASSES);
    let slope = passes::image_gradient(&model, BATCH, AttackLoss::CrossEntropy).expect("a program");
    let attack = passes::attack(&model, BATCH).expect("a program");
    for engine in engines() {
        let mut asked = Runner::new(engine.as_ref(), &slope).expect("a session");
        asked.put(&initial_state(&model, &[&slope]));
        let outputs = asked.run(&feeds(&slope.model)).expect("a run");
        let mut stepped = Runner::new(engine.as_ref(), &attack).expect("a session");
        stepped.put(&initial_state(&model, &[&attack]));
        let zero = Tensor::full(images(1, BATCH).shape(), 0f32).expect("zeros");
        stepped.state.put(names::GRADIENT, &zero).expect("a gradient");
        let mut all = feeds(&attack.model);
        let start = all.remove(names::IMAGES).expect("images");
        stepped.state.put(names::IMAGES, &start).expect("images");
        all.insert(names::CLEAN.into(), start);
        for name in [names::KEEP, names::RADIUS, names::STEP_SIZE] {
            all.insert(name.into(), Tensor::scalar(0.1f32));
        }
        stepped.run(&all).expect("a run");
        let what = format!("gradient on {}", engine.name());
        assert_close(&outputs[names::GRADIENT], &stepped.held(names::GRADIENT), 1e-6, &what);
    }
}

#[test]
fn a_loss_that_needs_more_classes_says_so() {
    let error = |classes, loss| {
        passes::image_gradient(&network(classes), BATCH, loss).expect_err("too few").to_string()
    };
    assert!(error(2, AttackLoss::Dlr).contains("2 classes; the DLR loss needs three"));
    assert!(error(3, AttackLoss::TargetedDlr).contains("3 classes; the DLR loss needs four"));
    assert!(passes::image_gradient(&network(3), BATCH, AttackLoss::Dlr).is_ok());
}
