//! What a rule of the upgrade sees: one call, as plain data.

use graphs::{Attribute, Dim, Fact, Graph, Kind, NodeId, OPSET, Op, Tensor, Value};

use super::types;
use crate::naming::Names;
use crate::{Error, Result, tape};

/// A call that is being rewritten. A rule changes `op` and `arguments`, and may put
/// new nodes in front; the node itself stays the last one of its replacement, so its
/// outputs keep their names and their readers.
#[derive(Debug)]
pub(super) struct Site<'a> {
    pub(super) graph: &'a mut Graph,
    names: &'a mut Names,
    pub(super) id: NodeId,
    /// The opset that the file was written for.
    from: i64,
    pub(super) op: Op,
    pub(super) arguments: Vec<Option<Value>>,
    captures: Vec<Option<Value>>,
}

impl<'a> Site<'a> {
    /// The call that a node makes; `None` if it is no operator of ONNX's own domain.
    pub(super) fn of(
        graph: &'a mut Graph,
        names: &'a mut Names,
        id: NodeId,
        from: i64,
    ) -> Option<Site<'a>> {
        let op = graph.node(id).op().filter(|op| op.in_onnx_domain())?.clone();
        let mut arguments = graph.arguments(id);
        let captures = arguments.split_off(op.arity.min(arguments.len()));
        Some(Site { graph, names, id, from, op, arguments, captures })
    }

    /// Writes the call back into its node.
    pub(super) fn commit(mut self) {
        self.op.arity = self.arguments.len();
        self.arguments.append(&mut self.captures);
        let mut before = self.graph.arguments(self.id);
        let count = before.len().max(self.arguments.len());
        before.resize(count, None);
        self.arguments.resize(count, None);
        for (slot, (old, new)) in before.into_iter().zip(self.arguments).enumerate() {
            if old != new {
                self.graph.set_argument(self.id, slot, new);
            }
        }
        self.graph.node_mut(self.id).kind = Kind::Op(self.op);
    }

    /// Argument `slot`, if it is given.
    pub(super) fn argument(&self, slot: usize) -> Option<Value> {
        self.arguments.get(slot).copied().flatten()
    }

    /// Argument 0.
    ///
    /// # Errors
    /// When it is absent.
    pub(super) fn x(&self) -> Result<Value> {
        self.argument(0).ok_or_else(|| self.refuse("its first argument is missing"))
    }

    /// Argument `slot`.
    ///
    /// # Errors
    /// When it is absent.
    pub(super) fn given(&self, slot: usize) -> Result<Value> {
        self.argument(slot).ok_or_else(|| self.refuse(format!("argument {slot} is missing")))
    }

    /// The size of a value along an axis, if known.
    pub(super) fn size(&self, value: Value, axis: usize) -> Option<i64> {
        match self.graph.fact(value).shape.as_ref()?.get(axis)? {
            Dim::Known(size) => i64::try_from(*size).ok(),
            _ => None,
        }
    }

    /// The number of dimensions of argument 0, if known.
    pub(super) fn rank(&self) -> Option<usize> {
        let shape = self.graph.fact(self.argument(0)?).shape.as_ref()?;
        Some(shape.len())
    }

    /// The number of dimensions of output 0, if known.
    pub(super) fn result_rank(&self) -> Option<usize> {
        self.graph.fact(self.id.into()).shape.as_ref().map(Vec::len)
    }

    /// Makes `value` the argument `slot`; `None` makes it absent.
    pub(super) fn set(&mut self, slot: usize, value: Option<Value>) {
        if self.arguments.len() <= slot {
            self.arguments.resize(slot + 1, None);
        }
        if let Some(argument) = self.arguments.get_mut(slot) {
            *argument = value;
        }
    }

    /// Makes the call another one.
    pub(super) fn become_call(&mut self, op: Op, arguments: &[Value]) {
        self.op = op;
        self.arguments = arguments.iter().copied().map(Some).collect();
    }

    /// Removes an attribute and returns its value, if it is there.
    ///
    /// # Errors
    /// When it is of another type than `pick` takes.
    pub(super) fn take<T>(
        &mut self,
        name: &str,
        pick: fn(Attribute) -> Option<T>,
    ) -> Result<Option<T>> {
        let Some(attribute) = self.op.attributes.remove(name) else { return Ok(None) };
        let value = pick(attribute);
        value.map(Some).ok_or_else(|| self.refuse(format!("attribute `{name}` has a wrong type")))
    }

    /// Moves a list of integers from an attribute to an argument, if it is there.
    ///
    /// # Errors
    /// When the attribute is of another type.
    pub(super) fn ints_to_argument(&mut self, name: &str, slot: usize) -> Result<()> {
        if let Some(values) = self.take(name, ints)? {
            let value = self.constant(name, Tensor::vector(&values));
            self.set(slot, Some(value));
        }
        Ok(())
    }

    /// A free name made of the node's.
    fn name(&mut self, what: &str) -> String {
        let node = self.graph.node(self.id);
        let first = node.extras.names.first().unwrap_or(&node.name);
        let base = if node.name.is_empty() { first } else { &node.name };
        self.names.claim(&format!("{base}.{what}"))
    }

    /// A constant named after the node.
    pub(super) fn constant(&mut self, what: &str, tensor: Tensor) -> Value {
        let name = self.name(what);
        self.graph.initializer(&name, tensor)
    }

    /// A scalar of the element type of `like`.
    pub(super) fn number(&mut self, what: &str, value: f32, like: Value) -> Value {
        let dtype = self.graph.fact(like).dtype;
        match dtype.and_then(|dtype| tape::number(dtype, f64::from(value))) {
            Some(number) => self.constant(what, number),
            None => {
                let single = self.constant(what, Tensor::scalar(value));
                self.emit(Op::new("CastLike"), &[single, like])
            }
        }
    }

    /// A new node in front of this one.
    pub(super) fn emit(&mut self, op: Op, arguments: &[Value]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        self.emit_many(op, &arguments, 1).into()
    }

    /// A new node with that many outputs in front of this one.
    pub(super) fn emit_many(
        &mut self,
        op: Op,
        arguments: &[Option<Value>],
        outputs: usize,
    ) -> NodeId {
        let name = self.name(&op.op_type);
        let id = self.graph.op(&name, op, arguments, vec![Fact::default(); outputs]);
        types::note_type(self.graph, id);
        id
    }

    /// Makes everybody who reads output `slot` read `value`.
    pub(super) fn replace_output(&mut self, slot: usize, value: Value) {
        self.graph.rewire(Value { node: self.id, slot }, value);
    }

    /// A new node without attributes in front of this one.
    pub(super) fn apply(&mut self, op_type: &str, arguments: &[Value]) -> Value {
        self.emit(Op::new(op_type), arguments)
    }

    /// The number of outputs.
    pub(super) fn outputs(&self) -> usize {
        self.graph.node(self.id).outputs.len()
    }

    /// True if output `slot` is there: an output with an empty name is not.
    pub(super) fn has_output(&self, slot: usize) -> bool {
        let names = &self.graph.node(self.id).extras.names;
        slot < self.outputs() && names.get(slot).is_none_or(|name| !name.is_empty())
    }

    /// True if a node or an output of the graph reads output `slot`.
    pub(super) fn is_read(&self, slot: usize) -> bool {
        let value = Value { node: self.id, slot };
        let shown = self.graph.outputs.iter().any(|port| port.value == value);
        shown || !self.graph.readers(value).is_empty()
    }

    /// Drops the outputs from `count` on, which nothing may read.
    pub(super) fn truncate_outputs(&mut self, count: usize) {
        let node = self.graph.node_mut(self.id);
        node.outputs.truncate(count);
        node.extras.names.truncate(count);
        node.extras.infos.retain(|&slot, _| slot < count);
    }

    /// Why the call cannot be brought to [`OPSET`].
    pub(super) fn refuse(&self, reason: impl std::fmt::Display) -> Error {
        Error::Node {
            node: self.graph.node(self.id).describe(),
            reason: format!("cannot go from opset {} to opset {OPSET}: {reason}", self.from),
        }
    }
}

/// The integers of an attribute that holds a list of them.
pub(super) fn ints(attribute: Attribute) -> Option<Vec<i64>> {
    if let Attribute::Ints(values) = attribute { Some(values) } else { None }
}

/// The integer of an attribute that holds one.
pub(super) fn int(attribute: Attribute) -> Option<i64> {
    if let Attribute::Int(value) = attribute { Some(value) } else { None }
}

/// The numbers of an attribute that holds a list of them.
pub(super) fn floats(attribute: Attribute) -> Option<Vec<f32>> {
    if let Attribute::Floats(values) = attribute { Some(values) } else { None }
}

/// The number of an attribute that holds one.
pub(super) fn float(attribute: Attribute) -> Option<f32> {
    if let Attribute::Float(value) = attribute { Some(value) } else { None }
}

/// The text of an attribute that holds one.
pub(super) fn text(attribute: Attribute) -> Option<String> {
    let Attribute::String(value) = attribute else { return None };
    String::from_utf8(value.to_vec()).ok()
}
