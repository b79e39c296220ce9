//! How well attacks on one defence fool another: figure 3.

use std::path::PathBuf;

use anyhow::{Context, Result};
use runtime::report::Matrix;
use serde_json::Value;

use super::plan::{models, run};
use super::presets::Preset;
use super::step::Step;
use super::{Found, Plot, read};
use crate::cli::Reproduce;

/// The defences that the paper found alike.
const GROUPS: [&[&str]; 2] = [&["none", "bnn"], &["adv", "rse", "adv-bnn"]];

/// Rows are defences that are attacked, columns those that judge.
type Square = Vec<Vec<Option<f64>>>;

fn folder(flags: &Reproduce) -> PathBuf {
    flags.output.join("fig3")
}

/// Every command, in order.
pub(super) fn steps(flags: &Reproduce, preset: &Preset) -> Result<Vec<Step>> {
    let defenses = preset.defenses.map(|(name, _)| name);
    let mut steps = models(flags, preset, &defenses)?;
    let runs = defenses.map(|defense| (defense, run(flags, defense)));
    let output = folder(flags);
    let mut paths: Vec<_> = runs.iter().map(|(name, path)| (*name, path.as_path())).collect();
    paths.extend([("DATA", flags.data.as_path()), ("MATRIX", &output)]);
    let line = format!(
        "transfer {} --data DATA -o MATRIX --eps {} --attack pgd:steps=20,step={} --samples {} --limit {} --seed {}",
        defenses.join(" "),
        preset.transfer,
        preset.step,
        flags.samples,
        flags.images,
        flags.seed
    );
    steps.push(Step::new(&line, &paths, output.join("transfer.json")));
    Ok(steps)
}

/// What the commands have left.
pub(super) fn found(flags: &Reproduce, preset: &Preset) -> Result<Found> {
    let path = folder(flags).join("transfer.json");
    let data = read(&path)?;
    let names = preset.defenses.map(|(name, _)| name);
    let square = |key: &str| square(&data[key], names.len());
    let (affinity, accuracy) = (square("affinity"), square("accuracy"));
    let lacking = || format!("{}: these are not the results of `transfer`", path.display());
    let (affinity, accuracy) = (affinity.with_context(lacking)?, accuracy.with_context(lacking)?);
    let images = data["images"].as_u64().with_context(lacking)?;
    let matrix = Matrix {
        title: format!("{}, affinity at radius {}", preset.name, preset.transfer),
        y_label: "attacked".to_owned(),
        x_label: "judged by".to_owned(),
        names: names.map(str::to_owned).to_vec(),
        values: affinity.clone(),
    };
    Ok(Found {
        csv: csv(&names, &affinity, &accuracy),
        page: page(preset, images, &names, &affinity),
        images,
        plots: vec![Plot::matrix("fig3", &matrix)?],
        data,
    })
}

/// A matrix of `count` rows and columns.
fn square(value: &Value, count: usize) -> Option<Square> {
    let row = |row: &Value| Some(row.as_array()?.iter().map(Value::as_f64).collect::<Vec<_>>());
    let rows: Option<Square> = value.as_array()?.iter().map(row).collect();
    rows.filter(|rows| rows.len() == count && rows.iter().all(|row| row.len() == count))
}

fn csv(names: &[&str], affinity: &Square, accuracy: &Square) -> String {
    let mut text = "source,target,affinity,accuracy\n".to_owned();
    let rows = names.iter().zip(affinity.iter().zip(accuracy));
    for (source, (affinities, accuracies)) in rows {
        let cells = names.iter().zip(affinities.iter().zip(accuracies));
        for (target, (affinity, accuracy)) in cells {
            let [affinity, accuracy] =
                [affinity, accuracy].map(|x| x.map_or(String::new(), |x| format!("{x:.4}")));
            text += &format!("{source},{target},{affinity},{accuracy}\n");
        }
    }
    text
}

fn page(preset: &Preset, images: u64, names: &[&str], affinity: &Square) -> String {
    let mut text = format!(
        "# fig3, {}: affinity (equation 17) at radius {}, PGD-20 of one draw, {} images\n\n\
         | attacked | {} |\n|---|{}\n",
        preset.name,
        preset.transfer,
        images,
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for (name, row) in names.iter().zip(affinity) {
        let cells =
            row.iter().map(|cell| cell.map_or("–".to_owned(), |cell| format!("{cell:.2}")));
        text += &format!("| {name} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    text + &format!("\n{}\n", sentence(names, affinity))
}

/// Whether the paper's two groups are there: every defence nearer to its own than to the
/// others, by the mean affinity of both directions.
fn sentence(names: &[&str], affinity: &Square) -> String {
    let place = |name: &str| names.iter().position(|other| *other == name);
    let between = |a: &str, b: &str| -> Vec<f64> {
        let at = |a: &str, b: &str| *affinity.get(place(a)?)?.get(place(b)?)?;
        [at(a, b), at(b, a)].into_iter().flatten().collect()
    };
    let with = |name: &str, others: &[&str]| {
        let others = others.iter().filter(|other| **other != name);
        mean(&others.flat_map(|other| between(name, other)).collect::<Vec<_>>())
    };
    let [first, second] = GROUPS;
    let within = GROUPS.map(|group| {
        let all = group.iter().filter_map(|name| with(name, group));
        mean(&all.collect::<Vec<_>>())
    });
    let across: Vec<f64> = first.iter().filter_map(|name| with(name, second)).collect();
    let shown = |value: Option<f64>| value.map_or("unknown".to_owned(), |v| format!("{v:.2}"));
    let figures = format!(
        "the mean affinity is {} within {{none, bnn}}, {} within {{adv, rse, adv-bnn}} and {} \
         between the two",
        shown(within[0]),
        shown(within[1]),
        shown(mean(&across))
    );
    let mut strays = Vec::new();
    for (own, other) in [(first, second), (second, first)] {
        for name in own {
            match with(name, own).zip(with(name, other)) {
                Some((near, far)) if near > far => {}
                Some(_) => strays.push(*name),
                None => {
                    return format!(
                        "Whether the two groups that the paper saw are there cannot be told, for \
                         {name} has no affinity to one of them: an attack on a model of its own \
                         takes nothing away there; {figures}."
                    );
                }
            }
        }
    }
    match strays.as_slice() {
        [] => format!("The two groups that the paper saw are there: {figures}."),
        [one] => format!(
            "The two groups that the paper saw are not there: {one} is no nearer to its own than \
             to the other; {figures}."
        ),
        several => format!(
            "The two groups that the paper saw are not there: {} are no nearer to their own than \
             to the other; {figures}.",
            several.join(", ")
        ),
    }
}

fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NAMES: [&str; 5] = ["none", "adv", "bnn", "adv-bnn", "rse"];

    /// Affinity 1 of each with itself, `within` its group, and `across` the two.
    fn grouped(within: f64, across: f64) -> Square {
        let group = |name: &str| GROUPS.iter().position(|group| group.contains(&name));
        let cell = |a: &str, b: &str| match a == b {
            true => Some(1.0),
            false => Some(if group(a) == group(b) { within } else { across }),
        };
        NAMES.iter().map(|a| NAMES.iter().map(|b| cell(a, b)).collect()).collect()
    }

    #[test]
    fn groups_are_found_where_they_are_and_strays_are_named() {
        let text = sentence(&NAMES, &grouped(0.8, 0.2));
        assert!(text.starts_with("The two groups that the paper saw are there: "), "{text}");
        assert!(text.contains("0.80 within {none, bnn}, 0.80 within"), "{text}");
        assert!(text.contains("0.20 between the two."), "{text}");
        let mut stray = grouped(0.8, 0.2);
        for other in [0, 1, 2, 3] {
            let near = if [0, 2].contains(&other) { 0.9 } else { 0.1 };
            (stray[other][4], stray[4][other]) = (Some(near), Some(near));
        }
        let text = sentence(&NAMES, &stray);
        assert!(text.contains("are not there: rse is no nearer"), "{text}");
        let mut unknown = grouped(0.8, 0.2);
        (unknown[0][2], unknown[2][0]) = (None, None);
        let text = sentence(&NAMES, &unknown);
        assert!(text.contains("cannot be told, for none has no affinity"), "{text}");
        assert!(text.contains("unknown within {none, bnn}"), "{text}");
    }

    #[test]
    fn a_matrix_of_another_size_is_refused_and_empty_cells_stay_empty() {
        let json = serde_json::json!([[1.0, null], [0.5, 1.0]]);
        let affinity = square(&json, 2).unwrap();
        assert_eq!(square(&json, 3), None);
        assert_eq!(square(&Value::Null, 2), None);
        let text = csv(&["a", "b"], &affinity, &square(&json, 2).unwrap());
        assert!(text.contains("\na,b,,\nb,a,0.5000,0.5000\n"), "{text}");
    }
}
