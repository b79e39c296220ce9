//! Calls in terms of plainer operators: what ONNX calls the body of a function.
//!
//! A row with a body needs no gradient rule: the driver puts the body in the place of
//! the call and differentiates that. [`crate::Lower`] does the same for engines that
//! lack the operator.

use graphs::{NodeId, Op, Value};

use super::Call;
use crate::{Result, Tape};

/// Builds what a call stands for: one value for each output that the operator has, in order.
pub type Body = fn(&mut Site) -> Result<Vec<Value>>;

/// A call that is being replaced, and the tape to build on.
#[derive(Debug)]
pub struct Site<'t, 'g> {
    /// Where the body is built.
    pub tape: &'t mut Tape<'g>,
    /// The call.
    pub node: NodeId,
    /// Its operator.
    pub op: Op,
    /// Its arguments.
    pub arguments: Vec<Option<Value>>,
}

impl Site<'_, '_> {
    /// Argument `i`.
    ///
    /// # Errors
    /// When it is absent.
    pub fn x(&self, i: usize) -> Result<Value> {
        let value = self.arguments.get(i).copied().flatten();
        value.ok_or_else(|| self.tape.error(self.node.into(), format!("argument {i} is missing")))
    }

    /// The dimensions of argument `i`.
    ///
    /// # Errors
    /// When it is absent.
    pub fn shape(&self, i: usize) -> Result<Vec<usize>> {
        self.tape.shape(self.x(i)?)
    }

    /// The call as shape rules see it: constants, axes, errors.
    pub fn call(&self) -> Call<'_> {
        Call {
            graph: self.tape.graph,
            name: &self.tape.graph.node(self.node).name,
            op: &self.op,
            arguments: self.arguments.clone(),
        }
    }

    /// Inserts an operator without attributes.
    ///
    /// # Errors
    /// When its shape rule refuses the arguments.
    pub fn apply(&mut self, op_type: &str, arguments: &[Value]) -> Result<Value> {
        self.tape.apply(op_type, arguments)
    }

    /// A scalar of the type of argument 0.
    ///
    /// # Errors
    /// When that is no float32 or float64.
    pub fn number(&mut self, value: f64) -> Result<Value> {
        let like = self.x(0)?;
        self.tape.number(value, like)
    }

    /// `op_type`, a reduction, over `axes`, which are kept as size 1.
    ///
    /// # Errors
    /// When an axis is out of range.
    pub fn reduce(&mut self, op_type: &str, x: Value, axes: &[usize]) -> Result<Value> {
        let axes = self.tape.ints(&crate::signed(axes));
        self.tape.op(Op::new(op_type).with("keepdims", 1), &[x, axes])
    }
}

/// Puts a body in the place of a node. Returns what took the place of each of its outputs;
/// the node stays, and nothing reads it any more.
///
/// # Errors
/// Those of `body`.
pub fn replace(tape: &mut Tape, node: NodeId, body: Body) -> Result<Vec<(Value, Value)>> {
    let Some(op) = tape.graph.node(node).op().cloned() else { return Ok(Vec::new()) };
    let arguments = tape.graph.arguments(node);
    let outputs: Vec<Value> =
        (0..tape.graph.node(node).outputs.len()).map(|slot| Value { node, slot }).collect();
    let uses: Vec<_> = outputs.iter().map(|&y| tape.graph.uses(y)).collect();
    let values = body(&mut Site { tape, node, op, arguments })?;
    for (uses, &value) in uses.into_iter().zip(&values) {
        tape.graph.redirect(uses, value);
    }
    Ok(outputs.into_iter().zip(values).collect())
}
