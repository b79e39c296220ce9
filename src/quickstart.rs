//! `advbnn quickstart`: the whole job on data that ships with the program.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use graphs::Model;
use passes::{Convert, Defense, InitStd, Layer, Pipeline, Training, export};
use runtime::attack::Pgd;
use runtime::data::{Dataset, Split};
use runtime::engine::Engine;
use runtime::evaluate::{EvalSettings, Subject};
use runtime::train::Schedule;
use serde::Serialize;

use crate::cli::{Machine, Quickstart};
use crate::evaluate::{self, Evaluation};
use crate::machinery::Machinery;
use crate::programs::open_engine;
use crate::settings::Recipe;
use crate::{data, model, print, train};

/// The files that the program carries: Fashion-MNIST (Xiao et al. 2017), the first 4,000
/// training and 1,000 test images, and a small classifier of it.
const FILES: [(&str, &[u8]); 5] = [
    (
        "data/train-images-idx3-ubyte.gz",
        include_bytes!("../assets/fashion-mnist/train-images-idx3-ubyte.gz"),
    ),
    (
        "data/train-labels-idx1-ubyte.gz",
        include_bytes!("../assets/fashion-mnist/train-labels-idx1-ubyte.gz"),
    ),
    (
        "data/t10k-images-idx3-ubyte.gz",
        include_bytes!("../assets/fashion-mnist/t10k-images-idx3-ubyte.gz"),
    ),
    (
        "data/t10k-labels-idx1-ubyte.gz",
        include_bytes!("../assets/fashion-mnist/t10k-labels-idx1-ubyte.gz"),
    ),
    ("original.onnx", include_bytes!("../assets/fashion-cnn.onnx")),
];

/// Says that a folder is of an earlier time, so that a new one may take its place.
const MARK: &str = ".quickstart";
/// What is written into the folder.
const WRITTEN: [&str; 7] =
    ["data", "run", "original.onnx", "converted.onnx", "model.onnx", "deploy.onnx", "results.json"];

const RADIUS: f64 = 0.1;

/// `results.json`
#[derive(Debug, Serialize)]
struct Results<'a> {
    #[serde(flatten)]
    machinery: Machinery,
    seconds: f64,
    original: &'a Evaluation,
    adv_bnn: &'a Evaluation,
}

pub(crate) fn run(flags: &Quickstart, machine: &Machine) -> Result<()> {
    let start = Instant::now();
    let folder = flags.output.as_path();
    let path = |name: &str| folder.join(name);
    unpack(folder)?;
    let engine = open_engine(machine)?;
    let say = |text: &str| {
        if !machine.quiet {
            print::remark(text);
        }
    };
    say(&format!("engine: {} {}, {} threads", engine.name(), engine.version(), engine.threads()));
    let original = model::read(&path("original.onnx"))?;
    let load = |split| data::load(&path("data"), split, &original, None, machine.quiet);
    let (train_set, test_set) = (load(Split::Train)?, load(Split::Test)?);

    let bayesian = convert(&original)?;
    model::write(&bayesian, &path("converted.onnx"))?;
    let count = passes::posteriors(&bayesian.graph)?.len();
    say(&format!("converted: {count} weight tensors are variational"));
    say(&format!("training Adv-BNN on {} images, radius {RADIUS}", train_set.len()));
    let trained = train_model(&bayesian, folder, &train_set, engine.as_ref(), machine.quiet)?;
    model::write(&trained, &path("model.onnx"))?;

    say(&format!("evaluating both on {} images", test_set.len()));
    let measure = |model: &Model, name: &str| {
        let settings = evaluation_settings()?;
        let subject = Subject { dataset: &test_set, foreign: None, notes: None };
        let (path, others) = (path(name), BTreeMap::new());
        let victim = (model, path.as_path());
        evaluate::measure(victim, &others, subject, engine.as_ref(), &settings, machine.quiet)
    };
    let before = measure(&original, "original.onnx")?;
    let after = measure(&trained, "model.onnx")?;
    let noise = export::Noise::Random;
    let mode = export::Mode::Stochastic { noise, samples: 16, functions: false };
    model::write(&export::export(&trained, &mode, graphs::OPSET)?, &path("deploy.onnx"))?;

    let seconds = start.elapsed().as_secs_f64();
    let machinery = Machinery::of(engine.as_ref());
    let results = Results { machinery, seconds, original: &before, adv_bnn: &after };
    let text = serde_json::to_string_pretty(&results)?;
    runtime::write_whole(&path("results.json"), |file| {
        std::io::Write::write_all(file, text.as_bytes())
    })?;
    print::line(evaluate::table(&[("original", &before), ("Adv-BNN", &after)]))?;
    print::line(format_args!("{seconds:.0} s on {}. In {}:", engine.name(), folder.display()))?;
    print::line(format_args!("  model.onnx    the trained variational model"))?;
    print::line(format_args!(
        "  deploy.onnx   16 draws a run: probabilities, predictive_entropy, mutual_information"
    ))?;
    print::line(format_args!("  results.json  the table above"))?;
    print::line(format_args!(
        "  run/          settings, metrics, TensorBoard events, checkpoints"
    ))?;
    Ok(())
}

/// Writes the files that the program carries; a run of an earlier time gives way.
///
/// # Errors
/// When the folder holds anything of these names that is not of an earlier time.
fn unpack(folder: &Path) -> Result<()> {
    let (mark, run) = (folder.join(MARK), folder.join("run"));
    if !mark.exists()
        && let Some(taken) = WRITTEN.iter().map(|name| folder.join(name)).find(|p| p.exists())
    {
        bail!("{}: is there already; choose another folder with -o", taken.display());
    }
    if run.exists() {
        std::fs::remove_dir_all(&run).with_context(|| run.display().to_string())?;
    }
    crate::folder::create(&folder.join("data"))?;
    runtime::write_whole(&mark, |_| Ok(()))?;
    for (name, bytes) in FILES {
        runtime::write_whole(&folder.join(name), |file| std::io::Write::write_all(file, bytes))?;
    }
    Ok(())
}

fn convert(original: &Model) -> Result<Model> {
    let mut network = original.clone();
    let pass = Convert {
        layers: Layer::ALL.into(),
        include: None,
        exclude: None,
        init: InitStd::Constant(0.02),
        prior: 0.1,
        bias: true,
    };
    Pipeline::new().then(passes::Hoist).then(passes::Upgrade).then(pass).run(&mut network)?;
    Ok(network)
}

fn train_model(
    network: &Model,
    folder: &Path,
    dataset: &Dataset,
    engine: &dyn Engine,
    quiet: bool,
) -> Result<Model> {
    let attack = Pgd { eps: RADIUS, steps: 5, step_size: 0.03, random_start: true, draws: 1 };
    let recipe = Recipe {
        likelihood: None,
        loss_given: false,
        defense: Defense::AdvBnn,
        attack: Some(attack),
        alpha: 0.02,
        learning_rate: 0.006,
        batch: 64,
        training: Training::published(Defense::AdvBnn),
        schedule: None,
        noise: None,
        eps: RADIUS,
        fast: false,
        kl_warmup: 0.0,
        ema: None,
    };
    let settings = train::of_recipe(&recipe, 4, Schedule::Cosine, 0);
    let (run, path, data) =
        (folder.join("run"), folder.join("converted.onnx"), folder.join("data"));
    let config = train::Config {
        model: &path,
        data: &data,
        split: Split::Train.to_string(),
        limit: None,
        normalize: None,
        version: env!("CARGO_PKG_VERSION"),
        engine: train::EngineTable::of(engine),
        recipe: recipe.shown(passes::noted_prior(network)?, passes::noted_likelihood(network)?),
        training: &settings,
    };
    let outcome = train::train(&train::Training {
        model: network,
        path: &path,
        recipe: &recipe,
        settings: &settings,
        dataset,
        engine,
        folder: &run,
        config: &config,
        resume: false,
        quiet,
    })?;
    if !outcome.finished {
        bail!("stopped after step {} of the training; run it again for the result", outcome.step);
    }
    model::read(&run)
}

fn evaluation_settings() -> Result<EvalSettings> {
    Ok(EvalSettings {
        attacks: vec!["pgd:steps=20,step=0.01".parse()?, "pgd:steps=20,step=0.01,eot=10".parse()?],
        eps: vec![RADIUS],
        samples: 10,
        batch: 100,
        seed: 0,
        cumulative: false,
        seeds: 1,
        probing: None,
    })
}
