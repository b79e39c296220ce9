//! Einsum as matrix products: engines run those ten times faster, and do not all know
//! every equation.

use graphs::{NodeId, Value};

use super::Call;
use super::einsum::{distinct, sum};
use super::equation::{Equation, Label};
use crate::{Result, Tape};

/// A value whose axes have labels, none twice.
#[derive(Clone, Debug)]
struct Factor {
    value: Value,
    labels: Vec<Label>,
    sizes: Vec<usize>,
}

/// The Einsum as ReduceSum, Transpose, MatMul and Mul, two terms at a time; `None` for
/// diagonals of a single term, which every engine takes.
pub(super) fn plain(tape: &mut Tape, id: NodeId) -> Result<Option<Value>> {
    let Some(call) = Call::of(tape.graph, id) else { return Ok(None) };
    let equation = Equation::of(&call)?;
    if let [term] = equation.terms.as_slice()
        && distinct(term) != *term
    {
        return Ok(None);
    }
    let mut factors = Vec::new();
    for (i, term) in equation.terms.iter().enumerate() {
        let Some(value) = tape.graph.argument(id, i) else { return Ok(None) };
        factors.push(Factor::new(tape, value, term, &equation)?);
    }
    let mut rest = factors.into_iter();
    let Some(mut product) = rest.next() else { return Ok(None) };
    while let Some(next) = rest.next() {
        let later = rest.as_slice().iter().flat_map(|factor| &factor.labels);
        let kept: Vec<Label> = equation.output.iter().chain(later).copied().collect();
        product = pair(tape, product, next, &kept)?;
    }
    let product = product.over(tape, &equation.output)?;
    product.ordered(tape, &[&equation.output], false).map(|factor| Some(factor.value))
}

impl Factor {
    /// Argument and term, without axes of 1 that another term stretches, and without
    /// diagonals.
    fn new(tape: &mut Tape, x: Value, term: &[Label], equation: &Equation) -> Result<Factor> {
        let shape = tape.shape(x)?;
        let fits = |(label, size): &(&Label, &usize)| **size == equation.size(**label);
        let (labels, sizes): (Vec<Label>, Vec<usize>) =
            term.iter().zip(&shape).filter(fits).map(|(&label, &size)| (label, size)).unzip();
        let mut value = tape.reshape(x, &sizes)?;
        let once = distinct(&labels);
        if once.len() < labels.len() {
            value = sum(tape, &[labels], &once, &[value])?;
        }
        Ok(Factor { value, sizes: tape.shape(value)?, labels: once })
    }

    /// Summed over all labels but `kept`.
    fn over(self, tape: &mut Tape, kept: &[Label]) -> Result<Factor> {
        let (mut axes, mut labels, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
        for (axis, (&label, &size)) in self.labels.iter().zip(&self.sizes).enumerate() {
            if kept.contains(&label) {
                labels.push(label);
                sizes.push(size);
            } else {
                axes.push(axis);
            }
        }
        let value = tape.reduce_sum(self.value, &axes, false)?;
        Ok(Factor { value, labels, sizes })
    }

    /// The axes in the order of `groups`, those of one group merged into one if `merge`.
    /// Axes that stay neighbours move as one: engines know how to read a matrix turned.
    fn ordered(self, tape: &mut Tape, groups: &[&[Label]], merge: bool) -> Result<Factor> {
        let target: Vec<(usize, Label)> = groups
            .iter()
            .enumerate()
            .flat_map(|(i, group)| group.iter().map(move |&label| (i, label)))
            .filter(|(_, label)| self.labels.contains(label))
            .collect();
        let size = |label: Label| {
            let place = self.labels.iter().position(|&other| other == label);
            place.and_then(|i| self.sizes.get(i)).copied().unwrap_or(1)
        };
        let place = |label: Label| target.iter().position(|&(_, other)| other == label);
        // Blocks of axes that are neighbours, in order, before and after.
        let mut blocks: Vec<(usize, usize)> = Vec::new();
        let mut before = None;
        for &label in &self.labels {
            let Some(at) = place(label) else { continue };
            let group = target.get(at).map(|(group, _)| *group);
            match blocks.last_mut() {
                Some((_, count)) if before == Some((at.wrapping_sub(1), group)) => {
                    *count *= size(label)
                }
                _ => blocks.push((at, size(label))),
            }
            before = Some((at, group));
        }
        let split: Vec<usize> = blocks.iter().map(|(_, count)| *count).collect();
        let mut order: Vec<usize> = (0..blocks.len()).collect();
        order.sort_by_key(|&i| blocks.get(i).map(|(at, _)| *at));
        let mut value = self.value;
        if !order.is_sorted() {
            value = tape.reshape(value, &split)?;
            value = tape.transpose(value, &order)?;
        }
        let labels: Vec<Label> = target.iter().map(|(_, label)| *label).collect();
        let sizes: Vec<usize> = labels.iter().map(|&label| size(label)).collect();
        let merged = |group: &&[Label]| group.iter().map(|&label| size(label)).product();
        let shape = if merge { groups.iter().map(merged).collect() } else { sizes.clone() };
        Ok(Factor { value: tape.reshape(value, &shape)?, labels, sizes })
    }
}

/// The product of two factors, summed over what is not kept.
fn pair(tape: &mut Tape, a: Factor, b: Factor, kept: &[Label]) -> Result<Factor> {
    let a_kept: Vec<Label> = kept.iter().chain(&b.labels).copied().collect();
    let b_kept: Vec<Label> = kept.iter().chain(&a.labels).copied().collect();
    let (mut a, mut b) = (a.over(tape, &a_kept)?, b.over(tape, &b_kept)?);
    let first = kept.iter().find(|label| a.labels.contains(label) != b.labels.contains(label));
    if first.is_some_and(|label| b.labels.contains(label)) {
        (a, b) = (b, a);
    }
    let (shared, left): (Vec<Label>, Vec<Label>) =
        a.labels.iter().partition(|label| b.labels.contains(label));
    let right: Vec<Label> =
        b.labels.iter().filter(|label| !a.labels.contains(label)).copied().collect();
    let (batch, summed): (Vec<Label>, Vec<Label>) =
        shared.iter().partition(|label| kept.contains(label));
    let labels = [&batch[..], &left, &right].concat();
    let find = |label: &Label| {
        let known = a.labels.iter().zip(&a.sizes).chain(b.labels.iter().zip(&b.sizes));
        known.into_iter().find(|(other, _)| *other == label).map(|(_, &size)| size)
    };
    let sizes: Vec<usize> = labels.iter().filter_map(find).collect();
    let (a_groups, b_groups) = ([&batch[..], &left, &summed], [&batch[..], &summed, &right]);
    // Without batch axes plain matrices.
    let skip = usize::from(batch.is_empty());
    let x = a.ordered(tape, a_groups.get(skip..).unwrap_or(&[]), true)?;
    let y = b.ordered(tape, b_groups.get(skip..).unwrap_or(&[]), true)?;
    let product = if left.is_empty() && right.is_empty() {
        // [batch, 1, S] and [batch, S, 1]
        let shape = tape.shape(y.value)?;
        let x = tape.reshape(x.value, &shape)?;
        let product = tape.apply("Mul", &[x, y.value])?;
        tape.reduce_sum(product, &[shape.len() - 2], true)?
    } else {
        let op = if summed.is_empty() { "Mul" } else { "MatMul" };
        tape.apply(op, &[x.value, y.value])?
    };
    Ok(Factor { value: tape.reshape(product, &sizes)?, labels, sizes })
}
