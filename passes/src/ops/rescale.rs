//! Normalisations that divide by a norm or by statistics of a neighbourhood. Each has a
//! body of plainer operators.

use graphs::{Op, Value, element_count};

use super::body::Site;
use super::{Call, Def, Gradient, case, like_first};
use crate::Result;
use Gradient::Body;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "GroupNormalization",
        infer: |call| {
            let groups = groups(call)?;
            for i in 1..=2 {
                let shape = call.shape(i)?;
                if shape != [groups] {
                    let reason = format!("argument {i} is {shape:?}, not one value a group");
                    return Err(call.error(reason));
                }
            }
            like_first(call)
        },
        gradient: Body(group),
        eval: None,
        cases: || {
            let call = |groups: i64| case("GroupNormalization").with("num_groups", groups);
            vec![
                call(2).x(&[2, 6, 3, 2]).x(&[2]).x(&[2]),
                call(3).with("epsilon", 0.1f32).x(&[2, 3, 4]).x(&[3]).x(&[3]),
                call(1).x(&[3, 4]).x(&[1]).x(&[1]),
            ]
        },
    },
    Def {
        op: "MeanVarianceNormalization",
        infer: |call| {
            variance_axes(call)?;
            like_first(call)
        },
        gradient: Body(mean_variance),
        eval: None,
        cases: || {
            let call = || case("MeanVarianceNormalization");
            vec![call().x(&[2, 3, 4, 2]), call().with("axes", vec![-1i64, 1]).x(&[2, 3, 4])]
        },
    },
    Def {
        op: "LpNormalization",
        infer: |call| {
            call.axis(call.op.int("axis", -1), call.shape(0)?.len())?;
            norm(call)?;
            like_first(call)
        },
        gradient: Body(unit),
        eval: None,
        cases: || {
            let call = |p: i64| case("LpNormalization").with("p", p);
            vec![
                case("LpNormalization").x(&[2, 3, 4]),
                call(2).with("axis", 1i64).x(&[2, 3, 4]),
                call(1).distinct(&[2, 5]),
                call(1).with("axis", -2i64).distinct(&[3, 2]),
            ]
        },
    },
    Def {
        op: "LRN",
        infer: |call| {
            neighbours(call)?;
            like_first(call)
        },
        gradient: Body(local_response),
        eval: None,
        cases: || {
            let call = |size: i64| case("LRN").with("size", size).with("alpha", 0.5f32);
            vec![
                call(3).x(&[2, 5, 3, 2]),
                call(5).with("beta", 0.6f32).with("bias", 2.0f32).x(&[1, 6, 2, 2]),
                call(9).with("beta", 1.0f32).x(&[1, 3, 2, 2]),
                call(1).x(&[1, 3, 2, 1]),
            ]
        },
    },
];

fn groups(call: &Call) -> Result<usize> {
    let (groups, x) = (call.size(call.op.int("num_groups", 0))?, call.shape(0)?);
    match x.get(1) {
        Some(channels) if groups > 0 && channels.is_multiple_of(groups) => Ok(groups),
        _ => Err(call.error(format!("num_groups {groups} does not divide the channels of {x:?}"))),
    }
}

/// Each group is one channel of an InstanceNormalization. (Opset 21 moved scale and bias from
/// the groups to the channels; the upgrade sees to that.)
fn group(s: &mut Site) -> Result<Vec<Value>> {
    let (groups, shape) = (groups(&s.call())?, s.shape(0)?);
    let batch = shape.first().copied().unwrap_or(1);
    let total = element_count(&shape).unwrap_or(0);
    let x = s.tape.reshape(s.x(0)?, &[batch, groups, total / (batch * groups).max(1)])?;
    let epsilon = s.op.float("epsilon", 1e-5);
    let instance = Op::new("InstanceNormalization").with("epsilon", epsilon);
    let y = s.tape.op(instance, &[x, s.x(1)?, s.x(2)?])?;
    Ok(vec![s.tape.reshape(y, &shape)?])
}

fn variance_axes(call: &Call) -> Result<Vec<usize>> {
    call.axes(call.op.ints("axes").unwrap_or(&[0, 2, 3]), call.shape(0)?.len())
}

/// `(x - mean) / deviation`. ONNX adds 1e-9 to the deviation; under the root, as 1e-18, it
/// does the same, and lets what does not vary have a gradient.
fn mean_variance(s: &mut Site) -> Result<Vec<Value>> {
    let axes = variance_axes(&s.call())?;
    let (x, tiny) = (s.x(0)?, s.number(1e-18)?);
    let mean = s.reduce("ReduceMean", x, &axes)?;
    let centred = s.apply("Sub", &[x, mean])?;
    let square = s.apply("Mul", &[centred, centred])?;
    let variance = s.reduce("ReduceMean", square, &axes)?;
    let variance = s.apply("Add", &[variance, tiny])?;
    let deviation = s.apply("Sqrt", &[variance])?;
    Ok(vec![s.apply("Div", &[centred, deviation])?])
}

fn norm(call: &Call) -> Result<&'static str> {
    match call.op.int("p", 2) {
        1 => Ok("ReduceL1"),
        2 => Ok("ReduceL2"),
        p => Err(call.error(format!("`p` is {p}; it may be 1 or 2"))),
    }
}

/// `x` over its norm along one axis; zeros stay zeros.
fn unit(s: &mut Site) -> Result<Vec<Value>> {
    let axis = s.call().axis(s.op.int("axis", -1), s.shape(0)?.len())?;
    let (x, zero, one) = (s.x(0)?, s.number(0.0)?, s.number(1.0)?);
    let op = norm(&s.call())?;
    let norm = s.reduce(op, x, &[axis])?;
    let nothing = s.apply("Equal", &[norm, zero])?;
    let norm = s.apply("Where", &[nothing, one, norm])?;
    Ok(vec![s.apply("Div", &[x, norm])?])
}

/// The channels before and behind that LRN looks at.
fn neighbours(call: &Call) -> Result<(usize, usize)> {
    let shape = call.shape(0)?;
    if shape.len() < 3 {
        return Err(call.error(format!("its argument {shape:?} is no [N, C, D1, ...]")));
    }
    match call.op.int("size", 0) {
        size @ 1..=65_536 => {
            let size = call.size(size)?;
            Ok(((size - 1) / 2, size / 2))
        }
        size => Err(call.error(format!("`size` is {size}; it has to lie in 1..=65536"))),
    }
}

/// `x / (bias + alpha m)^beta`, where m is the mean square of the channels around: an
/// AveragePool over them that counts its padding.
fn local_response(s: &mut Site) -> Result<Vec<Value>> {
    let (before, behind) = neighbours(&s.call())?;
    let (x, shape) = (s.x(0)?, s.shape(0)?);
    let [alpha, beta, bias] = [("alpha", 1e-4), ("beta", 0.75), ("bias", 1.0)]
        .map(|(name, default)| f64::from(s.op.float(name, default)));
    let (lead, rest) = shape.split_at(shape.len().min(2));
    let area = element_count(rest).unwrap_or(0);
    let rows = [lead.first().copied().unwrap_or(1), 1, lead.get(1).copied().unwrap_or(1), area];
    let square = s.apply("Mul", &[x, x])?;
    let square = s.tape.reshape(square, &rows)?;
    let pool = Op::new("AveragePool")
        .with("kernel_shape", vec![(before + behind + 1) as i64, 1])
        .with("pads", vec![before as i64, 0, behind as i64, 0])
        .with("count_include_pad", 1i64);
    let mean = s.tape.op(pool, &[square])?;
    let mean = s.tape.reshape(mean, &shape)?;
    let (alpha, bias, beta) = (s.number(alpha)?, s.number(bias)?, s.number(-beta)?);
    let mean = s.apply("Mul", &[mean, alpha])?;
    let base = s.apply("Add", &[mean, bias])?;
    let factor = s.apply("Pow", &[base, beta])?;
    Ok(vec![s.apply("Mul", &[x, factor])?])
}

#[cfg(test)]
mod tests {
    use super::super::trial::refusal;
    use super::*;

    #[test]
    fn bad_attributes_are_refused() {
        let group = |n: i64| case("GroupNormalization").with("num_groups", n).x(&[2, 4, 3]);
        assert!(refusal(group(3).x(&[3]).x(&[3])).contains("does not divide"));
        assert!(refusal(group(0).x(&[1]).x(&[1])).contains("does not divide"));
        assert!(refusal(group(-1).x(&[1]).x(&[1])).contains("no dimension"));
        assert!(refusal(group(2).x(&[4]).x(&[4])).contains("one value a group"));
        assert!(refusal(case("LpNormalization").with("p", 3i64).x(&[2])).contains("1 or 2"));
        assert!(refusal(case("LRN").x(&[1, 2, 3])).contains("`size` is 0"));
        assert!(refusal(case("LRN").with("size", 3i64).x(&[2, 3])).contains("[N, C, D1"));
        assert!(refusal(case("MeanVarianceNormalization").x(&[2, 3])).contains("out of range"));
    }
}
