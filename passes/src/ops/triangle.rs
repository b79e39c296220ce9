//! Triangles and diagonals of matrices.

use graphs::{DType, Fact, Op, Tensor};

use super::{Call, Def, Folded, Gradient, case, eval, like_first, only};
use crate::Result;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "Trilu",
        infer: |call| {
            diagonal(call)?;
            like_first(call)
        },
        gradient: Gradient::Rule(|s| {
            let (dy, k) = (s.dy()?, s.arguments.get(1).copied().flatten());
            let op = Op::new("Trilu").with("upper", s.op.int("upper", 1));
            let arguments: Vec<_> = [dy].into_iter().chain(k).collect();
            only(s.tape.op(op, &arguments)?)
        }),
        eval: Some(triangle),
        cases: || {
            let lower = || case("Trilu").with("upper", 0i64);
            vec![
                case("Trilu").x(&[3, 4]),
                case("Trilu").x(&[2, 3, 3]).scalar(1i64),
                case("Trilu").x(&[4, 3]).scalar(-2i64),
                lower().x(&[3, 4]),
                lower().x(&[2, 2, 3, 4]).scalar(2i64),
                lower().x(&[3, 3]).scalar(-1i64),
            ]
        },
    },
    Def {
        op: "EyeLike",
        infer: |call| Ok(vec![Fact::new(target(call)?, &call.shape(0)?)]),
        gradient: Gradient::Zero,
        eval: Some(eye),
        cases: || {
            let eye = |k: i64| case("EyeLike").with("k", k);
            vec![eye(0).x(&[3, 4]), eye(1).x(&[3, 3]), eye(-1).with("dtype", 7i64).x(&[4, 3])]
        },
    },
];

/// Rows, columns, and the number of the diagonal that Trilu starts at, if it is known.
fn diagonal(call: &Call) -> Result<(usize, usize, Option<i64>)> {
    let shape = call.shape(0)?;
    let &[.., rows, columns] = shape.as_slice() else {
        return Err(call.error(format!("needs matrices, not {shape:?}")));
    };
    let k = if call.has(1) { call.constant(1).map(Tensor::integers).transpose()? } else { None };
    match (call.has(1), k.as_deref()) {
        (false, _) => Ok((rows, columns, Some(0))),
        (true, None) => Ok((rows, columns, None)),
        (true, Some(&[k])) => Ok((rows, columns, Some(k))),
        (true, Some(other)) => Err(call.error(format!("k is {other:?}, not one number"))),
    }
}

fn triangle(call: &Call) -> Folded {
    let (rows, columns, k) = diagonal(call)?;
    let Some(x) = call.constant(0).filter(|x| x.len() <= eval::LIMIT) else { return Ok(None) };
    let Some(k) = k else { return Ok(None) };
    let upper = call.op.int("upper", 1) != 0;
    let kept = |flat: usize| {
        let (row, column) = ((flat / columns % rows) as i64, (flat % columns) as i64);
        let right = column.saturating_sub(row);
        if upper { right >= k } else { right <= k }
    };
    eval::pick_or(x, None, x.shape(), (0..x.len()).map(|i| Some(i).filter(|&i| kept(i))))
}

/// The element type of EyeLike's result.
fn target(call: &Call) -> Result<DType> {
    if call.shape(0)?.len() != 2 {
        return Err(call.error(format!("needs a matrix, not {:?}", call.shape(0)?)));
    }
    match call.op.int("dtype", 0) {
        0 => call.dtype(0),
        code => {
            let dtype = i32::try_from(code).ok().and_then(DType::from_code);
            dtype.ok_or_else(|| call.error(format!("`dtype` = {code} is no element type")))
        }
    }
}

fn eye(call: &Call) -> Folded {
    let (shape, dtype, k) = (call.shape(0)?, target(call)?, call.op.int("k", 0));
    let &[rows, columns] = shape.as_slice() else { return Ok(None) };
    let count = rows.checked_mul(columns).filter(|&count| count <= eval::LIMIT);
    let Some(count) = count else { return Ok(None) };
    let on = |i: usize| (i % columns) as i64 == ((i / columns) as i64).saturating_add(k);
    let ones = (0..count).map(on);
    let numbers = match dtype {
        DType::F32 | DType::F64 => eval::Numbers::Floats(ones.map(f64::from).collect()),
        _ => eval::Numbers::Ints(ones.map(i64::from).collect()),
    };
    eval::one(eval::write(dtype, shape, numbers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::Case;
    use super::super::trial::{ints, refusal};
    use super::*;

    #[test]
    fn triangles_keep_one_side() {
        let matrix =
            |case: Case| case.constant(Tensor::new(&[2, 3], vec![1i64, 2, 3, 4, 5, 6]).unwrap());
        assert_eq!(ints(matrix(case("Trilu"))), [1, 2, 3, 0, 5, 6]);
        assert_eq!(ints(matrix(case("Trilu")).scalar(1i64)), [0, 2, 3, 0, 0, 6]);
        assert_eq!(ints(matrix(case("Trilu").with("upper", 0i64))), [1, 0, 0, 4, 5, 0]);
        assert_eq!(ints(matrix(case("Trilu")).scalar(i64::MIN)), [1, 2, 3, 4, 5, 6]);
        assert!(refusal(case("Trilu").x(&[3])).contains("needs matrices"));
        assert!(refusal(case("Trilu").x(&[3, 3]).ints(&[1, 2])).contains("not one number"));
    }

    #[test]
    fn ones_stand_on_one_diagonal() {
        let eye = |k: i64| case("EyeLike").with("dtype", 7i64).with("k", k).x(&[2, 3]);
        assert_eq!(ints(eye(0)), [1, 0, 0, 0, 1, 0]);
        assert_eq!(ints(eye(-1)), [0, 0, 0, 1, 0, 0]);
        assert_eq!(ints(eye(i64::MAX)), [0; 6]);
        assert!(refusal(case("EyeLike").x(&[2])).contains("needs a matrix"));
    }
}
