//! The text form: one line a node, the same for the same graph on every machine, made
//! to be read and to be compared with golden files.
//!
//! ```text
//! graph main(%x: float32[1,3,32,32])
//!   %w: float32[8,3,3,3]
//!   %b: float32[2] = [0.5, -1]
//!   %0: float32[1,8,16,16] = Conv(%x, %w, _) {pads=[1,1,1,1], strides=[2,2]}  # conv1
//!   return %0 as y
//! ```
//!
//! `_` is an absent argument or output. What bodies read of the graph around them
//! follows `|`, and is `^0`, `^1`, ... inside.

use std::collections::HashMap;
use std::fmt::{self, Display, Formatter, Write};

use crate::decode::decode_function;
use crate::{Attribute, DType, Graph, Kind, Model, Node, NodeId, Op, Role, Tensor, Value};

/// The most elements of a tensor that are shown.
const SHOWN: usize = 8;

impl Display for Model {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let version = self.header.ir_version.unwrap_or_default();
        write!(f, "model ir_version={version}")?;
        for (domain, version) in &self.opsets {
            let domain = if domain.is_empty() { "opset" } else { domain };
            write!(f, " {domain}={version}")?;
        }
        f.write_str("\n")?;
        for (key, value) in &self.metadata {
            writeln!(f, "  {key} = {value:?}")?;
        }
        self.graph.fmt(f)?;
        for function in &self.functions {
            let domain = function.domain.as_deref().unwrap_or_default();
            write!(f, "function {domain}::")?;
            match decode_function(function) {
                Ok(body) => Writer::new(f, &body, 0).graph()?,
                Err(error) => writeln!(f, "{error}")?,
            }
        }
        Ok(())
    }
}

impl Display for Graph {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str("graph ")?;
        Writer::new(f, self, 0).graph()
    }
}

struct Writer<'a, 'f> {
    f: &'a mut Formatter<'f>,
    graph: &'a Graph,
    /// In order; those of a graph with a cycle in order of index.
    ops: Vec<NodeId>,
    numbers: HashMap<Value, usize>,
    indent: usize,
}

impl<'a, 'f> Writer<'a, 'f> {
    fn new(f: &'a mut Formatter<'f>, graph: &'a Graph, indent: usize) -> Self {
        let mut ops = graph.order().unwrap_or_else(|_| graph.ids().collect());
        ops.retain(|&id| graph.node(id).op().is_some());
        let mut numbers = HashMap::new();
        for &node in &ops {
            for slot in 0..graph.node(node).outputs.len() {
                numbers.insert(Value { node, slot }, numbers.len());
            }
        }
        Writer { f, graph, ops, numbers, indent }
    }

    fn graph(&mut self) -> fmt::Result {
        write!(self.f, "{}(", self.graph.name)?;
        for (i, &id) in self.graph.inputs.iter().enumerate() {
            self.f.write_str(if i > 0 { ", " } else { "" })?;
            self.value(id.into())?;
            write!(self.f, ": {}", self.graph.fact(id.into()))?;
            self.f.write_str(role(self.graph.node(id)))?;
        }
        self.f.write_str(")\n")?;
        for node in self.graph.ids().map(|id| self.graph.node(id)) {
            if let Some(tensor) = node.tensor() {
                let (indent, name) = (self.indent, Name(&node.name));
                writeln!(self.f, "{:indent$}  {name}: {}", "", Text(tensor))?;
            }
        }
        for id in std::mem::take(&mut self.ops) {
            self.op(id)?;
        }
        write!(self.f, "{:1$}  return", "", self.indent)?;
        for (i, port) in self.graph.outputs.iter().enumerate() {
            self.f.write_str(if i > 0 { ", " } else { " " })?;
            self.value(port.value)?;
            write!(self.f, " as {}", port.name)?;
        }
        self.f.write_str("\n")
    }

    fn op(&mut self, id: NodeId) -> fmt::Result {
        let node = self.graph.node(id);
        let Some(op) = node.op() else { return Ok(()) };
        write!(self.f, "{:1$}  ", "", self.indent)?;
        for (slot, fact) in node.outputs.iter().enumerate() {
            self.f.write_str(if slot > 0 { ", " } else { "" })?;
            if node.extras.names.get(slot).is_some_and(String::is_empty) {
                self.f.write_str("_")?;
                continue;
            }
            self.value(Value { node: id, slot })?;
            if fact.dtype.is_some() || fact.shape.is_some() {
                write!(self.f, ": {fact}")?;
            }
        }
        self.f.write_str(" = ")?;
        for part in [&op.domain, &op.overload].into_iter().filter(|part| !part.is_empty()) {
            write!(self.f, "{part}::")?;
        }
        write!(self.f, "{}(", op.op_type)?;
        for (to, argument) in self.graph.arguments(id).into_iter().enumerate() {
            self.f.write_str(match to {
                _ if to == op.arity => " | ",
                0 => "",
                _ => ", ",
            })?;
            match argument {
                Some(value) => self.value(value)?,
                None => self.f.write_str("_")?,
            }
        }
        self.f.write_str(")")?;
        self.attributes(op)?;
        if !node.name.is_empty() {
            write!(self.f, "  # {}", node.name)?;
        }
        self.f.write_str("\n")?;
        for (name, attribute) in &op.attributes {
            if let Attribute::Graph(body) = attribute {
                write!(self.f, "{:1$}    {name}: ", "", self.indent)?;
                Writer::new(self.f, body, self.indent + 4).graph()?;
            }
        }
        Ok(())
    }

    fn attributes(&mut self, op: &Op) -> fmt::Result {
        let mut before = " {";
        for (name, attribute) in &op.attributes {
            if !matches!(attribute, Attribute::Graph(_)) {
                write!(self.f, "{before}{name}={attribute}")?;
                before = ", ";
            }
        }
        self.f.write_str(if before == ", " { "}" } else { "" })
    }

    fn value(&mut self, value: Value) -> fmt::Result {
        let node = self.graph.get(value.node);
        match (node.map(|node| &node.kind), self.numbers.get(&value)) {
            (Some(Kind::Capture(i)), _) => write!(self.f, "^{i}"),
            (_, Some(number)) => write!(self.f, "%{number}"),
            _ => write!(self.f, "{}", Name(node.map_or("?", |node| &node.name))),
        }
    }
}

/// A name from the file, on one line and never taken for a number.
struct Name<'a>(&'a str);

impl Display for Name<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.0.bytes().all(|b| b.is_ascii_digit()) {
            true => write!(f, "%\"{}\"", self.0),
            false => write!(f, "%{}", self.0.escape_debug()),
        }
    }
}

fn role(node: &Node) -> &'static str {
    match node.kind {
        Kind::Input(Role::Label) => " label",
        Kind::Input(Role::State) => " state",
        Kind::Input(Role::Noise) => " noise",
        Kind::Input(Role::ImageNoise) => " image-noise",
        Kind::Input(Role::Scalar) => " scalar",
        _ => "",
    }
}

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Attribute::Float(value) => write!(f, "{value:?}"),
            Attribute::Int(value) => write!(f, "{value}"),
            Attribute::String(value) => write!(f, "\"{}\"", value.escape_ascii()),
            Attribute::Tensor(tensor) => Text(tensor).fmt(f),
            Attribute::Graph(body) => write!(f, "graph {}", body.name),
            Attribute::Floats(values) => list(f, values.iter().map(|value| format!("{value:?}"))),
            Attribute::Ints(values) => list(f, values.iter()),
            Attribute::Strings(values) => list(f, values.iter().map(quoted)),
            Attribute::Reference { name, .. } => write!(f, "@{name}"),
            Attribute::Other(proto) => write!(f, "<{:?}>", proto.r#type()),
        }
    }
}

/// A tensor's type, and its elements if they are few.
struct Text<'a>(&'a Tensor);

impl Display for Text<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{}[", self.0.dtype())?;
        let dims: Vec<String> = self.0.shape().iter().map(ToString::to_string).collect();
        write!(f, "{}]", dims.join(","))?;
        if self.0.len() > SHOWN {
            return Ok(());
        }
        let integers = self.0.integers().map(|v| v.iter().map(ToString::to_string).collect());
        let floats = || self.0.floats().map(|v| v.iter().map(ToString::to_string).collect());
        let mut shown: Vec<String> = integers.or_else(|_| floats()).unwrap_or_default();
        if self.0.dtype() == DType::String {
            shown = self.0.strings().iter().map(quoted).collect();
        }
        if shown.len() < self.0.len() {
            return Ok(());
        }
        f.write_str(" = ")?;
        list(f, shown.iter())
    }
}

fn quoted(text: &bytes::Bytes) -> String {
    format!("\"{}\"", text.escape_ascii())
}

fn list(f: &mut Formatter<'_>, items: impl Iterator<Item = impl Display>) -> fmt::Result {
    f.write_char('[')?;
    for (i, item) in items.enumerate() {
        f.write_str(if i > 0 { "," } else { "" })?;
        item.fmt(f)?;
    }
    f.write_char(']')
}
