//! Pooling with one to three spatial axes, and over all of them at once.

use graphs::{DType, Fact, Value, element_count};

use super::average::{average_gradient, global_average_gradient};
use super::maximum::{global_max_gradient, max_pool_gradient};
use super::window::{self, Axis, list, sizes};
use super::{Adjoint, Call, Case, Def, Gradient, case};
use crate::Result;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "MaxPool",
        infer: |call| {
            let axes = windows(call)?;
            let shape = pooled(call, &axes)?;
            Ok(vec![Fact::new(call.dtype(0)?, &shape), Fact::new(DType::I64, &shape)])
        },
        gradient: Gradient::Rule(max_pool_gradient),
        eval: None,
        cases: max_cases,
    },
    Def {
        op: "AveragePool",
        infer: |call| {
            let axes = windows(call)?;
            if axes.iter().any(|axis| axis.dilation != 1) {
                return Err(call.error("opset 18 has no dilations for it"));
            }
            Ok(vec![Fact::new(call.dtype(0)?, &pooled(call, &axes)?)])
        },
        gradient: Gradient::Rule(average_gradient),
        eval: None,
        cases: average_cases,
    },
    global("GlobalAveragePool", global_average_gradient, || {
        let pool = || case("GlobalAveragePool");
        vec![pool().x(&[2, 3, 4, 5]), pool().x(&[2, 3, 7]), pool().x(&[1, 2, 2, 3, 2])]
    }),
    global("GlobalMaxPool", global_max_gradient, || {
        let pool = || case("GlobalMaxPool");
        vec![pool().distinct(&[2, 3, 4, 5]), pool().distinct(&[2, 3, 7])]
    }),
];

const fn global(
    op: &'static str,
    rule: fn(&mut Adjoint) -> Result<Vec<Option<Value>>>,
    cases: fn() -> Vec<Case>,
) -> Def {
    Def { op, infer: global_shape, gradient: Gradient::Rule(rule), eval: None, cases }
}

pub(super) fn global_shape(call: &Call) -> Result<Vec<Fact>> {
    let shape = call.shape(0)?;
    if shape.len() < 3 || element_count(&shape).is_none_or(|n| n == 0) {
        return Err(call.error(format!("the input {shape:?} has nothing to pool")));
    }
    let one = |(i, &n): (usize, &usize)| if i < 2 { n } else { 1 };
    let shape: Vec<usize> = shape.iter().enumerate().map(one).collect();
    Ok(vec![Fact::new(call.dtype(0)?, &shape)])
}

/// The windows of a pool.
pub(super) fn windows(call: &Call) -> Result<Vec<Axis>> {
    let shape = call.shape(0)?;
    let spatial = shape.get(2..).unwrap_or(&[]);
    if !(1..=3).contains(&spatial.len()) {
        return Err(call.error(format!("the input {shape:?} has not one to three spatial axes")));
    }
    let Some(kernel) = list(call, "kernel_shape", spatial.len(), 1)? else {
        return Err(call.error("kernel_shape is missing"));
    };
    let axes = window::forward(call, spatial, &kernel, call.op.int("ceil_mode", 0) != 0)?;
    if axes.iter().any(|axis| axis.before.max(axis.after) >= axis.kernel) {
        return Err(call.error("a pad must be smaller than the kernel"));
    }
    if axes.iter().any(|axis| axis.before + axis.after > 0 && axis.dilation > axis.size) {
        return Err(call.error("a window would read nothing but padding"));
    }
    Ok(axes)
}

pub(super) fn pooled(call: &Call, axes: &[Axis]) -> Result<Vec<usize>> {
    let lead = call.shape(0)?.into_iter().take(2);
    Ok(lead.chain(sizes(axes, |axis| axis.count)).collect())
}

fn max_cases() -> Vec<Case> {
    let pool = |kernel: &[i64]| case("MaxPool").with("kernel_shape", kernel);
    vec![
        pool(&[2, 2]).with("strides", vec![2i64, 2]).distinct(&[2, 2, 4, 6]),
        pool(&[2, 2]).with("strides", vec![2i64, 2]).distinct(&[1, 2, 5, 7]),
        pool(&[2, 3]).with("strides", vec![2i64, 3]).distinct(&[1, 2, 5, 6]),
        pool(&[3]).with("strides", vec![3i64]).distinct(&[2, 2, 8]),
        pool(&[2, 1, 2]).with("strides", vec![2i64, 1, 2]).distinct(&[1, 2, 4, 2, 5]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("pads", vec![1i64, 1, 1, 1])
            .distinct(&[1, 2, 6, 5])
            .outputs(2),
        pool(&[3, 2]).with("pads", vec![0i64, 1, 2, 0]).distinct(&[2, 1, 4, 4]),
        pool(&[2, 2]).with("dilations", vec![2i64, 1]).distinct(&[1, 2, 5, 4]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("ceil_mode", 1i64)
            .distinct(&[1, 1, 6, 6]),
        pool(&[2, 2])
            .with("strides", vec![2i64, 2])
            .with("ceil_mode", 1i64)
            .distinct(&[1, 2, 5, 5]),
        pool(&[3, 3])
            .with("strides", vec![2i64, 2])
            .with("auto_pad", "SAME_UPPER")
            .distinct(&[1, 2, 6, 5]),
        pool(&[2]).with("strides", vec![3i64]).distinct(&[1, 2, 8]),
        pool(&[5, 5]).with("strides", vec![5i64, 5]).distinct(&[2, 2, 5, 10]),
    ]
}

fn average_cases() -> Vec<Case> {
    let pool = |kernel: &[i64]| case("AveragePool").with("kernel_shape", kernel);
    vec![
        pool(&[2, 2]).with("strides", vec![2i64, 2]).x(&[2, 2, 4, 6]),
        pool(&[2, 3]).with("strides", vec![2i64, 3]).x(&[1, 2, 5, 7]),
        pool(&[3, 3]).with("pads", vec![1i64, 1, 1, 1]).x(&[1, 2, 4, 5]),
        pool(&[3, 2])
            .with("pads", vec![0i64, 1, 2, 0])
            .with("strides", vec![2i64, 3])
            .x(&[2, 1, 6, 7]),
        pool(&[3, 3])
            .with("pads", vec![1i64, 1, 1, 1])
            .with("strides", vec![2i64, 2])
            .with("count_include_pad", 1i64)
            .x(&[1, 2, 6, 5]),
        pool(&[3, 3]).with("strides", vec![2i64, 2]).with("ceil_mode", 1i64).x(&[1, 1, 6, 8]),
        pool(&[2, 2]).with("auto_pad", "SAME_LOWER").x(&[1, 2, 4, 3]),
        pool(&[2]).with("strides", vec![3i64]).x(&[2, 2, 8]),
        pool(&[2, 1, 3]).x(&[1, 2, 3, 2, 4]),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::trial::{infer, refusal, shape};
    use super::*;

    fn pool(size: usize, kernel: i64, stride: i64) -> Case {
        let pool = case("MaxPool").x(&[2, 3, size]);
        pool.with("kernel_shape", vec![kernel]).with("strides", vec![stride])
    }

    fn pooled(case: Case) -> usize {
        let facts = infer(case).unwrap_or_default();
        let first = facts.first().and_then(Fact::known_shape).unwrap_or_default();
        first.last().copied().unwrap_or_default()
    }

    #[test]
    fn windows_are_counted_as_onnx_runtime_does() {
        assert_eq!(pooled(pool(7, 3, 2)), 3);
        assert_eq!(pooled(pool(8, 3, 2)), 3);
        assert_eq!(pooled(pool(8, 3, 2).with("ceil_mode", 1i64)), 4);
        assert_eq!(pooled(pool(7, 3, 2).with("ceil_mode", 1i64)), 3);
        let padded = || pool(4, 3, 3).with("pads", vec![1i64, 1]);
        assert_eq!(pooled(padded()), 2);
        assert_eq!(pooled(padded().with("ceil_mode", 1i64)), 2);
        assert_eq!(pooled(pool(7, 3, 2).with("auto_pad", "SAME_UPPER")), 4);
        assert_eq!(pooled(pool(7, 3, 1).with("dilations", vec![3i64])), 1);
        assert_eq!(shape(case("GlobalMaxPool").x(&[2, 3, 4, 5])), [2, 3, 1, 1]);
    }

    #[test]
    fn max_pool_has_indices() {
        let facts = infer(pool(6, 2, 2)).unwrap_or_default();
        assert_eq!(facts.get(1), Some(&Fact::new(DType::I64, &[2, 3, 3])));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(refusal(case("MaxPool").x(&[1, 1, 4])).contains("kernel_shape is missing"));
        assert!(refusal(pool(4, 5, 1)).contains("a window of 5 exceeds 4 elements"));
        assert!(refusal(pool(4, 2, 0)).contains("the strides 0"));
        assert!(refusal(pool(4, i64::MAX, 1)).contains("kernel_shape 9223372036854775807 is not"));
        let pads = |n: i64| pool(4, 2, 1).with("pads", vec![n, n]);
        assert!(refusal(pads(2)).contains("smaller than the kernel"));
        let empty = pads(1).with("dilations", vec![5i64]);
        assert!(refusal(empty).contains("nothing but padding"));
        assert!(refusal(case("GlobalMaxPool").x(&[1, 2])).contains("nothing to pool"));
    }
}
