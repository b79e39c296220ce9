//! Accuracies of all defences at several radii: table 1 and figure 2.

use std::path::PathBuf;

use anyhow::{Context, Result};
use runtime::report::{Axis, Chart, Series, Style};
use serde::Serialize;
use serde_json::Value;

use super::plan::{evaluate, models};
use super::presets::Preset;
use super::step::Step;
use super::{Found, Plot, read, than};
use crate::cli::Reproduce;

/// The accuracy of one defence under one attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    defense: String,
    /// Draws of the weights that a step's gradient was to average.
    eot: bool,
    eps: f64,
    /// In percent.
    accuracy: f64,
    images: u64,
}

/// The folder of the evaluation of a defence.
fn evaluation(flags: &Reproduce, defense: &str) -> PathBuf {
    flags.output.join(&flags.experiment).join(defense)
}

/// Every command, in order.
pub(super) fn steps(flags: &Reproduce, preset: &Preset, radii: &[f64]) -> Result<Vec<Step>> {
    let defenses = preset.defenses.map(|(name, _)| name);
    let mut steps = models(flags, preset, &defenses)?;
    let radii: Vec<String> = radii.iter().filter(|eps| **eps > 0.0).map(f64::to_string).collect();
    let attack = format!("pgd:steps=20,step={}", preset.step);
    let own = format!(
        "--eps {} --attack {attack} --attack {attack},eot=20 --samples {}",
        radii.join(","),
        flags.samples
    );
    let evaluations =
        defenses.map(|defense| evaluate(flags, defense, &own, &evaluation(flags, defense)));
    steps.extend(evaluations);
    Ok(steps)
}

/// What the commands have left.
pub(super) fn found(flags: &Reproduce, preset: &Preset, radii: &[f64]) -> Result<Found> {
    let mut all = Vec::new();
    for (defense, _) in preset.defenses {
        let path = evaluation(flags, defense).join("results.json");
        all.extend(rows(defense, &read(&path)?).with_context(|| path.display().to_string())?);
    }
    let plot = |name: &str, eot| Plot::chart(name, &chart(preset, &all, eot));
    let name = &flags.experiment;
    Ok(Found {
        data: serde_json::to_value(&all)?,
        csv: csv(&all),
        images: all.first().map_or(0, |row| row.images),
        page: page(&flags.experiment, preset, radii, &all),
        plots: vec![plot(name, false)?, plot(&format!("{name}-eot"), true)?],
    })
}

/// The rows that `evaluate` has left; the clean accuracy is that at radius 0 under both attacks.
fn rows(defense: &str, results: &Value) -> Result<Vec<Row>> {
    let lacking = || "these are not the results of `evaluate` for two attacks";
    let number = |value: &Value| value.as_f64().with_context(lacking);
    let images = results["images"].as_u64().with_context(lacking)?;
    let clean = number(&results["clean"]["accuracy"])?;
    let attacks = results["attacks"].as_array().with_context(lacking)?;
    let row = |eot, eps, accuracy| Row { defense: defense.to_owned(), eot, eps, accuracy, images };
    let mut rows = Vec::new();
    // A deterministic model takes one draw for both attacks: what was asked for tells them apart.
    let averages = |attack: &Value| {
        let spec = attack["spec"].as_str().with_context(lacking)?;
        Ok::<_, anyhow::Error>(spec.split([':', ',']).any(|option| option.starts_with("eot=")))
    };
    for eot in [false, true] {
        rows.push(row(eot, 0.0, clean));
        for attack in attacks {
            if averages(attack)? == eot {
                rows.push(row(eot, number(&attack["eps"])?, number(&attack["accuracy"])?));
            }
        }
    }
    Ok(rows)
}

/// Accuracy against the radius, a line for each defence.
fn chart(preset: &Preset, rows: &[Row], eot: bool) -> Chart {
    let farthest = rows.iter().map(|row| row.eps).fold(0.0, f64::max);
    let line = |(defense, _): (&str, &str)| {
        let own = rows.iter().filter(|row| row.defense == defense && row.eot == eot);
        Series::new(defense, own.map(|row| (row.eps, row.accuracy)).collect())
    };
    Chart {
        name: "radius",
        title: format!("{}, {}", preset.name, attack(eot)),
        x_label: "radius".to_owned(),
        y_label: "accuracy, %".to_owned(),
        x: Axis::Linear(0.0, farthest * 1.02),
        y: (0.0, 100.0),
        style: Style::Lines,
        series: preset.defenses.map(line).to_vec(),
    }
}

/// The name of an attack.
fn attack(eot: bool) -> &'static str {
    if eot { "EOT-PGD-20, 20 draws" } else { "PGD-20, 1 draw" }
}

fn csv(rows: &[Row]) -> String {
    let line = |row: &Row| {
        let Row { defense, eot, eps, accuracy, images } = row;
        let draws = if *eot { 20 } else { 1 };
        format!("{defense},{draws},{eps},{accuracy:.2},{images}\n")
    };
    let lines: String = rows.iter().map(line).collect();
    format!("defense,draws,eps,accuracy,images\n{lines}")
}

fn at(rows: &[Row], defense: &str, eot: bool, eps: f64) -> Option<f64> {
    let same =
        |row: &&Row| row.defense == defense && row.eot == eot && (row.eps - eps).abs() < 1e-9;
    rows.iter().find(same).map(|row| row.accuracy)
}

/// A table in Markdown with the published numbers beside ours, and what it says.
fn page(experiment: &str, preset: &Preset, radii: &[f64], rows: &[Row]) -> String {
    let images = rows.first().map_or(0, |row| row.images);
    let head: Vec<String> = radii.iter().map(f64::to_string).collect();
    let mut text = format!(
        "# {experiment}, {}: accuracy in percent on {images} images, by radius\n\n| defence | attack | {} |\n|---|---|{}\n",
        preset.name,
        head.join(" | "),
        "---|".repeat(radii.len())
    );
    let mut line = |name: &str, attack: &str, cell: &dyn Fn(f64) -> Option<f64>| {
        let cells = radii.iter().map(|eps| cell(*eps).map_or(String::new(), |a| format!("{a:.1}")));
        text += &format!("| {name} | {attack} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    };
    for eot in [false, true] {
        for (defense, _) in preset.defenses {
            line(defense, attack(eot), &|eps| at(rows, defense, eot, eps));
        }
    }
    for published in preset.published {
        let source = if published.eot { "EOT PGD, later work" } else { "PGD-20, 1 draw, paper" };
        let cell = |eps: f64| {
            let found = published.accuracies.iter().find(|(radius, _)| (radius - eps).abs() < 1e-9);
            found.map(|(_, accuracy)| *accuracy)
        };
        line(&format!("{} (published)", published.defense), source, &cell);
    }
    text += &format!("\n{}\n", sentence(preset, rows));
    text
}

/// What the table says of the paper's claim, at the radius of the training and at twice it.
fn sentence(preset: &Preset, rows: &[Row]) -> String {
    let trained = preset.eps();
    let above = |difference| than(difference, "above", "below", "level with");
    let sentences = [(1.0, "the training radius"), (2.0, "twice the training radius")];
    let sentences = sentences.map(|(times, what)| {
        // The radius of the table that is nearest.
        let distance = |row: &&Row| (row.eps - times * trained).abs();
        let attacked = rows.iter().filter(|row| row.eps > 0.0);
        let eps = attacked.min_by(|a, b| distance(a).total_cmp(&distance(b)))?.eps;
        let found = |defense, eot| at(rows, defense, eot, eps);
        let (adv, one) = (found("adv", false)?, found("adv-bnn", false)?);
        let (one, eot) = (above(one - adv), above(found("adv-bnn", true)? - adv));
        Some(format!(
            "At radius {eps} (about {what}) Adv-BNN is {one} adversarial training under the \
             paper's own attack, which draws the weights once a step, and {eot} it under EOT, the \
             attack to judge a random defence by."
        ))
    });
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reproduce::plan::tests::preset;

    fn results(clean: f64, accuracies: [f64; 4]) -> Value {
        let [a, b, c, d] = accuracies;
        serde_json::json!({
            "images": 500, "clean": {"accuracy": clean}, "attacks": [
                {"spec": "pgd:steps=20,eot=20", "eps": 0.1, "accuracy": c},
                {"spec": "pgd:steps=20", "eps": 0.1, "accuracy": a},
                {"spec": "pgd:steps=20", "eps": 0.2, "accuracy": b},
                {"spec": "pgd:steps=20,eot=20", "eps": 0.2, "accuracy": d},
            ]
        })
    }

    #[test]
    fn rows_become_a_page_with_plain_sentences_and_a_chart() {
        let mut all = rows("adv", &results(80.0, [60.0, 30.0, 60.0, 30.0])).unwrap();
        all.extend(rows("adv-bnn", &results(78.0, [65.5, 40.0, 58.0, 30.0])).unwrap());
        assert_eq!(all.len(), 12);
        let fashion = preset("fashion");
        let page = page("table1", fashion, &[0.0, 0.1, 0.2], &all);
        assert!(page.contains("| adv-bnn | EOT-PGD-20, 20 draws | 78.0 | 58.0 | 30.0 |"), "{page}");
        assert!(
            page.contains("At radius 0.1 (about the training radius) Adv-BNN is 5.5 points above")
        );
        assert!(page.contains("and 2.0 points below it under EOT"), "{page}");
        assert!(page.contains("Adv-BNN is 10.0 points above adversarial training"), "{page}");
        assert!(page.contains("and level with it under EOT"), "{page}");
        assert!(csv(&all).contains("\nadv-bnn,20,0.2,30.00,500\n"));
        let line = &chart(fashion, &all, true).series[3];
        assert_eq!((line.name.as_str(), line.points[1]), ("adv-bnn", (0.1, 58.0)));
        assert!(rows("adv", &serde_json::json!({})).is_err());
    }
}
