//! Running sums.

use graphs::{Op, element_count};

use super::eval::{self, Numbers};
use super::{Call, Def, Folded, Gradient, case, like_first, only};
use crate::Result;

pub(super) const TABLE: &[Def] = &[Def {
    op: "CumSum",
    infer: |call| {
        axis(call)?;
        like_first(call)
    },
    gradient: Gradient::Rule(|s| {
        let (dy, axis) = (s.dy()?, s.x(1)?);
        let [reverse, exclusive] = flags(&s.op);
        let op = Op::new("CumSum").with("reverse", i64::from(!reverse));
        only(s.tape.op(op.with("exclusive", i64::from(exclusive)), &[dy, axis])?)
    }),
    eval: Some(fold),
    cases: || {
        let sum = |reverse: i64, exclusive: i64| {
            case("CumSum").with("reverse", reverse).with("exclusive", exclusive)
        };
        vec![
            case("CumSum").x(&[2, 5]).scalar(1i64),
            sum(1, 0).x(&[3, 2, 2]).scalar(0i64),
            sum(0, 1).x(&[2, 4]).scalar(-1i64),
            sum(1, 1).x(&[2, 3, 2]).scalar(1i64),
        ]
    },
}];

fn flags(op: &Op) -> [bool; 2] {
    ["reverse", "exclusive"].map(|name| op.int(name, 0) != 0)
}

fn axis(call: &Call) -> Result<usize> {
    match call.required_integers(1)?.as_slice() {
        &[axis] => call.axis(axis, call.shape(0)?.len()),
        other => Err(call.error(format!("the axis is {other:?}, not one number"))),
    }
}

fn fold(call: &Call) -> Folded {
    let Some(x) = call.constant(0).filter(|x| x.len() <= eval::LIMIT) else { return Ok(None) };
    if call.constant(1).is_none() {
        return Ok(None);
    }
    let (axis, [reverse, exclusive]) = (axis(call)?, flags(call.op));
    let size = x.shape().get(axis).copied().unwrap_or(0);
    let inner = x.shape().get(axis + 1..).and_then(element_count).unwrap_or(1);
    // Where the running sum up to each element was kept last, and the element it adds.
    let steps: Vec<(usize, Option<usize>)> = (0..x.len())
        .map(|i| if reverse { x.len() - 1 - i } else { i })
        .map(|i| {
            let place = i / inner % size;
            let first = place == if reverse { size - 1 } else { 0 };
            (i, (!first).then(|| if reverse { i + inner } else { i - inner }))
        })
        .collect();
    let numbers = match eval::read(x) {
        Some(Numbers::Ints(values)) => {
            running(&values, &steps, exclusive, i64::checked_add).map(Numbers::Ints)
        }
        Some(Numbers::Floats(values)) => {
            running(&values, &steps, exclusive, |a, b| Some(a + b)).map(Numbers::Floats)
        }
        None => None,
    };
    eval::one(numbers.and_then(|numbers| eval::write(x.dtype(), x.shape().to_vec(), numbers)))
}

fn running<T: Copy + Default>(
    values: &[T],
    steps: &[(usize, Option<usize>)],
    exclusive: bool,
    add: fn(T, T) -> Option<T>,
) -> Option<Vec<T>> {
    let mut sums = vec![T::default(); values.len()];
    for &(i, before) in steps {
        let sum = match before {
            None if exclusive => T::default(),
            None => *values.get(i)?,
            Some(before) => {
                let next = if exclusive { before } else { i };
                add(*sums.get(before)?, *values.get(next)?)?
            }
        };
        *sums.get_mut(i)? = sum;
    }
    Some(sums)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use graphs::Tensor;

    use super::super::trial::{eval, ints, refusal};
    use super::*;

    #[test]
    fn sums_run_along_the_axis() {
        let sum = |reverse: i64, exclusive: i64, axis: i64| {
            let matrix = Tensor::new(&[2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap();
            let call = case("CumSum").with("reverse", reverse).with("exclusive", exclusive);
            ints(call.constant(matrix).scalar(axis))
        };
        assert_eq!(sum(0, 0, 1), [1, 3, 6, 4, 9, 15]);
        assert_eq!(sum(0, 1, -1), [0, 1, 3, 0, 4, 9]);
        assert_eq!(sum(1, 0, 0), [5, 7, 9, 4, 5, 6]);
        assert_eq!(sum(1, 1, 1), [5, 3, 0, 11, 6, 0]);
        assert!(eval(case("CumSum").ints(&[i64::MAX, 1]).scalar(0i64)).is_empty());
    }

    #[test]
    fn the_axis_is_one_number_in_range() {
        assert!(refusal(case("CumSum").x(&[2]).scalar(1i64)).contains("out of range"));
        assert!(refusal(case("CumSum").x(&[2]).ints(&[0, 0])).contains("not one number"));
    }
}
