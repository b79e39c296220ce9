//! The results of an experiment, as numbers and as a page.

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::presets::Preset;

/// The accuracy of one defence under one attack.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Row {
    pub(super) defense: String,
    /// Draws of the weights that a step's gradient was to average.
    pub(super) eot: bool,
    pub(super) eps: f64,
    /// In percent.
    pub(super) accuracy: f64,
    pub(super) images: u64,
}

/// The rows that `evaluate` has left; the clean accuracy is that at radius 0 under both attacks.
pub(super) fn rows(defense: &str, text: &str) -> Result<Vec<Row>> {
    let results: Value = serde_json::from_str(text)?;
    let lacking = || "these are not the results of `evaluate` for two attacks";
    let number = |value: &Value| value.as_f64().with_context(lacking);
    let images = results["images"].as_u64().with_context(lacking)?;
    let clean = number(&results["clean"]["accuracy"])?;
    let attacks = results["attacks"].as_array().with_context(lacking)?;
    let row = |eot, eps, accuracy| Row { defense: defense.to_owned(), eot, eps, accuracy, images };
    let mut rows = Vec::new();
    // A deterministic model takes one draw for both attacks; they come in the order asked for.
    let half = attacks.len() / 2;
    for (eot, part) in [(false, attacks.get(..half)), (true, attacks.get(half..))] {
        rows.push(row(eot, 0.0, clean));
        for attack in part.with_context(lacking)? {
            rows.push(row(eot, number(&attack["eps"])?, number(&attack["accuracy"])?));
        }
    }
    Ok(rows)
}

/// The name of an attack.
fn attack(eot: bool) -> &'static str {
    if eot { "EOT-PGD-20, 20 draws" } else { "PGD-20, 1 draw" }
}

pub(super) fn csv(rows: &[Row]) -> String {
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
pub(super) fn page(experiment: &str, preset: &Preset, radii: &[f64], rows: &[Row]) -> String {
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
    text += &format!("\n{}\n{}\n", sentence(preset, rows), preset.differs);
    text
}

/// What the table says of the paper's claim.
fn sentence(preset: &Preset, rows: &[Row]) -> String {
    // The radius of the table that is nearest to the one trained at.
    let distance = |row: &Row| (row.eps - preset.eps.1).abs();
    let attacked = rows.iter().filter(|row| row.eps > 0.0);
    let Some(eps) = attacked.min_by(|a, b| distance(a).total_cmp(&distance(b))).map(|row| row.eps)
    else {
        return String::new();
    };
    let found = |defense, eot| at(rows, defense, eot, eps);
    let (Some(adv), Some(one), Some(eot)) =
        (found("adv", false), found("adv-bnn", false), found("adv-bnn", true))
    else {
        return String::new();
    };
    let than = |difference: f64| match difference {
        d if d > 0.0 => format!("{d:.1} points above"),
        d if d < 0.0 => format!("{:.1} points below", -d),
        _ => "level with".to_owned(),
    };
    format!(
        "At radius {eps} Adv-BNN is {} adversarial training under the paper's own attack, which draws the weights once a step, and {} it under EOT, the attack to judge a random defence by.",
        than(one - adv),
        than(eot - adv)
    )
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reproduce::presets::PRESETS;

    fn results(clean: f64, accuracies: [f64; 4]) -> String {
        let [a, b, c, d] = accuracies;
        serde_json::json!({
            "images": 500, "clean": {"accuracy": clean}, "attacks": [
                {"eps": 0.1, "accuracy": a}, {"eps": 0.2, "accuracy": b},
                {"eps": 0.1, "accuracy": c}, {"eps": 0.2, "accuracy": d},
            ]
        })
        .to_string()
    }

    #[test]
    fn rows_become_a_page_with_a_plain_sentence() {
        let mut all = rows("adv", &results(80.0, [60.0, 30.0, 60.0, 30.0])).unwrap();
        all.extend(rows("adv-bnn", &results(78.0, [65.5, 40.0, 58.0, 31.0])).unwrap());
        assert_eq!(all.len(), 12);
        let fashion = PRESETS.iter().find(|preset| preset.name == "fashion").unwrap();
        let page = page("table1", fashion, &[0.0, 0.1, 0.2], &all);
        assert!(page.contains("| adv-bnn | EOT-PGD-20, 20 draws | 78.0 | 58.0 | 31.0 |"), "{page}");
        assert!(page.contains("Adv-BNN is 5.5 points above adversarial training"), "{page}");
        assert!(page.contains("and 2.0 points below it under EOT"), "{page}");
        assert!(csv(&all).contains("\nadv-bnn,20,0.2,31.00,500\n"));
        assert!(rows("adv", "{}").is_err());
    }
}
