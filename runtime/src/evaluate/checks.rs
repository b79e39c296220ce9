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

use super::results::Probe;
use crate::attack::{Method, Norm};

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

/// All that the checks look at.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Evidence {
    /// How the radius is measured.
    pub(super) norm: Norm,
    /// The radius at which attacks are compared.
    pub(super) eps: f64,
    /// What attacks of that norm, at whatever radius, have left.
    pub(super) rows: Vec<Probe>,
    /// The accuracy without an attack, in percent.
    pub(super) clean: f64,
    /// Whether the model has noise.
    pub(super) random: bool,
    /// The share of the most frequent label, in percent: what a constant answer reaches.
    pub(super) chance: f64,
    /// The greatest distance of an attacked image, as a share of its radius; `None` without
    /// attacks.
    pub(super) farthest: Option<f64>,
    /// How many attacked images are out of their ball.
    pub(super) outside: usize,
    /// Of the successes of attacks by gradients under one seed, the share that is a success
    /// under the others, in percent; `None` without seeds or successes.
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
    /// Plain PGD that others are compared with: with the most draws, and of these the most steps.
    /// Better one that was also tried from several starts, or else with twice the steps.
    fn reference(&self) -> Option<&Probe> {
        let plain = || self.at(Method::Pgd).filter(|row| row.attack.is_plain());
        // A sweep goes on beyond the reference, whose neighbours alone have more restarts.
        let anchored = plain().filter(|row| self.again(row).is_some());
        let effort = |row: &&Probe| (row.attack.draws, row.attack.steps);
        anchored
            .max_by_key(|row| row.attack.draws)
            .or_else(|| plain().filter(|row| self.doubled(row).is_some()).max_by_key(effort))
            .or_else(|| plain().max_by_key(effort))
    }

    /// The same attack with twice the steps.
    fn doubled(&self, reference: &Probe) -> Option<&Probe> {
        let wanted = (2 * reference.attack.steps, reference.attack.draws);
        let mut plain = self.at(Method::Pgd).filter(|row| row.attack.is_plain());
        plain.find(|row| is_alike(row, reference) && (row.attack.steps, row.attack.draws) == wanted)
    }

    /// Plain PGD that differs from `reference` in nothing but steps and draws.
    fn like<'e>(&'e self, reference: &'e Probe) -> impl Iterator<Item = &'e Probe> {
        self.at(Method::Pgd).filter(|row| row.attack.is_plain() && is_alike(row, reference))
    }

    /// The same attack from several starts.
    fn again(&self, reference: &Probe) -> Option<&Probe> {
        let mut starts = self.at(Method::Pgd).filter(|row| row.attack.restarts > 1);
        starts.find(|row| is_alike(row, reference) && same_effort(row, reference))
    }

    /// Attacks of a method at the radius.
    fn at(&self, method: Method) -> impl Iterator<Item = &Probe> {
        let there = self.rows.iter().filter(|row| row.attack.eps == self.eps);
        there.filter(move |row| row.attack.spec.method() == method)
    }

    /// The strongest attack of a method at the radius.
    fn strongest(&self, method: Method) -> Option<&Probe> {
        self.at(method).min_by(|a, b| a.accuracy.total_cmp(&b.accuracy))
    }
}

fn is_alike(a: &Probe, b: &Probe) -> bool {
    a.attack.spec.is_alike(&b.attack.spec)
}

fn same_effort(a: &Probe, b: &Probe) -> bool {
    (a.attack.steps, a.attack.draws) == (b.attack.steps, b.attack.draws)
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
