//! Attention of opset 23 to 25 as MatMul and Softmax, and RotaryEmbedding.

use graphs::{DType, Dim, Op, Tensor, Value};

use super::Site;
use super::site::{float, int};
use crate::Result;

/// Argument and output slots.
const MASK: usize = 3;
const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
const VALID_KEYS: usize = 6;
const PRESENT_KEY: usize = 1;
const PRESENT_VALUE: usize = 2;
const SCORES: usize = 3;

/// `softmax(q k^T scale + bias) v` (Vaswani et al. 2017, equation 1), heads side by side.
pub(super) fn attention(site: &mut Site) -> Result<()> {
    let [query, key, value] = [site.given(0)?, site.given(1)?, site.given(2)?];
    let heads = [site.take("q_num_heads", int)?, site.take("kv_num_heads", int)?];
    let flat = site.rank().map_or(heads[0].is_some(), |rank| rank == 3);
    let split = |site: &mut Site, x: Value, heads: Option<i64>| match heads {
        Some(heads) if flat => Ok(split_heads(site, x, heads)),
        None if flat => Err(site.refuse("3-D arguments, but the number of heads is not said")),
        _ => Ok(x),
    };
    let head_size = head_size(site, query, heads[0].filter(|_| flat));
    let counts = [(query, heads[0]), (key, heads[1])].map(|(x, n)| n.or(site.size(x, 1)));
    let query = split(site, query, heads[0])?;
    let mut key = split(site, key, heads[1])?;
    let mut value = split(site, value, heads[1])?;
    for (slot, x) in [(PAST_KEY, &mut key), (PAST_VALUE, &mut value)] {
        if let Some(past) = site.argument(slot) {
            *x = site.emit(Op::new("Concat").with("axis", 2), &[past, *x]);
        }
    }
    let (present_key, present_value) = (key, value);
    if let [Some(of_query), Some(of_key)] = counts
        && of_query != of_key
    {
        key = repeat_heads(site, key, of_query, of_key)?;
        value = repeat_heads(site, value, of_query, of_key)?;
    }
    let scale = scale(site, query, head_size)?;
    let query_scaled = site.apply("Mul", &[query, scale]);
    let key_columns = site.emit(Op::new("Transpose").with("perm", vec![0, 1, 3, 2]), &[key]);
    let mut stages = vec![site.apply("MatMul", &[query_scaled, key_columns])];
    stages.push(soften(site, stages[0])?);
    let bias = bias(site, query, present_key)?;
    let probabilities = softmax(site, query, stages[1], bias, &mut stages)?;
    stages.push(probabilities);
    let mode = site.take("qk_matmul_output_mode", int)?.unwrap_or(0);
    let shown = usize::try_from(mode).ok().and_then(|mode| stages.get(mode).copied());
    let shown = shown.ok_or_else(|| site.refuse("qk_matmul_output_mode goes from 0 to 3"))?;
    let others = [(PRESENT_KEY, present_key), (PRESENT_VALUE, present_value), (SCORES, shown)];
    for (slot, value) in others {
        site.replace_output(slot, value);
    }
    site.truncate_outputs(1);
    if flat {
        let y = site.apply("MatMul", &[probabilities, value]);
        merge_heads(site, y);
    } else {
        site.become_call(Op::new("MatMul"), &[probabilities, value]);
    }
    Ok(())
}

/// `[N, S, H D]` as `[N, H, S, D]`.
fn split_heads(site: &mut Site, x: Value, heads: i64) -> Value {
    let shape = site.constant("heads", Tensor::vector(&[0, 0, heads, -1]));
    let x = site.apply("Reshape", &[x, shape]);
    site.emit(Op::new("Transpose").with("perm", vec![0, 2, 1, 3]), &[x])
}

fn merge_heads(site: &mut Site, x: Value) {
    let x = site.emit(Op::new("Transpose").with("perm", vec![0, 2, 1, 3]), &[x]);
    let shape = site.constant("merged", Tensor::vector(&[0i64, 0, -1]));
    site.become_call(Op::new("Reshape"), &[x, shape]);
}

fn head_size(site: &Site, query: Value, heads: Option<i64>) -> Option<f32> {
    let last = site.size(query, if heads.is_some() { 2 } else { 3 })?;
    Some((last.checked_div(heads.unwrap_or(1))?) as f32)
}

/// Every head of keys or values as often as queries share it: `[N, K, S, D]` to `[N, H, S, D]`.
fn repeat_heads(site: &mut Site, x: Value, to: i64, from: i64) -> Result<Value> {
    let Some(times) = to.checked_div(from).filter(|times| times * from == to && *times > 0) else {
        return Err(site.refuse(format!("{to} heads of queries do not share {from} of keys")));
    };
    let batch = site.emit(Op::new("Shape").with("start", 0).with("end", 1), &[x]);
    let rest = site.emit(Op::new("Shape").with("start", 2), &[x]);
    let heads = site.constant("heads", Tensor::vector(&[to]));
    let shape = site.emit(Op::new("Concat").with("axis", 0), &[batch, heads, rest]);
    let axis = site.constant("axis", Tensor::vector(&[2i64]));
    let times = site.constant("times", Tensor::vector(&[1, 1, times, 1, 1]));
    let x = site.apply("Unsqueeze", &[x, axis]);
    let x = site.apply("Expand", &[x, times]);
    Ok(site.apply("Reshape", &[x, shape]))
}

/// `1 / sqrt(D)`, if nothing else is said.
fn scale(site: &mut Site, query: Value, head_size: Option<f32>) -> Result<Value> {
    let scale = site.take("scale", float)?.or(head_size.map(|size| size.sqrt().recip()));
    if let Some(scale) = scale {
        return Ok(site.number("scale", scale, query));
    }
    let size = site.emit(Op::new("Shape").with("start", 3), &[query]);
    let size = site.apply("CastLike", &[size, query]);
    let root = site.apply("Sqrt", &[size]);
    Ok(site.apply("Reciprocal", &[root]))
}

/// `cap tanh(x / cap)`, where a cap is set.
fn soften(site: &mut Site, scores: Value) -> Result<Value> {
    let cap = site.take("softcap", float)?.unwrap_or(0.0);
    if cap <= 0.0 {
        return Ok(scores);
    }
    let cap = site.number("softcap", cap, scores);
    let scores = site.apply("Div", &[scores, cap]);
    let scores = site.apply("Tanh", &[scores]);
    Ok(site.apply("Mul", &[scores, cap]))
}

/// What is added to the scores.
struct Bias {
    value: Value,
    /// A query may have no key left.
    may_be_empty: bool,
}

/// The sum of what the mask and the causal order say; none where they say nothing.
fn bias(site: &mut Site, query: Value, key: Value) -> Result<Option<Bias>> {
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

/// The softmax over the keys; zeros for a query that has none left. Pushes the biased scores.
fn softmax(
    site: &mut Site,
    query: Value,
    scores: Value,
    bias: Option<Bias>,
    stages: &mut Vec<Value>,
) -> Result<Value> {
    let precision = site.take("softmax_precision", int)?;
    let rows = |site: &mut Site, scores: Value| {
        let scores = match precision {
            Some(to) => site.emit(Op::new("Cast").with("to", to), &[scores]),
            None => scores,
        };
        let rows = site.emit(Op::new("Softmax").with("axis", -1), &[scores]);
        if precision.is_some() { site.apply("CastLike", &[rows, query]) } else { rows }
    };
    let Some(Bias { value: bias, may_be_empty }) = bias else {
        stages.push(scores);
        return Ok(rows(site, scores));
    };
    let biased = site.apply("Add", &[scores, bias]);
    stages.push(biased);
    if !may_be_empty {
        return Ok(rows(site, biased));
    }
    // No key, no bias: the softmax then is finite, and so is its gradient.
    let last = site.constant("last", Tensor::vector(&[-1i64]));
    let most = site.emit(Op::new("ReduceMax").with("keepdims", 1), &[bias, last]);
    let [never, zero] = [f32::NEG_INFINITY, 0.0].map(|number| site.number("number", number, query));
    let empty = site.apply("Equal", &[most, never]);
    let bias = site.apply("Where", &[empty, zero, bias]);
    let biased = site.apply("Add", &[scores, bias]);
    let rows = rows(site, biased);
    Ok(site.apply("Where", &[empty, zero, rows]))
}
