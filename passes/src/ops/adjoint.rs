//! A call as gradient rules see it.

use graphs::{NodeId, Op, Value};

use super::Call;
use crate::{Error, Result, Tape};

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
        self.arrives(0).ok_or_else(|| self.error("no gradient arrives at its first output"))
    }

    /// The gradient of output `i`, if one arrives there.
    pub fn arrives(&self, i: usize) -> Option<Value> {
        self.gradients.get(i).copied().flatten()
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
