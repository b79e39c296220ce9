//! Normalisation layers that compute their statistics.

use graphs::{Fact, Value};

use super::{Adjoint, Call, Def, Gradient, Gradients, case, like_first};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "LayerNormalization",
        infer: layer_shape,
        gradient: Rule(layer),
        eval: None,
        cases: || {
            vec![
                case("LayerNormalization").x(&[2, 3, 5]).x(&[5]).x(&[5]),
                case("LayerNormalization").with("axis", 1i64).x(&[2, 3, 4]).x(&[3, 4]),
                case("LayerNormalization").with("axis", 0i64).x(&[2, 3]).x(&[2, 3]).x(&[3]),
                case("LayerNormalization")
                    .with("axis", -2i64)
                    .with("epsilon", 0.1f32)
                    .x(&[2, 3, 4])
                    .x(&[1, 4])
                    .x(&[3, 4])
                    .outputs(3),
            ]
        },
    },
    Def {
        op: "InstanceNormalization",
        infer: |call| {
            channels(call, 2)?;
            if call.shape(0)?.len() < 3 {
                return Err(call.error("argument 0 has no axes behind the channels"));
            }
            like_first(call)
        },
        gradient: Rule(instance),
        eval: None,
        cases: || {
            let call = |x: &[usize]| case("InstanceNormalization").x(x).x(&[3]).x(&[3]);
            vec![call(&[2, 3, 4, 5]), call(&[2, 3, 6]).with("epsilon", 0.1f32)]
        },
    },
];

/// Checks that arguments 1 to `last` are vectors with one element a channel, axis 1.
pub(super) fn channels(call: &Call, last: usize) -> Result<()> {
    let x = call.shape(0)?;
    let channels = x.get(1).copied();
    for i in 1..=last {
        let shape = call.shape(i)?;
        if channels.is_none_or(|channels| shape != [channels]) {
            let reason = format!("argument {i} is {shape:?}, not one value a channel of {x:?}");
            return Err(call.error(reason));
        }
    }
    Ok(())
}

/// A vector along axis 1 of `rank` axes. The batch axis is there too: OpenVINO stores channels
/// last only where all operands have as many axes.
pub(super) fn per_channel(s: &mut Adjoint, vector: Value, rank: usize) -> Result<Value> {
    let mut shape = [&[1], &s.tape.shape(vector)?[..]].concat();
    shape.resize(rank, 1);
    s.tape.reshape(vector, &shape)
}

fn layer_shape(call: &Call) -> Result<Vec<Fact>> {
    let x = call.shape(0)?;
    let axis = call.axis(call.op.int("axis", -1), x.len())?;
    let statistics: Vec<usize> =
        x.iter().enumerate().map(|(i, &n)| if i < axis { n } else { 1 }).collect();
    for i in (1..call.count()).filter(|&i| call.has(i)) {
        if super::broadcast::pair(call, &x, &call.shape(i)?)? != x {
            return Err(call.error(format!("argument {i} does not broadcast to {x:?}")));
        }
    }
    let dtype = call.dtype(0)?;
    let statistics = Fact::new(dtype, &statistics);
    Ok(vec![Fact::new(dtype, &x), statistics.clone(), statistics])
}

fn layer(s: &mut Adjoint) -> Gradients {
    let (x, shape) = (s.x(0)?, s.shape(0)?);
    let axis = s.call()?.axis(s.op.int("axis", -1), shape.len())?;
    let axes: Vec<usize> = (axis..shape.len()).collect();
    let mut gradients = match s.arrives(0) {
        Some(_) => {
            let scale = s.x(1)?;
            standardised(s, scale, axes.clone())?
        }
        None => vec![None; 3],
    };
    let count: usize = shape.iter().skip(axis).product();
    let mut parts: Vec<Value> = gradients[0].into_iter().collect();
    if let Some(dy) = s.arrives(1) {
        let share = s.tape.number(1.0 / count as f64, dy)?;
        parts.push(s.apply("Mul", &[dy, share])?);
    }
    if let Some(dy) = s.arrives(2) {
        // r' = -r^3 (x - mean) / count
        let r = s.y(2);
        let square = s.apply("Mul", &[r, r])?;
        let cube = s.apply("Mul", &[square, r])?;
        let share = s.tape.number(-1.0 / count as f64, dy)?;
        let slope = s.apply("Mul", &[cube, share])?;
        let slope = s.apply("Mul", &[dy, slope])?;
        let centre = mean(s, x, &axes)?;
        let centred = s.apply("Sub", &[x, centre])?;
        parts.push(s.apply("Mul", &[slope, centred])?);
    }
    gradients[0] = match *parts.as_slice() {
        [] => None,
        [one] => Some(s.tape.expand(one, &shape)?),
        _ => Some(s.apply("Sum", &parts)?),
    };
    Ok(gradients)
}

fn instance(s: &mut Adjoint) -> Gradients {
    let rank = s.shape(0)?.len();
    channelwise(s, (2..rank).collect())
}

/// As [`standardised`], with one scale and one bias for each channel, axis 1.
pub(super) fn channelwise(s: &mut Adjoint, axes: Vec<usize>) -> Gradients {
    let rank = s.shape(0)?.len();
    let scale = s.x(1)?;
    let scale = per_channel(s, scale, rank)?;
    let mut gradients = standardised(s, scale, axes)?;
    let rest: Vec<usize> = (0..rank).filter(|&i| i != 1).collect();
    for gradient in gradients.iter_mut().skip(1).flatten() {
        *gradient = s.tape.reduce_sum(*gradient, &rest, false)?;
    }
    Ok(gradients)
}

/// y = z scale + bias with z = (x - mean) r, r = 1 / sqrt(var + epsilon), mean and
/// variance over `axes`. With g = dy scale: dx = r (g - mean(g) - z mean(g z)).
fn standardised(s: &mut Adjoint, scale: Value, axes: Vec<usize>) -> Gradients {
    let (x, dy) = (s.x(0)?, s.dy()?);
    let epsilon = s.number(f64::from(s.op.float("epsilon", 1e-5)))?;
    let centre = mean(s, x, &axes)?;
    let centred = s.apply("Sub", &[x, centre])?;
    let square = s.apply("Mul", &[centred, centred])?;
    let var = mean(s, square, &axes)?;
    let shifted = s.apply("Add", &[var, epsilon])?;
    let deviation = s.apply("Sqrt", &[shifted])?;
    let z = s.apply("Div", &[centred, deviation])?;
    let dx = s.when(0, |s| {
        let g = s.apply("Mul", &[dy, scale])?;
        let even = mean(s, g, &axes)?;
        let product = s.apply("Mul", &[g, z])?;
        let along = mean(s, product, &axes)?;
        let along = s.apply("Mul", &[z, along])?;
        let rest = s.apply("Sub", &[g, even])?;
        let rest = s.apply("Sub", &[rest, along])?;
        s.apply("Div", &[rest, deviation])
    })?;
    let dscale = s.when(1, |s| s.apply("Mul", &[dy, z]))?;
    Ok(vec![dx, dscale, Some(dy)])
}

pub(super) fn mean(s: &mut Adjoint, x: Value, axes: &[usize]) -> Result<Value> {
    let axes = s.tape.ints(&crate::signed(axes));
    s.apply("ReduceMean", &[x, axes])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{infer, refusal};
    use super::*;

    #[test]
    fn every_channel_has_its_parameters() {
        let call = |x: &[usize]| case("InstanceNormalization").x(x).x(&[2]).x(&[2]);
        assert!(refusal(call(&[2])).contains("a channel"));
        assert!(refusal(call(&[1, 2])).contains("no axes behind"));
    }

    #[test]
    fn axes_are_checked() {
        let layer = case("LayerNormalization").with("axis", 1i64).x(&[2, 3, 4]).x(&[3, 4]);
        assert_eq!(infer(layer).unwrap()[1], Fact::new(graphs::DType::F32, &[2, 1, 1]));
        assert!(refusal(case("LayerNormalization").x(&[2, 3]).x(&[4])).contains("broadcast"));
    }
}
