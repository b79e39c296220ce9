//! Dropout: what training leaves out at random, and what inference passes on.

use graphs::{DType, Fact, Tensor, Value};

use super::body::Site;
use super::{Adjoint, Call, Def, Gradient, Gradients, case, random};
use crate::{Result, Tape};
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[Def {
    op: "Dropout",
    infer: |call| {
        let shape = call.shape(0)?;
        Ok(vec![Fact::new(call.dtype(0)?, &shape), Fact::new(DType::Bool, &shape)])
    },
    gradient: Rule(gradient),
    eval: None,
    cases: || {
        let call = || case("Dropout").x(&[2, 3]);
        let off = Tensor::from_bytes(DType::Bool, vec![], vec![0].into());
        let mut cases = vec![
            call(),
            call().scalar(0.3f32).outputs(2),
            // Training drops nothing at a ratio of 0.
            call().scalar(0f32).flags(&[]).outputs(2),
            call().scalar(0f32).flags(&[]),
        ];
        cases.extend(off.ok().map(|off| call().scalar(0.3f32).constant(off).outputs(2)));
        cases
    },
}];

/// False if the call is known to do nothing: its `training_mode` is argument 2.
pub(crate) fn drops(call: &Call) -> Result<bool> {
    Ok(match call.constant(2) {
        Some(mode) => mode.integers()? != [0],
        None => call.has(2),
    })
}

/// The elements that the mask has kept, scaled; the mask becomes an output of the call.
fn gradient(s: &mut Adjoint) -> Gradients {
    let (x, dy, shape) = (s.x(0)?, s.dy()?, s.shape(0)?);
    if !drops(&s.call()?)? {
        return Ok(vec![Some(dy), None, None]);
    }
    let outputs = &mut s.tape.graph.node_mut(s.node).outputs;
    if outputs.len() == 1 {
        outputs.push(Fact::new(DType::Bool, &shape));
    }
    let scale = scale(s.tape, x, &s.arguments)?;
    let kept = s.masked(s.y(1), dy)?;
    Ok(vec![Some(s.apply("Mul", &[kept, scale])?), None, None])
}

/// Training by a mask that is drawn in the graph.
pub(crate) fn by_uniform(s: &mut Site) -> Result<Vec<Value>> {
    let (x, dtype) = (s.x(0)?, s.tape.dtype(s.x(0)?)?);
    let uniform = random::uniform(s, x)?;
    let ratio = ratio(s.tape, x, &s.arguments)?;
    let mut keep = s.apply("GreaterOrEqual", &[uniform, ratio])?;
    if s.call().constant(2).is_none() {
        let mode = s.x(2)?;
        let off = s.apply("Not", &[mode])?;
        keep = s.apply("Or", &[keep, off])?;
    }
    let scale = scale(s.tape, x, &s.arguments)?;
    let mask = s.tape.cast(keep, dtype)?;
    let factor = s.apply("Mul", &[mask, scale])?;
    Ok(vec![s.apply("Mul", &[x, factor])?, keep])
}

/// The share that is dropped, as the type of `x`.
fn ratio(tape: &mut Tape, x: Value, arguments: &[Option<Value>]) -> Result<Value> {
    match arguments.get(1).copied().flatten() {
        Some(ratio) => tape.cast(ratio, tape.dtype(x)?),
        None => tape.number(0.5, x),
    }
}

/// 1 / (1 - ratio), or 1 if a mode that is no constant turns out to be false.
fn scale(tape: &mut Tape, x: Value, arguments: &[Option<Value>]) -> Result<Value> {
    let (one, ratio) = (tape.number(1.0, x)?, ratio(tape, x, arguments)?);
    let share = tape.apply("Sub", &[one, ratio])?;
    let scale = tape.apply("Div", &[one, share])?;
    match arguments.get(2).copied().flatten() {
        Some(mode) if tape.graph.tensor(mode).is_none() => tape.apply("Where", &[mode, scale, one]),
        _ => Ok(scale),
    }
}
