//! Attention of opset 23 to 25 as MatMul and Softmax, and RotaryEmbedding.

use graphs::{DType, Op, Tensor, Value};

use super::Site;
use super::bias::{Bias, bias};
use super::site::{float, int};
use crate::Result;

/// Argument and output slots.
pub(super) const MASK: usize = 3;
pub(super) const PAST_KEY: usize = 4;
const PAST_VALUE: usize = 5;
pub(super) const VALID_KEYS: usize = 6;
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
    // No key, no bias: the softmax then is finite, and so is its gradient. The greatest of a row
    // of infinities is not asked for: tract says the least finite number.
    let last = site.constant("last", Tensor::vector(&[-1i64]));
    let [never, zero] = [f32::NEG_INFINITY, 0.0].map(|number| site.number("number", number, query));
    let kept = site.apply("Greater", &[bias, never]);
    let kept = site.emit(Op::new("Cast").with("to", i64::from(DType::F32.code())), &[kept]);
    let most = site.emit(Op::new("ReduceMax").with("keepdims", 1), &[kept, last]);
    let half = site.constant("half", Tensor::scalar(0.5f32));
    let empty = site.apply("Less", &[most, half]);
    let bias = site.apply("Where", &[empty, zero, bias]);
    let biased = site.apply("Add", &[scores, bias]);
    let rows = rows(site, biased);
    Ok(site.apply("Where", &[empty, zero, rows]))
}
