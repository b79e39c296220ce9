//! Times of one training step and one prediction, on random images.

use std::collections::BTreeMap;
use std::time::Instant;

use graphs::{Program, Tensor, names};
use serde::Serialize;

use crate::attack::Pgd;
use crate::data::{Dataset, Layout};
use crate::draws::Draws;
use crate::engine::Engine;
use crate::noise::{Key, hash_name};
use crate::predict::tally;
use crate::sessions::{Compile, Purpose, Sessions};
use crate::target::Form;
use crate::{Error, Result};

/// What to time.
#[derive(Clone, Copy, Debug)]
pub struct BenchSettings {
    /// The size of the images, `[C, H, W]`.
    pub shape: [usize; 3],
    /// The number of classes.
    pub classes: usize,
    /// Images of a batch.
    pub batch: usize,
    /// The attack of a step; `None` for a defence without one.
    pub attack: Option<Pgd>,
    /// Draws of a prediction.
    pub samples: u64,
    /// Repetitions; one more, the first, is not counted.
    pub repetitions: usize,
}

/// Median seconds of each part, and the most memory that the process ever took.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Timings {
    /// One attack on a batch: all its steps and draws.
    pub attack_s: f64,
    /// One update: forward, backward, optimizer.
    pub update_s: f64,
    /// Both together, as training takes them.
    pub step_s: f64,
    /// One prediction of a batch: all its draws.
    pub predict_s: f64,
    /// Peak resident memory in megabytes; `None` where the system does not tell.
    pub peak_mb: Option<f64>,
}

/// Times the programs of a model whose parameters are `initial`.
///
/// # Errors
/// When a program cannot be compiled or run.
pub fn bench(
    engine: &dyn Engine,
    compile: &Compile,
    initial: &BTreeMap<String, Tensor>,
    settings: &BenchSettings,
    on_repetition: &mut dyn FnMut(usize),
) -> Result<Timings> {
    let mut sessions = Sessions::new(engine, compile);
    let mut state = engine.state();
    initial.iter().try_for_each(|(name, tensor)| state.put(name, tensor))?;
    let update = sessions.get(Purpose::Update, settings.batch)?;
    for (name, fact) in update.state() {
        if let (false, Some(shape)) = (initial.contains_key(name), fact.known_shape()) {
            state.put(name, &Tensor::full(&shape, 0f32)?)?;
        }
    }
    let dataset = random_images(settings)?;
    let form = Form::new(&sessions.get(Purpose::Update, settings.batch)?.images()?, &dataset)?;
    let layout: Layout = form.layout;
    let batch = dataset.batches(settings.batch).layout(layout).next();
    let batch = batch.ok_or_else(|| Error::Setting("a batch has at least one image".to_owned()))?;
    let target = form.target(batch)?;
    let mut draws = Draws::new(0, "bench", 0);
    let mut times: [Vec<f64>; 4] = Default::default();
    for repetition in 0..=settings.repetitions {
        let start = Instant::now();
        match &settings.attack {
            Some(attack) => attack.run(&mut sessions, &mut state, &target, &mut draws)?,
            None => target.place(&mut state, &target.clean)?,
        }
        let attacked = start.elapsed().as_secs_f64();
        let scalars = [
            (names::LEARNING_RATE, 1e-4),
            (names::STEP, 1.0 + repetition as f64),
            (names::KL_SCALE, 1e-5),
        ];
        sessions.update(settings.batch, &mut state, &scalars, &mut draws)?;
        let stepped = start.elapsed().as_secs_f64();
        tally(&mut sessions, &state, settings.batch, settings.samples, &mut draws)?;
        let all = start.elapsed().as_secs_f64();
        // The first round loads the programs.
        if repetition > 0 {
            let parts = [attacked, stepped - attacked, stepped, all - stepped];
            times.iter_mut().zip(parts).for_each(|(times, part)| times.push(part));
        }
        on_repetition(repetition);
    }
    let [attack_s, update_s, step_s, predict_s] = times.map(median);
    Ok(Timings { attack_s, update_s, step_s, predict_s, peak_mb: peak_mb() })
}

/// Median seconds of a program whose inputs are all state, on random numbers in [0, 1).
///
/// # Errors
/// When the program cannot be loaded or run.
pub fn time(engine: &dyn Engine, program: &Program, repetitions: usize) -> Result<f64> {
    let mut session = engine.load(program)?;
    let mut state = engine.state();
    let graph = &program.model.graph;
    for &id in &graph.inputs {
        let name = &graph.node(id).name;
        let shape = graph.fact(id.into()).known_shape();
        let shape = shape.ok_or_else(|| Error::Setting(format!("`{name}` has no fixed shape")))?;
        let count = graphs::element_count(&shape)
            .ok_or_else(|| Error::Setting(format!("`{name}` of {shape:?} is too large")))?;
        let key = Key::new(0, 0, hash_name(name));
        let numbers = (0..count as u64).map(|i| key.words(i)[0] as f32 / 2f32.powi(32));
        state.put(name, &Tensor::new(&shape, numbers.collect::<Vec<_>>())?)?;
    }
    let mut times = Vec::new();
    for repetition in 0..=repetitions {
        let start = Instant::now();
        session.run(&mut state, &[])?;
        // The first is slower.
        if repetition > 0 {
            times.push(start.elapsed().as_secs_f64());
        }
    }
    Ok(median(times))
}

fn random_images(settings: &BenchSettings) -> Result<Dataset> {
    let BenchSettings { shape, classes, batch, .. } = *settings;
    let count = shape.iter().chain([&batch]).try_fold(1usize, |n, &d| n.checked_mul(d));
    let count = count.ok_or_else(|| Error::Setting("the images are too large".to_owned()))?;
    let key = Key::new(0, 0, hash_name("bench"));
    let pixels = (0..count as u64).map(|i| (key.words(i)[0] >> 24) as u8).collect();
    let labels = (0..batch).map(|i| (i % classes.max(1)) as i64).collect();
    Dataset::new(shape, pixels, labels, Vec::new())
}

fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    let middle = times.len() / 2;
    match (times.get(middle), times.get(middle.wrapping_sub(1))) {
        (Some(&high), Some(&low)) if times.len().is_multiple_of(2) => (low + high) / 2.0,
        (Some(&time), _) => time,
        _ => f64::NAN,
    }
}

/// The most memory that this process has held, in MiB; Linux alone tells it.
pub fn peak_mb() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: f64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kilobytes / 1024.0)
}
