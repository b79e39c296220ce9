//! Pools that take the norm of their windows, in terms of sums.

use graphs::{Fact, Op, Tensor, Value};

use super::body::Site;
use super::pool::{global_shape, pooled, windows};
use super::window::{self, sizes};
use super::{Call, Case, Def, Gradient, case};
use crate::{Result, signed};
use Gradient::Body;

/// Windows larger than this would make the constant kernel too large.
const MOST_ELEMENTS: usize = 1 << 20;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "LpPool",
        infer: |call| {
            exponent(call)?;
            let axes = windows(call)?;
            if window::volume(&axes).is_none_or(|n| n > MOST_ELEMENTS) {
                return Err(call.error("its windows are too large"));
            }
            Ok(vec![Fact::new(call.dtype(0)?, &pooled(call, &axes)?)])
        },
        gradient: Body(pool),
        eval: None,
        cases,
    },
    Def {
        op: "GlobalLpPool",
        infer: |call| {
            exponent(call)?;
            global_shape(call)
        },
        gradient: Body(|s| {
            let axes: Vec<usize> = (2..s.shape(0)?.len()).collect();
            let powers = powers(s)?;
            let sum = s.reduce("ReduceSum", powers, &axes)?;
            Ok(vec![root(s, sum)?])
        }),
        eval: None,
        cases: || {
            let pool = |p: i64| case("GlobalLpPool").with("p", p);
            vec![
                case("GlobalLpPool").x(&[2, 3, 4, 5]),
                pool(1).distinct(&[2, 3, 7]),
                pool(3).distinct(&[1, 2, 2, 3, 2]),
            ]
        },
    },
];

fn cases() -> Vec<Case> {
    let pool = |kernel: &[i64]| case("LpPool").with("kernel_shape", kernel);
    vec![
        pool(&[2, 2]).with("strides", vec![2i64, 2]).x(&[2, 2, 4, 6]),
        pool(&[3]).with("p", 1i64).with("pads", vec![1i64, 1]).distinct(&[2, 2, 5]),
        pool(&[2, 3])
            .with("p", 3i64)
            .with("strides", vec![1i64, 2])
            .with("pads", vec![1i64, 0, 0, 2])
            .distinct(&[1, 2, 4, 5]),
        pool(&[2, 2]).with("dilations", vec![2i64, 1]).x(&[1, 2, 5, 4]),
        pool(&[3, 3]).with("strides", vec![2i64, 2]).with("ceil_mode", 1i64).x(&[1, 1, 6, 6]),
        pool(&[2, 2]).with("auto_pad", "SAME_UPPER").within(&[1, 2, 4, 3], 0.4, 1.2),
        pool(&[2, 1, 2]).x(&[1, 2, 3, 2, 4]),
    ]
}

fn exponent(call: &Call) -> Result<f64> {
    match call.op.int("p", 2) {
        p @ 1..=64 => Ok(p as f64),
        p => Err(call.error(format!("`p` is {p}; it has to lie in 1..=64"))),
    }
}

/// The sums over the windows by a convolution with ones, every channel as an image of its own.
fn pool(s: &mut Site) -> Result<Vec<Value>> {
    let axes = windows(&s.call())?;
    let (x, shape) = (s.x(0)?, s.shape(0)?);
    let dtype = s.tape.dtype(x)?;
    let (lead, spatial) = shape.split_at(shape.len().min(2));
    let images = [&[lead.iter().product(), 1], spatial].concat();
    let powers = powers(s)?;
    let powers = s.tape.reshape(powers, &images)?;
    let ones = Tensor::full(&[&[1, 1][..], &sizes(&axes, |axis| axis.kernel)].concat(), 1f32)?;
    let ones = s.tape.constant(ones);
    let ones = s.tape.cast(ones, dtype)?;
    let before = signed(&sizes(&axes, |axis| axis.before));
    // More than the padding that is stated where a last window hangs over (ceil_mode).
    let after = axes.iter().map(|axis| axis.used_after().max(axis.after as i64));
    let pads: Vec<i64> = before.into_iter().chain(after).collect();
    let conv = Op::new("Conv")
        .with("strides", signed(&sizes(&axes, |axis| axis.stride)))
        .with("dilations", signed(&sizes(&axes, |axis| axis.dilation)))
        .with("pads", pads);
    let sum = s.tape.op(conv, &[powers, ones])?;
    let sum = s.tape.reshape(sum, &[lead, &sizes(&axes, |axis| axis.count)].concat())?;
    Ok(vec![root(s, sum)?])
}

/// `|x|^p`
fn powers(s: &mut Site) -> Result<Value> {
    let (x, p) = (s.x(0)?, exponent(&s.call())?);
    if p == 2.0 {
        return s.apply("Mul", &[x, x]);
    }
    let size = s.apply("Abs", &[x])?;
    if p == 1.0 {
        return Ok(size);
    }
    let p = s.number(p)?;
    s.apply("Pow", &[size, p])
}

/// `sum^(1/p)`, with the gradient 0 where the sum is 0: after a ReLU whole windows are.
fn root(s: &mut Site, sum: Value) -> Result<Value> {
    let p = exponent(&s.call())?;
    if p == 1.0 {
        return Ok(sum);
    }
    let one = s.number(1.0)?;
    let some = s.apply("Sign", &[sum])?;
    let none = s.apply("Sub", &[one, some])?;
    let safe = s.apply("Add", &[sum, none])?;
    let root = if p == 2.0 {
        s.apply("Sqrt", &[safe])?
    } else {
        let inverse = s.number(1.0 / p)?;
        s.apply("Pow", &[safe, inverse])?
    };
    s.apply("Mul", &[root, some])
}
