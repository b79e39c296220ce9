//! What a run gave against what it must give.

use graphs::{DType, Fact, Tensor};

use crate::engines::Values;
use crate::models::doubles;

/// As ONNX's own runner.
const RELATIVE: f64 = 1e-3;
/// In units of the greatest element, or of 1. ONNX's own runner takes 1e-7, for which float32 sums
/// in another order are too coarse.
const ABSOLUTE: f64 = 1e-6;

/// What tells `found` from `expected`, if something does.
pub(super) fn difference(found: &Values, expected: &Values) -> Option<String> {
    expected.iter().find_map(|(name, expected)| match found.get(name) {
        None => Some(format!("output `{name}` is missing")),
        Some(found) => Some(format!("output `{name}`: {}", tensors(found, expected)?)),
    })
}

fn tensors(found: &Tensor, expected: &Tensor) -> Option<String> {
    if Fact::of(found) != Fact::of(expected) {
        return Some(format!("{found:?} against {expected:?}"));
    }
    if !found.dtype().is_float() {
        return (found != expected).then(|| format!("{found:?}: values differ"));
    }
    // Two units in the last place of the smaller types.
    let relative = match found.dtype() {
        DType::F16 => 2e-3,
        DType::BF16 => 1.6e-2,
        _ => RELATIVE,
    };
    let half = found.dtype().bits() == 16;
    let (found, expected) = (doubles(found), doubles(expected));
    let finite = expected.iter().filter(|v| v.is_finite());
    let greatest = finite.fold(1f64, |most, v| most.max(v.abs()));
    let absolute = if half { relative } else { ABSOLUTE } * greatest;
    let near = |(a, b): (f64, f64)| {
        a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= absolute + relative * b.abs()
    };
    let i = found.iter().zip(&expected).position(|(a, b)| !near((*a, *b)))?;
    Some(format!("element {i}: {} against {}", found[i], expected[i]))
}
