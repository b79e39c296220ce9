//! The equations of Einsum, such as `...ij,jk->...ik`: every axis of every term gets a
//! label, those behind an ellipsis too.

use std::collections::BTreeMap;

use super::Call;
use crate::Result;

/// An axis: the letter's code, or [`ELLIPSIS`] plus the distance from the ellipsis' end.
pub(super) type Label = u8;

/// From here on labels stand for axes behind an ellipsis.
const ELLIPSIS: Label = 128;

/// What an Einsum computes: the sum, over all labels that the output has not, of the
/// product of all terms.
#[derive(Clone, Debug)]
pub(super) struct Equation {
    /// The labels of every argument's axes.
    pub(super) terms: Vec<Vec<Label>>,
    /// The labels of the output's axes, none twice.
    pub(super) output: Vec<Label>,
    /// The size of every label. An argument may have 1 in its place.
    pub(super) sizes: BTreeMap<Label, usize>,
}

impl Equation {
    /// The equation of a call.
    ///
    /// # Errors
    /// When it is malformed or the arguments do not fit it.
    pub(super) fn of(call: &Call) -> Result<Equation> {
        let Some(text) = call.op.string("equation") else {
            return Err(call.error("has no equation"));
        };
        let refuse = |what: &str| call.error(format!("the equation `{text}` {what}"));
        let dense: String = text.chars().filter(|c| !c.is_whitespace()).collect();
        let (left, right) = match dense.split_once("->") {
            Some((left, right)) => (left, Some(right)),
            None => (&dense[..], None),
        };
        let written: Vec<&str> = left.split(',').collect();
        if written.len() != call.count() {
            let terms = written.len();
            return Err(refuse(&format!("has {terms} terms for {} arguments", call.count())));
        }
        let (mut terms, mut sizes, mut widest) = (Vec::new(), BTreeMap::new(), 0);
        for (i, term) in written.into_iter().enumerate() {
            let shape = call.shape(i)?;
            let (labels, hidden) = labels(term, Some(shape.len()))
                .ok_or_else(|| refuse(&format!("does not fit argument {i}, {shape:?}")))?;
            widest = widest.max(hidden);
            for (&label, &size) in labels.iter().zip(&shape) {
                let known = sizes.entry(label).or_insert(size);
                if *known == 1 {
                    *known = size;
                } else if size != 1 && size != *known {
                    return Err(refuse(&format!("gives one letter the sizes {known} and {size}")));
                }
            }
            terms.push(labels);
        }
        let all: Vec<Label> = terms.iter().flatten().copied().collect();
        let output = match right {
            Some(term) => {
                let hidden = if term.contains("...") { widest } else { 0 };
                let letters = term.replace("...", "").len();
                let output = labels(term, Some(letters + hidden)).map(|(labels, _)| labels);
                let fits = |output: &Vec<Label>| {
                    let once = |(i, label)| !output.iter().skip(i + 1).any(|other| other == label);
                    output.iter().enumerate().all(once) && output.iter().all(|l| all.contains(l))
                };
                output.filter(fits).ok_or_else(|| refuse("has an output that does not fit"))?
            }
            None => {
                let hidden = (0..widest).rev().filter_map(|i| Label::try_from(i).ok());
                let once = |label: &Label| all.iter().filter(|other| *other == label).count() == 1;
                let letters = (0..ELLIPSIS).filter(once);
                hidden.map(|i| ELLIPSIS + i).chain(letters).collect()
            }
        };
        Ok(Equation { terms, output, sizes })
    }

    /// The size of a label; 1 for one that no term has.
    pub(super) fn size(&self, label: Label) -> usize {
        self.sizes.get(&label).copied().unwrap_or(1)
    }

    /// A label that is not in use.
    pub(super) fn fresh(&self, taken: &[Label]) -> Option<Label> {
        (0..=Label::MAX).find(|label| !self.sizes.contains_key(label) && !taken.contains(label))
    }
}

/// The labels of a term of that rank, and how many axes are behind its ellipsis.
fn labels(term: &str, rank: Option<usize>) -> Option<(Vec<Label>, usize)> {
    let (before, behind) = term.split_once("...").unwrap_or((term, ""));
    let letters = before.len() + behind.len();
    let hidden = rank?.checked_sub(letters)?;
    if !before.chars().chain(behind.chars()).all(|c| c.is_ascii_alphabetic())
        || (hidden > 0 && !term.contains("..."))
    {
        return None;
    }
    let numbers = (0..hidden).rev().map(|i| ELLIPSIS.checked_add(Label::try_from(i).ok()?));
    let numbers = numbers.collect::<Option<Vec<_>>>()?;
    Some(([before.as_bytes(), &numbers, behind.as_bytes()].concat(), hidden))
}

/// An equation in letters; `None` if there are not enough of them.
pub(super) fn write(terms: &[Vec<Label>], output: &[Label]) -> Option<String> {
    let mut named: Vec<Label> = Vec::new();
    let mut text = String::new();
    for (i, term) in terms.iter().map(Vec::as_slice).chain([output]).enumerate() {
        text.push_str(match i {
            0 => "",
            _ if i == terms.len() => "->",
            _ => ",",
        });
        for label in term {
            let place = named.iter().position(|other| other == label).unwrap_or_else(|| {
                named.push(*label);
                named.len() - 1
            });
            text.push(('a'..='z').chain('A'..='Z').nth(place)?);
        }
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::super::case;
    use super::super::trial::{refusal, shape};

    fn einsum(equation: &str, shapes: &[&[usize]]) -> super::super::Case {
        let call = case("Einsum").with("equation", equation);
        shapes.iter().fold(call, |call, shape| call.x(shape))
    }

    #[test]
    fn outputs_may_be_left_to_the_letters() {
        assert_eq!(shape(einsum("ij,jk", &[&[2, 3], &[3, 4]])), [2, 4]);
        assert_eq!(shape(einsum("bA", &[&[2, 3]])), [3, 2]);
        assert_eq!(shape(einsum("ii", &[&[3, 3]])), [0usize; 0]);
        assert_eq!(shape(einsum("...i,i", &[&[4, 2, 3], &[3]])), [4, 2]);
    }

    #[test]
    fn ellipses_and_ones_broadcast() {
        let product = einsum(" ...ij, ...jk -> ...ik ", &[&[4, 1, 2, 3], &[5, 3, 2]]);
        assert_eq!(shape(product), [4, 5, 2, 2]);
        assert_eq!(shape(einsum("i...->...", &[&[2, 3, 4]])), [3, 4]);
        assert_eq!(shape(einsum("ij,ij->ij", &[&[2, 1], &[2, 3]])), [2, 3]);
        assert_eq!(shape(einsum("->", &[&[]])), [0usize; 0]);
    }

    #[test]
    fn bad_equations_are_refused() {
        let bad = |equation: &str| refusal(einsum(equation, &[&[2, 3], &[3, 4]]));
        assert!(bad("ij->ij").contains("1 terms for 2 arguments"));
        assert!(bad("ij,jkl->i").contains("does not fit argument 1"));
        assert!(bad("ij,j->i").contains("does not fit argument 1"));
        assert!(bad("ij,i1->i").contains("does not fit argument 1"));
        assert!(bad("ij,ik->j").contains("the sizes 2 and 3"));
        assert!(bad("ij,jk->il").contains("output that does not fit"));
        assert!(bad("ij,jk->ii").contains("output that does not fit"));
        assert!(refusal(case("Einsum").x(&[2])).contains("no equation"));
    }
}
