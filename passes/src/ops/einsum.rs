//! Sums of products over named axes.

use graphs::{DType, Fact, Op, Tensor, Value, element_count};

use super::broadcast::common_dtype;
use super::equation::{Equation, Label, write};
use super::eval::{self, Numbers};
use super::{Adjoint, Call, Case, Def, Folded, Gradient, Gradients, case};
use crate::{Result, Tape};

pub(super) const TABLE: &[Def] = &[Def {
    op: "Einsum",
    infer: |call| {
        let equation = Equation::of(call)?;
        let shape: Vec<usize> = equation.output.iter().map(|&label| equation.size(label)).collect();
        Ok(vec![Fact::new(common_dtype(call, 0)?, &shape)])
    },
    gradient: Gradient::Rule(gradient),
    eval: Some(fold),
    cases: || {
        let sum = |equation: &str, shapes: &[&[usize]]| -> Case {
            let call = case("Einsum").with("equation", equation);
            shapes.iter().fold(call, |call, shape| call.x(shape))
        };
        vec![
            sum("ij,jk->ik", &[&[2, 3], &[3, 4]]),
            sum("ij,jk", &[&[2, 3], &[3, 4]]),
            sum("bhid,bhjd->bhij", &[&[2, 2, 3, 4], &[2, 2, 5, 4]]),
            sum("...ij,...jk->...ik", &[&[2, 2, 2, 3], &[2, 2, 3, 2]]),
            sum(" ...i , ij -> ...j ", &[&[2, 2, 3], &[3, 2]]),
            sum("i...->...", &[&[2, 3, 2]]),
            sum("ii->i", &[&[3, 3]]),
            sum("ii", &[&[3, 3]]),
            sum("iijj->ij", &[&[2, 2, 3, 3]]),
            sum("ijj,jk->ik", &[&[2, 3, 3], &[3, 4]]),
            sum("ijk->j", &[&[2, 3, 2]]),
            sum("ij->", &[&[2, 3]]),
            sum("Ba,aB", &[&[2, 3], &[3, 2]]),
            sum("ab->ba", &[&[2, 3]]),
            sum("i,j,k->kij", &[&[2], &[3], &[4]]),
            sum("ij,kj,lj->ikl", &[&[2, 3], &[2, 3], &[3, 3]]),
            sum("i,->i", &[&[3], &[]]),
            sum("ij,ij->ij", &[&[2, 1], &[2, 3]]),
            sum("ij,jk->ik", &[&[2, 1], &[3, 4]]),
            sum("ij,kl->il", &[&[2, 3], &[2, 2]]),
        ]
    },
}];

/// The sum over all labels but `output`.
pub(super) fn sum(
    tape: &mut Tape,
    terms: &[Vec<Label>],
    output: &[Label],
    arguments: &[Value],
) -> Result<Value> {
    let (Some(text), Some(&first)) = (write(terms, output), arguments.first()) else {
        return Err(crate::Error::Model("an Einsum has more axes than letters exist".to_owned()));
    };
    match terms {
        [term] if term == output => Ok(first),
        _ => tape.op(Op::new("Einsum").with("equation", text.as_str()), arguments),
    }
}

fn gradient(s: &mut Adjoint) -> Gradients {
    let equation = Equation::of(&s.call()?)?;
    (0..s.arguments.len()).map(|i| s.when(i, |s| term(s, &equation, i))).collect()
}

/// The gradient of term `i`: an Einsum in which the output takes its place, put on the
/// diagonals where the term names a letter several times.
fn term(s: &mut Adjoint, equation: &Equation, i: usize) -> Result<Value> {
    let (dy, shape) = (s.dy()?, s.shape(i)?);
    let own = equation.terms.get(i).map_or(&[][..], Vec::as_slice);
    let (mut terms, mut arguments) = (vec![equation.output.clone()], vec![dy]);
    for (j, other) in equation.terms.iter().enumerate().filter(|(j, _)| *j != i) {
        terms.push(other.clone());
        arguments.push(s.x(j)?);
    }
    let distinct = distinct(own);
    let size = |label: &Label| own.iter().position(|l| l == label).and_then(|i| shape.get(i));
    let sizes: Vec<usize> = distinct.iter().filter_map(size).copied().collect();
    let reached = |label: &&Label| terms.iter().any(|term| term.contains(label));
    let kept: Vec<Label> = distinct.iter().filter(reached).copied().collect();
    let mut dx = sum(s.tape, &terms, &kept, &arguments)?;
    // A letter that only this term has was summed over; one that is 1 here was stretched.
    let mut found = s.tape.shape(dx)?.into_iter();
    let found: Vec<usize> = distinct
        .iter()
        .map(|label| if kept.contains(label) { found.next().unwrap_or(1) } else { 1 })
        .collect();
    dx = s.tape.reshape(dx, &found)?;
    let wide: Vec<usize> = found.iter().zip(&sizes).map(|(&a, &b)| a.max(b)).collect();
    dx = s.tape.expand(dx, &wide)?;
    if distinct.len() == own.len() {
        return Ok(dx);
    }
    dx = s.tape.sum_to(dx, &sizes)?;
    let (mut terms, mut arguments) = (vec![distinct], vec![dx]);
    let mut output: Vec<Label> = Vec::new();
    for (&label, &size) in own.iter().zip(&shape) {
        let mut name = label;
        if output.contains(&label) {
            let fresh = equation.fresh(&output);
            name = fresh.ok_or_else(|| s.error("has more axes than letters exist"))?;
            let identity = identity(s, size)?;
            terms.push(vec![label, name]);
            arguments.push(identity);
        }
        output.push(name);
    }
    sum(s.tape, &terms, &output, &arguments)
}

/// The greatest matrix that a diagonal is made with.
const DIAGONAL: usize = 1 << 11;

fn identity(s: &mut Adjoint, size: usize) -> Result<Value> {
    if size > DIAGONAL {
        let reason =
            format!("a diagonal of {size} elements has no gradient, only up to {DIAGONAL}");
        return Err(s.error(reason));
    }
    let ones = (0..size * size).map(|i| f32::from(u8::from(i % (size + 1) == 0))).collect();
    let dy = s.dy()?;
    let (identity, dtype) = (s.tape.constant(Tensor::new(&[size, size], ones)?), s.tape.dtype(dy)?);
    s.tape.cast(identity, dtype)
}

/// The labels, each once.
pub(super) fn distinct(term: &[Label]) -> Vec<Label> {
    let mut distinct = Vec::new();
    for label in term {
        if !distinct.contains(label) {
            distinct.push(*label);
        }
    }
    distinct
}

/// The most products that a constant is worth.
const WORK: usize = 1 << 22;

fn fold(call: &Call) -> Folded {
    let Some(constants) = eval::constants(call) else { return Ok(None) };
    let equation = Equation::of(call)?;
    let summed = equation.sizes.keys().filter(|label| !equation.output.contains(label));
    let labels: Vec<Label> = equation.output.iter().chain(summed).copied().collect();
    let sizes: Vec<usize> = labels.iter().map(|&label| equation.size(label)).collect();
    let (shape, _) = sizes.split_at(equation.output.len());
    let work = element_count(&sizes).filter(|&count| count <= WORK);
    let count = element_count(shape).filter(|&count| count <= eval::LIMIT);
    let (Some(work), Some(count)) = (work, count) else { return Ok(None) };
    let mut readers = Vec::new();
    for (x, term) in constants.iter().zip(&equation.terms) {
        let Some(numbers) = eval::read(x) else { return Ok(None) };
        let own = eval::strides(x.shape());
        let step = |label: &Label| {
            let axes = term.iter().zip(x.shape()).zip(&own);
            axes.filter(|((l, n), _)| *l == label && **n > 1).map(|(_, step)| *step as usize).sum()
        };
        readers.push((numbers, labels.iter().map(step).collect::<Vec<usize>>()));
    }
    let places = |flat: usize, steps: &[usize]| {
        let (mut rest, mut place) = (flat, 0);
        for (&size, &step) in sizes.iter().zip(steps).rev() {
            place += rest % size * step;
            rest /= size;
        }
        place
    };
    let inner = work / count.max(1);
    let whole = matches!(call.dtype(0)?, DType::I64 | DType::I32);
    let (mut ints, mut floats) = (vec![0i64; count], vec![0f64; count]);
    for flat in 0..work {
        let (mut int, mut float) = (Some(1i64), 1f64);
        for (numbers, steps) in &readers {
            match numbers {
                Numbers::Ints(v) => {
                    int = int.zip(v.get(places(flat, steps))).and_then(|(a, b)| a.checked_mul(*b));
                }
                Numbers::Floats(v) => {
                    float *= v.get(places(flat, steps)).copied().unwrap_or(0.0);
                }
            }
        }
        let Some((i, f)) = ints.get_mut(flat / inner).zip(floats.get_mut(flat / inner)) else {
            return Ok(None);
        };
        match int.and_then(|int| i.checked_add(int)) {
            Some(sum) => *i = sum,
            None => return Ok(None),
        }
        *f += float;
    }
    let numbers = if whole { Numbers::Ints(ints) } else { Numbers::Floats(floats) };
    eval::one(eval::write(call.dtype(0)?, shape.to_vec(), numbers))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::super::trial::{eval, ints};
    use super::*;

    #[test]
    fn constants_are_summed() {
        let matrix = || Tensor::new(&[2, 2], vec![1i64, 2, 3, 4]).unwrap();
        let sum = |equation: &str| case("Einsum").with("equation", equation);
        assert_eq!(ints(sum("ij,jk").constant(matrix()).constant(matrix())), [7, 10, 15, 22]);
        assert_eq!(ints(sum("ii->i").constant(matrix())), [1, 4]);
        assert_eq!(ints(sum("ii").constant(matrix())), [5]);
        assert_eq!(ints(sum("i,j->ji").ints(&[1, 2]).ints(&[3, 4])), [3, 6, 4, 8]);
        let angles = sum("i,j->ij")
            .constant(Tensor::vector(&[0.5f32]))
            .constant(Tensor::vector(&[1f32, 2.0]));
        assert_eq!(*eval(angles)[0].floats().unwrap(), [0.5, 1.0]);
    }
}
