//! Accuracy against the draws of a prediction and against the steps of the attack: figure 4.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use runtime::report::{Axis, Chart, Series, Style};
use serde::Serialize;
use serde_json::Value;

use super::plan::{evaluate, models};
use super::presets::Preset;
use super::step::Step;
use super::{Found, Plot, read, than};
use crate::cli::Reproduce;

/// Draws of the longest average; `evaluate` looks at 1, 2, 5, 10 and 20 on the way.
const SAMPLES: u64 = 50;
/// Steps of the attack with one draw a step.
const STEPS: [u64; 8] = [5, 10, 20, 50, 100, 200, 500, 1000];
/// Of these, as many take 20 draws too.
const STEPS_EOT: usize = 5;
/// The second is what the first is compared with.
const DEFENSES: [&str; 2] = ["adv-bnn", "adv"];

/// One point of a line.
#[derive(Clone, Debug, PartialEq, Serialize)]
struct Row {
    /// `samples` or `steps`.
    against: &'static str,
    line: String,
    number: u64,
    /// In percent.
    accuracy: f64,
}

fn folder(flags: &Reproduce, name: &str) -> PathBuf {
    flags.output.join("fig4").join(name)
}

/// Every command, in order.
pub(super) fn steps(flags: &Reproduce, preset: &Preset) -> Result<Vec<Step>> {
    let [random, certain] = DEFENSES;
    let mut steps = models(flags, preset, &DEFENSES)?;
    let (eps, step) = (preset.radius(1.0), preset.step);
    let attack = |steps: &u64| format!("--attack pgd:steps={steps},step={step}");
    let own = format!("--eps {eps},{} {} --samples {SAMPLES}", 2.0 * preset.eps(), attack(&20));
    steps.push(evaluate(flags, random, &own, &folder(flags, "samples")));
    let once: Vec<String> = STEPS.iter().map(attack).collect();
    let averaged = once.iter().take(STEPS_EOT).map(|attack| format!("{attack},eot=20")).collect();
    for (defense, more) in [(random, averaged), (certain, Vec::new())] {
        let attacks = [once.clone(), more].concat();
        let own = format!("--eps {eps} {} --samples {}", attacks.join(" "), flags.samples);
        steps.push(evaluate(flags, defense, &own, &folder(flags, &format!("steps-{defense}"))));
    }
    Ok(steps)
}

/// What the commands have left.
pub(super) fn found(flags: &Reproduce, preset: &Preset) -> Result<Found> {
    let mut all = Vec::new();
    let results = |name: &str| {
        let path = folder(flags, name).join("results.json");
        Ok::<_, anyhow::Error>((read(&path)?, path))
    };
    let (value, path) = results("samples")?;
    let images = value["images"].as_u64().with_context(lacking)?;
    all.extend(samples(&value).with_context(|| path.display().to_string())?);
    for defense in DEFENSES {
        let (value, path) = results(&format!("steps-{defense}"))?;
        if value["images"].as_u64() != Some(images) {
            bail!("{}: not of {images} images, as the others are", path.display());
        }
        all.extend(attack_steps(defense, &value).with_context(|| path.display().to_string())?);
    }
    let csv = all.iter().map(|row| {
        let Row { against, line, number, accuracy } = row;
        format!("{against},\"{line}\",{number},{accuracy:.2}\n")
    });
    let plots = [
        ("fig4-samples", "samples", "draws that a prediction averages"),
        ("fig4-steps", "steps", "steps of the attack"),
    ];
    let plots = plots.map(|(name, against, label)| {
        Plot::chart(name, &chart(&all, against, &format!("{label}, {}", preset.name)))
    });
    Ok(Found {
        data: serde_json::to_value(&all)?,
        csv: format!("against,line,number,accuracy\n{}", csv.collect::<String>()),
        page: page(preset, images, &all),
        images,
        plots: plots.into_iter().collect::<Result<_>>()?,
    })
}

fn lacking() -> &'static str {
    "these are not the results of `evaluate`"
}

fn number(value: &Value) -> Result<f64> {
    value.as_f64().with_context(lacking)
}

/// The accuracy for fewer draws, without an attack and at every radius.
fn samples(results: &Value) -> Result<Vec<Row>> {
    let attacks = results["attacks"].as_array().with_context(lacking)?;
    let mut rows = Vec::new();
    for (eps, measured) in std::iter::once((Some(0.0), &results["clean"]))
        .chain(attacks.iter().map(|a| (a["eps"].as_f64(), a)))
    {
        // In few digits: 8/255 is no name.
        let eps = (1e4 * eps.with_context(lacking)?).round() / 1e4;
        for row in measured["by_samples"].as_array().with_context(lacking)? {
            rows.push(Row {
                against: "samples",
                line: format!("radius {eps}"),
                number: row["samples"].as_u64().with_context(lacking)?,
                accuracy: number(&row["accuracy"])?,
            });
        }
    }
    Ok(rows)
}

/// The accuracy after so many steps.
fn attack_steps(defense: &str, results: &Value) -> Result<Vec<Row>> {
    let attacks = results["attacks"].as_array().with_context(lacking)?;
    let row = |attack: &Value| {
        let draws = attack["draws"].as_u64().with_context(lacking)?;
        Ok(Row {
            against: "steps",
            line: if draws > 1 { format!("{defense}, {draws} draws") } else { defense.to_owned() },
            number: attack["steps"].as_u64().with_context(lacking)?,
            accuracy: number(&attack["accuracy"])?,
        })
    };
    attacks.iter().map(row).collect()
}

/// The lines of one half of the figure, in order, each with its rows.
fn lines<'r>(rows: &'r [Row], against: &str) -> Vec<(&'r str, Vec<&'r Row>)> {
    let mut lines: Vec<(&str, Vec<&Row>)> = Vec::new();
    for row in rows.iter().filter(|row| row.against == against) {
        match lines.iter_mut().find(|(name, _)| *name == row.line) {
            Some((_, line)) => line.push(row),
            None => lines.push((&row.line, vec![row])),
        }
    }
    lines
}

/// All numbers on the horizontal axis.
fn numbers(rows: &[Row], against: &str) -> Vec<u64> {
    let of = rows.iter().filter(|row| row.against == against).map(|row| row.number);
    let mut numbers: Vec<u64> = of.collect();
    numbers.sort_unstable();
    numbers.dedup();
    numbers
}

fn chart(rows: &[Row], against: &'static str, label: &str) -> Chart {
    let numbers = numbers(rows, against);
    let point = |row: &&Row| {
        let place = numbers.iter().position(|number| *number == row.number)?;
        Some((place as f64, row.accuracy))
    };
    let series = lines(rows, against)
        .into_iter()
        .map(|(name, rows)| Series::new(name, rows.iter().filter_map(point).collect()));
    Chart {
        name: against,
        title: format!("Accuracy against {against}"),
        x_label: label.to_owned(),
        y_label: "accuracy, %".to_owned(),
        x: Axis::Places(numbers.iter().map(u64::to_string).collect()),
        y: (0.0, 100.0),
        style: Style::Lines,
        series: series.collect(),
    }
}

fn page(preset: &Preset, images: u64, rows: &[Row]) -> String {
    let mut text = format!("# fig4, {}: accuracy in percent on {} images\n", preset.name, images);
    for (against, what) in [("samples", "draws a prediction"), ("steps", "steps of PGD")] {
        let numbers = numbers(rows, against);
        let head: Vec<String> = numbers.iter().map(u64::to_string).collect();
        let rule = "---|".repeat(numbers.len());
        text += &format!("\n| {what} | {} |\n|---|{rule}\n", head.join(" | "));
        for (name, line) in lines(rows, against) {
            let cell = |number: &u64| {
                let row = line.iter().find(|row| row.number == *number);
                row.map_or(String::new(), |row| format!("{:.1}", row.accuracy))
            };
            let cells: Vec<String> = numbers.iter().map(cell).collect();
            text += &format!("| {name} | {} |\n", cells.join(" | "));
        }
    }
    text + &format!("\n{}\n", sentence(preset, rows))
}

/// What becomes of the paper's two statements: 10 to 20 draws are enough, and so are 20 steps.
fn sentence(preset: &Preset, rows: &[Row]) -> String {
    let at = |line: &[&Row], wanted: u64| {
        line.iter().find(|row| row.number == wanted).map(|row| row.accuracy)
    };
    let moved = lines(rows, "samples").into_iter().filter_map(|(_, line)| {
        let all = at(&line, SAMPLES)?;
        Some((at(&line, 1)? - all, at(&line, 10)? - all))
    });
    let moved: Vec<(f64, f64)> = moved.collect();
    let most = |values: &[f64]| values.iter().copied().fold(0f64, |most, x| most.max(x.abs()));
    let (one, ten): (Vec<f64>, Vec<f64>) = moved.into_iter().unzip();
    let mut text = format!(
        "Attacks are PGD of step {} from the image, at radius {} unless said, one draw a step \
         unless said. One draw a prediction is up to {:.1} points away from {SAMPLES} draws, ten \
         are up to {:.1}.",
        preset.step,
        preset.radius(1.0),
        most(&one),
        most(&ten)
    );
    for (name, line) in lines(rows, "steps") {
        let last = line.last().map(|row| (row.number, row.accuracy));
        if let (Some(twenty), Some((number, accuracy))) = (at(&line, 20), last) {
            let cost = than(accuracy - twenty, "more than", "less than", "as many as");
            text += &format!(" {name}: {number} steps leave {accuracy:.1} %, {cost} 20.");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reproduce::plan::tests::preset;

    fn measured(accuracy: f64) -> Value {
        let by: Vec<Value> = [(1, 4.0), (10, 1.0), (50, 0.0)]
            .map(|(samples, less)| serde_json::json!({"samples": samples, "accuracy": accuracy - less}))
            .to_vec();
        serde_json::json!({"eps": 0.1, "accuracy": accuracy, "by_samples": by})
    }

    #[test]
    fn results_become_two_halves_and_a_plain_sentence() {
        let mut rows =
            samples(&serde_json::json!({"clean": measured(80.0), "attacks": [measured(50.0)]}))
                .unwrap();
        assert_eq!(rows.len(), 6);
        let attack = |steps: u64, draws: u64, accuracy: f64| serde_json::json!({"steps": steps, "draws": draws, "accuracy": accuracy});
        let attacks = [
            attack(20, 1, 50.0),
            attack(1000, 1, 48.5),
            attack(20, 20, 47.0),
            attack(50, 20, 47.5),
        ];
        rows.extend(attack_steps("adv-bnn", &serde_json::json!({"attacks": attacks})).unwrap());
        let page = page(preset("fashion"), 200, &rows);
        assert!(page.contains("| radius 0.1 | 46.0 | 49.0 | 50.0 |"), "{page}");
        assert!(
            page.contains("| adv-bnn | 50.0 |  | 48.5 |\n| adv-bnn, 20 draws | 47.0 | 47.5 |  |"),
            "{page}"
        );
        assert!(page.contains("up to 4.0 points away from 50 draws, ten are up to 1.0"), "{page}");
        assert!(
            page.contains("adv-bnn: 1000 steps leave 48.5 %, 1.5 points less than 20."),
            "{page}"
        );
        assert!(page.contains("50 steps leave 47.5 %, 0.5 points more than 20."), "{page}");
        assert!(page.starts_with("# fig4, fashion: accuracy in percent on 200 images"), "{page}");
        let chart = chart(&rows, "steps", "");
        assert_eq!(chart.series[0].points, [(0.0, 50.0), (2.0, 48.5)]);
        assert!(samples(&Value::Null).is_err() && attack_steps("adv", &Value::Null).is_err());
    }
}
