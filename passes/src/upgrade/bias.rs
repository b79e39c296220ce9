//! Which keys a query of Attention may look at.

use graphs::{DType, Dim, Op, Tensor, Value};

use super::Site;
use super::attention::{MASK, PAST_KEY, VALID_KEYS};
use super::site::int;
use crate::Result;

/// What is added to the scores.
pub(super) struct Bias {
    pub(super) value: Value,
    /// A query may have no key left.
    pub(super) may_be_empty: bool,
}

/// The sum of what the mask and the causal order say; none where they say nothing.
pub(super) fn bias(site: &mut Site, query: Value, key: Value) -> Result<Option<Bias>> {
    let given = site.argument(MASK);
    let boolean = given.filter(|_| site.dtype(MASK) == Some(DType::Bool));
    let mut allowed = order(site, query, key)?;
    let ordered = allowed.is_some();
    let padded = site.argument(VALID_KEYS).is_some();
    let zero = site.number("zero", 0.0, query);
    let never = site.number("never", f32::NEG_INFINITY, query);
    let mut float = given.filter(|_| boolean.is_none());
    if let Some(mask) = boolean {
        match short_by(site, mask, key) {
            // Keys that the mask is too short for are left out.
            Some(_) => float = Some(site.apply("Where", &[mask, zero, never])),
            None => {
                let both = |site: &mut Site, other| site.apply("And", &[mask, other]);
                allowed = Some(allowed.map_or(mask, |other| both(site, other)));
            }
        }
    }
    if let Some((mask, missing)) = float.and_then(|mask| Some((mask, short_by(site, mask, key)?))) {
        let pads = site.constant("pads", Tensor::vector(&[0, missing]));
        let axes = site.constant("axes", Tensor::vector(&[-1i64]));
        float = Some(site.apply("Pad", &[mask, pads, never, axes]));
    }
    let chosen = allowed.map(|allowed| site.apply("Where", &[allowed, zero, never]));
    let value = match (chosen, float) {
        (Some(chosen), Some(float)) => site.apply("Add", &[chosen, float]),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return Ok(None),
    };
    let constant = given.and_then(|mask| site.graph.tensor(mask));
    let harmless = given.is_none() || (!ordered && constant.is_some_and(keeps_a_key));
    Ok(Some(Bias { value, may_be_empty: padded || !harmless }))
}

/// True if no row of a constant mask leaves out every key.
fn keeps_a_key(mask: &Tensor) -> bool {
    let Some(&width @ 1..) = mask.shape().last() else { return false };
    match mask.floats() {
        Ok(values) => values.chunks(width).all(|row| row.iter().any(|v| *v > f32::NEG_INFINITY)),
        Err(_) => mask.bytes().chunks(width).all(|row| row.contains(&1)),
    }
}

/// How many keys more there are than the mask speaks of.
fn short_by(site: &Site, mask: Value, key: Value) -> Option<i64> {
    let width = match site.graph.fact(mask).shape.as_ref()?.last()? {
        Dim::Known(width) => i64::try_from(*width).ok()?,
        _ => return None,
    };
    Some(site.size(key, 2)? - width).filter(|missing| *missing > 0)
}

/// Which keys a query may look at for where they stand: bool `[S, T]` or `[N, 1, S, T]`. The
/// queries come after the keys of the past, or are the last of the valid keys.
fn order(site: &mut Site, query: Value, key: Value) -> Result<Option<Value>> {
    let causal = site.take("is_causal", int)?.unwrap_or(0) != 0;
    let left = site.take("left_window_size", int)?.filter(|size| *size >= 0);
    let mut right = site.take("right_window_size", int)?.filter(|size| *size >= 0);
    if causal {
        right = Some(0);
    }
    let valid = site.argument(VALID_KEYS).map(|valid| {
        let axes = site.constant("axes", Tensor::vector(&[1i64, 2, 3]));
        site.apply("Unsqueeze", &[valid, axes])
    });
    if left.is_none() && right.is_none() && valid.is_none() {
        return Ok(None);
    }
    let columns = positions(site, key);
    let mut parts = Vec::new();
    if let Some(valid) = valid {
        parts.push(site.apply("Less", &[columns, valid]));
    }
    if left.is_some() || right.is_some() {
        let rows = rows(site, query, valid);
        let ahead = site.apply("Sub", &[columns, rows]);
        if let Some(right) = right {
            let most = site.constant("right", Tensor::scalar(right));
            parts.push(site.apply("LessOrEqual", &[ahead, most]));
        }
        if let Some(left) = left {
            let least = site.constant("left", Tensor::scalar(-left));
            parts.push(site.apply("GreaterOrEqual", &[ahead, least]));
        }
    }
    let all = parts.into_iter().reduce(|a, b| site.apply("And", &[a, b]));
    Ok(all)
}

/// The positions of the queries among the keys, as a column.
fn rows(site: &mut Site, query: Value, valid: Option<Value>) -> Value {
    let rows = positions(site, query);
    let axis = site.constant("axis", Tensor::vector(&[1i64]));
    let rows = site.apply("Unsqueeze", &[rows, axis]);
    let length =
        |site: &mut Site, x| site.emit(Op::new("Shape").with("start", 2).with("end", 3), &[x]);
    match (site.argument(PAST_KEY), valid) {
        (Some(past), _) => {
            let past = length(site, past);
            site.apply("Add", &[rows, past])
        }
        (None, Some(valid)) => {
            let count = length(site, query);
            let before = site.apply("Sub", &[valid, count]);
            site.apply("Add", &[rows, before])
        }
        (None, None) => rows,
    }
}

/// 0, 1, ... along axis 2 of `x`.
fn positions(site: &mut Site, x: Value) -> Value {
    let scalar = site.constant("scalar", Tensor::vector::<i64>(&[]));
    let length = site.emit(Op::new("Shape").with("start", 2).with("end", 3), &[x]);
    let length = site.apply("Reshape", &[length, scalar]);
    let zero = site.constant("first", Tensor::scalar(0i64));
    let one = site.constant("step", Tensor::scalar(1i64));
    site.apply("Range", &[zero, length, one])
}
