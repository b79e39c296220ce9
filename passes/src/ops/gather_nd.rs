//! Operators that read or write whole slices at index vectors.

use graphs::{Fact, NodeId, Op, Tensor, Value, element_count};

use super::scatter::{self, Places};
use super::{Adjoint, Call, Case, Def, Gradient, Gradients, case, eval};
use crate::{Result, Tape, signed};
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "GatherND",
        infer: |call| {
            let Geometry { batch, index, slice, .. } = geometry(call)?;
            Ok(vec![Fact::new(call.dtype(0)?, &[batch, index, slice].concat())])
        },
        gradient: Rule(gather_nd),
        eval: Some(|call| {
            let Some(x) = call.constant(0) else { return Ok(None) };
            let Geometry { batch, index, slice, .. } = geometry(call)?;
            let shape = [batch, index, slice].concat();
            match positions(call)? {
                Some(positions) => eval::pick(x, &shape, positions),
                None => Ok(None),
            }
        }),
        cases: || {
            let gather = || case("GatherND");
            vec![
                gather().x(&[3, 4]).constant(square(&[0, 1, 2, -1])),
                gather().x(&[3, 4]).ints(&[1, 2]),
                gather().x(&[3, 2, 2]).constant(column(&[2, 0, 2])),
                gather().with("batch_dims", 1i64).x(&[2, 3, 2]).constant(column(&[2, -2])),
                gather().with("batch_dims", 2i64).x(&[2, 2, 3]).constant(cube(&[2, 0, 0, 1])),
            ]
        },
    },
    Def {
        op: "ScatterND",
        infer: |call| {
            let Geometry { index, slice, .. } = geometry(call)?;
            let wanted = [index, slice].concat();
            if call.shape(2)? != wanted {
                let reason = format!("the updates are {:?} instead of {wanted:?}", call.shape(2)?);
                return Err(call.error(reason));
            }
            Ok(vec![Fact::new(call.dtype(0)?, &call.shape(0)?)])
        },
        gradient: Rule(|s| {
            let places = Places { scatter: Op::new("ScatterND"), gather: Op::new("GatherND") };
            scatter::gradient(s, &places)
        }),
        eval: Some(|call| match positions(call)? {
            Some(positions) => scatter::fold(call, &positions),
            None => Ok(None),
        }),
        cases: || {
            let distinct = || case("ScatterND").x(&[3, 3]).constant(square(&[0, 1, 2, -1]));
            let twice = |reduction: &str, call: Case| {
                call.with("reduction", reduction).constant(column(&[2, 0, 2]))
            };
            let apart = || case("ScatterND").distinct(&[3, 2]);
            vec![
                distinct().x(&[2]),
                case("ScatterND").x(&[3, 2]).constant(column(&[2, 0])).x(&[2, 2]),
                twice("add", case("ScatterND").x(&[3, 2])).x(&[3, 2]),
                twice("mul", case("ScatterND").x(&[3, 2])).x(&[3, 2]),
                twice("max", apart()).distinct(&[3, 2]),
                twice("min", apart()).distinct(&[3, 2]),
            ]
        },
    },
];

fn shaped(shape: &[usize], indices: &[i64]) -> Tensor {
    let vector = Tensor::vector(indices);
    vector.reshaped(shape).unwrap_or(vector)
}

fn square(indices: &[i64]) -> Tensor {
    shaped(&[2, 2], indices)
}

fn column(indices: &[i64]) -> Tensor {
    shaped(&[indices.len(), 1], indices)
}

fn cube(indices: &[i64]) -> Tensor {
    shaped(&[2, 2, 1], indices)
}

/// How the indices `[batch.., index.., k]` read data of `[batch.., taken.., slice..]`,
/// where `taken` are `k` axes.
struct Geometry {
    batch: Vec<usize>,
    index: Vec<usize>,
    taken: Vec<usize>,
    slice: Vec<usize>,
}

fn geometry(call: &Call) -> Result<Geometry> {
    let (data, indices) = (call.shape(0)?, call.shape(1)?);
    let refuse = || call.error(format!("indices {indices:?} do not fit into {data:?}"));
    let batch = call.size(call.op.int("batch_dims", 0))?;
    let Some((&k, index)) = indices.split_last() else { return Err(refuse()) };
    if batch > index.len() || k == 0 || batch.saturating_add(k) > data.len() {
        return Err(refuse());
    }
    let ((lead, index), (own, rest)) = (index.split_at(batch), data.split_at(batch));
    if lead != own {
        return Err(refuse());
    }
    let (taken, slice) = rest.split_at(k);
    let [batch, index, taken, slice] = [own, index, taken, slice].map(<[usize]>::to_vec);
    Ok(Geometry { batch, index, taken, slice })
}

/// An index counted from the start.
fn inside(call: &Call, at: i64, size: usize) -> Result<usize> {
    let place = if at < 0 { at.saturating_add(size as i64) } else { at };
    let place = usize::try_from(place).ok().filter(|&place| place < size);
    place.ok_or_else(|| call.error(format!("index {at} is out of range for {size} elements")))
}

/// Where every element that is read or written lies in the data, if the indices are
/// constant and not too many.
fn positions(call: &Call) -> Result<Option<Vec<usize>>> {
    let Geometry { batch, index, taken, slice } = geometry(call)?;
    let sizes = [&batch[..], &index, &slice].concat();
    let (Some(indices), true) =
        (call.constant(1), element_count(&sizes).is_some_and(|n| n <= eval::LIMIT))
    else {
        return Ok(None);
    };
    let (Some(width), Some(rows)) = (element_count(&slice), element_count(&index)) else {
        return Ok(None);
    };
    let indices = indices.integers()?;
    let mut positions = Vec::new();
    for (i, vector) in indices.chunks(taken.len()).enumerate() {
        let mut place = i / rows.max(1);
        for (&at, &size) in vector.iter().zip(&taken) {
            let inside = inside(call, at, size)?;
            place = place.saturating_mul(size).saturating_add(inside);
        }
        positions.extend((0..width).map(|j| place.saturating_mul(width).saturating_add(j)));
    }
    Ok(Some(positions))
}

/// Constant indices counted from the start; `None` if they all are already or are not
/// constant.
fn counted(call: &Call) -> Result<Option<Tensor>> {
    let (Some(indices), Geometry { taken, .. }) = (call.constant(1), geometry(call)?) else {
        return Ok(None);
    };
    let (shape, mut values) = (indices.shape().to_vec(), indices.integers()?);
    if values.iter().all(|&at| at >= 0) {
        return Ok(None);
    }
    for (at, &size) in values.iter_mut().zip(taken.iter().cycle()) {
        *at = inside(call, *at, size)? as i64;
    }
    Ok(Some(Tensor::new(&shape, values)?))
}

/// The call with constant indices counted from the start, as tract wants them.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let Some(indices) = counted(&call)? else { return Ok(None) };
    let (op, mut arguments) = (call.op.clone(), tape.graph.arguments(id));
    let indices = tape.constant(indices);
    arguments.iter_mut().skip(1).take(1).for_each(|argument| *argument = Some(indices));
    Ok(Some(tape.call(op, &arguments, 1)?.into()))
}

/// Adds every slice at its index vector, which first gets the numbers of its batch axes
/// in front: ScatterND has none.
fn gather_nd(s: &mut Adjoint) -> Gradients {
    let (x, dy, Geometry { batch, index, .. }) = (s.x(0)?, s.dy()?, geometry(&s.call()?)?);
    let mut indices = match counted(&s.call()?)? {
        Some(indices) => s.tape.constant(indices),
        None => s.x(1)?,
    };
    if !batch.is_empty() {
        let rows = element_count(&[&batch[..], &index].concat()).filter(|&n| n <= eval::LIMIT);
        if rows.is_none() {
            return Err(s.error("has too many index vectors for a gradient with batch_dims"));
        }
        let numbers = numbers(s, &batch, &index)?;
        let concat = Op::new("Concat").with("axis", -1i64);
        let dtype = s.tape.dtype(numbers)?;
        indices = s.tape.cast(indices, dtype)?;
        indices = s.tape.op(concat, &[numbers, indices])?;
    }
    let zeros = s.tape.zeros_like(x)?;
    let add = Op::new("ScatterND").with("reduction", "add");
    Ok(vec![Some(s.tape.op(add, &[zeros, indices, dy])?), None])
}

/// For every index vector the numbers of its batch axes, `[batch.., index.., axes]`.
fn numbers(s: &mut Adjoint, batch: &[usize], index: &[usize]) -> Result<Value> {
    let rows: usize = index.iter().product();
    let strides = eval::strides(batch);
    let count = batch.iter().product::<usize>();
    let mut numbers = Vec::new();
    for i in 0..count {
        let place = |(&size, stride): (&usize, &i64)| i as i64 / stride % size as i64;
        let places: Vec<i64> = batch.iter().zip(&strides).map(place).collect();
        (0..rows).for_each(|_| numbers.extend_from_slice(&places));
    }
    let shape = [batch, index, &[batch.len()]].concat();
    let numbers = s.tape.ints(&numbers);
    let shape = s.tape.ints(&signed(&shape));
    s.tape.apply("Reshape", &[numbers, shape])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{ints, refusal, shape};
    use super::*;

    fn table() -> Tensor {
        shaped(&[2, 3], &[1, 2, 3, 4, 5, 6])
    }

    #[test]
    fn slices_are_read_at_index_vectors() {
        let gather = |indices: Tensor| case("GatherND").constant(table()).constant(indices);
        assert_eq!(ints(gather(square(&[0, 2, 1, -3]))), [3, 4]);
        assert_eq!(ints(gather(column(&[1]))), [4, 5, 6]);
        assert_eq!(ints(gather(column(&[2, 0])).with("batch_dims", 1i64)), [3, 4]);
        assert_eq!(shape(case("GatherND").x(&[2, 3, 4]).ints(&[1])), [3, 4]);
        let bad = |rank: usize| refusal(case("GatherND").x(&vec![2; rank]).ints(&[0, 0]));
        assert!(bad(1).contains("do not fit"));
        let wide = case("GatherND").with("batch_dims", i64::MAX).x(&[2]).ints(&[0]);
        assert!(refusal(wide).contains("do not fit"));
    }

    #[test]
    fn slices_are_written_at_index_vectors() {
        let scatter = |reduction: &str| {
            let call = case("ScatterND").with("reduction", reduction).constant(table());
            ints(call.constant(column(&[1])).constant(shaped(&[1, 3], &[10, 2, 7])))
        };
        assert_eq!(scatter("none"), [1, 2, 3, 10, 2, 7]);
        assert_eq!(scatter("add"), [1, 2, 3, 14, 7, 13]);
        assert_eq!(scatter("mul"), [1, 2, 3, 40, 10, 42]);
        assert_eq!(scatter("max"), [1, 2, 3, 10, 5, 7]);
        assert_eq!(scatter("min"), [1, 2, 3, 4, 2, 6]);
        let short = case("ScatterND").x(&[3, 2]).constant(column(&[1])).x(&[2]);
        assert!(refusal(short).contains("instead of [1, 2]"));
    }
}
