//! How checks end, and how they are counted.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

/// How one check of one node test ends.
#[derive(Clone, Debug)]
pub(super) enum Verdict {
    Passed,
    Failed(String),
    /// The kind of reason that is counted, and the reason.
    Inapplicable(String, String),
}

/// All verdicts on one check.
#[derive(Default)]
pub(super) struct Count {
    passed: usize,
    failures: Vec<String>,
    /// How many tests each kind of reason excuses.
    excused: BTreeMap<String, usize>,
}

impl Count {
    pub(super) fn add(&mut self, test: &str, verdict: Verdict) {
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed(reason) => self.failures.push(format!("{test}: {reason}")),
            Verdict::Inapplicable(kind, _) => *self.excused.entry(kind).or_default() += 1,
        }
    }

    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, excused) = (self.failures.len(), self.excused.values().sum::<usize>());
        write!(f, "{} passed, {failed} failed, {excused} not applicable", self.passed)?;
        self.excused.iter().try_for_each(|(kind, count)| write!(f, "\n    {count:5} {kind}"))
    }
}

/// One line a test and check: the table behind the counts.
pub(super) fn table(verdicts: &[(String, Vec<Verdict>)], checks: &[&str]) -> String {
    let mut text = String::new();
    for (test, verdicts) in verdicts {
        for (check, verdict) in checks.iter().zip(verdicts) {
            let line = match verdict {
                Verdict::Passed => "passed".to_owned(),
                Verdict::Failed(reason) => format!("failed\t{reason}"),
                Verdict::Inapplicable(kind, reason) => format!("not applicable\t{kind}\t{reason}"),
            };
            let _ = writeln!(text, "{test}\t{check}\t{line}");
        }
    }
    text
}
