//! Nodes, their kinds, and the attributes of operators.

use std::collections::BTreeMap;
use std::fmt;

use bytes::Bytes;

use crate::proto::{AttributeProto, AttributeType};
use crate::{DType, Graph, NodeExtras, Tensor};

/// One dimension of a shape.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Dim {
    /// A known size.
    Known(usize),
    /// A size that the file names, such as `batch`.
    Named(String),
    /// A size that nobody knows.
    Unknown,
}

/// What is known of a value before it is computed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fact {
    /// The element type.
    pub dtype: Option<DType>,
    /// The dimensions; `None` when even their number is unknown.
    pub shape: Option<Vec<Dim>>,
}

impl Fact {
    /// A fact with a fully known shape.
    pub fn new(dtype: DType, shape: &[usize]) -> Fact {
        let shape = shape.iter().map(|&d| Dim::Known(d)).collect();
        Fact { dtype: Some(dtype), shape: Some(shape) }
    }

    /// The fact of a tensor.
    pub fn of(tensor: &Tensor) -> Fact {
        Fact::new(tensor.dtype(), tensor.shape())
    }

    /// True if this is the fact of a tensor.
    pub(crate) fn is_of(&self, tensor: &Tensor) -> bool {
        let sizes = tensor.shape().iter();
        let same = |dims: &Vec<Dim>| {
            dims.len() == sizes.len() && dims.iter().zip(sizes).all(|(d, n)| *d == Dim::Known(*n))
        };
        self.dtype == Some(tensor.dtype()) && self.shape.as_ref().is_some_and(same)
    }

    /// The dimensions, when every one of them is known.
    pub fn known_shape(&self) -> Option<Vec<usize>> {
        let known = |d: &Dim| if let Dim::Known(n) = d { Some(*n) } else { None };
        self.shape.as_ref()?.iter().map(known).collect()
    }
}

impl fmt::Display for Fact {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.dtype {
            Some(dtype) => write!(f, "{dtype}")?,
            None => f.write_str("?")?,
        }
        let Some(shape) = &self.shape else { return f.write_str("[..]") };
        f.write_str("[")?;
        for (i, dim) in shape.iter().enumerate() {
            f.write_str(if i > 0 { "," } else { "" })?;
            match dim {
                Dim::Known(n) => write!(f, "{n}")?,
                Dim::Named(name) => f.write_str(name)?,
                Dim::Unknown => f.write_str("?")?,
            }
        }
        f.write_str("]")
    }
}

/// What a graph input is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Images or other features.
    Data,
    /// Class indices.
    Label,
    /// Trained parameters, optimizer moments, running statistics.
    State,
    /// Standard normal noise, fresh at every run; all images of a batch see the same.
    Noise,
    /// The same, of its own for every image: `[N, ...]`.
    ImageNoise,
    /// A number that the caller sets: radius, step size, learning rate.
    Scalar,
}

/// What a node is.
#[derive(Clone, Debug)]
pub enum Kind {
    /// A value that the caller feeds.
    Input(Role),
    /// Inside a subgraph: the i-th outer value that the bodies of the owning node use.
    Capture(usize),
    /// A constant that the file stores.
    Initializer(Tensor),
    /// An operator.
    Op(Op),
}

/// An operator call: untyped, so that what no rule knows goes through unharmed.
#[derive(Clone, Debug, Default)]
pub struct Op {
    /// `""` is ONNX's own domain.
    pub domain: String,
    /// The operator's name, such as `Conv`.
    pub op_type: String,
    /// Which of several functions of one name is called; `""` almost always.
    pub overload: String,
    /// The attributes by name.
    pub attributes: BTreeMap<String, Attribute>,
    /// The number of formal arguments, absent optional ones counted; edges at and
    /// above it bring the captures of subgraph bodies.
    pub arity: usize,
}

impl Op {
    /// An operator of ONNX's own domain without attributes. The arity is set when
    /// the node is added to a graph.
    pub fn new(op_type: &str) -> Op {
        Op { op_type: op_type.to_owned(), ..Op::default() }
    }

    /// The same operator with one more attribute.
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Op {
        self.attributes.insert(name.to_owned(), value.into());
        self
    }

    /// True for the operator of that name in ONNX's own domain.
    pub fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && self.in_onnx_domain()
    }

    /// True when the operator is one of ONNX's own, under either spelling of its domain.
    pub fn in_onnx_domain(&self) -> bool {
        matches!(self.domain.as_str(), "" | "ai.onnx")
    }

    /// An integer attribute, or `default` when it is absent.
    pub fn int(&self, name: &str, default: i64) -> i64 {
        match self.attributes.get(name) {
            Some(Attribute::Int(value)) => *value,
            _ => default,
        }
    }

    /// A list of integers, if there.
    pub fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attributes.get(name) {
            Some(Attribute::Ints(values)) => Some(values),
            _ => None,
        }
    }

    /// A float attribute, or `default` when it is absent.
    pub fn float(&self, name: &str, default: f32) -> f32 {
        match self.attributes.get(name) {
            Some(Attribute::Float(value)) => *value,
            _ => default,
        }
    }

    /// A string attribute that is UTF-8, if there.
    pub fn string(&self, name: &str) -> Option<&str> {
        match self.attributes.get(name) {
            Some(Attribute::String(value)) => std::str::from_utf8(value).ok(),
            _ => None,
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug)]
pub enum Attribute {
    /// FLOAT
    Float(f32),
    /// INT
    Int(i64),
    /// STRING, bytes that need not be UTF-8
    String(Bytes),
    /// TENSOR
    Tensor(Tensor),
    /// GRAPH, the body of If, Loop or Scan
    Graph(Box<Graph>),
    /// FLOATS
    Floats(Vec<f32>),
    /// INTS
    Ints(Vec<i64>),
    /// STRINGS
    Strings(Vec<Bytes>),
    /// Inside a function: the function's own attribute of that name. The proto
    /// keeps the type.
    Reference {
        /// The attribute of the function.
        name: String,
        /// The number of its type, `AttributeProto.AttributeType`.
        code: i32,
    },
    /// What no pass reads, as the file holds it: sparse tensors, types, lists of
    /// tensors or graphs.
    Other(Box<AttributeProto>),
}

macro_rules! attribute_from {
    ($($from:ty => $variant:ident),*) => {
        $(impl From<$from> for Attribute {
            fn from(value: $from) -> Attribute { Attribute::$variant(value.into()) }
        })*
    };
}
attribute_from!(f32 => Float, i64 => Int, Tensor => Tensor, Vec<f32> => Floats, Vec<i64> => Ints,
                &[i64] => Ints);

impl Attribute {
    /// The number of its type, `AttributeProto.AttributeType`.
    pub fn code(&self) -> i32 {
        let kind = match self {
            Attribute::Float(_) => AttributeType::Float,
            Attribute::Int(_) => AttributeType::Int,
            Attribute::String(_) => AttributeType::String,
            Attribute::Tensor(_) => AttributeType::Tensor,
            Attribute::Graph(_) => AttributeType::Graph,
            Attribute::Floats(_) => AttributeType::Floats,
            Attribute::Ints(_) => AttributeType::Ints,
            Attribute::Strings(_) => AttributeType::Strings,
            Attribute::Reference { code, .. } => return *code,
            Attribute::Other(proto) => return proto.r#type.unwrap_or_default(),
        };
        kind as i32
    }
}

impl From<&str> for Attribute {
    fn from(value: &str) -> Attribute {
        Attribute::String(Bytes::copy_from_slice(value.as_bytes()))
    }
}

/// A node: an input, a constant or an operator call.
#[derive(Clone, Debug)]
pub struct Node {
    /// The value's name for inputs and initializers; for operators the name of the
    /// call, which files may leave empty or use twice.
    pub name: String,
    /// What it is.
    pub kind: Kind,
    /// What is known of each output.
    pub outputs: Vec<Fact>,
    /// What only the file needs.
    pub extras: NodeExtras,
}

impl Node {
    /// The operator, if it is one.
    pub fn op(&self) -> Option<&Op> {
        if let Kind::Op(op) = &self.kind { Some(op) } else { None }
    }

    /// The constant, if it is one.
    pub fn tensor(&self) -> Option<&Tensor> {
        if let Kind::Initializer(tensor) = &self.kind { Some(tensor) } else { None }
    }

    /// A short description for messages: ``Conv node `layer1` ``.
    pub fn describe(&self) -> String {
        let first = self.extras.names.first().map_or("", String::as_str);
        let name = if self.name.is_empty() { first } else { &self.name };
        match &self.kind {
            Kind::Input(_) => format!("input `{name}`"),
            Kind::Capture(i) => format!("captured value {i}"),
            Kind::Initializer(_) => format!("initializer `{name}`"),
            Kind::Op(op) => format!("{} node `{name}`", op.op_type),
        }
    }
}
