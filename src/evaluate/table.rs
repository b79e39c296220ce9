//! Results as tables.

use comfy_table::Table;
use runtime::attack::Norm;
use runtime::evaluate::{Measured, Report};

use super::Evaluation;

/// Accuracies of several models side by side; of one model with its interval.
pub(crate) fn table(models: &[(&str, &Evaluation)]) -> Table {
    let mut header = vec!["attack".to_owned(), "radius".to_owned()];
    header.extend(models.iter().map(|(name, evaluation)| match name.is_empty() {
        true => match evaluation.report.images {
            1 => "accuracy, 1 image".to_owned(),
            images => format!("accuracy, {images} images"),
        },
        false => (*name).to_owned(),
    }));
    let mut table = new(&header);
    let mut row = |name: String, radius: String, cells: Vec<String>| {
        table.add_row([vec![name, radius], cells].concat());
    };
    let alone = models.len() == 1;
    let shown = |accuracy: f64, [low, high]: [f64; 2]| match alone {
        true => format!("{accuracy:.2} % ({low:.1} - {high:.1})"),
        false => format!("{accuracy:.2} %"),
    };
    let of = |measured: &Measured| shown(measured.accuracy, measured.interval);
    let clean = models.iter().map(|(_, e)| of(&e.report.clean)).collect();
    row("clean".to_owned(), String::new(), clean);
    let Some((_, first)) = models.first() else { return table };
    for (i, attacked) in first.report.attacks.iter().enumerate() {
        let rows = || models.iter().filter_map(|(_, e)| e.report.attacks.get(i));
        // Draws collapse to one for a plain model, so the greatest number is the request.
        let reports = || models.iter().map(|(_, e)| &e.report);
        let named = reports().zip(rows()).max_by_key(|(_, row)| row.attack.draws);
        let mut name = named.map_or_else(String::new, |(report, row)| report.title(&row.attack));
        if alone && attacked.tried < first.report.images {
            name = format!("{name}, tried on {}", attacked.tried);
        }
        let cells = rows().map(|row| of(&row.measured)).collect();
        row(name, radius(attacked.attack.norm, attacked.attack.eps), cells);
    }
    for (i, worst) in first.report.worst.iter().enumerate().filter(|(_, w)| w.attacks > 1) {
        let name = format!("worst of {}", worst.attacks);
        let rows = models.iter().filter_map(|(_, e)| e.report.worst.get(i));
        let cells = rows.map(|worst| shown(worst.accuracy, worst.interval)).collect();
        row(name, radius(worst.norm, worst.eps), cells);
    }
    table
}

/// Scores of the probabilities.
pub(super) fn uncertainty(report: &Report) -> Table {
    let names =
        ["images", "radius", "vote, %", "NLL", "Brier", "ECE", "entropy", "mutual inf.", "AUROC"];
    let mut table = new(&names.map(str::to_owned));
    let mut row = |name: String, radius: String, measured: &Measured, area: Option<f64>| {
        let of = &measured.uncertainty;
        let scores = [of.nll, of.brier, of.ece, of.predictive_entropy, of.mutual_information];
        let mut cells = vec![name, radius, format!("{:.2}", of.vote_accuracy)];
        cells.extend(scores.map(|score| format!("{score:.4}")));
        cells.push(area.map_or(String::new(), |area| format!("{area:.4}")));
        table.add_row(cells);
    };
    row("clean".to_owned(), String::new(), &report.clean, None);
    for attacked in report.attacks.iter().filter(|attacked| attacked.attack.eps > 0.0) {
        let shown = radius(attacked.attack.norm, attacked.attack.eps);
        let area = attacked.auroc.map(|areas| areas.predictive_entropy);
        row(report.title(&attacked.attack), shown, &attacked.measured, area);
    }
    if let Some(foreign) = &report.ood {
        let scores = [foreign.predictive_entropy, foreign.mutual_information];
        let mut cells = vec![String::new(); 6];
        cells.extend(scores.map(|score| format!("{score:.4}")));
        cells.push(format!("{:.4}", foreign.auroc.predictive_entropy));
        if let Some(name) = cells.first_mut() {
            *name = format!("{} foreign", foreign.images);
        }
        table.add_row(cells);
    }
    table
}

/// Every check with its figures.
pub(super) fn checks(report: &Report) -> Table {
    let mut table = new(&["verdict", "check", "figures"].map(str::to_owned));
    for check in &report.checks {
        table.add_row([check.verdict.to_string(), check.check.clone(), check.detail.clone()]);
    }
    table
}

pub(super) fn new(header: &[String]) -> Table {
    let mut table = Table::new();
    table.load_style(comfy_table::presets::UTF8_HORIZONTAL_ONLY);
    table.set_header(header);
    table
}

pub(super) fn radius(norm: Norm, eps: f64) -> String {
    match norm {
        Norm::Linf => format!("{eps:.4}"),
        Norm::L2 => format!("{eps:.4} L2"),
    }
}
