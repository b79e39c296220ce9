//! The table of operators: one row each, one file per family.
//!
//! To add an operator, add a [`Def`] to the family it belongs to: its shape rule, its
//! gradient rule and test cases. The tests take every row and prove its gradient by
//! finite differences on every engine.
//!
//! Rules see static shapes only: [`crate::batch`] fixes the batch size first.
//! A gradient rule never cares for broadcasting: the driver sums what it returns
//! back to the shape of the argument.

mod activation;
mod average;
mod broadcast;
mod case;
mod concat;
mod conv;
mod convolution;
mod elementwise;
mod eval;
mod gather;
#[cfg(test)]
mod hostile;
mod logic;
mod matmul;
mod maximum;
mod normalize;
mod pad;
mod padding;
mod patches;
mod pool;
mod power;
mod random;
mod reduce;
mod reshape;
mod schedule;
mod slice;
mod softmax;
mod source;
mod space;
#[cfg(test)]
mod trial;
mod view;
mod window;

use std::collections::HashMap;
use std::sync::LazyLock;

use graphs::{DType, Fact, Graph, NodeId, Op, Tensor, Value};

use crate::{Error, Result, Tape};

pub use case::{Argument, Case, case};
pub use padding::explicit_padding;
pub use schedule::{Forms, ImageForm, MaxForm, WeightForm};

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
    /// The derivative is zero wherever it exists (comparisons, shapes, rounding).
    Zero,
    /// Nobody has written the rule yet: an error when a gradient passes through.
    Missing,
}

/// A call as shape rules see it.
#[derive(Debug)]
pub struct Call<'a> {
    graph: &'a Graph,
    name: &'a str,
    /// The operator and its attributes.
    pub op: &'a Op,
    arguments: Vec<Option<Value>>,
}

impl<'a> Call<'a> {
    /// A call of `op` that need not be in the graph yet.
    pub fn new(
        graph: &'a Graph,
        name: &'a str,
        op: &'a Op,
        arguments: Vec<Option<Value>>,
    ) -> Call<'a> {
        Call { graph, name, op, arguments }
    }

    /// The call that a node makes; `None` if it is no operator.
    pub fn of(graph: &'a Graph, id: NodeId) -> Option<Call<'a>> {
        let node = graph.node(id);
        let first = node.extras.names.first().map_or("", String::as_str);
        let name = if node.name.is_empty() { first } else { &node.name };
        Some(Call { graph, name, op: node.op()?, arguments: graph.arguments(id) })
    }

    /// The number of arguments, absent ones counted.
    pub fn count(&self) -> usize {
        self.arguments.len()
    }

    /// True if argument `i` is given.
    pub fn has(&self, i: usize) -> bool {
        self.arguments.get(i).is_some_and(Option::is_some)
    }

    /// An error about this call.
    pub fn error(&self, reason: impl ToString) -> Error {
        let node = format!("{} node `{}`", self.op.op_type, self.name);
        Error::Node { node, reason: reason.to_string() }
    }

    fn fact(&self, i: usize) -> Result<&Fact> {
        match self.arguments.get(i) {
            Some(Some(value)) => Ok(self.graph.fact(*value)),
            _ => Err(self.error(format!("argument {i} is missing"))),
        }
    }

    /// The dimensions of argument `i`.
    ///
    /// # Errors
    /// When it is absent or its shape is not fully known.
    pub fn shape(&self, i: usize) -> Result<Vec<usize>> {
        let fact = self.fact(i)?;
        fact.known_shape().ok_or_else(|| {
            self.error(format!("the shape {fact} of argument {i} is not fully known"))
        })
    }

    /// The element type of argument `i`.
    ///
    /// # Errors
    /// When it is absent or its type is not known.
    pub fn dtype(&self, i: usize) -> Result<DType> {
        let dtype = self.fact(i)?.dtype;
        dtype.ok_or_else(|| self.error(format!("the element type of argument {i} is not known")))
    }

    /// Argument `i` if it is a constant.
    pub fn constant(&self, i: usize) -> Option<&'a Tensor> {
        self.graph.tensor((*self.arguments.get(i)?)?)
    }

    /// Argument `i` as integers; `None` if it is absent.
    ///
    /// # Errors
    /// When it is given but not constant: shapes must be static.
    pub fn integers(&self, i: usize) -> Result<Option<Vec<i64>>> {
        if !self.has(i) {
            return Ok(None);
        }
        match self.constant(i) {
            Some(tensor) => Ok(Some(tensor.integers()?)),
            None => Err(self.error(format!("argument {i} must be a constant"))),
        }
    }

    /// Argument `i` as integers, which must be given.
    ///
    /// # Errors
    /// When it is absent or not constant.
    pub fn required_integers(&self, i: usize) -> Result<Vec<i64>> {
        self.integers(i)?.ok_or_else(|| self.error(format!("argument {i} is missing")))
    }

    /// A dimension that the file states.
    ///
    /// # Errors
    /// When it is negative.
    pub fn size(&self, n: i64) -> Result<usize> {
        usize::try_from(n).map_err(|_| self.error(format!("{n} is no dimension")))
    }

    /// The axis `axis`, counted from the end if negative, of `rank` axes.
    ///
    /// # Errors
    /// When it is out of range.
    pub fn axis(&self, axis: i64, rank: usize) -> Result<usize> {
        let positive = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
        match usize::try_from(positive) {
            Ok(i) if i < rank => Ok(i),
            _ => Err(self.error(format!("axis {axis} is out of range for {rank} dimensions"))),
        }
    }

    /// Every axis of a list, as [`Call::axis`].
    ///
    /// # Errors
    /// When one is out of range or named twice.
    pub fn axes(&self, axes: &[i64], rank: usize) -> Result<Vec<usize>> {
        let mut positive = Vec::new();
        for &axis in axes {
            let i = self.axis(axis, rank)?;
            if positive.contains(&i) {
                return Err(self.error(format!("axis {axis} is named twice")));
            }
            positive.push(i);
        }
        Ok(positive)
    }
}

/// A call as gradient rules see it: the tape to build on, the call's arguments and
/// outputs, and the gradients of its outputs.
#[derive(Debug)]
pub struct Adjoint<'t, 'g> {
    /// Where the gradient is built.
    pub tape: &'t mut Tape<'g>,
    /// The call.
    pub node: NodeId,
    /// Its operator.
    pub op: Op,
    /// Its arguments.
    pub arguments: Vec<Option<Value>>,
    /// The gradient of every output; `None` where no gradient arrives.
    pub gradients: Vec<Option<Value>>,
    /// Which arguments a gradient is wanted for; a rule may leave out the others.
    pub wanted: Vec<bool>,
}

impl Adjoint<'_, '_> {
    /// Argument `i`.
    ///
    /// # Errors
    /// When it is absent.
    pub fn x(&self, i: usize) -> Result<Value> {
        let value = self.arguments.get(i).copied().flatten();
        value.ok_or_else(|| self.error(format!("argument {i} is missing")))
    }

    /// Output `i`.
    pub fn y(&self, i: usize) -> Value {
        Value { node: self.node, slot: i }
    }

    /// The gradient of output 0.
    ///
    /// # Errors
    /// When no gradient arrives there.
    pub fn dy(&self) -> Result<Value> {
        let value = self.gradients.first().copied().flatten();
        value.ok_or_else(|| self.error("no gradient arrives at its first output"))
    }

    /// True if the gradient for argument `i` is wanted.
    pub fn wants(&self, i: usize) -> bool {
        self.wanted.get(i).copied().unwrap_or(false)
    }

    /// The dimensions of argument `i`.
    ///
    /// # Errors
    /// When it is absent.
    pub fn shape(&self, i: usize) -> Result<Vec<usize>> {
        self.tape.shape(self.x(i)?)
    }

    /// The call as shape rules see it: constants, axes, errors.
    ///
    /// # Errors
    /// Never for a call that the driver made.
    pub fn call(&self) -> Result<Call<'_>> {
        Call::of(self.tape.graph, self.node).ok_or_else(|| self.error("is no operator"))
    }

    /// Inserts an operator without attributes.
    ///
    /// # Errors
    /// When its shape rule refuses the arguments.
    pub fn apply(&mut self, op_type: &str, arguments: &[Value]) -> Result<Value> {
        self.tape.apply(op_type, arguments)
    }

    /// A scalar of the type of the incoming gradient.
    ///
    /// # Errors
    /// When no gradient arrives.
    pub fn number(&mut self, value: f64) -> Result<Value> {
        let like = self.dy()?;
        self.tape.number(value, like)
    }

    /// What `rule` builds, if the gradient for argument `i` is wanted.
    ///
    /// # Errors
    /// Those of `rule`.
    pub fn when(
        &mut self,
        i: usize,
        rule: impl FnOnce(&mut Self) -> Result<Value>,
    ) -> Result<Option<Value>> {
        if self.wants(i) { rule(self).map(Some) } else { Ok(None) }
    }

    /// `x` times a number.
    ///
    /// # Errors
    /// When no gradient arrives.
    pub fn scaled(&mut self, x: Value, factor: f64) -> Result<Value> {
        if factor == 1.0 {
            return Ok(x);
        }
        let factor = self.number(factor)?;
        self.apply("Mul", &[x, factor])
    }

    /// `x` where `condition` holds, 0 elsewhere. A product, because on processors that
    /// is the fastest form of ONNX Runtime and tract; `x` must be finite.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn masked(&mut self, condition: Value, x: Value) -> Result<Value> {
        let dtype = self.tape.dtype(x)?;
        let mask = self.tape.cast(condition, dtype)?;
        self.apply("Mul", &[x, mask])
    }

    /// An error about this call.
    pub fn error(&self, reason: impl ToString) -> Error {
        self.tape.error(self.y(0), reason)
    }
}

static FAMILIES: &[&[Def]] = &[
    activation::TABLE,
    concat::TABLE,
    conv::TABLE,
    elementwise::TABLE,
    gather::TABLE,
    logic::TABLE,
    matmul::TABLE,
    normalize::TABLE,
    pad::TABLE,
    pool::TABLE,
    power::TABLE,
    random::TABLE,
    reduce::TABLE,
    reshape::TABLE,
    slice::TABLE,
    softmax::TABLE,
    source::TABLE,
    view::TABLE,
    space::TABLE,
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
/// [`Error::UnknownOperator`], naming the call.
pub fn row(op: &Op, name: &str) -> Result<&'static Def> {
    find(op).ok_or_else(|| Error::UnknownOperator {
        node: format!("{} node `{name}`", op.op_type),
        op: op.op_type.clone(),
        domain: if op.in_onnx_domain() { "ai.onnx".to_owned() } else { op.domain.clone() },
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
