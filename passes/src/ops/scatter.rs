//! Operators that write at indices: ScatterElements, and the rules that it shares with
//! ScatterND.

use graphs::{Fact, Op, Value};

use super::eval::{self, Numbers};
use super::gather::{axis, elements, fits, square};
use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case};
use crate::Result;

pub(super) const TABLE: &[Def] = &[Def {
    op: "ScatterElements",
    infer: |call| {
        let (data, indices) = (call.shape(0)?, call.shape(1)?);
        fits(call, &data, &indices)?;
        if call.shape(2)? != indices {
            return Err(call.error("indices and updates differ in shape"));
        }
        Ok(vec![Fact::new(call.dtype(0)?, &data)])
    },
    gradient: Gradient::Rule(|s| {
        let axis = axis(&s.call()?)? as i64;
        let [scatter, gather] =
            ["ScatterElements", "GatherElements"].map(|op| Op::new(op).with("axis", axis));
        self::gradient(s, &Places { scatter, gather })
    }),
    eval: Some(|call| match elements(call)? {
        Some(positions) => fold(call, &positions),
        None => Ok(None),
    }),
    cases: || {
        let reduced = |reduction: &str, call: Case| {
            call.with("reduction", reduction).constant(square(&[0, 2, 0, -1]))
        };
        let call = || case("ScatterElements");
        vec![
            reduced("add", call().x(&[3, 3])).x(&[2, 2]),
            reduced("mul", call().x(&[3, 3])).x(&[2, 2]),
            reduced("max", call().distinct(&[3, 3])).distinct(&[2, 2]),
            reduced("min", call().distinct(&[3, 3])).distinct(&[2, 2]),
            call()
                .with("reduction", "add")
                .with("axis", 1i64)
                .x(&[2, 4])
                .constant(square(&[1; 4]))
                .x(&[2, 2]),
            call().x(&[3, 3]).constant(square(&[0, 2, 1, -2])).x(&[2, 2]),
        ]
    },
}];

/// A scatter operator without reduction, and the one that reads where it writes.
pub(super) struct Places {
    pub(super) scatter: Op,
    pub(super) gather: Op,
}

impl Places {
    fn scatter(&self, s: &mut Adjoint, how: &str, data: Value, updates: Value) -> Result<Value> {
        let indices = s.x(1)?;
        let op = self.scatter.clone();
        let op = if how == "none" { op } else { op.with("reduction", how) };
        s.tape.op(op, &[data, indices, updates])
    }

    fn gather(&self, s: &mut Adjoint, data: Value) -> Result<Value> {
        let indices = s.x(1)?;
        s.tape.op(self.gather.clone(), &[data, indices])
    }
}

/// The gradients of data and updates.
pub(super) fn gradient(s: &mut Adjoint, places: &Places) -> Gradients {
    let dy = s.dy()?;
    let [data, updates] = match s.op.string("reduction").unwrap_or("none") {
        "none" => {
            let data = s.when(0, |s| {
                let updates = s.x(2)?;
                let zeros = s.tape.zeros_like(updates)?;
                places.scatter(s, "none", dy, zeros)
            })?;
            [data, s.when(2, |s| places.gather(s, dy))?]
        }
        "add" => [Some(dy), s.when(2, |s| places.gather(s, dy))?],
        "mul" => product(s, places)?,
        "max" | "min" => extreme(s, places)?,
        other => return Err(s.error(format!("the reduction `{other}` is unknown"))),
    };
    Ok(vec![data, None, updates])
}

/// Every factor gets the product of all others, exact where one of them is 0.
fn product(s: &mut Adjoint, places: &Places) -> Result<[Option<Value>; 2]> {
    let (x, updates, dy) = (s.x(0)?, s.x(2)?, s.dy()?);
    let data = s.when(0, |s| {
        let (zeros, one) = (s.tape.zeros_like(x)?, s.number(1.0)?);
        let ones = s.apply("Add", &[zeros, one])?;
        let factors = places.scatter(s, "mul", ones, updates)?;
        s.apply("Mul", &[dy, factors])
    })?;
    let updates = s.when(2, |s| {
        let (dtype, zero) = (s.tape.dtype(updates)?, s.number(0.0)?);
        let vanishes = s.apply("Equal", &[updates, zero])?;
        let vanishes = s.tape.cast(vanishes, dtype)?;
        let divisor = s.apply("Add", &[updates, vanishes])?;
        let rest = places.scatter(s, "mul", x, divisor)?;
        let rest = s.apply("Mul", &[dy, rest])?;
        let rest = places.gather(s, rest)?;
        let rest = s.apply("Div", &[rest, divisor])?;
        let none = s.tape.zeros_like(x)?;
        let count = places.scatter(s, "add", none, vanishes)?;
        let count = places.gather(s, count)?;
        let alone = s.apply("Equal", &[count, vanishes])?;
        s.masked(alone, rest)
    })?;
    Ok([data, updates])
}

/// All that are equal to the extreme share its gradient evenly, as in PyTorch.
fn extreme(s: &mut Adjoint, places: &Places) -> Result<[Option<Value>; 2]> {
    let (x, updates, y, dy) = (s.x(0)?, s.x(2)?, s.y(0), s.dy()?);
    let dtype = s.tape.dtype(x)?;
    let kept = s.apply("Equal", &[x, y])?;
    let kept = s.tape.cast(kept, dtype)?;
    let reached = places.gather(s, y)?;
    let reached = s.apply("Equal", &[updates, reached])?;
    let reached = s.tape.cast(reached, dtype)?;
    let count = places.scatter(s, "add", kept, reached)?;
    let share = s.apply("Div", &[dy, count])?;
    let data = s.when(0, |s| s.apply("Mul", &[share, kept]))?;
    let updates = s.when(2, |s| {
        let share = places.gather(s, share)?;
        s.apply("Mul", &[share, reached])
    })?;
    Ok([data, updates])
}

/// Constant data with constant updates written at `positions`.
pub(super) fn fold(call: &Call, positions: &[usize]) -> Folded {
    let (Some(data), Some(updates)) = (call.constant(0), call.constant(2)) else { return Ok(None) };
    if data.len() > eval::LIMIT || updates.len() != positions.len() {
        return Ok(None);
    }
    let how = call.op.string("reduction").unwrap_or("none");
    let numbers = match (eval::read(data), eval::read(updates)) {
        (Some(Numbers::Ints(data)), Some(Numbers::Ints(updates))) => {
            let join: fn(i64, i64) -> Option<i64> = match how {
                "none" => |_, b| Some(b),
                "add" => i64::checked_add,
                "mul" => i64::checked_mul,
                "max" => |a, b| Some(a.max(b)),
                "min" => |a, b| Some(a.min(b)),
                _ => return Ok(None),
            };
            write(data, &updates, positions, join).map(Numbers::Ints)
        }
        (Some(Numbers::Floats(data)), Some(Numbers::Floats(updates))) => {
            let join: fn(f64, f64) -> Option<f64> = match how {
                "none" => |_, b| Some(b),
                "add" => |a, b| Some(a + b),
                "mul" => |a, b| Some(a * b),
                "max" => |a, b| Some(a.max(b)),
                "min" => |a, b| Some(a.min(b)),
                _ => return Ok(None),
            };
            write(data, &updates, positions, join).map(Numbers::Floats)
        }
        _ => None,
    };
    eval::one(numbers.and_then(|numbers| eval::write(data.dtype(), data.shape().to_vec(), numbers)))
}

fn write<T: Copy>(
    mut data: Vec<T>,
    updates: &[T],
    positions: &[usize],
    join: fn(T, T) -> Option<T>,
) -> Option<Vec<T>> {
    for (&update, &position) in updates.iter().zip(positions) {
        let place = data.get_mut(position)?;
        *place = join(*place, update)?;
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{ints, refusal};
    use super::*;

    #[test]
    fn updates_are_written_along_the_axis() {
        let scatter = |axis: i64, reduction: &str| {
            let call = case("ScatterElements").with("axis", axis).with("reduction", reduction);
            ints(
                call.constant(square(&[1, 2, 3, 4]))
                    .constant(square(&[1, 0, 1, -1]))
                    .constant(square(&[10, 20, 30, 40])),
            )
        };
        assert_eq!(scatter(0, "add"), [1, 22, 43, 44]);
        assert_eq!(scatter(1, "none"), [20, 10, 3, 40]);
        assert_eq!(scatter(1, "mul"), [20, 20, 3, 4800]);
        let bad = case("ScatterElements").x(&[3]).ints(&[0, 1]).x(&[1]);
        assert!(refusal(bad).contains("differ in shape"));
    }
}
