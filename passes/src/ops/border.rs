//! Padding with what is there: the stretches of the axis that stand in the padding.

use graphs::{Op, Value};

use super::Call;
use super::patches::frame;
use crate::{Result, Tape};

/// What a Pad puts around.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Constant,
    Reflect,
    Edge,
    Wrap,
}

/// A part of a padded axis: `count` elements from `first` on, forwards, backwards or the
/// same one again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    first: i64,
    count: i64,
    step: i64,
}

/// The most runs that one axis may have; each is a few nodes.
const RUNS: i64 = 64;

impl Mode {
    pub(super) fn of(call: &Call) -> Result<Mode> {
        match call.op.string("mode") {
            None | Some("constant") => Ok(Mode::Constant),
            Some("reflect") => Ok(Mode::Reflect),
            Some("edge") => Ok(Mode::Edge),
            Some("wrap") => Ok(Mode::Wrap),
            Some(other) => Err(call.error(format!("the mode `{other}` is unknown"))),
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Mode::Constant => "constant",
            Mode::Reflect => "reflect",
            Mode::Edge => "edge",
            Mode::Wrap => "wrap",
        }
    }

    /// True if an axis of `size` can be padded by so many elements on one side. Engines
    /// refuse reflections that reach the other end.
    pub(super) fn allows(self, size: i64, pad: i64) -> bool {
        match self {
            _ if pad <= 0 => true,
            Mode::Constant => true,
            Mode::Reflect => pad < size,
            Mode::Edge => size > 0,
            Mode::Wrap => size > 0 && pad / size < RUNS / 2,
        }
    }

    /// Which element of an axis of `size` stands at `place`, counted from the first one;
    /// none in constant padding.
    pub(super) fn source(self, place: i64, size: i64) -> Option<i64> {
        match self {
            Mode::Constant => Some(place).filter(|place| (0..size).contains(place)),
            Mode::Reflect if place < 0 => Some(-place),
            Mode::Reflect if place >= size => Some(2 * (size - 1) - place),
            Mode::Reflect => Some(place),
            Mode::Edge => Some(place.clamp(0, size - 1)),
            Mode::Wrap => Some(place.rem_euclid(size)),
        }
    }

    /// The runs of an axis, in order.
    fn runs(self, size: i64, (before, after): (i64, i64)) -> Vec<Run> {
        let run = |first, count, step| Run { first, count, step };
        let mut runs = Vec::new();
        match self {
            Mode::Constant => runs.push(run(0, size, 1)),
            Mode::Reflect => {
                let [left, right] = [run(before, before, -1), run(size - 2, after, -1)];
                runs.extend([left, run(0, size, 1), right]);
            }
            Mode::Edge => {
                runs.extend([run(0, before, 0), run(0, size, 1), run(size - 1, after, 0)]);
            }
            Mode::Wrap => {
                let mut place = -before;
                while place < size + after {
                    let first = place.rem_euclid(size);
                    let count = (size - first).min(size + after - place);
                    runs.push(run(first, count, 1));
                    place += count;
                }
            }
        }
        runs.retain(|run| run.count > 0);
        runs
    }
}

/// The transpose of padding: adds what lies in the padding to where it came from.
pub(super) fn fold_back(
    tape: &mut Tape,
    dy: Value,
    mode: Mode,
    pads: &[(i64, i64)],
) -> Result<Value> {
    let mut dx = dy;
    for (axis, &pad) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
        let padded = tape.shape(dx)?.get(axis).map_or(0, |&n| n as i64);
        let (size, mut at, mut sum) = (padded - pad.0 - pad.1, 0, None);
        for run in mode.runs(size, pad) {
            let part = cut(tape, dx, axis, at, run)?;
            let part = match run.step {
                0 => tape.reduce_sum(part, &[axis], true)?,
                _ => part,
            };
            let (least, length) = span(run);
            let part = frame(tape, part, axis, &[(least, size - least - length)])?;
            sum = Some(match sum {
                None => part,
                Some(sum) => tape.apply("Add", &[sum, part])?,
            });
            at += run.count;
        }
        dx = sum.unwrap_or(dx);
    }
    Ok(dx)
}

/// The least place that a run reads, and how many places it reads.
fn span(run: Run) -> (i64, i64) {
    match run.step {
        0 => (run.first, 1),
        1 => (run.first, run.count),
        _ => (run.first - run.count + 1, run.count),
    }
}

/// `run.count` elements along `axis` from `at` on, turned round for a descending run.
fn cut(tape: &mut Tape, x: Value, axis: usize, at: i64, run: Run) -> Result<Value> {
    let axes = [axis as i64];
    let part = tape.slice(x, &axes, &[at], &[at + run.count], &[1])?;
    if run.step >= 0 || run.count == 1 {
        return Ok(part);
    }
    tape.slice(part, &axes, &[-1], &[i64::MIN], &[-1])
}

/// Padding as a Concat of parts, for ascending runs.
pub(super) fn repeat(tape: &mut Tape, x: Value, mode: Mode, pads: &[(i64, i64)]) -> Result<Value> {
    let mut y = x;
    for (axis, &pad) in pads.iter().enumerate().filter(|(_, pad)| **pad != (0, 0)) {
        let size = tape.shape(y)?.get(axis).map_or(0, |&n| n as i64);
        let mut parts = Vec::new();
        for run in mode.runs(size, pad) {
            parts.push(cut(tape, y, axis, run.first, run)?);
        }
        y = tape.op(Op::new("Concat").with("axis", axis as i64), &parts)?;
    }
    Ok(y)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_read_what_stands_there() {
        for mode in [Mode::Reflect, Mode::Edge, Mode::Wrap] {
            for (size, pad) in [(4, (3, 2)), (3, (0, 2)), (5, (1, 0)), (2, (1, 1))] {
                let runs = mode.runs(size, pad);
                let read = runs.iter().flat_map(|r| (0..r.count).map(|i| r.first + i * r.step));
                let there = (-pad.0..size + pad.1).filter_map(|i| mode.source(i, size));
                assert!(read.eq(there), "{mode:?} {size} {pad:?}");
            }
        }
        assert_eq!(Mode::Wrap.runs(3, (7, 4)).len(), 6);
    }
}
