//! Computes small constants: the shape arithmetic that exporters leave behind.
//!
//! Integers are computed as `i64`, floats as `f64`, which rounds sums, products,
//! quotients and roots of float32 as float32 arithmetic would. What cannot be computed
//! exactly so, overflows or is too large is left to the engine (`None`).

use std::cmp::Ordering;

use bytes::Bytes;
use graphs::{DType, Tensor, element_count};

use super::{Call, Folded, broadcast};
use crate::Result;

/// The most elements that a result may have: enough for shapes, and for the positions and
/// masks of attention windows; too few for a small file to fill the memory with.
pub(super) const LIMIT: usize = 1 << 13;

/// Integers up to here are exact as `f64`.
pub(super) const EXACT: f64 = 9_007_199_254_740_992.0;

/// The elements of a constant.
#[derive(Clone, Debug)]
pub(super) enum Numbers {
    Ints(Vec<i64>),
    Floats(Vec<f64>),
}

/// All arguments, if every one is a constant.
pub(super) fn constants<'a>(call: &Call<'a>) -> Option<Vec<&'a Tensor>> {
    (0..call.count()).map(|i| call.constant(i)).collect()
}

/// One tensor, if it could be computed.
pub(super) fn one(tensor: Option<Tensor>) -> Folded {
    Ok(tensor.map(|tensor| vec![tensor]))
}

/// All arguments, broadcast, joined by a function of two.
pub(super) fn arithmetic(
    call: &Call,
    ints: fn(i64, i64) -> Option<i64>,
    floats: fn(f64, f64) -> f64,
) -> Folded {
    let Some(operands) = operands(call)? else { return Ok(None) };
    let join = |a, b| match (a, b) {
        (Numbers::Ints(a), Numbers::Ints(b)) => {
            a.into_iter().zip(b).map(|(a, b)| ints(a, b)).collect::<Option<_>>().map(Numbers::Ints)
        }
        (Numbers::Floats(a), Numbers::Floats(b)) => {
            Some(Numbers::Floats(a.into_iter().zip(b).map(|(a, b)| floats(a, b)).collect()))
        }
        _ => None,
    };
    let mut operands = operands.into_iter();
    let first = operands.next();
    let result = first.and_then(|first| operands.try_fold(first, join));
    one(result
        .and_then(|numbers| write(call.dtype(0).ok()?, broadcast::shape(call).ok()?, numbers)))
}

/// Two arguments, broadcast, compared.
pub(super) fn comparison(call: &Call, test: fn(Ordering) -> bool) -> Folded {
    let operands = operands(call)?.unwrap_or_default();
    let flags: Vec<i64> = match operands.as_slice() {
        [Numbers::Ints(a), Numbers::Ints(b)] => {
            a.iter().zip(b).map(|(a, b)| i64::from(test(a.cmp(b)))).collect()
        }
        [Numbers::Floats(a), Numbers::Floats(b)] => {
            a.iter().zip(b).map(|(a, b)| i64::from(a.partial_cmp(b).is_some_and(test))).collect()
        }
        _ => return Ok(None),
    };
    one(write(DType::Bool, broadcast::shape(call)?, Numbers::Ints(flags)))
}

/// One argument, element by element.
pub(super) fn map(call: &Call, ints: fn(i64) -> Option<i64>, floats: fn(f64) -> f64) -> Folded {
    let Some(x) = call.constant(0).filter(|x| x.len() <= LIMIT) else { return Ok(None) };
    let numbers = match read(x) {
        Some(Numbers::Ints(values)) => {
            values.into_iter().map(ints).collect::<Option<_>>().map(Numbers::Ints)
        }
        Some(Numbers::Floats(values)) => {
            Some(Numbers::Floats(values.into_iter().map(floats).collect()))
        }
        None => None,
    };
    one(numbers.and_then(|numbers| write(x.dtype(), x.shape().to_vec(), numbers)))
}

/// Where(condition, x, y).
pub(super) fn choice(call: &Call) -> Folded {
    let operands = operands(call)?.unwrap_or_default();
    let numbers = match operands.as_slice() {
        [Numbers::Ints(c), Numbers::Ints(x), Numbers::Ints(y)] => Numbers::Ints(choose(c, x, y)),
        [Numbers::Ints(c), Numbers::Floats(x), Numbers::Floats(y)] => {
            Numbers::Floats(choose(c, x, y))
        }
        _ => return Ok(None),
    };
    one(write(call.dtype(1)?, broadcast::shape(call)?, numbers))
}

fn choose<T: Copy>(condition: &[i64], x: &[T], y: &[T]) -> Vec<T> {
    let pairs = x.iter().zip(y);
    condition.iter().zip(pairs).map(|(&c, (&x, &y))| if c == 0 { y } else { x }).collect()
}

/// Argument 0 as another element type.
pub(super) fn cast(call: &Call, to: DType) -> Folded {
    let Some(x) = call.constant(0).filter(|x| x.len() <= LIMIT) else { return Ok(None) };
    let whole = |v: &f64| v.is_finite() && v.abs() <= EXACT;
    let numbers = match read(x) {
        Some(Numbers::Ints(v)) if to == DType::Bool => {
            Some(Numbers::Ints(v.iter().map(|&v| i64::from(v != 0)).collect()))
        }
        Some(Numbers::Floats(v)) if to == DType::Bool => {
            Some(Numbers::Ints(v.iter().map(|&v| i64::from(v != 0.0)).collect()))
        }
        Some(Numbers::Ints(v)) if to.is_float() => Some(v.iter().map(|&v| v as f64).collect())
            .filter(|v: &Vec<f64>| v.iter().all(whole))
            .map(Numbers::Floats),
        Some(Numbers::Floats(v)) if !to.is_float() => {
            v.iter().all(whole).then(|| Numbers::Ints(v.iter().map(|&v| v as i64).collect()))
        }
        other => other,
    };
    one(numbers.and_then(|numbers| write(to, x.shape().to_vec(), numbers)))
}

/// `x` with its elements rearranged: element `i` of the result is element
/// `positions[i]` of `x`.
pub(super) fn pick(
    x: &Tensor,
    shape: &[usize],
    positions: impl IntoIterator<Item = usize>,
) -> Folded {
    pick_or(x, None, shape, positions.into_iter().map(Some))
}

/// As [`pick`]; without a position stands `fill`, one element of the type of `x`, or zero.
pub(super) fn pick_or(
    x: &Tensor,
    fill: Option<&Tensor>,
    shape: &[usize],
    positions: impl IntoIterator<Item = Option<usize>>,
) -> Folded {
    // Less than a byte, and strings, count as 0.
    let width = x.dtype().bits() / 8;
    let zero = vec![0; width];
    let fill = fill.map_or(&zero[..], |fill| fill.bytes());
    if width == 0 || fill.len() != width {
        return Ok(None);
    }
    let mut data = Vec::new();
    for i in positions {
        let element = i.map_or(Some(fill), |i| x.bytes().get(i * width..(i + 1) * width));
        let Some(element) = element else { return Ok(None) };
        data.extend_from_slice(element);
    }
    Ok(Some(vec![Tensor::from_bytes(x.dtype(), shape.to_vec(), Bytes::from(data))?]))
}

/// Row-major steps between the elements along each axis.
pub(super) fn strides(shape: &[usize]) -> Vec<i64> {
    let mut strides = vec![1; shape.len()];
    for i in (1..shape.len()).rev() {
        strides[i - 1] = i64::saturating_mul(strides[i], shape[i] as i64);
    }
    strides
}

/// Where the elements of a strided view lie, in row-major order of `shape`; nothing if
/// there are more than [`LIMIT`].
pub(super) fn view(shape: &[usize], start: i64, strides: &[i64]) -> Option<Vec<usize>> {
    let count = element_count(shape).filter(|&n| n <= LIMIT)?;
    let mut positions = Vec::with_capacity(count);
    for flat in 0..count {
        let mut rest = flat;
        let mut position = start;
        for (&size, &stride) in shape.iter().zip(strides).rev() {
            position += (rest % size) as i64 * stride;
            rest /= size;
        }
        positions.push(usize::try_from(position).ok()?);
    }
    Some(positions)
}

/// Where the elements of a tensor of shape `from` lie when it is broadcast to `to`.
pub(super) fn stretch(from: &[usize], to: &[usize]) -> Option<Vec<usize>> {
    let lead = to.len().checked_sub(from.len())?;
    let own = from.iter().zip(strides(from)).map(|(&n, step)| if n == 1 { 0 } else { step });
    let strides: Vec<i64> = std::iter::repeat_n(0, lead).chain(own).collect();
    view(to, 0, &strides)
}

/// All arguments as numbers, broadcast to one shape.
fn operands(call: &Call) -> Result<Option<Vec<Numbers>>> {
    let Some(tensors) = constants(call) else { return Ok(None) };
    let shape = broadcast::shape(call)?;
    let spread = |tensor: &&Tensor| {
        let positions = stretch(tensor.shape(), &shape)?;
        Some(match read(tensor)? {
            Numbers::Ints(v) => Numbers::Ints(gather(&v, &positions)?),
            Numbers::Floats(v) => Numbers::Floats(gather(&v, &positions)?),
        })
    };
    Ok(tensors.iter().map(spread).collect())
}

fn gather<T: Copy>(values: &[T], positions: &[usize]) -> Option<Vec<T>> {
    positions.iter().map(|&i| values.get(i).copied()).collect()
}

/// The elements of a constant; `None` if they are no numbers that can be computed with.
pub(super) fn read(tensor: &Tensor) -> Option<Numbers> {
    Some(match tensor.dtype() {
        DType::F32 => {
            Numbers::Floats(tensor.values::<f32>().ok()?.iter().map(|&v| v.into()).collect())
        }
        DType::F64 => Numbers::Floats(tensor.values::<f64>().ok()?.into_owned()),
        DType::F16 | DType::BF16 => {
            Numbers::Floats(tensor.floats().ok()?.iter().map(|&v| v.into()).collect())
        }
        _ => Numbers::Ints(tensor.integers().ok()?),
    })
}

/// A constant of these elements; `None` if one does not fit.
pub(super) fn write(dtype: DType, shape: Vec<usize>, numbers: Numbers) -> Option<Tensor> {
    match (dtype, numbers) {
        (DType::F32, Numbers::Floats(v)) => {
            Tensor::new(&shape, v.iter().map(|&v| v as f32).collect()).ok()
        }
        (DType::F64, Numbers::Floats(v)) => Tensor::new(&shape, v).ok(),
        (DType::I64, Numbers::Ints(v)) => Tensor::new(&shape, v).ok(),
        (DType::I32, Numbers::Ints(v)) => {
            let narrow: Option<Vec<i32>> = v.iter().map(|&v| v.try_into().ok()).collect();
            Tensor::new(&shape, narrow?).ok()
        }
        (DType::Bool, Numbers::Ints(v)) => {
            let data: Vec<u8> = v.iter().map(|&v| u8::from(v != 0)).collect();
            Tensor::from_bytes(DType::Bool, shape, Bytes::from(data)).ok()
        }
        _ => None,
    }
}
