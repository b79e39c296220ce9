//! Reductions along axes.

use graphs::{DType, Fact, Tensor, Value};

use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case, eval, only};
use crate::Result;
use Gradient::{Rule, Zero};

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "ReduceSum",
        infer: shape,
        gradient: Rule(|s| {
            let dy = s.dy()?;
            only(spread(s, dy)?)
        }),
        eval: Some(|call| fold(call, 0, i64::checked_add)),
        cases: || calls("ReduceSum"),
    },
    Def {
        op: "ReduceMean",
        infer: shape,
        gradient: Rule(|s| {
            let (dy, count) = (s.dy()?, reduction(&s.call()?)?.count());
            let part = s.scaled(dy, 1.0 / count as f64)?;
            only(spread(s, part)?)
        }),
        eval: None,
        cases: || calls("ReduceMean"),
    },
    Def {
        op: "ReduceMax",
        infer: shape,
        gradient: Rule(shared),
        eval: Some(|call| fold(call, i64::MIN, |a, b| Some(a.max(b)))),
        cases: || calls("ReduceMax"),
    },
    Def {
        op: "ReduceMin",
        infer: shape,
        gradient: Rule(shared),
        eval: Some(|call| fold(call, i64::MAX, |a, b| Some(a.min(b)))),
        cases: || calls("ReduceMin"),
    },
    Def { op: "ArgMax", infer: arg, gradient: Zero, eval: None, cases: || positions("ArgMax") },
    Def { op: "ArgMin", infer: arg, gradient: Zero, eval: None, cases: || positions("ArgMin") },
];

fn positions(op: &str) -> Vec<Case> {
    let row = || case(op);
    vec![
        row().distinct(&[2, 3, 4]),
        row().with("axis", -1i64).with("keepdims", 0i64).distinct(&[2, 5]),
        row().with("axis", 1i64).with("select_last_index", 1i64).distinct(&[2, 5]),
    ]
}

pub(super) fn calls(op: &str) -> Vec<Case> {
    vec![
        case(op).distinct(&[2, 3, 4]),
        case(op).distinct(&[2, 3, 4]).ints(&[1]),
        case(op).with("keepdims", 0i64).distinct(&[2, 3, 4]).ints(&[-1, 0]),
        case(op).with("keepdims", 0i64).distinct(&[2, 3]),
        case(op).with("noop_with_empty_axes", 1i64).distinct(&[2, 3]),
        case(op).distinct(&[5]).ints(&[0]),
    ]
}

/// What a call reduces.
pub(super) struct Reduction {
    pub(super) shape: Vec<usize>,
    pub(super) axes: Vec<usize>,
    keep: bool,
}

/// Axes are argument 1; none means all, or with `noop_with_empty_axes` none.
pub(super) fn reduction(call: &Call) -> Result<Reduction> {
    let shape = call.shape(0)?;
    let axes = call.axes(&call.integers(1)?.unwrap_or_default(), shape.len())?;
    let all = axes.is_empty() && call.op.int("noop_with_empty_axes", 0) == 0;
    let axes = if all { (0..shape.len()).collect() } else { axes };
    Ok(Reduction { shape, axes, keep: call.op.int("keepdims", 1) != 0 })
}

impl Reduction {
    /// The result's shape with every reduced axis kept as 1.
    fn kept(&self) -> Vec<usize> {
        let size = |(i, &n)| if self.axes.contains(&i) { 1 } else { n };
        self.shape.iter().enumerate().map(size).collect()
    }

    /// The result's shape.
    pub(super) fn output(&self) -> Vec<usize> {
        let left = |(i, &n): (usize, &usize)| (!self.axes.contains(&i)).then_some(n);
        if self.keep {
            self.kept()
        } else {
            self.shape.iter().enumerate().filter_map(left).collect()
        }
    }

    /// How many elements make one of the result.
    pub(super) fn count(&self) -> usize {
        let sizes = self.axes.iter().filter_map(|&i| self.shape.get(i));
        sizes.fold(1, |n: usize, &size| n.saturating_mul(size))
    }
}

pub(super) fn shape(call: &Call) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(call.dtype(0)?, &reduction(call)?.output())])
}

fn arg(call: &Call) -> Result<Vec<Fact>> {
    let shape = call.shape(0)?;
    let axes = call.axes(&[call.op.int("axis", 0)], shape.len())?;
    let reduction = Reduction { shape, axes, keep: call.op.int("keepdims", 1) != 0 };
    if reduction.count() == 0 {
        return Err(call.error("the axis has no elements"));
    }
    Ok(vec![Fact::new(DType::I64, &reduction.output())])
}

/// `value`, of the result's shape, over all elements that made it.
pub(super) fn spread(s: &mut Adjoint, value: Value) -> Result<Value> {
    let reduction = reduction(&s.call()?)?;
    let value = s.tape.reshape(value, &reduction.kept())?;
    s.tape.expand(value, &reduction.shape)
}

/// Elements that equal the extreme share its gradient evenly, as in PyTorch's `amax`.
fn shared(s: &mut Adjoint) -> Gradients {
    let (x, y, dy) = (s.x(0)?, s.y(0), s.dy()?);
    let reduction = reduction(&s.call()?)?;
    let dtype = s.tape.dtype(x)?;
    let y = s.tape.reshape(y, &reduction.kept())?;
    let dy = s.tape.reshape(dy, &reduction.kept())?;
    let reached = s.apply("Equal", &[x, y])?;
    let mask = s.tape.cast(reached, dtype)?;
    let count = s.tape.reduce_sum(mask, &reduction.axes, true)?;
    let share = s.apply("Div", &[dy, count])?;
    only(s.apply("Mul", &[mask, share])?)
}

/// Reduces small integer constants.
pub(super) fn fold(call: &Call, start: i64, join: fn(i64, i64) -> Option<i64>) -> Folded {
    let Some(x) = call.constant(0) else { return Ok(None) };
    if x.dtype() != DType::I64 || x.is_empty() || call.has(1) && call.constant(1).is_none() {
        return Ok(None);
    }
    let reduction = reduction(call)?;
    let mut results = vec![Some(start); reduction.kept().iter().product()];
    let Some(positions) = eval::stretch(&reduction.kept(), x.shape()) else { return Ok(None) };
    for (&value, i) in x.values::<i64>()?.iter().zip(positions) {
        if let Some(result) = results.get_mut(i) {
            *result = result.and_then(|result| join(result, value));
        }
    }
    let results: Option<Vec<i64>> = results.into_iter().collect();
    Ok(match results {
        Some(results) => Some(vec![Tensor::new(&reduction.output(), results)?]),
        None => None,
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{self, eval, ints, refusal};
    use super::*;

    #[test]
    fn shapes_follow_axes_and_keepdims() {
        let x = |keep: i64| case("ReduceMean").with("keepdims", keep).x(&[2, 3, 4]);
        assert_eq!(trial::shape(x(1).ints(&[-1, 0])), [1, 3, 1]);
        assert_eq!(trial::shape(x(0).ints(&[-1, 0])), [3]);
        assert_eq!(trial::shape(x(0)), [0usize; 0]);
        assert_eq!(trial::shape(x(1).ints(&[])), [1, 1, 1]);
        assert_eq!(trial::shape(x(1).with("noop_with_empty_axes", 1i64).ints(&[])), [2, 3, 4]);
        assert_eq!(trial::shape(case("ArgMax").with("axis", -1i64).x(&[2, 5])), [2, 1]);
    }

    #[test]
    fn bad_axes_are_refused() {
        let x = || case("ReduceSum").x(&[2, 3]);
        assert!(refusal(x().ints(&[2])).contains("out of range"));
        assert!(refusal(x().ints(&[i64::MIN])).contains("out of range"));
        assert!(refusal(x().ints(&[1, -1])).contains("named twice"));
        assert!(refusal(x().x(&[1])).contains("must be a constant"));
    }

    #[test]
    fn integers_fold() {
        let matrix = Tensor::new(&[2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap();
        let call = |op| case(op).with("keepdims", 0i64).constant(matrix.clone());
        assert_eq!(ints(call("ReduceProd")), [720]);
        assert_eq!(ints(call("ReduceSum").ints(&[0])), [5, 7, 9]);
        assert_eq!(ints(call("ReduceMax").ints(&[1])), [3, 6]);
        assert!(eval(case("ReduceProd").ints(&[i64::MAX, 2])).is_empty());
    }
}
