//! What an evaluation has to show before its numbers are believed: signs of gradients that
//! mislead (Athalye et al. 2018) and of attacks that are weaker than they need be (Carlini et
//! al. 2019; Zimmermann 2019).

mod effort;
mod limits;
mod order;
#[cfg(test)]
mod tests;

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::attack::Method;

/// Percentage points by which two accuracies may differ before a check warns.
pub(super) const TOLERANCE: f64 = 1.0;

/// At this radius every pixel can become grey, so that no model can be right.
pub(super) const UNBOUNDED: f64 = 0.5;

/// What came of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Verdict {
    /// As it should be.
    #[serde(rename = "PASS")]
    Pass,
    /// The accuracies are not to be trusted before this is explained.
    #[serde(rename = "WARN")]
    Warn,
    /// What it needs was not measured, or does not apply.
    #[serde(rename = "NOT RUN")]
    NotRun,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Verdict::Pass => "PASS",
            Verdict::Warn => "WARN",
            Verdict::NotRun => "NOT RUN",
        })
    }
}

/// One line of the list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// What was checked.
    pub check: String,
    /// What came of it.
    pub verdict: Verdict,
    /// The figures behind it, or what is missing.
    pub detail: String,
}

/// The accuracy under one attack, in percent, of the images that the checks look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Row {
    pub(super) method: Method,
    pub(super) eps: f64,
    pub(super) steps: u64,
    pub(super) draws: u64,
    pub(super) restarts: u64,
    pub(super) random_start: bool,
    pub(super) accuracy: f64,
    /// Images, in percent, that are what they were before the attack.
    pub(super) unmoved: f64,
}

/// All that the checks look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evidence {
    /// The radius at which attacks are compared.
    pub(super) eps: f64,
    pub(super) rows: Vec<Row>,
    /// The accuracy without an attack, in percent.
    pub(super) clean: f64,
    /// Whether the model has noise.
    pub(super) random: bool,
    /// The share of the most frequent label, in percent: what a constant answer reaches.
    pub(super) chance: f64,
    /// The greatest distance of an attacked image, as a share of its radius; `None` without
    /// attacks.
    pub(super) farthest: Option<f64>,
    /// Of the attacks' successes under one seed, the share that is a success under the others,
    /// in percent; `None` without seeds or successes.
    pub(super) repeated: Option<f64>,
}

/// All checks, in the order of the report.
pub(super) fn all(evidence: &Evidence) -> Vec<Check> {
    const CHECKS: [fn(&Evidence) -> Check; 15] = [
        effort::eot_sweep,
        effort::more_steps,
        effort::many_steps,
        effort::more_restarts,
        order::one_step,
        effort::radius_order,
        limits::unbounded,
        limits::unmoved,
        order::random_points,
        order::fixed_noise,
        order::mean_weights,
        order::other_loss,
        order::no_gradient,
        limits::perturbations,
        limits::fresh_draws,
    ];
    CHECKS.iter().map(|check| check(evidence)).collect()
}

impl Evidence {
    /// PGD from the clean image with the most draws, and of these the most steps that are
    /// not a doubling: what the others are compared with.
    fn reference(&self) -> Option<&Row> {
        let pgd = self.at(Method::Pgd).filter(|row| row.restarts == 1 && !row.random_start);
        let rows: Vec<&Row> = pgd.collect();
        // A sweep goes on beyond the reference, whose neighbours alone have more restarts.
        let anchored = rows
            .iter()
            .copied()
            .filter(|row| self.at(Method::Pgd).any(|o| o.restarts > 1 && same_effort(o, row)));
        anchored
            .max_by_key(|row| row.draws)
            .or_else(|| rows.into_iter().max_by_key(|row| (row.draws, row.steps)))
    }

    /// Attacks of a method at the radius.
    fn at(&self, method: Method) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |row| row.method == method && row.eps == self.eps)
    }

    /// The strongest attack of a method at the radius.
    fn strongest(&self, method: Method) -> Option<&Row> {
        self.at(method).min_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
    }
}

fn same_effort(a: &Row, b: &Row) -> bool {
    (a.steps, a.draws) == (b.steps, b.draws)
}

fn line(check: &str, verdict: Verdict, detail: String) -> Check {
    Check { check: check.to_owned(), verdict, detail }
}

fn not_run(check: &str, reason: &str) -> Check {
    line(check, Verdict::NotRun, reason.to_owned())
}

/// `PASS` if `good`.
fn judged(check: &str, good: bool, detail: String) -> Check {
    line(check, if good { Verdict::Pass } else { Verdict::Warn }, detail)
}

/// Why a check was not run.
const BUDGET: &str = "not measured; --budget does";
