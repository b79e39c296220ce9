//! Sampling images at positions that a network computes.
//!
//! Formulas: GridSample-16 of ONNX, which is `grid_sample` of PyTorch.

use graphs::{DType, Fact, NodeId, Op, Value};

use super::{Adjoint, Call, Case, Def, Gradient, Gradients, case};
use crate::{Result, Tape, gradients};

pub(super) const TABLE: &[Def] = &[Def {
    op: "GridSample",
    infer: |call| {
        let Sampling { batch, channels, grid, .. } = Sampling::of(call)?;
        Ok(vec![Fact::new(call.dtype(0)?, &[batch, channels, grid[0], grid[1]])])
    },
    gradient: Gradient::Rule(gradient),
    eval: None,
    cases,
}];

fn cases() -> Vec<Case> {
    // Ranges of the grid that no step leaves the space between two pixels from.
    let mut cases = Vec::new();
    for mode in ["bilinear", "bicubic", "nearest"] {
        let sample = |padding: &str, low: f32, high: f32| {
            let call = case("GridSample").with("mode", mode).with("padding_mode", padding);
            call.x(&[2, 2, 3, 3]).within(&[2, 2, 3, 2], low, high)
        };
        let middle = if mode == "nearest" { 0.25 } else { 0.55 };
        cases.push(sample("zeros", 0.1, middle));
        cases.push(sample("zeros", 0.75, 0.9));
        let outside = if mode == "bicubic" { (-0.9, -0.75) } else { (1.2, 1.25) };
        cases.push(sample("border", outside.0, outside.1));
        cases.push(sample("reflection", -1.2, -1.1));
        cases.push(sample("reflection", 0.1, 0.4).with("align_corners", 1i64));
        cases.push(sample("zeros", -0.4, -0.1).with("align_corners", 1i64));
    }
    cases
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    Nearest,
    Linear,
    Cubic,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Padding {
    Zeros,
    Border,
    Reflection,
}

/// A sampling of images `[batch, channels, image..]` at `grid` positions.
struct Sampling {
    kernel: Kernel,
    padding: Padding,
    align: bool,
    batch: usize,
    channels: usize,
    image: [usize; 2],
    grid: [usize; 2],
}

impl Sampling {
    fn of(call: &Call) -> Result<Sampling> {
        let kernel = match call.op.string("mode") {
            None | Some("bilinear" | "linear") => Kernel::Linear,
            Some("bicubic" | "cubic") => Kernel::Cubic,
            Some("nearest") => Kernel::Nearest,
            Some(other) => return Err(call.error(format!("mode `{other}` is unknown"))),
        };
        let padding = match call.op.string("padding_mode") {
            None | Some("zeros") => Padding::Zeros,
            Some("border") => Padding::Border,
            Some("reflection") => Padding::Reflection,
            Some(other) => return Err(call.error(format!("padding_mode `{other}` is unknown"))),
        };
        let align = call.op.int("align_corners", 0) != 0;
        let (x, positions) = (call.shape(0)?, call.shape(1)?);
        match (&x[..], &positions[..]) {
            (&[batch, channels, h, w], &[same, rows, columns, 2])
                if batch == same && h.checked_mul(w).is_some_and(|pixels| pixels > 0) =>
            {
                let (image, grid) = ([h, w], [rows, columns]);
                Ok(Sampling { kernel, padding, align, batch, channels, image, grid })
            }
            _ => Err(call.error(format!("an input {x:?} and a grid {positions:?} do not fit"))),
        }
    }

    /// The same in operators that have gradients.
    fn build(&self, tape: &mut Tape, x: Value, grid: Value) -> Result<Value> {
        let ([h, w], [rows, columns]) = (self.image, self.grid);
        let points = rows * columns;
        let pixels = tape.transpose(x, &[0, 2, 3, 1])?;
        let pixels = tape.reshape(pixels, &[self.batch, h * w, self.channels])?;
        let mut axes = Vec::new();
        for (i, size) in [w, h].into_iter().enumerate() {
            let at = i as i64;
            let position = tape.slice(grid, &[3], &[at], &[at + 1], &[1])?;
            let position = tape.reshape(position, &[self.batch, points, 1])?;
            axes.push(self.taps(tape, position, size)?);
        }
        let [across, down] = &axes[..] else { return Ok(x) };
        let width = tape.scalar(w as i64);
        let mut parts = Vec::new();
        for &(row, vertical) in down {
            let start = tape.apply("Mul", &[row, width])?;
            for &(column, horizontal) in across {
                let place = tape.apply("Add", &[start, column])?;
                let gather = Op::new("GatherND").with("batch_dims", 1i64);
                let mut part = tape.op(gather, &[pixels, place])?;
                for weight in [vertical, horizontal].into_iter().flatten() {
                    part = tape.apply("Mul", &[part, weight])?;
                }
                parts.push(part);
            }
        }
        let y = tape.apply("Sum", &parts)?;
        let y = tape.transpose(y, &[0, 2, 1])?;
        tape.reshape(y, &[self.batch, self.channels, rows, columns])
    }

    /// For every pixel that a sample is made of along an axis its index and its weight.
    fn taps(
        &self,
        tape: &mut Tape,
        position: Value,
        size: usize,
    ) -> Result<Vec<(Value, Option<Value>)>> {
        let (n, last) = (size as f64, size as f64 - 1.0);
        // From [-1, 1], which ends at the centres or at the edges of the last pixels.
        let (slope, shift) =
            if self.align { (last / 2.0, last / 2.0) } else { (n / 2.0, last / 2.0) };
        let mut at = affine(tape, position, slope, shift)?;
        if self.kernel != Kernel::Cubic {
            at = self.inside(tape, at, size)?;
        }
        let base =
            tape.apply(if self.kernel == Kernel::Nearest { "Round" } else { "Floor" }, &[at])?;
        let rest = tape.apply("Sub", &[at, base])?;
        let offsets = match self.kernel {
            Kernel::Nearest => 0..1,
            Kernel::Linear => 0..2,
            Kernel::Cubic => -1..3,
        };
        let mut taps = Vec::new();
        for offset in offsets {
            let mut index = affine(tape, base, 1.0, f64::from(offset))?;
            if self.kernel == Kernel::Cubic {
                index = self.inside(tape, index, size)?;
            }
            let mut weight = weight(tape, self.kernel, rest, offset)?;
            let clipped = clip(tape, index, last)?;
            if self.padding == Padding::Zeros {
                let there = tape.apply("Equal", &[index, clipped])?;
                let there = tape.cast(there, tape.dtype(position)?)?;
                weight = Some(match weight {
                    None => there,
                    Some(weight) => tape.apply("Mul", &[weight, there])?,
                });
            }
            taps.push((tape.cast(clipped, DType::I64)?, weight));
        }
        Ok(taps)
    }

    /// Positions that the padding moves into the image.
    fn inside(&self, tape: &mut Tape, at: Value, size: usize) -> Result<Value> {
        let last = size as f64 - 1.0;
        let (low, span) = if self.align { (0.0, last) } else { (-0.5, size as f64) };
        match self.padding {
            Padding::Zeros => Ok(at),
            Padding::Border => clip(tape, at, last),
            Padding::Reflection if span == 0.0 => affine(tape, at, 0.0, 0.0),
            Padding::Reflection => {
                let from = affine(tape, at, 1.0, -low)?;
                let distance = tape.apply("Abs", &[from])?;
                let period = tape.number(2.0 * span, at)?;
                let phase = tape.op(Op::new("Mod").with("fmod", 1i64), &[distance, period])?;
                let turned = affine(tape, phase, 1.0, -span)?;
                let turned = tape.apply("Abs", &[turned])?;
                let back = affine(tape, turned, -1.0, low + span)?;
                clip(tape, back, last)
            }
        }
    }
}

/// `x * slope + shift`.
fn affine(tape: &mut Tape, x: Value, slope: f64, shift: f64) -> Result<Value> {
    let mut y = x;
    if slope != 1.0 {
        let slope = tape.number(slope, x)?;
        y = tape.apply("Mul", &[y, slope])?;
    }
    if shift != 0.0 {
        let shift = tape.number(shift, x)?;
        y = tape.apply("Add", &[y, shift])?;
    }
    Ok(y)
}

fn clip(tape: &mut Tape, x: Value, last: f64) -> Result<Value> {
    let (least, most) = (tape.number(0.0, x)?, tape.number(last, x)?);
    tape.apply("Clip", &[x, least, most])
}

/// The weight of the pixel `offset` behind the base, `rest` being the distance of the
/// sample from there.
fn weight(tape: &mut Tape, kernel: Kernel, rest: Value, offset: i32) -> Result<Option<Value>> {
    // Horner's scheme, for Keys' cubic with a = -0.75 at distances of 1 to 2 and up to 1.
    let far = [-0.75, 3.75, -6.0, 3.0];
    let near = [1.25, -2.25, 0.0, 1.0];
    let (distance, polynomial) = match (kernel, offset) {
        (Kernel::Nearest, _) => return Ok(None),
        (Kernel::Linear, 0) => return affine(tape, rest, -1.0, 1.0).map(Some),
        (Kernel::Linear, _) => return Ok(Some(rest)),
        (Kernel::Cubic, -1) => (affine(tape, rest, 1.0, 1.0)?, far),
        (Kernel::Cubic, 0) => (rest, near),
        (Kernel::Cubic, 1) => (affine(tape, rest, -1.0, 1.0)?, near),
        (Kernel::Cubic, _) => (affine(tape, rest, -1.0, 2.0)?, far),
    };
    let [cube, square, linear, constant] = polynomial;
    let mut y = affine(tape, distance, cube, square)?;
    y = tape.apply("Mul", &[y, distance])?;
    y = affine(tape, y, 1.0, linear)?;
    y = tape.apply("Mul", &[y, distance])?;
    affine(tape, y, 1.0, constant).map(Some)
}

/// tract moves positions into the image where it should move pixels, in cubic kernels.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let sampling = Sampling::of(&call)?;
    if sampling.kernel != Kernel::Cubic || sampling.padding == Padding::Zeros {
        return Ok(None);
    }
    match (tape.graph.argument(id, 0), tape.graph.argument(id, 1)) {
        (Some(x), Some(grid)) => sampling.build(tape, x, grid).map(Some),
        _ => Ok(None),
    }
}

/// That of the same sampling built of plain operators, on arguments of its own.
fn gradient(s: &mut Adjoint) -> Gradients {
    let (sampling, dy) = (Sampling::of(&s.call()?)?, s.dy()?);
    let (x, grid) = (s.x(0)?, s.x(1)?);
    let [x, grid] = [s.apply("Identity", &[x])?, s.apply("Identity", &[grid])?];
    let y = sampling.build(s.tape, x, grid)?;
    let product = s.apply("Mul", &[y, dy])?;
    let loss = s.tape.reduce_sum(product, &[0, 1, 2, 3], false)?;
    let wanted: Vec<Value> =
        [x, grid].into_iter().enumerate().filter(|(i, _)| s.wants(*i)).map(|(_, v)| v).collect();
    let mut found = gradients(s.tape, loss, &wanted)?.into_iter();
    Ok((0..2).map(|i| if s.wants(i) { found.next() } else { None }).collect())
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn every_position_becomes_a_pixel() {
        let sample = |grid: &[usize]| case("GridSample").x(&[2, 3, 4, 5]).x(grid);
        assert_eq!(shape(sample(&[2, 6, 7, 2])), [2, 3, 6, 7]);
        assert!(refusal(sample(&[1, 6, 7, 2])).contains("do not fit"));
        assert!(refusal(sample(&[2, 6, 7, 3])).contains("do not fit"));
        let odd = sample(&[2, 6, 7, 2]).with("padding_mode", "odd");
        assert!(refusal(odd).contains("`odd` is unknown"));
        let huge = case("GridSample").x(&[2, 3, 1 << 40, 1 << 40]).x(&[2, 6, 7, 2]);
        assert!(refusal(huge).contains("do not fit"));
    }
}
