//! Classes that a model rules out, their logits -inf: programs are those of a model without them.

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, names};
use passes::{AttackLoss, Defense, Loss, Optimizer, Training};

use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{CLASSES, PIXELS, initial_state, labels, uniform};

const BATCH: usize = 4;
const TOLERANCE: f32 = 1e-5;

/// The first so many columns.
fn columns(tensor: &Tensor, count: usize) -> Tensor {
    let floats = tensor.floats().expect("floats");
    let rows = floats.chunks(*tensor.shape().last().expect("an axis"));
    let values: Vec<f32> = rows.flat_map(|row| &row[..count]).copied().collect();
    Tensor::new(&[values.len() / count, count], values).expect("as many values")
}

/// logits = x w, with one class more that is ruled out.
fn linear(ruled_out: bool) -> Model {
    let classes = CLASSES + usize::from(ruled_out);
    let mut graph = Graph::new("linear");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[BATCH, PIXELS]));
    let weight = uniform("w", 1, &[PIXELS, CLASSES + 1], -1.0, 1.0);
    let w = graph.initializer("w", columns(&weight, classes));
    let fact = || vec![Fact::new(DType::F32, &[BATCH, classes])];
    let mut y = graph.op("product", Op::new("MatMul"), &[Some(x), Some(w)], fact()).into();
    if ruled_out {
        let numbers: Vec<i64> = (0..classes as i64).collect();
        let numbers = graph.initializer("numbers", Tensor::vector(&numbers));
        let first = graph.initializer("first", Tensor::scalar(CLASSES as i64));
        let bools = vec![Fact::new(DType::Bool, &[classes])];
        let allowed = graph.op("allowed", Op::new("Less"), &[Some(numbers), Some(first)], bools);
        let never = graph.initializer("never", Tensor::scalar(f32::NEG_INFINITY));
        let arguments = [Some(allowed.into()), Some(y), Some(never)];
        y = graph.op("mask", Op::new("Where"), &arguments, fact()).into();
    }
    graph.output("logits", y);
    Model::new(graph)
}

/// What a program of either model gives, and what it leaves in the state.
fn results(make: &dyn Fn(&Model) -> Program, held: &str) -> Vec<[(Values, Tensor); 2]> {
    let images = |seed| uniform("x", seed, &[BATCH, PIXELS], 0.3, 0.7);
    let on = |engine: &dyn runtime::engine::Engine| {
        [false, true].map(|ruled_out| {
            let model = linear(ruled_out);
            let program = make(&model);
            let graph = &program.model.graph;
            let mut runner = Runner::new(engine, &program).expect("a session");
            runner.put(&initial_state(&model, &[&program]));
            let mut feeds = Values::from([
                (names::IMAGES.to_owned(), images(1)),
                (names::CLEAN.to_owned(), images(2)),
                (names::LABELS.to_owned(), labels(BATCH)),
            ]);
            let scalars = [
                (names::LEARNING_RATE, 0.5f32),
                (names::KEEP, 0.0),
                (names::RADIUS, 1.0),
                (names::STEP_SIZE, 0.01),
            ];
            feeds.extend(scalars.map(|(name, value)| (name.to_owned(), Tensor::scalar(value))));
            if held == names::GRADIENT {
                runner.state.put(names::IMAGES, &images(1)).expect("images");
                let zeros = Tensor::full(&[BATCH, PIXELS], 0f32).expect("zeros");
                runner.state.put(names::GRADIENT, &zeros).expect("a gradient");
                feeds.remove(names::IMAGES);
            }
            feeds.retain(|name, _| graph.source(name).is_some());
            (runner.run(&feeds).expect("a run"), runner.held(held))
        })
    };
    engines().iter().map(|engine| on(engine.as_ref())).collect()
}

#[test]
fn training_learns_nothing_of_a_class_that_is_ruled_out() {
    let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
    for loss in [Loss::CrossEntropy, Loss::Trades { beta: 6.0 }] {
        let training = Training { optimizer, loss, ..Training::published(Defense::Adv) };
        let update = |model: &Model| passes::update(model, BATCH, &training).expect("a program");
        for [(expected, without), (found, with)] in results(&update, "w") {
            for (name, expected) in &expected {
                assert_close(&found[name], expected, TOLERANCE, name);
            }
            assert_close(&columns(&with, CLASSES), &without, TOLERANCE, "weights");
            let last = |w: &Tensor| -> Vec<f32> {
                w.floats().expect("floats").chunks(CLASSES + 1).map(|row| row[CLASSES]).collect()
            };
            let before = uniform("w", 1, &[PIXELS, CLASSES + 1], -1.0, 1.0);
            assert_eq!(last(&with), last(&before), "{loss:?}");
        }
        let attack =
            |model: &Model| passes::training_attack(model, BATCH, &training).expect("a program");
        for [(expected, slope), (found, same)] in results(&attack, names::GRADIENT) {
            assert_close(&found[names::LOSSES], &expected[names::LOSSES], TOLERANCE, "losses");
            assert_close(&same, &slope, TOLERANCE, "gradient");
        }
    }
}

#[test]
fn attacks_see_no_class_that_is_ruled_out() {
    for loss in [AttackLoss::CrossEntropy, AttackLoss::Dlr] {
        let model = linear(true);
        let program = passes::image_gradient(&model, BATCH, loss).expect("a program");
        let without = linear(false);
        let plain = passes::image_gradient(&without, BATCH, loss).expect("a program");
        for engine in engines() {
            let run = |model: &Model, program: &Program| {
                let mut runner = Runner::new(engine.as_ref(), program).expect("a session");
                runner.put(&initial_state(model, &[program]));
                let images = uniform("x", 1, &[BATCH, PIXELS], 0.3, 0.7);
                let feeds = [(names::IMAGES, images), (names::LABELS, labels(BATCH))];
                let feeds = feeds.map(|(name, value)| (name.to_owned(), value));
                runner.run(&Values::from(feeds)).expect("a run")
            };
            let (found, expected) = (run(&model, &program), run(&without, &plain));
            for name in [names::LOSSES, names::GRADIENT] {
                assert_close(&found[name], &expected[name], TOLERANCE, name);
            }
        }
    }
}
