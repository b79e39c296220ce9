//! Normalisation layers.

use graphs::{Fact, Tensor, Value};

use super::{Adjoint, Call, Def, Gradient, Gradients, case, like_first};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "BatchNormalization",
        infer: batch_shape,
        gradient: Rule(batch),
        eval: None,
        cases: || {
            let call = |x: &[usize], c: usize| {
                let call = case("BatchNormalization").x(x).within(&[c], 0.5, 1.5).x(&[c]);
                call.x(&[c]).within(&[c], 0.5, 1.5)
            };
            let (scale, mean) = ([0.5f32, -1.5, 2.0], [0.1f32, 0.2, -0.3]);
            let [scale, mean, var] = [scale, mean, [0.5, 1.0, 2.0]].map(|v| Tensor::vector(&v));
            let fixed = case("BatchNormalization").x(&[2, 3, 4]).constant(scale);
            vec![
                call(&[2, 3, 4, 5], 3).with("epsilon", 0.01f32),
                call(&[4, 3], 3),
                call(&[2, 1, 3], 1),
                fixed.constant(mean.clone()).constant(mean).constant(var),
                call(&[2, 3, 4, 2], 3).with("training_mode", 1i64).outputs(3),
                call(&[5, 3], 3)
                    .with("training_mode", 1i64)
                    .with("momentum", 0.7f32)
                    .with("epsilon", 0.1f32)
                    .outputs(3),
                call(&[3, 2, 4], 2).with("training_mode", 1i64).outputs(3),
            ]
        },
    },
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
fn channels(call: &Call, last: usize) -> Result<()> {
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

fn batch_shape(call: &Call) -> Result<Vec<Fact>> {
    channels(call, 4)?;
    let mut facts = like_first(call)?;
    if call.op.int("training_mode", 0) != 0 {
        let running = Fact::new(call.dtype(3)?, &call.shape(3)?);
        facts.extend([running.clone(), running]);
    }
    Ok(facts)
}

/// With r = 1 / sqrt(var + epsilon) and t = sum(dy (x - mean)):
/// dx = dy scale r, dscale = t r, dB = sum(dy), dmean = -dB scale r,
/// dvar = -1/2 dscale scale r^2.
fn batch(s: &mut Adjoint) -> Gradients {
    if s.op.int("training_mode", 0) != 0 {
        return batch_training(s);
    }
    let (x, scale, mean, var, dy) = (s.x(0)?, s.x(1)?, s.x(3)?, s.x(4)?, s.dy()?);
    let shape = s.shape(0)?;
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let epsilon = s.number(f64::from(s.op.float("epsilon", 1e-5)))?;
    let shifted = s.apply("Add", &[var, epsilon])?;
    let deviation = s.apply("Sqrt", &[shifted])?;
    let factor = s.apply("Div", &[scale, deviation])?;
    let dx = s.when(0, |s| s.tape.scale_channels(dy, factor, None))?;
    let dscale = if s.wants(1) || s.wants(4) {
        let mean = per_channel(s, mean, shape.len())?;
        let centred = s.apply("Sub", &[x, mean])?;
        let product = s.apply("Mul", &[dy, centred])?;
        let total = s.tape.reduce_sum(product, &axes, false)?;
        Some(s.apply("Div", &[total, deviation])?)
    } else {
        None
    };
    let bias =
        if s.wants(2) || s.wants(3) { Some(s.tape.reduce_sum(dy, &axes, false)?) } else { None };
    let dmean = match bias.filter(|_| s.wants(3)) {
        Some(bias) => {
            let product = s.apply("Mul", &[bias, factor])?;
            Some(s.apply("Neg", &[product])?)
        }
        None => None,
    };
    let dvar = match dscale.filter(|_| s.wants(4)) {
        Some(dscale) => {
            let product = s.apply("Mul", &[dscale, factor])?;
            let product = s.apply("Div", &[product, deviation])?;
            Some(s.scaled(product, -0.5)?)
        }
        None => None,
    };
    Ok(vec![dx, dscale, bias, dmean, dvar])
}

/// With the statistics of the batch, which the running ones take a share of: those are
/// outputs 1 and 2, and may have gradients of their own.
fn batch_training(s: &mut Adjoint) -> Gradients {
    let (x, shape) = (s.x(0)?, s.shape(0)?);
    let axes: Vec<usize> = (0..shape.len()).filter(|&i| i != 1).collect();
    let keep = f64::from(s.op.float("momentum", 0.9));
    let count: usize = axes.iter().filter_map(|&i| shape.get(i)).product();
    let mut gradients = match s.arrives(0) {
        Some(_) => channelwise(s, axes.clone())?,
        None => vec![None; 3],
    };
    gradients.resize(5, None);
    for slot in [1, 2] {
        let Some(dy) = s.arrives(slot) else { continue };
        let (kept, taken) = (s.tape.number(keep, dy)?, (1.0 - keep) / count as f64);
        gradients[slot + 2] = Some(s.apply("Mul", &[dy, kept])?);
        // Means change by 1 / count with every element, variances by 2 (x - mean) / count.
        let share = s.tape.number(taken * slot as f64, dy)?;
        let share = s.apply("Mul", &[dy, share])?;
        let mut part = per_channel(s, share, shape.len())?;
        if slot == 2 {
            let centre = mean(s, x, &axes)?;
            let centred = s.apply("Sub", &[x, centre])?;
            part = s.apply("Mul", &[part, centred])?;
        }
        gradients[0] = Some(match gradients[0] {
            Some(dx) => s.apply("Add", &[dx, part])?,
            None => s.tape.expand(part, &shape)?,
        });
    }
    Ok(gradients)
}

/// A vector along axis 1 of `rank` axes.
fn per_channel(s: &mut Adjoint, vector: Value, rank: usize) -> Result<Value> {
    let mut shape = s.tape.shape(vector)?;
    shape.resize(rank.saturating_sub(1), 1);
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
fn channelwise(s: &mut Adjoint, axes: Vec<usize>) -> Gradients {
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

fn mean(s: &mut Adjoint, x: Value, axes: &[usize]) -> Result<Value> {
    let axes = s.tape.ints(&crate::signed(axes));
    s.apply("ReduceMean", &[x, axes])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{infer, refusal, shape};
    use super::*;

    #[test]
    fn every_channel_has_its_parameters() {
        let call = |c: &[usize]| case("BatchNormalization").x(&[2, 3, 4]).x(c).x(c).x(c).x(c);
        assert_eq!(shape(call(&[3])), [2, 3, 4]);
        assert_eq!(infer(call(&[3]).with("training_mode", 1i64)).unwrap().len(), 3);
        assert!(refusal(call(&[4])).contains("a channel"));
        assert!(
            refusal(case("InstanceNormalization").x(&[2]).x(&[2]).x(&[2])).contains("a channel")
        );
    }

    #[test]
    fn axes_are_checked() {
        let layer = case("LayerNormalization").with("axis", 1i64).x(&[2, 3, 4]).x(&[3, 4]);
        assert_eq!(infer(layer).unwrap()[1], Fact::new(graphs::DType::F32, &[2, 1, 1]));
        assert!(refusal(case("LayerNormalization").x(&[2, 3]).x(&[4])).contains("broadcast"));
    }
}
