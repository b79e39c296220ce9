//! The table of operators: one row each, one file per family.
//!
//! To add an operator, add a [`Def`] to the family it belongs to: its shape rule, its
//! gradient rule and test cases (and, where its result is not of the first argument's type,
//! that type to `upgrade/types.rs`). The tests take every row and prove its gradient by
//! finite differences on every engine.
//!
//! Rules see static shapes only: [`crate::FixBatch`] fixes the batch size first.
//! A gradient rule never cares for broadcasting: the driver sums what it returns
//! back to the shape of the argument.

mod activation;
mod adjacent;
mod adjoint;
mod alternatives;
mod average;
mod batch_norm;
mod bits;
mod body;
mod border;
mod broadcast;
mod call;
mod case;
mod cast;
mod columns;
mod combine;
mod concat;
mod contraction;
mod conv;
mod conv_cases;
mod convolution;
mod correlation;
mod crop;
mod cumulate;
mod dropout;
mod einsum;
mod elementwise;
mod equation;
mod eval;
mod gather;
mod gather_nd;
mod grid;
#[cfg(test)]
mod hostile;
mod indicator;
mod interpolation;
mod logic;
mod losses;
mod lowering;
mod matmul;
mod maximum;
mod norm_pool;
mod normalize;
mod norms;
mod pad;
mod padding;
mod patches;
mod pool;
mod power;
mod quantize;
mod random;
mod rectifier;
mod reduce;
mod rescale;
mod reshape;
mod resize;
mod reverse;
mod scatter;
mod schedule;
mod slice;
mod softmax;
mod source;
mod space;
mod tile;
mod topk;
#[cfg(test)]
mod trial;
mod triangle;
mod trigonometry;
mod view;
mod window;
mod winograd;

use std::collections::HashMap;
use std::sync::LazyLock;

use graphs::{Fact, Op, Tensor, Value};

use crate::{Error, Result};

pub use adjoint::Adjoint;
pub(crate) use alternatives::{Alternative, Alternatives, alternatives};
pub use body::{Body, Site, replace};
pub use call::Call;
pub use case::{Argument, Case, case};
pub(crate) use conv::narrow_conv;
pub(crate) use dropout::{by_uniform, drops};
pub use lowering::plain;
pub use padding::explicit_padding;
pub(crate) use quantize::rounds;
pub(crate) use random::{bernoulli, like_shaped};
pub use schedule::{Forms, ImageForm, MaxForm, StepForm, WeightForm};

/// One gradient per argument; `None` is zero.
pub type Gradients = Result<Vec<Option<Value>>>;

/// The outputs of a call whose arguments are constants; `None` if they cannot be computed.
pub type Folded = Result<Option<Vec<Tensor>>>;

/// One row of the table.
#[derive(Debug)]
pub struct Def {
    /// The operator, in ONNX's own domain.
    pub op: &'static str,
    /// Types and shapes of the outputs, all that the operator has.
    pub infer: fn(&Call) -> Result<Vec<Fact>>,
    /// The gradient with respect to every argument, or why there is none.
    pub gradient: Gradient,
    /// Computes the outputs from constant arguments: for shape arithmetic only, so it
    /// may answer `None` for what does not occur there.
    pub eval: Option<fn(&Call) -> Folded>,
    /// Calls that the tests run.
    pub cases: fn() -> Vec<Case>,
}

/// How a gradient passes through an operator.
#[derive(Clone, Copy, Debug)]
pub enum Gradient {
    /// By this rule: one gradient per argument; `None` is zero.
    Rule(fn(&mut Adjoint) -> Gradients),
    /// By that of the plainer operators that the call stands for, which take its place.
    Body(Body),
    /// The derivative is zero wherever it exists (comparisons, shapes, rounding).
    Zero,
    /// Nobody has written the rule yet: an error when a gradient passes through.
    Missing,
}

static FAMILIES: &[&[Def]] = &[
    activation::TABLE,
    batch_norm::TABLE,
    bits::TABLE,
    cast::TABLE,
    combine::TABLE,
    columns::TABLE,
    concat::TABLE,
    conv::TABLE,
    crop::TABLE,
    cumulate::TABLE,
    dropout::TABLE,
    einsum::TABLE,
    elementwise::TABLE,
    gather::TABLE,
    gather_nd::TABLE,
    grid::TABLE,
    indicator::TABLE,
    logic::TABLE,
    losses::TABLE,
    matmul::TABLE,
    normalize::TABLE,
    norm_pool::TABLE,
    norms::TABLE,
    pad::TABLE,
    pool::TABLE,
    power::TABLE,
    quantize::TABLE,
    random::TABLE,
    rectifier::TABLE,
    reduce::TABLE,
    rescale::TABLE,
    reshape::TABLE,
    resize::TABLE,
    reverse::TABLE,
    scatter::TABLE,
    slice::TABLE,
    softmax::TABLE,
    source::TABLE,
    view::TABLE,
    space::TABLE,
    trigonometry::TABLE,
    tile::TABLE,
    topk::TABLE,
    triangle::TABLE,
];

static TABLE: LazyLock<HashMap<&'static str, &'static Def>> =
    LazyLock::new(|| FAMILIES.iter().copied().flatten().map(|def| (def.op, def)).collect());

/// Every row, by name.
pub fn table() -> Vec<&'static Def> {
    let mut rows: Vec<_> = TABLE.values().copied().collect();
    rows.sort_unstable_by_key(|def| def.op);
    rows
}

/// The row of an operator.
pub fn find(op: &Op) -> Option<&'static Def> {
    TABLE.get(op.op_type.as_str()).copied().filter(|_| op.in_onnx_domain())
}

/// The row of an operator that must have one.
///
/// # Errors
/// [`Error::UnknownOperator`] or [`Error::Rounded`], naming the call.
pub fn row(op: &Op, name: &str) -> Result<&'static Def> {
    find(op).ok_or_else(|| {
        let node = format!("{} node `{name}`", op.op_type);
        match rounds(op) {
            true => Error::Rounded { node },
            false => Error::UnknownOperator {
                node,
                op: op.op_type.clone(),
                domain: if op.in_onnx_domain() { "ai.onnx".to_owned() } else { op.domain.clone() },
            },
        }
    })
}

/// Types and shapes of the outputs of a call.
///
/// # Errors
/// When the operator has no row or its rule refuses the arguments.
pub fn infer(call: &Call) -> Result<Vec<Fact>> {
    let facts = (row(call.op, call.name)?.infer)(call)?;
    for fact in &facts {
        let sizes = fact.known_shape().unwrap_or_default();
        // Empty axes count as 1, so that no part of a shape overflows either.
        let count = sizes.iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1)));
        if count.is_none_or(|n| n > isize::MAX as usize / 16) {
            return Err(call.error(format!("its output {fact} is too large for memory")));
        }
    }
    Ok(facts)
}

/// Shape rule: the one output is like argument 0.
fn like_first(call: &Call) -> Result<Vec<Fact>> {
    Ok(vec![Fact::new(call.dtype(0)?, &call.shape(0)?)])
}

/// The gradients of a call with one argument.
fn only(gradient: Value) -> Gradients {
    Ok(vec![Some(gradient)])
}

/// No test cases: for rows that other rows' tests cover (say in a comment which).
fn no_cases() -> Vec<Case> {
    Vec::new()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_operator_has_two_rows() {
        let mut names: Vec<_> = FAMILIES.iter().copied().flatten().map(|def| def.op).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair.first() == pair.last());
        assert_eq!(twice, None);
    }
}
