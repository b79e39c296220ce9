//! A call as shape rules see it.

use graphs::{DType, Fact, Graph, NodeId, Op, Tensor, Value};

use crate::{Error, Result};

/// A call as shape rules see it.
#[derive(Debug)]
pub struct Call<'a> {
    pub(super) graph: &'a Graph,
    pub(super) name: &'a str,
    /// The operator and its attributes.
    pub op: &'a Op,
    pub(super) arguments: Vec<Option<Value>>,
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

    pub(super) fn fact(&self, i: usize) -> Result<&Fact> {
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
