//! Operators that read or write at indices.

use graphs::{DType, Fact, Op, Tensor, Value, element_count};

use super::{Adjoint, Call, Def, Folded, Gradient, Gradients, case, eval};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Gather",
        infer: |call| Ok(vec![Fact::new(call.dtype(0)?, &gathered(call)?)]),
        gradient: Rule(gather),
        eval: Some(lookup),
        cases: || {
            vec![
                case("Gather").x(&[3, 4, 2]).with("axis", 1i64).scalar(-1i64),
                case("Gather").x(&[3, 4]).ints(&[2, 0, 2]),
                case("Gather").x(&[3, 4]).with("axis", -1i64).constant(square(&[0, 3, -2, 0])),
                case("Gather").x(&[3, 4]).ints(&[1]),
                case("Gather").x(&[3, 2]).ints(&[2, 0, 1]),
                case("Gather").x(&[2, 4, 2]).with("axis", 1i64).constant(square(&[3, 0, 1, 2])),
                case("Gather").x(&[2, 5]).with("axis", 1i64).ints(&[3, -4]),
            ]
        },
    },
    Def {
        op: "GatherElements",
        infer: |call| {
            let (data, indices) = (call.shape(0)?, call.shape(1)?);
            fits(call, &data, &indices)?;
            Ok(vec![Fact::new(call.dtype(0)?, &indices)])
        },
        gradient: Rule(gather_elements),
        eval: Some(|call| match (call.constant(0), elements(call)?) {
            (Some(x), Some(positions)) => eval::pick(x, &call.shape(1)?, positions),
            _ => Ok(None),
        }),
        cases: || {
            vec![
                case("GatherElements").x(&[3, 3]).constant(square(&[0, 2, 0, -1])),
                case("GatherElements").with("axis", -1i64).x(&[2, 4]).constant(square(&[1; 4])),
            ]
        },
    },
];

/// Four indices as `[2, 2]`.
pub(super) fn square(indices: &[i64]) -> Tensor {
    let vector = Tensor::vector(indices);
    vector.reshaped(&[2, 2]).unwrap_or(vector)
}

/// The axis that is indexed.
pub(super) fn axis(call: &Call) -> Result<usize> {
    call.axis(call.op.int("axis", 0), call.shape(0)?.len())
}

/// The shape of Gather's result: the indices' shape in the place of the axis.
fn gathered(call: &Call) -> Result<Vec<usize>> {
    let (data, indices, axis) = (call.shape(0)?, call.shape(1)?, axis(call)?);
    let (outer, rest) = data.split_at(axis);
    Ok([outer, &indices, rest.get(1..).unwrap_or(&[])].concat())
}

/// Checks the indices' shape of GatherElements and ScatterElements.
pub(super) fn fits(call: &Call, data: &[usize], indices: &[usize]) -> Result<()> {
    let axis = axis(call)?;
    let within = |(i, (n, m)): (usize, (&usize, &usize))| i == axis || n <= m;
    if indices.len() != data.len() || !indices.iter().zip(data).enumerate().all(within) {
        return Err(call.error(format!("indices {indices:?} do not fit into {data:?}")));
    }
    Ok(())
}

/// Where GatherElements reads and ScatterElements writes, if the indices are constant
/// and not too many.
pub(super) fn elements(call: &Call) -> Result<Option<Vec<usize>>> {
    let (data, indices, axis) = (call.shape(0)?, call.shape(1)?, axis(call)?);
    fits(call, &data, &indices)?;
    if element_count(&data).is_none_or(|count| i64::try_from(count).is_err()) {
        return Ok(None);
    }
    let own = eval::strides(&data);
    let step = own.get(axis).copied().unwrap_or(0) as usize;
    let others: Vec<i64> =
        own.into_iter().enumerate().map(|(i, step)| if i == axis { 0 } else { step }).collect();
    let Some(rows) = eval::view(&indices, 0, &others) else { return Ok(None) };
    let Some(places) = positions(call, data.get(axis).copied().unwrap_or(0))? else {
        return Ok(None);
    };
    Ok(Some(rows.into_iter().zip(places).map(|(row, place)| row + place * step).collect()))
}

/// Constant indices, each counted from the start.
fn positions(call: &Call, size: usize) -> Result<Option<Vec<usize>>> {
    let Some(indices) = call.constant(1) else { return Ok(None) };
    let position = |&i: &i64| {
        let place = if i < 0 { i.saturating_add(size as i64) } else { i };
        let place = usize::try_from(place).ok().filter(|&place| place < size);
        place.ok_or_else(|| call.error(format!("index {i} is out of range for {size} elements")))
    };
    indices.integers()?.iter().map(position).collect::<Result<_>>().map(Some)
}

/// Gather from a constant.
fn lookup(call: &Call) -> Folded {
    let (Some(x), shape) = (call.constant(0), gathered(call)?) else { return Ok(None) };
    let (outer, rest) = x.shape().split_at(axis(call)?);
    let Some((&size, inner)) = rest.split_first() else { return Ok(None) };
    let (outer, inner): (usize, usize) = (outer.iter().product(), inner.iter().product());
    if element_count(&shape).is_none_or(|n| n > eval::LIMIT) || x.is_empty() {
        return Ok(None);
    }
    let Some(positions) = positions(call, size)? else { return Ok(None) };
    let rows = (0..outer).flat_map(|o| positions.iter().map(move |i| o * size + i));
    eval::pick(x, &shape, rows.flat_map(|row| (row * inner)..(row + 1) * inner))
}

/// For every element where the indices name it; behind their end if they do not. `None`
/// if one is named twice.
fn once(places: &[usize], size: usize) -> Option<Vec<i64>> {
    if size > eval::LIMIT {
        return None;
    }
    let none = places.len() as i64;
    let mut sources = vec![none; size];
    for (i, &place) in places.iter().enumerate() {
        let source = sources.get_mut(place).filter(|source| **source == none)?;
        *source = i as i64;
    }
    Some(sources)
}

/// One constant index: the gradient with zeros around it. Several that differ: a Gather
/// again. Else each is added at its index.
fn gather(s: &mut Adjoint) -> Gradients {
    let (x, dy, shape, axis) = (s.x(0)?, s.dy()?, s.shape(0)?, axis(&s.call()?)?);
    let (outer, rest) = shape.split_at(axis);
    let Some((&size, inner)) = rest.split_first() else {
        return Err(s.error("cannot gather from a scalar"));
    };
    let indices = s.x(1)?;
    let Some(count) = element_count(&s.tape.shape(indices)?) else {
        return Err(s.error("there are too many indices"));
    };
    let around = [outer, &[count], inner].concat();
    let dy = s.tape.reshape(dy, &around)?;
    if let Some(&[place]) = positions(&s.call()?, size)?.as_deref() {
        let mut before = vec![0; shape.len()];
        let mut after = before.clone();
        before.iter_mut().skip(axis).take(1).for_each(|n| *n = place);
        after.iter_mut().skip(axis).take(1).for_each(|n| *n = size - place - 1);
        return Ok(vec![Some(s.tape.pad(dy, &before, &after)?), None]);
    }
    let places = positions(&s.call()?, size)?;
    if let Some(sources) = places.and_then(|places| once(&places, size)) {
        let mut after = vec![0; shape.len()];
        after.iter_mut().skip(axis).take(1).for_each(|n| *n = usize::from(count < size));
        let dy = s.tape.pad(dy, &vec![0; shape.len()], &after)?;
        let sources = s.tape.ints(&sources);
        let gather = Op::new("Gather").with("axis", axis as i64);
        return Ok(vec![Some(s.tape.op(gather, &[dy, sources])?), None]);
    }
    let mut lone = vec![1; shape.len()];
    lone.iter_mut().skip(axis).take(1).for_each(|n| *n = count);
    let indices = s.tape.cast(indices, DType::I64)?;
    let indices = s.tape.reshape(indices, &lone)?;
    let indices = s.tape.expand(indices, &around)?;
    Ok(vec![Some(scatter(s, x, indices, dy, axis)?), None])
}

/// Zeros like `x` with `updates` added at `indices`.
fn scatter(
    s: &mut Adjoint,
    x: Value,
    indices: Value,
    updates: Value,
    axis: usize,
) -> Result<Value> {
    let zeros = s.tape.zeros_like(x)?;
    let op = Op::new("ScatterElements").with("axis", axis as i64).with("reduction", "add");
    s.tape.op(op, &[zeros, indices, updates])
}

fn gather_elements(s: &mut Adjoint) -> Gradients {
    let (x, indices, dy, axis) = (s.x(0)?, s.x(1)?, s.dy()?, axis(&s.call()?)?);
    Ok(vec![Some(scatter(s, x, indices, dy, axis)?), None])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{ints, refusal, shape};
    use super::*;

    #[test]
    fn indices_replace_the_axis() {
        let x = |axis: i64| case("Gather").with("axis", axis).x(&[3, 4, 5]);
        assert_eq!(shape(x(1).scalar(0i64)), [3, 5]);
        assert_eq!(shape(x(-1).constant(square(&[0; 4]))), [3, 4, 2, 2]);
        assert!(refusal(x(3).scalar(0i64)).contains("out of range"));
        let bad = case("GatherElements").x(&[3, 3]).ints(&[0]);
        assert!(refusal(bad).contains("do not fit"));
    }

    #[test]
    fn constants_are_looked_up() {
        assert_eq!(ints(case("Gather").ints(&[5, 6, 7]).scalar(-1i64)), [7]);
        let rows = case("Gather").with("axis", 1i64).constant(square(&[1, 2, 3, 4])).ints(&[1, 0]);
        assert_eq!(ints(rows), [2, 1, 4, 3]);
    }
}
