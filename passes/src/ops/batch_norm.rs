//! BatchNormalization, with given statistics and with those of the batch.

use graphs::{Fact, Tensor};

use super::normalize::{channels, channelwise, mean, per_channel};
use super::{Adjoint, Call, Def, Gradient, Gradients, case, like_first};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[Def {
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
}];

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
    }
}
