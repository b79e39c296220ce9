//! Matrix products.

use graphs::{Fact, Op, Value};

use super::broadcast::{self, common_dtype};
use super::{Adjoint, Call, Def, Gradient, Gradients, case};
use crate::Result;
use Gradient::Rule;

pub(super) const TABLE: &[Def] = &[
    Def {
        op: "MatMul",
        infer: matmul_shape,
        gradient: Rule(matmul),
        eval: None,
        cases: || {
            let product = |a: &[usize], b: &[usize]| case("MatMul").x(a).x(b);
            vec![
                product(&[2, 3], &[3, 4]),
                product(&[2, 5, 3], &[3, 4]),
                product(&[2, 1, 5, 3], &[4, 3, 2]),
                product(&[2, 3], &[4, 3, 2]),
                product(&[3], &[3, 4]),
                product(&[2, 3], &[3]),
                product(&[3], &[2, 3, 4]),
                product(&[4, 2, 3], &[3]),
                product(&[3], &[3]),
                product(&[2, 1, 1, 3], &[4, 3, 1]),
            ]
        },
    },
    Def {
        op: "Gemm",
        infer: gemm_shape,
        gradient: Rule(gemm),
        eval: None,
        cases: || {
            let product = |a: i64, b: i64| {
                let (left, right) = ([[2, 3], [3, 2]], [[3, 4], [4, 3]]);
                let call = case("Gemm").with("transA", a).with("transB", b).with("alpha", 0.5f32);
                let call = if a == 0 { call.x(&left[0]) } else { call.x(&left[1]) };
                if b == 0 { call.x(&right[0]) } else { call.x(&right[1]) }
            };
            vec![
                product(0, 0).x(&[4]).with("beta", 2f32),
                product(0, 1).x(&[2, 1]),
                product(1, 0).x(&[]),
                product(1, 1),
                case("Gemm").x(&[2, 3]).x(&[3, 4]).x(&[2, 4]),
                product(1, 1).x(&[1, 4]).with("beta", 0f32),
            ]
        },
    },
];

/// The sizes of a product of two arguments: batch axes of each, rows, inner size, columns.
/// A vector counts as a row on the left, as a column on the right.
struct Product {
    batches: [Vec<usize>; 2],
    rows: usize,
    inner: usize,
    columns: usize,
    vectors: [bool; 2],
}

fn product(call: &Call) -> Result<Product> {
    let (a, b) = (call.shape(0)?, call.shape(1)?);
    let refuse = || call.error(format!("{a:?} and {b:?} do not multiply"));
    let (batch_a, rows, inner) = match a.as_slice() {
        [] => return Err(refuse()),
        [inner] => (vec![], 1, *inner),
        [batch @ .., rows, inner] => (batch.to_vec(), *rows, *inner),
    };
    let (batch_b, other, columns) = match b.as_slice() {
        [] => return Err(refuse()),
        [inner] => (vec![], *inner, 1),
        [batch @ .., inner, columns] => (batch.to_vec(), *inner, *columns),
    };
    if other != inner {
        return Err(refuse());
    }
    let vectors = [a.len() == 1, b.len() == 1];
    Ok(Product { batches: [batch_a, batch_b], rows, inner, columns, vectors })
}

fn matmul_shape(call: &Call) -> Result<Vec<Fact>> {
    let p = product(call)?;
    let mut shape = broadcast::pair(call, &p.batches[0], &p.batches[1])?;
    if !p.vectors[0] {
        shape.push(p.rows);
    }
    if !p.vectors[1] {
        shape.push(p.columns);
    }
    Ok(vec![Fact::new(common_dtype(call, 0)?, &shape)])
}

/// dA = dY Bᵀ and dB = Aᵀ dY. Where B is one matrix, the batch axes of A count as rows
/// and both are one Gemm.
fn matmul(s: &mut Adjoint) -> Gradients {
    let (p, shapes) = (product(&s.call()?)?, [s.shape(0)?, s.shape(1)?]);
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    if !p.batches[1].is_empty() {
        return batched(s, &p);
    }
    let rows = p.batches[0].iter().product::<usize>() * p.rows;
    let a = s.tape.reshape(a, &[rows, p.inner])?;
    let b = s.tape.reshape(b, &[p.inner, p.columns])?;
    let dy = s.tape.reshape(dy, &[rows, p.columns])?;
    let da = s.when(0, |s| {
        let da = s.tape.op(Op::new("Gemm").with("transB", 1i64), &[dy, b])?;
        s.tape.reshape(da, &shapes[0])
    })?;
    let db = s.when(1, |s| {
        let db = s.tape.op(Op::new("Gemm").with("transA", 1i64), &[a, dy])?;
        s.tape.reshape(db, &shapes[1])
    })?;
    Ok(vec![da, db])
}

fn batched(s: &mut Adjoint, p: &Product) -> Gradients {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let mut shape = broadcast::pair(&s.call()?, &p.batches[0], &p.batches[1])?;
    shape.extend([p.rows, p.columns]);
    let dy = s.tape.reshape(dy, &shape)?;
    let matrix = |sizes: [usize; 2], i: usize| [p.batches[i].as_slice(), &sizes].concat();
    let a = s.tape.reshape(a, &matrix([p.rows, p.inner], 0))?;
    let da = s.when(0, |s| {
        let turned = turned(s, b)?;
        s.apply("MatMul", &[dy, turned])
    })?;
    let db = s.when(1, |s| {
        let turned = turned(s, a)?;
        s.apply("MatMul", &[turned, dy])
    })?;
    Ok(vec![da, db])
}

/// The last two axes swapped.
fn turned(s: &mut Adjoint, x: Value) -> Result<Value> {
    let rank = s.tape.shape(x)?.len();
    let mut order: Vec<usize> = (0..rank).collect();
    if let [.., row, column] = order.as_mut_slice() {
        std::mem::swap(row, column);
    }
    s.tape.transpose(x, &order)
}

fn gemm_shape(call: &Call) -> Result<Vec<Fact>> {
    let (a, b) = (call.shape(0)?, call.shape(1)?);
    let turn = |shape: &[usize], attribute| match (shape, call.op.int(attribute, 0)) {
        (&[m, n], 0) => Ok([m, n]),
        (&[m, n], _) => Ok([n, m]),
        _ => Err(call.error(format!("needs matrices, not {a:?} and {b:?}"))),
    };
    let ([rows, inner], [other, columns]) = (turn(&a, "transA")?, turn(&b, "transB")?);
    if inner != other {
        return Err(call.error(format!("{a:?} and {b:?} do not multiply")));
    }
    let shape = [rows, columns];
    if call.has(2) && broadcast::pair(call, &shape, &call.shape(2)?)? != shape {
        let reason = format!("argument 2, {:?}, does not broadcast to {shape:?}", call.shape(2)?);
        return Err(call.error(reason));
    }
    Ok(vec![Fact::new(call.dtype(0)?, &shape)])
}

/// Y = alpha A'B' + beta C, where ' is a transposition if the attribute says so. Every
/// gradient is one Gemm: the flags take the place of transpositions.
fn gemm(s: &mut Adjoint) -> Gradients {
    let (a, b, dy) = (s.x(0)?, s.x(1)?, s.dy()?);
    let (ta, tb) = (s.op.int("transA", 0) != 0, s.op.int("transB", 0) != 0);
    let alpha = s.op.float("alpha", 1.0);
    let product = |s: &mut Adjoint, x: Value, tx: bool, y: Value, ty: bool| {
        let op = Op::new("Gemm").with("transA", i64::from(tx)).with("transB", i64::from(ty));
        s.tape.op(op.with("alpha", alpha), &[x, y])
    };
    let da = s.when(0, |s| match ta {
        false => product(s, dy, false, b, !tb),
        true => product(s, b, tb, dy, true),
    })?;
    let db = s.when(1, |s| match tb {
        false => product(s, a, !ta, dy, false),
        true => product(s, dy, true, a, ta),
    })?;
    let beta = f64::from(s.op.float("beta", 1.0));
    let dc = s.when(2, |s| s.scaled(dy, beta))?;
    Ok(vec![da, db, dc])
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn matmul_follows_numpy() {
        let product = |a: &[usize], b: &[usize]| shape(case("MatMul").x(a).x(b));
        assert_eq!(product(&[2, 3], &[3, 4]), [2, 4]);
        assert_eq!(product(&[2, 1, 5, 3], &[4, 3, 2]), [2, 4, 5, 2]);
        assert_eq!(product(&[3], &[3]), [0usize; 0]);
        assert_eq!(product(&[3], &[2, 3, 4]), [2, 4]);
        assert_eq!(product(&[4, 2, 3], &[3]), [4, 2]);
        assert!(refusal(case("MatMul").x(&[2, 3]).x(&[4, 2])).contains("do not multiply"));
        assert!(refusal(case("MatMul").x(&[]).x(&[4])).contains("do not multiply"));
    }

    #[test]
    fn gemm_takes_matrices() {
        let product = |a: i64, b: i64| case("Gemm").with("transA", a).with("transB", b);
        assert_eq!(shape(product(1, 1).x(&[3, 2]).x(&[4, 3]).x(&[4])), [2, 4]);
        assert!(refusal(product(0, 0).x(&[3]).x(&[3, 2])).contains("needs matrices"));
        assert!(refusal(product(0, 1).x(&[2, 3]).x(&[3, 4])).contains("do not multiply"));
        let wide = product(0, 0).x(&[2, 3]).x(&[3, 4]).x(&[5, 2, 4]);
        assert!(refusal(wide).contains("does not broadcast to"));
    }
}
