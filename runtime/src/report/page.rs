//! The page: HTML and CSS, charts inside, nothing fetched and no script.

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::{Heading, pictures};
use crate::Result;
use crate::evaluate::{Attack, Attacked, Evaluation, Foreign, Measured, Report, Verdict};

const STYLE: &str = include_str!("page.css");

/// The page with these charts.
///
/// # Errors
/// When a picture cannot be encoded.
pub(super) fn render(
    heading: &Heading,
    evaluation: &Evaluation,
    charts: &[String],
) -> Result<String> {
    let report = &evaluation.report;
    let pictured = pictures::rows(&evaluation.pictures, &heading.class_names)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                // Without it a browser asks the server for one.
                link rel="icon" href="data:,";
                title { "Robustness of " (heading.model) }
                style { (PreEscaped(STYLE)) }
            }
            body {
                main {
                    h1 { "Robustness of " (heading.model) }
                    (summary(heading, report))
                    (tiles(report))
                    h2 { "Accuracy under every attack" }
                    (attacks(report))
                    h2 { "Can these numbers be believed?" }
                    (checks(report))
                    h2 { "Charts" }
                    div.charts { @for chart in charts { figure.chart { (PreEscaped(chart)) } } }
                    h2 { "Uncertainty and calibration" }
                    (uncertainty(report))
                    @if !evaluation.pictures.is_empty() {
                        h2 { "What the attack did" }
                        (pictured)
                    }
                    footer { "Made by advbnn " (env!("CARGO_PKG_VERSION")) ". The figures are in results.json, those of single images in per_example.csv." }
                }
            }
        }
    };
    Ok(page.into_string())
}

fn summary(heading: &Heading, report: &Report) -> Markup {
    html! {
        p.summary {
            (report.images) " images of " (heading.data) "; the class is that of the mean softmax over "
            (report.samples) @if report.samples == 1 { " draw" } @else { " draws" }
            " of the weights. The attacker knows the model, the means and the log-stds, but not the draws of the prediction. "
            "Radii are in units of pixels in [0, 1]. Engine " (heading.engine) ", seed " (heading.seed) "."
        }
    }
}

/// The figures to take away.
fn tiles(report: &Report) -> Markup {
    let count = |verdict| report.checks.iter().filter(|check| check.verdict == verdict).count();
    let (warnings, passed) = (count(Verdict::Warn), count(Verdict::Pass));
    html! {
        div.tiles {
            @if let Some(worst) = report.headline() {
                (tile(
                    "robust accuracy",
                    &percent(worst.accuracy),
                    &format!(
                        "radius {}, {}, worst case over {} attacks, 95 % {}",
                        radius(worst.eps), worst.norm, worst.attacks, range(worst.interval)
                    ),
                ))
            }
            (tile("clean accuracy", &percent(report.clean.accuracy), &format!("95 % {}", range(report.clean.interval))))
            (tile("calibration error", &format!("{:.3}", report.clean.uncertainty.ece), "clean images, 15 bins"))
            (tile("checks", &format!("{passed} passed"), &match warnings {
                0 => "no warning".to_owned(),
                1 => "1 warning: see below".to_owned(),
                _ => format!("{warnings} warnings: see below"),
            }))
        }
    }
}

fn tile(what: &str, figure: &str, detail: &str) -> Markup {
    html! { div.tile { span.what { (what) } span.figure { (figure) } span.detail { (detail) } } }
}

fn attacks(report: &Report) -> Markup {
    let clean = &report.clean;
    html! {
        div.wide { table {
            thead { tr { th { "attack" } th.n { "radius" } th.n { "accuracy" } th.n { "95 % interval" } th.n { "one draw" } th.n { "vote" } th.n { "over seeds" } } }
            tbody {
                tr { td { "none" } td.n {} (cells(clean)) }
                @for Attacked { attack, tried, measured, .. } in &report.attacks {
                    tr {
                        td {
                            (report.title(attack)) span.detail {
                                (settings(attack))
                                @if *tried < report.images { ", tried on the " (tried) " images that were left" }
                            }
                        }
                        td.n { (format!("{:.4}", attack.eps)) (norm(attack.norm)) }
                        (cells(measured))
                    }
                }
                @for worst in report.worst.iter().filter(|worst| worst.attacks > 1) {
                    tr.worst {
                        td { "all together" } td.n { (format!("{:.4}", worst.eps)) (norm(worst.norm)) }
                        td.n { (percent(worst.accuracy)) } td.n { (range(worst.interval)) } td.n {} td.n {} td.n {}
                    }
                }
            }
        } }
        p.note {
            @if report.attacks.iter().any(|row| row.tried < report.images) {
                "Each attack was tried only on what those before it at its radius had left right; every figure is of all images after it, one that was broken before being as it was broken. "
            }
            "The last lines count an image only where no attack at all changes its class. "
            "“One draw” is the accuracy of a single draw of the weights; “vote” that of the class which most draws choose, where the accuracy is that of the mean softmax; “over seeds” is the standard deviation over inference seeds on the same images."
        }
    }
}

/// What the title does not say of an attack.
fn settings(attack: &Attack) -> String {
    let step = match attack.step_size > 0.0 {
        true => format!("step {:.4}, ", attack.step_size),
        false => String::new(),
    };
    let start = if attack.random_start { "a random point" } else { "the image" };
    let starts = if attack.restarts == 1 { "one start" } else { "starts" };
    match attack.restarts {
        1 => format!("{step}{starts} at {start}"),
        many => format!("{step}{many} {starts} at {start}"),
    }
}

fn cells(measured: &Measured) -> Markup {
    let spread = measured.spread.as_ref();
    html! {
        td.n { (percent(measured.accuracy)) }
        td.n { (range(measured.interval)) }
        td.n { (percent(measured.single_draw_accuracy)) }
        td.n { (percent(measured.uncertainty.vote_accuracy)) }
        td.n { @if let Some(spread) = spread { (format!("±{:.2}", spread.std)) } @else { "–" } }
    }
}

fn checks(report: &Report) -> Markup {
    let class = |verdict| match verdict {
        Verdict::Pass => "pass",
        Verdict::Warn => "warn",
        Verdict::NotRun => "idle",
    };
    html! {
        div.wide { table.checks { tbody {
            @for check in &report.checks {
                tr {
                    td { span class={ "verdict " (class(check.verdict)) } { (check.verdict) } }
                    td { (check.check) span.detail { (check.detail) } }
                }
            }
        } } }
    }
}

fn uncertainty(report: &Report) -> Markup {
    let rows = report.attacks.iter().filter(|row| row.attack.eps > 0.0);
    let area = |value: Option<f64>| value.map_or("–".to_owned(), |area| format!("{area:.3}"));
    html! {
        div.wide { table {
            thead { tr {
                th { "images" } th.n { "NLL" } th.n { "Brier" } th.n { "ECE" } th.n { "entropy" }
                th.n { "expected entropy" } th.n { "mutual information" } th.n { "disagreement" } th.n { "AUROC" }
            } }
            tbody {
                tr { td { "clean" } (scores(&report.clean)) td.n { "–" } }
                @for row in rows {
                    tr {
                        td { (report.title(&row.attack)) (format!(", radius {:.4}", row.attack.eps)) (norm(row.attack.norm)) }
                        (scores(&row.measured))
                        td.n { (area(row.auroc.map(|area| area.predictive_entropy))) }
                    }
                }
                @if let Some(foreign) = &report.ood { (foreign_row(foreign)) }
            }
        } }
        p.note { "Entropies are in nats. AUROC: how well the predictive entropy tells these images from the clean ones; 0.5 is chance." }
    }
}

fn scores(measured: &Measured) -> Markup {
    let of = &measured.uncertainty;
    let values = [
        of.nll,
        of.brier,
        of.ece,
        of.predictive_entropy,
        of.expected_entropy,
        of.mutual_information,
        of.disagreement,
    ];
    html! { @for value in values { td.n { (format!("{value:.3}")) } } }
}

fn foreign_row(foreign: &Foreign) -> Markup {
    let values = [
        foreign.predictive_entropy,
        foreign.expected_entropy,
        foreign.mutual_information,
        foreign.disagreement,
        foreign.auroc.predictive_entropy,
    ];
    html! {
        tr {
            td { (foreign.images) " foreign images" } td.n { "–" } td.n { "–" } td.n { "–" }
            @for value in values { td.n { (format!("{value:.3}")) } }
        }
    }
}

/// Nothing for L-infinity, which every other radius is told in.
fn norm(norm: crate::attack::Norm) -> String {
    match norm {
        crate::attack::Norm::Linf => String::new(),
        other => format!(" {other}"),
    }
}

/// As a number, and as levels of a pixel where that is how it was meant.
fn radius(eps: f64) -> String {
    let levels = 255.0 * eps;
    match (levels - levels.round()).abs() < 1e-9 {
        true => format!("{eps:.4} = {levels:.0}/255"),
        false => format!("{eps:.4}"),
    }
}

fn percent(value: f64) -> String {
    format!("{value:.1} %")
}

fn range([low, high]: [f64; 2]) -> String {
    format!("{low:.1} – {high:.1}")
}
