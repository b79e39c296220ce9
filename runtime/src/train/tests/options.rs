//! Averages over steps, images held out, and a training that collapses.

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Value, names};

use super::*;
use crate::linear::SHAPE;
use crate::sessions::Purpose;

type Compiled = std::result::Result<Program, Box<dyn std::error::Error + Send + Sync>>;

const PIXELS: usize = 4;
const HELD_OUT: usize = 10;

/// The linear classifier, whose update averages its weight over steps.
fn averaging(purpose: Purpose, batch: usize) -> Compiled {
    let program = Linear { classes: CLASSES, std: Some(0.1) }.compile(purpose, batch)?;
    if purpose != Purpose::Update {
        return Ok(program);
    }
    let carries: Vec<(String, String)> =
        program.carries().map(|(output, input)| (output.to_owned(), input.to_owned())).collect();
    let mut graph = program.model.graph;
    let new = graph.port("weight.next").unwrap().value;
    let fact = Fact::new(DType::F32, &[PIXELS, CLASSES]);
    let old = graph.input("weight.ema", Role::State, fact);
    let decay = graph.input(names::EMA_DECAY, Role::Scalar, Fact::new(DType::F32, &[]));
    let mut op = |name: &str, arguments: [Value; 2]| -> Value {
        let fact = vec![Fact::default()];
        graph.op("", Op::new(name), &arguments.map(Some), fact).into()
    };
    // old + (1 - decay) * (new - old), in other words than the passes'.
    let change = op("Sub", [new, old]);
    let kept = op("Mul", [change, decay]);
    let taken = op("Sub", [change, kept]);
    let next = op("Add", [old, taken]);
    graph.output("weight.ema.next", next);
    let average = ("weight.ema.next".to_owned(), "weight.ema".to_owned());
    Ok(Program::new(Model::new(graph), &[carries, vec![average]].concat()))
}

fn holdout() -> Holdout {
    let attack = Pgd { eps: 0.05, steps: 3, step_size: 0.03, random_start: true, draws: 2 };
    Holdout { images: HELD_OUT, attack, samples: 3 }
}

fn with_options() -> Settings {
    Settings { ema: Some(0.6), holdout: Some(holdout()), ..settings() }
}

/// A run with everything, stopped once `stop_at` steps are taken; `see` is shown the folder at
/// every event.
fn run(
    engine: &dyn Engine,
    settings: &Settings,
    folder: &Path,
    resume: bool,
    stop_at: u64,
    see: &mut dyn FnMut(&Event),
) -> Outcome {
    let stop = AtomicBool::new(false);
    let job = Job {
        engine,
        compile: &averaging,
        judge: &averaging,
        initial: &weight(CLASSES),
        dataset: &dataset(IMAGES + HELD_OUT, CLASSES),
        settings,
        folder,
        config: None,
        resume,
        stop: &stop,
    };
    train(&job, &mut |event| {
        see(&event);
        if let Event::Step { step, .. } = event {
            stop.store(step >= stop_at, Ordering::Relaxed);
        }
    })
    .unwrap()
}

#[test]
fn averages_and_images_held_out_survive_an_interruption_to_the_bit() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        assert!(run(&*engine, &with_options(), &whole, false, STEPS, &mut |_| {}).finished);
        for stop_at in [1, 3, 4, 8] {
            let parts = folder.path().join(stop_at.to_string());
            run(&*engine, &with_options(), &parts, false, stop_at, &mut |_| {});
            assert!(run(&*engine, &with_options(), &parts, true, STEPS, &mut |_| {}).finished);
            for file in [LAST, BEST] {
                assert_eq!(tensors(&parts, file), tensors(&whole, file), "{file}");
            }
            assert_eq!(metrics(&parts), metrics(&whole));
        }
        let held = |tensors: &BTreeMap<String, Tensor>| tensors.contains_key("weight.ema");
        assert!(held(&tensors(&whole, LAST)) && held(&tensors(&whole, BEST)));
    }
}

#[test]
fn an_average_is_what_its_formula_says_and_stands_for_the_weight() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { checkpoint_seconds: 0, ..with_options() };
    let doubles = |tensor: &Tensor| -> Vec<f64> {
        tensor.floats().unwrap().iter().map(|x| f64::from(*x)).collect()
    };
    let mut expected = doubles(&weight(CLASSES)["weight"]);
    let mut steps = 0;
    run(engine, &settings, folder.path(), false, STEPS, &mut |event| {
        let Event::Saved(path) = event else { return };
        if !path.ends_with(LAST) {
            return;
        }
        steps += 1;
        let decay = f64::min(0.6, (1.0 + steps as f64) / (10.0 + steps as f64));
        let tensors = checkpoint::read::<serde_json::Value>(path).unwrap().0;
        for (average, new) in expected.iter_mut().zip(doubles(&tensors["weight"])) {
            *average = decay * *average + (1.0 - decay) * new;
        }
        let found = doubles(&tensors["weight.ema"]);
        let near = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-6;
        assert!(found.iter().zip(&expected).all(near), "step {steps}: {found:?} {expected:?}");
        assert_ne!(tensors["weight"], tensors["weight.ema"]);
        let used = averaged(tensors.clone());
        assert_eq!(used["weight"], tensors["weight.ema"]);
        assert_eq!(used.keys().collect::<Vec<_>>(), ["weight", "weight.velocity"]);
    });
    assert_eq!(steps, STEPS);
}

#[test]
fn the_best_epoch_is_that_of_the_images_held_out() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let settings = learning(30, with_options());
    let mut robust: Vec<f64> = Vec::new();
    let mut best_epoch = 0;
    run(engine, &settings, folder.path(), false, u64::MAX, &mut |event| match event {
        Event::Metrics(line) if line.span == Span::Epoch => {
            robust.push(line.state.holdout_robust.unwrap());
            assert!(line.state.holdout_accuracy.is_some() && line.state.noise_to_mean.is_none());
            // Ten images are left: two batches of 4 and one of 2.
            assert_eq!(line.step, 3 * line.epoch);
        }
        Event::Metrics(line) => assert_eq!(line.state, Standing::default()),
        Event::Saved(path) if path.ends_with(BEST) => best_epoch = robust.len(),
        _ => {}
    });
    let most = robust.iter().copied().fold(0.0, f64::max);
    assert_eq!(robust.iter().position(|r| *r == most).unwrap() + 1, best_epoch, "{robust:?}");
    assert!(robust.iter().any(|r| *r < most), "all epochs are the same: {robust:?}");

    let all = dataset(IMAGES + HELD_OUT, CLASSES);
    let (training, held) = holdout::split(&all, &settings).unwrap();
    let held = held.unwrap();
    assert_eq!((training.len(), held.len()), (IMAGES, HELD_OUT));
    let found: std::collections::BTreeSet<_> = [&*training, &held]
        .iter()
        .flat_map(|part| (0..part.len()).map(|i| part.image(i).unwrap().to_vec()))
        .collect();
    assert_eq!(found.len(), IMAGES + HELD_OUT, "every image is in one part");
    let other = Settings { seed: 8, ..settings.clone() };
    assert_ne!(holdout::split(&all, &other).unwrap().1.unwrap(), held);
    let all_of_them = Holdout { images: IMAGES + HELD_OUT, ..holdout() };
    let none_left = Settings { holdout: Some(all_of_them), ..settings };
    assert!(holdout::split(&all, &none_left).unwrap_err().to_string().contains("holdout"));
}

/// A right classifier whose every step takes it a little further towards the wrong one:
/// `weight - learning_rate * weight at first`.
fn unlearning(purpose: Purpose, batch: usize) -> Compiled {
    if purpose != Purpose::Update {
        return Linear { classes: CLASSES, std: None }.compile(purpose, batch);
    }
    let mut graph = Graph::new("unlearning");
    let [c, h, w] = SHAPE;
    let images = graph.input(names::IMAGES, Role::Data, Fact::new(DType::F32, &[batch, c, h, w]));
    let fact = Fact::new(DType::F32, &[PIXELS, CLASSES]);
    let weight = graph.input("weight", Role::State, fact);
    let rate = graph.input(names::LEARNING_RATE, Role::Scalar, Fact::new(DType::F32, &[]));
    let right = graph.initializer("right", right());
    let mut op = |name: &str, arguments: &[Value]| -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        graph.op("", Op::new(name).with("keepdims", 0), &arguments, vec![Fact::default()]).into()
    };
    let loss = op("ReduceMean", &[images]);
    let mut plain = |name: &str, arguments: [Value; 2]| -> Value {
        graph.op("", Op::new(name), &arguments.map(Some), vec![Fact::default()]).into()
    };
    let step = plain("Mul", [right, rate]);
    let next = plain("Sub", [weight, step]);
    for name in [names::LOSS, names::CROSS_ENTROPY, names::CORRECT] {
        graph.output(name, loss);
    }
    graph.output("weight.next", next);
    let carries = [("weight.next".to_owned(), "weight".to_owned())];
    Ok(Program::new(Model::new(graph), &carries))
}

/// The brightest of the first pixels tells the class.
fn right() -> Tensor {
    let values =
        (0..PIXELS * CLASSES).map(|i| f32::from(u8::from(i / CLASSES == i % CLASSES))).collect();
    Tensor::new(&[PIXELS, CLASSES], values).unwrap()
}

#[test]
fn a_collapse_is_caught_and_the_best_epoch_kept() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let job_run = |name: &str, on_collapse, resume| {
        // Three steps an epoch: the weight is 0.55, 0.1 and -0.35 of what it was.
        let settings = Settings {
            epochs: 5,
            learning_rate: 0.15,
            schedule: Schedule::Constant,
            attack: None,
            holdout: Some(holdout()),
            on_collapse,
            ..settings()
        };
        let initial = BTreeMap::from([("weight".to_owned(), right())]);
        let path = folder.path().join(name);
        let job = Job {
            engine,
            compile: &unlearning,
            judge: &unlearning,
            initial: &initial,
            dataset: &dataset(IMAGES + HELD_OUT, CLASSES),
            settings: &settings,
            folder: &path,
            config: None,
            resume,
            stop: &AtomicBool::new(false),
        };
        let mut told = Vec::new();
        let outcome = train(&job, &mut |event| {
            if let Event::Collapsed { epoch, best, now } = event {
                told.push((epoch, best, now));
            }
        });
        (outcome.unwrap(), told, path)
    };
    let (outcome, told, path) = job_run("stop", OnCollapse::Stop, false);
    assert_eq!((outcome.finished, outcome.collapsed, outcome.step), (false, true, 9));
    assert_eq!(told, [(3, 100.0, 0.0)]);
    let lines = metrics(&path);
    let collapsed: Vec<_> = lines
        .iter()
        .filter(|line| line.span == Span::Epoch)
        .map(|line| (line.state.holdout_robust, line.state.collapsed))
        .collect();
    let fine = (Some(100.0), None);
    assert_eq!(collapsed, [fine, fine, (Some(0.0), Some(true))]);
    let best = &tensors(&path, BEST)["weight"];
    assert!((best.floats().unwrap()[0] - 0.55).abs() < 1e-6, "the best is the first of equals");

    let (again, _, _) = job_run("stop", OnCollapse::Stop, true);
    assert_eq!((again.finished, again.collapsed, again.step), (false, true, 9));
    let (outcome, told, _) = job_run("warn", OnCollapse::Warn, false);
    assert_eq!((outcome.finished, outcome.collapsed, outcome.step), (true, false, 15));
    assert_eq!(told.len(), 3);
    let (outcome, ..) = job_run("stop", OnCollapse::Warn, true);
    assert!(outcome.finished && !outcome.collapsed, "told to go on, it goes on");
}
