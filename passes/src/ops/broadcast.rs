//! Shape rules of operators that broadcast their arguments to one shape.

use graphs::{DType, Fact};

use super::Call;
use crate::Result;

/// All arguments broadcast; the type is theirs, which must be one.
pub(super) fn same_type(call: &Call) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(common_dtype(call, 0)?, &shape(call)?)])
}

/// All arguments broadcast; the type is that of the first.
pub(super) fn first_type(call: &Call) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(call.dtype(0)?, &shape(call)?)])
}

/// All arguments broadcast and have one type; the result is bool.
pub(super) fn comparison(call: &Call) -> Result<Vec<Fact>> {
    common_dtype(call, 0)?;
    Ok(vec![Fact::new(DType::Bool, &shape(call)?)])
}

/// The type that all arguments from `first` on share.
pub(super) fn common_dtype(call: &Call, first: usize) -> Result<DType> {
    let dtype = call.dtype(first)?;
    for i in first..call.count() {
        let other = call.dtype(i)?;
        if other != dtype {
            let reason = format!("argument {i} is {other}, but argument {first} is {dtype}");
            return Err(call.error(reason));
        }
    }
    Ok(dtype)
}

/// The shape that all arguments broadcast to.
pub(super) fn shape(call: &Call) -> Result<Vec<usize>> {
    let mut shape = call.shape(0)?;
    for i in 1..call.count() {
        shape = pair(call, &shape, &call.shape(i)?)?;
    }
    Ok(shape)
}

/// The shape that two shapes broadcast to: aligned at the last axis, where a size of 1
/// stretches.
pub(super) fn pair(call: &Call, a: &[usize], b: &[usize]) -> Result<Vec<usize>> {
    let rank = a.len().max(b.len());
    let size = |shape: &[usize], i: usize| {
        (i + shape.len()).checked_sub(rank).and_then(|j| shape.get(j)).copied().unwrap_or(1)
    };
    let join = |i| match (size(a, i), size(b, i)) {
        (m, n) if m == n || n == 1 => Ok(m),
        (1, n) => Ok(n),
        _ => Err(call.error(format!("{a:?} and {b:?} do not broadcast"))),
    };
    (0..rank).map(join).collect()
}
