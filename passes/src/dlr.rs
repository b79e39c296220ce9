//! The difference of logits ratio, a loss that does not change with the scale of the
//! logits (Croce and Hein, "Reliable evaluation of adversarial robustness with an
//! ensemble of diverse parameter-free attacks", ICML 2020).

use graphs::{Op, Value};

use crate::loss::pick;
use crate::{Result, Tape};

/// Keeps the ratio finite where the logits in it are all equal.
const LEAST: f64 = 1e-12;

/// `-(z_y - max_{i != y} z_i) / (z_(1) - z_(3))` of each example, `[N]` (equation 6), z_(1)
/// the greatest logit: positive where the label `y` is not the class.
///
/// # Errors
/// When there are fewer than three classes.
pub(crate) fn untargeted(tape: &mut Tape, logits: Value, labels: Value) -> Result<Value> {
    let [first, second, third] = greatest(tape, logits, "three")?;
    let own = pick(tape, logits, labels)?;
    let leads = tape.apply("Equal", &[own, first])?;
    let other = tape.apply("Where", &[leads, second, first])?;
    ratio(tape, [own, other], [first, third])
}

/// `-(z_y - z_t) / (z_(1) - (z_(3) + z_(4)) / 2)` of each example, `[N]` (equation 7), for the
/// classes `targets` int64 `[N]` to be taken for.
///
/// # Errors
/// When there are fewer than four classes.
pub(crate) fn targeted(
    tape: &mut Tape,
    logits: Value,
    labels: Value,
    targets: Value,
) -> Result<Value> {
    let [first, _, third, fourth] = greatest(tape, logits, "four")?;
    let [own, target] = [pick(tape, logits, labels)?, pick(tape, logits, targets)?];
    let sum = tape.apply("Add", &[third, fourth])?;
    let half = tape.number(0.5, sum)?;
    let middle = tape.apply("Mul", &[sum, half])?;
    ratio(tape, [own, target], [first, middle])
}

/// `(other - own) / (high - low)`.
fn ratio(tape: &mut Tape, [own, other]: [Value; 2], [high, low]: [Value; 2]) -> Result<Value> {
    let difference = tape.apply("Sub", &[other, own])?;
    let range = tape.apply("Sub", &[high, low])?;
    let least = tape.number(LEAST, range)?;
    let range = tape.apply("Add", &[range, least])?;
    tape.apply("Div", &[difference, range])
}

/// The `K` greatest logits of each example, each `[N]`; `count` says how many in words.
fn greatest<const K: usize>(tape: &mut Tape, logits: Value, count: &str) -> Result<[Value; K]> {
    let shape = tape.shape(logits)?;
    let (n, classes) = match *shape.as_slice() {
        [n, classes] => (n, classes),
        _ => return Err(tape.error(logits, format!("logits of {shape:?}, not [N, classes]"))),
    };
    if classes < K {
        let reason = format!("{classes} classes; the DLR loss needs {count} or more");
        return Err(tape.error(logits, format!("{reason}, so attack with the cross-entropy")));
    }
    let k = tape.ints(&[K as i64]);
    let sorted = tape.call(Op::new("TopK").with("axis", 1), &[Some(logits), Some(k)], 2)?;
    let mut found = [logits; K];
    for (i, value) in found.iter_mut().enumerate() {
        let i = i as i64;
        let column = tape.slice(sorted.into(), &[1], &[i], &[i + 1], &[1])?;
        *value = tape.reshape(column, &[n])?;
    }
    Ok(found)
}
