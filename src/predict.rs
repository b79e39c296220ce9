//! `advbnn predict`: classes, or numbers, of single images, with uncertainty.

mod numbers;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use comfy_table::Table;
use runtime::data::{Answer, load_images};
use runtime::predict::{PredictSettings, predict, predict_numbers};
use serde::Serialize;

use crate::cli::{Machine, Predict};
use crate::programs::{Programs, open_engine};
use crate::settings::check_samples;
use crate::{data, model, print};

/// One image's line.
#[derive(Debug, Serialize)]
struct Prediction<'a> {
    image: &'a Path,
    label: String,
    class: usize,
    probability: f32,
    probabilities: &'a [f32],
    predictive_entropy: f32,
    mutual_information: f32,
}

pub(crate) fn run(flags: &Predict, machine: &Machine) -> Result<()> {
    check_samples(flags.samples)?;
    let network = model::read_normalized(&flags.model, flags.normalize.as_deref())?;
    let context = || flags.model.display().to_string();
    let Some(shape) = data::image_shape(&network) else {
        bail!("{}: the model does not tell the size of its images", flags.model.display());
    };
    let answer = Programs::new(&network).answer().with_context(context)?;
    if flags.labels.is_some() {
        model::needs_classes(&network, &flags.model, "--labels")?;
    }
    let labels = match (flags.labels.as_deref(), answer) {
        (Some(file), Answer::Class(classes)) => Some(read_labels(file, classes)?),
        _ => None,
    };
    let engine = open_engine(machine)?;
    let images = load_images(&flags.images, shape)?;
    let programs = Programs::new(&network).on(engine.as_ref());
    let mut state = programs.state(engine.as_ref(), &flags.model)?;
    let compile = |purpose, batch| programs.compile(purpose, batch);
    let settings = PredictSettings { batch: 64, samples: flags.samples as u64, seed: flags.seed };
    if let Answer::Numbers(_) = answer {
        let found = predict_numbers(engine.as_ref(), &compile, &mut state, &images, &settings)?;
        return numbers::print(flags, &found);
    }
    let found = predict(engine.as_ref(), &compile, &mut state, &images, &settings)?;
    let rows = found.probabilities.chunks_exact(found.classes.max(1));
    let uncertainty = found.predictive_entropy.iter().zip(&found.mutual_information);
    let lines: Vec<Prediction> = flags
        .images
        .iter()
        .zip(rows)
        .zip(uncertainty)
        .map(|((image, probabilities), (entropy, information))| {
            line(image, probabilities, *entropy, *information, labels.as_deref())
        })
        .collect();
    if flags.json {
        print::line(serde_json::to_string(&lines)?)?;
    } else {
        print::line(table(&lines))?;
    }
    Ok(())
}

fn line<'a>(
    image: &'a PathBuf,
    probabilities: &'a [f32],
    predictive_entropy: f32,
    mutual_information: f32,
    labels: Option<&[String]>,
) -> Prediction<'a> {
    let best = probabilities.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1));
    let (class, &probability) = best.unwrap_or((0, &0.0));
    let label = labels.and_then(|names| names.get(class)).cloned();
    Prediction {
        image,
        label: label.unwrap_or_else(|| class.to_string()),
        class,
        probability,
        probabilities,
        predictive_entropy,
        mutual_information,
    }
}

fn read_labels(path: &Path, classes: usize) -> Result<Vec<String>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let lines = text.lines().map(|line| line.trim().to_owned());
    let labels: Vec<String> = lines.filter(|line| !line.is_empty()).collect();
    match labels.len() {
        count if count == classes => Ok(labels),
        count => bail!("{}: {count} names for the model's {classes} classes", path.display()),
    }
}

fn table(lines: &[Prediction]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["image", "label", "probability", "entropy", "mutual information"]);
    for line in lines {
        table.add_row([
            line.image.display().to_string(),
            line.label.clone(),
            format!("{:.3}", line.probability),
            format!("{:.3}", line.predictive_entropy),
            format!("{:.4}", line.mutual_information),
        ]);
    }
    table
}
