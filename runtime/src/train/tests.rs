//! Runs of a linear classifier on both engines.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::sync::atomic::Ordering;

mod options;

use super::*;
use crate::attack::Pgd;
use crate::checkpoint;
use crate::engine::tests::engines;
use crate::linear::{Linear, dataset, weight};

const CLASSES: usize = 3;
/// Two batches of 4 and one of 2 an epoch.
const IMAGES: usize = 10;
const STEPS: u64 = 9;

/// Everything that a resumed run could get wrong: noise, random starts, augmentation, a
/// smaller last batch, a stage whose momentum begins at zero.
fn settings() -> Settings {
    Settings {
        epochs: 3,
        batch: 4,
        seed: 7,
        learning_rate: 0.5,
        schedule: Schedule::Stages(vec![2, 1]),
        alpha: 0.02,
        crop_padding: 1,
        flip: true,
        log_every: 2,
        checkpoint_seconds: 3600,
        attack: Some(Pgd { eps: 0.1, steps: 3, step_size: 0.05, random_start: true, draws: 2 }),
        kl_warmup: 1.5,
        ema: None,
        on_collapse: OnCollapse::Stop,
        holdout: None,
    }
}

/// What it takes to learn something that withstands an attack.
fn learning(epochs: u64, settings: Settings) -> Settings {
    let (schedule, attack) = (Schedule::Cosine, None);
    Settings { epochs, schedule, attack, crop_padding: 0, flip: false, alpha: 0.0, ..settings }
}

/// A run in `folder` that is stopped once `stop_at` steps are taken.
fn run(
    engine: &dyn Engine,
    settings: &Settings,
    folder: &Path,
    resume: bool,
    stop_at: u64,
) -> Result<Outcome> {
    run_on(&dataset(IMAGES, CLASSES), engine, settings, folder, resume, stop_at)
}

/// The same on these images.
fn run_on(
    dataset: &Dataset,
    engine: &dyn Engine,
    settings: &Settings,
    folder: &Path,
    resume: bool,
    stop_at: u64,
) -> Result<Outcome> {
    let model = Linear { classes: CLASSES, std: Some(0.1) };
    let stop = AtomicBool::new(false);
    let job = Job {
        engine,
        compile: &|purpose, batch| model.compile(purpose, batch),
        judge: &|purpose, batch| model.compile(purpose, batch),
        initial: &weight(CLASSES),
        dataset,
        settings,
        folder,
        config: None,
        resume,
        stop: &stop,
    };
    train(&job, &mut |event| {
        if let Event::Step { step, .. } = event {
            stop.store(step >= stop_at, Ordering::Relaxed);
        }
    })
}

fn tensors(folder: &Path, file: &str) -> BTreeMap<String, Tensor> {
    checkpoint::read::<serde_json::Value>(&folder.join(file)).unwrap().0
}

/// The lines of metrics without what a clock says.
fn metrics(folder: &Path) -> Vec<Metrics> {
    let text = fs::read_to_string(folder.join("metrics.jsonl")).unwrap();
    let line =
        |line| Metrics { seconds: 0.0, images_per_s: 0.0, ..serde_json::from_str(line).unwrap() };
    text.lines().map(line).collect()
}

fn assert_same(found: &Path, expected: &Path) {
    for file in [LAST, BEST] {
        let (found, expected) = (tensors(found, file), tensors(expected, file));
        assert_eq!(found.keys().collect::<Vec<_>>(), ["weight", "weight.velocity"]);
        assert_eq!(found, expected, "{file}");
    }
    assert_eq!(metrics(found), metrics(expected));
}

#[test]
fn a_run_that_is_stopped_anywhere_and_resumed_ends_to_the_bit_as_one_that_is_not() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        let whole = folder.path().join("whole");
        let outcome = run(&*engine, &settings(), &whole, false, STEPS).unwrap();
        assert!(outcome.finished);
        assert_eq!(outcome.tensors, tensors(&whole, LAST));
        for stop_at in 1..STEPS {
            let parts = folder.path().join(stop_at.to_string());
            let outcome = run(&*engine, &settings(), &parts, false, stop_at).unwrap();
            assert_eq!((outcome.finished, outcome.step), (false, stop_at));
            assert!(run(&*engine, &settings(), &parts, true, STEPS).unwrap().finished);
            assert_same(&parts, &whole);
        }
        // Nothing is left to do, and nothing changes.
        assert!(run(&*engine, &settings(), &whole, true, STEPS).unwrap().finished);
        assert_same(&whole, &folder.path().join("1"));
    }
}

/// A copy of the folder in the middle of things is what a killed process leaves.
#[test]
fn a_killed_run_goes_on_from_its_last_checkpoint() {
    let engine = &engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let [whole, killed] = ["whole", "killed"].map(|name| folder.path().join(name));
    let (model, stop) = (Linear { classes: CLASSES, std: Some(0.1) }, AtomicBool::new(false));
    let job = Job {
        engine: &**engine,
        compile: &|purpose, batch| model.compile(purpose, batch),
        judge: &|_, _| Err("nothing is held out".into()),
        initial: &weight(CLASSES),
        dataset: &dataset(IMAGES, CLASSES),
        settings: &settings(),
        folder: &whole,
        config: None,
        resume: false,
        stop: &stop,
    };
    train(&job, &mut |event| {
        if matches!(event, Event::Step { step: 5, .. }) {
            fs::create_dir(&killed).unwrap();
            for file in [LAST, BEST, "metrics.jsonl"] {
                fs::copy(whole.join(file), killed.join(file)).unwrap();
            }
            fs::write(killed.join("last.safetensors.partial"), b"half").unwrap();
        }
    })
    .unwrap();
    assert_eq!(metrics(&killed).last().unwrap().step, 4, "ahead of the checkpoint of step 3");
    run(&**engine, &settings(), &killed, true, STEPS).unwrap();
    assert_same(&killed, &whole);
    assert!(!killed.join("last.safetensors.partial").exists());
}

#[test]
fn training_learns_and_reports() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings { log_every: 0, ..learning(40, settings()) };
    run(&*engines()[0], &settings, folder.path(), false, u64::MAX).unwrap();
    let metrics = metrics(folder.path());
    let epochs: Vec<u64> = metrics.iter().map(|line| line.epoch).collect();
    assert_eq!(epochs, (1..=40).collect::<Vec<_>>());
    let (first, last) = (&metrics[0], &metrics[39]);
    assert!(last.loss < 0.5 * first.loss, "{} {}", first.loss, last.loss);
    assert_eq!((last.train_accuracy, last.step), (Some(100.0), 120));
    assert_eq!(Some(last.loss), last.cross_entropy);
    assert!(last.kl.unwrap() > 0.0);
    assert!((first.learning_rate / 0.5 - 1.0).abs() < 0.01 && last.learning_rate < 0.001);
}

#[test]
fn a_loss_that_is_no_number_ends_the_run_and_keeps_the_checkpoint() {
    for engine in engines() {
        let folder = tempfile::tempdir().unwrap();
        let wild = Settings { learning_rate: 1e37, checkpoint_seconds: 0, ..settings() };
        let error = run(&*engine, &wild, folder.path(), false, STEPS).unwrap_err().to_string();
        assert!(error.starts_with("step 2 of epoch 1: "), "{error}");
        assert!(error.contains("last.safetensors holds the last good state"), "{error}");
        let tensors = tensors(folder.path(), LAST);
        assert!(tensors["weight"].floats().unwrap().iter().all(|x| x.is_finite()));
    }
}

#[test]
fn what_cannot_be_resumed_or_begun_says_why() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let error = |settings: &Settings, resume| {
        run(engine, settings, folder.path(), resume, 1).unwrap_err().to_string()
    };
    assert!(error(&settings(), true).contains("no such checkpoint"));
    assert!(error(&Settings { batch: 0, ..settings() }, false).contains("batch"));
    run(engine, &settings(), folder.path(), false, 1).unwrap();
    let before = fs::read(folder.path().join(LAST)).unwrap();
    assert!(error(&settings(), false).contains("already holds a run"));
    let other = error(&Settings { learning_rate: 0.1, ..settings() }, true);
    assert!(other.contains("learning rate: the run to resume has 0.5, but 0.1"), "{other}");
    assert_eq!(fs::read(folder.path().join(LAST)).unwrap(), before);

    let mut tensors = tensors(folder.path(), LAST);
    let (_, position) = checkpoint::read::<serde_json::Value>(&folder.path().join(LAST)).unwrap();
    tensors.insert("weight".to_owned(), Tensor::vector(&[0f32]));
    checkpoint::write(&folder.path().join(LAST), &tensors, &position).unwrap();
    assert!(error(&settings(), true).contains("of another model or optimizer"));
    fs::write(folder.path().join(LAST), &before[..before.len() / 2]).unwrap();
    assert!(error(&settings(), true).contains("damaged"));
}

#[test]
fn a_forgotten_parameter_does_not_start_at_zero() {
    let (folder, model) = (tempfile::tempdir().unwrap(), Linear { classes: 3, std: None });
    let job = Job {
        engine: &*engines()[0],
        compile: &|purpose, batch| model.compile(purpose, batch),
        judge: &|_, _| Err("nothing is held out".into()),
        initial: &BTreeMap::new(),
        dataset: &dataset(IMAGES, CLASSES),
        settings: &settings(),
        folder: folder.path(),
        config: None,
        resume: false,
        stop: &AtomicBool::new(false),
    };
    let error = train(&job, &mut |_| {}).unwrap_err().to_string();
    assert!(error.contains("nothing says how the state `weight"), "{error}");
}

#[test]
fn the_best_epoch_of_another_run_is_not_taken_for_one_of_this() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let [last, best] = [LAST, BEST].map(|name| folder.path().join(name));
    run(engine, &settings(), folder.path(), false, 3).unwrap();
    let kept = fs::read(&best).unwrap();
    // What is refused leaves it.
    assert!(run(engine, &settings(), folder.path(), false, 1).is_err());
    assert_eq!(fs::read(&best).unwrap(), kept);

    fs::remove_file(&last).unwrap();
    run(engine, &Settings { seed: 8, ..settings() }, folder.path(), false, 1).unwrap();
    assert!(!best.exists(), "the run has taken one step of three");
    // As a run leaves it that is killed between the two files of its first epoch.
    fs::write(&best, kept).unwrap();
    run(engine, &Settings { seed: 8, ..settings() }, folder.path(), true, 2).unwrap();
    assert!(!best.exists(), "the run has taken two steps of three");
}

#[test]
fn a_run_goes_on_with_the_same_images_only() {
    let engine = &*engines()[0];
    let folder = tempfile::tempdir().unwrap();
    let same = dataset(IMAGES, CLASSES);
    let attack = Pgd { eps: 0.05, steps: 1, step_size: 0.03, random_start: true, draws: 1 };
    let holdout = Some(Holdout { images: 2, attack, samples: 1 });
    let settings = Settings { holdout, ..settings() };
    let resume = |dataset: &Dataset| run_on(dataset, engine, &settings, folder.path(), true, 2);
    run_on(&same, engine, &settings, folder.path(), false, 1).unwrap();
    let path = folder.path().join(LAST);
    let before = fs::read(&path).unwrap();
    let pixels: Vec<u8> = (0..IMAGES).flat_map(|i| same.image(i).unwrap().to_vec()).collect();
    // Every image counts, whether it is trained on or held out.
    for changed in 0..IMAGES {
        let mut pixels = pixels.clone();
        let size = pixels.len() / IMAGES;
        pixels[changed * size] ^= 1;
        let labels = same.labels().to_vec();
        let other = Dataset::new(same.shape(), pixels, labels, Vec::new()).unwrap();
        let error = resume(&other).unwrap_err().to_string();
        assert!(error.starts_with("data: the run to resume has 10 images 1x2x2 "), "{error}");
    }
    assert_eq!(fs::read(&path).unwrap(), before);

    // Checkpoints of versions before do not tell.
    let (tensors, mut position) = checkpoint::read::<serde_json::Value>(&path).unwrap();
    assert!(position.as_object_mut().unwrap().remove("data").is_some());
    checkpoint::write(&path, &tensors, &position).unwrap();
    resume(&same).unwrap();
}
