//! The learning rate over a run.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::{Error, Result};

/// How the learning rate falls. As text: `constant`, `cosine`, or the epochs of each
/// stage, `80,60,40,20`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Schedule {
    /// The same rate throughout.
    #[default]
    Constant,
    /// Half a cosine from the full rate at the first step down to zero after the last.
    Cosine,
    /// Stages of so many epochs, each at a tenth of the rate before and with the
    /// optimizer's state at zero, as the published code does. The last stage goes on
    /// for as long as the run does.
    Stages(Vec<u64>),
}

/// What an optimizer is told at one step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Rate {
    pub(super) learning_rate: f64,
    /// Counts the steps since the optimizer's state was zero: 1, 2, ...
    pub(super) optimizer_step: u64,
}

impl Schedule {
    /// The rate of `step`, counted from 0, in a run of `epochs` epochs of `per_epoch` steps.
    pub(super) fn at(&self, full: f64, step: u64, per_epoch: u64, epochs: u64) -> Rate {
        match self {
            Schedule::Constant => Rate { learning_rate: full, optimizer_step: step + 1 },
            Schedule::Cosine => {
                let done = step as f64 / (epochs * per_epoch).max(1) as f64;
                let learning_rate = full * 0.5 * (1.0 + (std::f64::consts::PI * done).cos());
                Rate { learning_rate, optimizer_step: step + 1 }
            }
            Schedule::Stages(stages) => {
                let (stage, start) = stage_of(stages, step / per_epoch);
                let learning_rate = full * 0.1f64.powi(stage);
                Rate { learning_rate, optimizer_step: step - start * per_epoch + 1 }
            }
        }
    }

    /// The epochs that the stages take together, if it is stages.
    pub fn epochs(&self) -> Option<u64> {
        match self {
            Schedule::Stages(stages) => Some(stages.iter().sum()),
            Schedule::Constant | Schedule::Cosine => None,
        }
    }
}

/// The number of the stage that `epoch` is in, and the epoch that the stage starts at.
fn stage_of(stages: &[u64], epoch: u64) -> (i32, u64) {
    let starts = stages.iter().scan(0, |end, length| {
        let start = *end;
        *end += length;
        Some(start)
    });
    (0..).zip(starts).take_while(|(_, start)| *start <= epoch).last().unwrap_or_default()
}

impl FromStr for Schedule {
    type Err = Error;

    fn from_str(text: &str) -> Result<Schedule> {
        // Keeps every sum of epochs and every product with steps far from overflow.
        const LONGEST: u64 = 1_000_000;
        let bad = || {
            Error::Setting(format!(
                "schedule `{text}` is neither `constant`, `cosine` nor the epochs of each \
                 stage, such as `80,60,40,20`"
            ))
        };
        let stage = |part: &str| {
            part.trim().parse().ok().filter(|epochs| (1..=LONGEST).contains(epochs)).ok_or_else(bad)
        };
        match text {
            "constant" => Ok(Schedule::Constant),
            "cosine" => Ok(Schedule::Cosine),
            stages => stages.split(',').map(stage).collect::<Result<_>>().map(Schedule::Stages),
        }
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Schedule::Constant => f.write_str("constant"),
            Schedule::Cosine => f.write_str("cosine"),
            Schedule::Stages(stages) => {
                let stages: Vec<String> = stages.iter().map(u64::to_string).collect();
                f.write_str(&stages.join(","))
            }
        }
    }
}

impl TryFrom<String> for Schedule {
    type Error = Error;

    fn try_from(text: String) -> Result<Schedule> {
        text.parse()
    }
}

impl From<Schedule> for String {
    fn from(schedule: Schedule) -> String {
        schedule.to_string()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn stages_divide_the_rate_by_ten_and_restart_the_optimizer() {
        let schedule: Schedule = "2,1".parse().unwrap();
        let rates: Vec<_> = (0..10).map(|step| schedule.at(1.0, step, 3, 4)).collect();
        assert_eq!(rates[5], Rate { learning_rate: 1.0, optimizer_step: 6 });
        assert_eq!(rates[6], Rate { learning_rate: 0.1, optimizer_step: 1 });
        assert_eq!(rates[9], Rate { learning_rate: 0.1, optimizer_step: 4 }, "the last goes on");
        assert_eq!(schedule.epochs(), Some(3));
    }

    #[test]
    fn a_cosine_goes_from_the_full_rate_to_nothing() {
        let at = |step| Schedule::Cosine.at(2.0, step, 5, 2).learning_rate;
        assert_eq!(at(0), 2.0);
        assert!((at(5) - 1.0).abs() < 1e-12);
        assert!(at(9) < 0.05 && at(10) < 1e-12);
    }

    #[test]
    fn text_round_trips_and_nonsense_is_an_error() {
        for text in ["constant", "cosine", "80,60,40,20", "5"] {
            assert_eq!(text.parse::<Schedule>().unwrap().to_string(), text);
        }
        for text in ["", "80,,20", "0", "-1", "step", "99999999999999999999"] {
            assert!(text.parse::<Schedule>().is_err(), "{text}");
        }
    }
}
