//! Which charts a report has.

use super::chart::{Axis, Chart, Series, Style};
use crate::attack::{AttackSpec, Norm};
use crate::evaluate::{Attack, Evaluation, Probe, Report};
use crate::uncertainty::ReliabilityBin;

/// Bars of a histogram.
const BARS: usize = 12;

/// Every chart that there are figures for.
pub(super) fn all(evaluation: &Evaluation) -> Vec<Chart> {
    let report = &evaluation.report;
    let charts = [
        radius(report),
        draws(report),
        steps(report),
        samples(report),
        reliability(report),
        entropy(evaluation),
        information(evaluation),
    ];
    charts.into_iter().flatten().collect()
}

/// Accuracy against the radius, a line for each attack.
fn radius(report: &Report) -> Option<Chart> {
    let mut kinds: Vec<&AttackSpec> = Vec::new();
    let mut lines: Vec<Series> = Vec::new();
    for row in report.attacks.iter().filter(|row| row.attack.eps > 0.0) {
        let spec = &row.attack.spec;
        let place = kinds.iter().position(|kind| *kind == spec).unwrap_or_else(|| {
            kinds.push(spec);
            let start = vec![(0.0, report.clean.accuracy)];
            lines.push(Series::new(report.title(&row.attack), start));
            lines.len() - 1
        });
        if let Some(line) = lines.get_mut(place) {
            line.points.push((row.attack.eps, row.measured.accuracy));
        }
    }
    for line in &mut lines {
        line.points.sort_by(|(a, _), (b, _)| a.total_cmp(b));
    }
    let farthest = lines.iter().flat_map(|l| &l.points).map(|(eps, _)| *eps).fold(0.0, f64::max);
    (farthest > 0.0).then(|| Chart {
        name: "radius",
        title: "Accuracy against the radius".to_owned(),
        x_label: match report.attacks.iter().all(|row| row.attack.norm == Norm::Linf) {
            true => "radius".to_owned(),
            false => "radius, of the norm of the attack".to_owned(),
        },
        y_label: "accuracy, %".to_owned(),
        x: Axis::Linear(0.0, farthest * 1.02),
        y: (0.0, 100.0),
        style: Style::Lines,
        series: lines,
    })
}

/// Accuracy against the draws that a step averages.
fn draws(report: &Report) -> Option<Chart> {
    sweep(
        report,
        "draws",
        "Accuracy against draws a step (EOT)",
        |attack| attack.draws,
        |attack| format!("draws, {} steps", attack.steps),
        |a, b| a.steps == b.steps,
    )
}

/// Accuracy against the steps of the attack.
fn steps(report: &Report) -> Option<Chart> {
    sweep(
        report,
        "steps",
        "Accuracy against steps of PGD",
        |attack| attack.steps,
        |attack| match attack.draws {
            1 => "steps of 1 draw".to_owned(),
            draws => format!("steps of {draws} draws"),
        },
        |a, b| a.draws == b.draws,
    )
}

/// The longest line of PGD probes at the radius of the checks that differ in one number.
fn sweep(
    report: &Report,
    name: &'static str,
    title: &str,
    number: fn(&Attack) -> u64,
    label: fn(&Attack) -> String,
    alike: fn(&Attack, &Attack) -> bool,
) -> Option<Chart> {
    let probes = report.probes.as_ref()?;
    let plain = |probe: &&Probe| {
        let attack = &probe.attack;
        attack.is_plain() && attack.eps == probes.eps
    };
    let rows: Vec<&Probe> = probes.rows.iter().filter(plain).collect();
    let line = |first: &&Probe| {
        let of = |row: &&&Probe| alike(&row.attack, &first.attack);
        let mut line: Vec<(u64, f64)> =
            rows.iter().filter(of).map(|row| (number(&row.attack), row.accuracy)).collect();
        line.sort_by_key(|(number, _)| *number);
        line.dedup_by_key(|(number, _)| *number);
        (label(&first.attack), line)
    };
    let lines = rows.iter().map(line).filter(|(_, line)| line.len() > 1);
    let (label, line) = lines.max_by_key(|(_, line)| line.len())?;
    Some(Chart {
        name,
        title: title.to_owned(),
        x_label: format!("{label}, {} images at radius {:.4}", probes.images, probes.eps),
        y_label: "accuracy, %".to_owned(),
        x: Axis::Places(line.iter().map(|(number, _)| number.to_string()).collect()),
        y: (0.0, 100.0),
        style: Style::Lines,
        series: vec![Series::new("PGD", places(line.iter().map(|l| l.1)))],
    })
}

fn places(values: impl Iterator<Item = f64>) -> Vec<(f64, f64)> {
    (0..).map(f64::from).zip(values).collect()
}

/// Accuracy against the draws that a prediction averages.
fn samples(report: &Report) -> Option<Chart> {
    let of = |name: &str, measured: &crate::evaluate::Measured| {
        let accuracies = measured.by_samples.iter().map(|row| row.uncertainty.accuracy);
        Series::new(name, places(accuracies))
    };
    let mut series = vec![of("clean", &report.clean)];
    series.extend(report.shown().map(|row| of(&report.title(&row.attack), &row.measured)));
    let counts = report.clean.by_samples.iter().map(|row| row.samples.to_string());
    let counts: Vec<String> = counts.collect();
    (counts.len() > 1).then(|| Chart {
        name: "samples",
        title: "Accuracy against draws a prediction".to_owned(),
        x_label: "draws that a prediction averages".to_owned(),
        y_label: "accuracy, %".to_owned(),
        x: Axis::Places(counts),
        y: (0.0, 100.0),
        style: Style::Lines,
        series,
    })
}

fn reliability(report: &Report) -> Option<Chart> {
    let of = |name: &str, bins: &[ReliabilityBin]| {
        let filled = bins.iter().filter(|bin| bin.count > 0);
        let points = filled.map(|bin| (100.0 * bin.confidence, 100.0 * bin.accuracy));
        Series::new(name, points.collect())
    };
    let mut series = vec![of("clean", &report.clean.reliability)];
    let shown = report.shown();
    series.extend(shown.map(|row| of(&report.title(&row.attack), &row.measured.reliability)));
    Some(Chart {
        name: "reliability",
        title: "Reliability, 15 bins".to_owned(),
        x_label: "confidence, %".to_owned(),
        y_label: "accuracy, %".to_owned(),
        x: Axis::Linear(0.0, 100.0),
        y: (0.0, 100.0),
        style: Style::Diagonal,
        series,
    })
}

fn entropy(evaluation: &Evaluation) -> Option<Chart> {
    histogram("entropy", "Predictive entropy", &evaluation.scores(|one| one.predictive_entropy))
}

fn information(evaluation: &Evaluation) -> Option<Chart> {
    let random = evaluation.report.samples > 1;
    let scores = evaluation.scores(crate::uncertainty::Judged::mutual_information);
    histogram("information", "Mutual information", &scores).filter(|_| random)
}

fn histogram(name: &'static str, title: &str, kinds: &[(String, Vec<f64>)]) -> Option<Chart> {
    let greatest = kinds.iter().flat_map(|(_, v)| v).copied().fold(0.0, f64::max).max(1e-3);
    let width = greatest / BARS as f64;
    let bars = |values: &Vec<f64>| -> Vec<(f64, f64)> {
        let share = 100.0 / values.len().max(1) as f64;
        let bar = |bar: usize| {
            let inside = |value: &&f64| ((**value / width) as usize).min(BARS - 1) == bar;
            let count = values.iter().filter(inside).count();
            ((bar as f64 + 0.5) * width, count as f64 * share)
        };
        (0..BARS).map(bar).collect()
    };
    let series: Vec<Series> =
        kinds.iter().map(|(name, values)| Series::new(name.clone(), bars(values))).collect();
    let top = series.iter().flat_map(|s| &s.points).map(|(_, y)| *y).fold(0.0, f64::max);
    (top > 0.0).then(|| Chart {
        name,
        title: title.to_owned(),
        x_label: "nats".to_owned(),
        y_label: "images, %".to_owned(),
        x: Axis::Linear(0.0, greatest),
        y: (0.0, (top * 1.15).min(100.0)),
        style: Style::Bars,
        series,
    })
}
