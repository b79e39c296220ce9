//! The one error type of this crate.

use std::io;

use crate::{DType, Defect};

/// What can be wrong with a model file or a graph.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Bytes and shape of a tensor disagree.
    #[error("{dtype} tensor of shape {shape:?} needs {} bytes, but has {found}; make data and shape agree",
            expected.map_or("too many".to_owned(), |n| n.to_string()))]
    TensorLength {
        /// The element type.
        dtype: DType,
        /// The dimensions.
        shape: Vec<usize>,
        /// Bytes needed; `None` when the count overflows.
        expected: Option<usize>,
        /// Bytes there.
        found: usize,
    },
    /// A tensor has another element type than its reader needs.
    #[error("expected a {expected} tensor, found {found}")]
    TensorType {
        /// What was asked for.
        expected: DType,
        /// What is there.
        found: DType,
    },
    /// A graph has a cycle.
    #[error("the graph has a cycle through {node}; a model has none, so export it again")]
    Cycle {
        /// A node on the cycle.
        node: String,
    },
    /// A graph breaks its invariants.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Defects(Vec<Defect>),
    /// An error, and where it happened: a file, a node, an initializer.
    #[error("{place}: {error}")]
    At {
        /// The place.
        place: String,
        /// What happened there.
        error: Box<Error>,
    },
    /// A file could not be read or written.
    #[error("{}{}", .0, advice(.0))]
    Io(#[from] io::Error),
    /// The bytes are no protobuf message of ONNX's schema.
    #[error("this is no ONNX file, or a damaged one: {0}; export or copy it again")]
    Protobuf(#[from] prost::DecodeError),
    /// A model without a graph, which is what an empty file is too.
    #[error("there is no graph in it: this is no ONNX model")]
    NoGraph,
    /// A message is longer than protobuf readers accept.
    #[error(
        "{bytes} bytes are more than a protobuf file can hold ({limit}): \
             keep large tensors as external data"
    )]
    TooLarge {
        /// Its length.
        bytes: usize,
        /// The longest that is accepted.
        limit: usize,
    },
    /// Bodies within bodies.
    #[error("subgraphs are nested more than {limit} deep")]
    TooDeep {
        /// The deepest that is accepted.
        limit: usize,
    },
    /// The schema has no such element type.
    #[error("{code} is not the number of an element type that ONNX has (1 to 28)")]
    UnknownType {
        /// The number.
        code: i32,
    },
    /// A size that no tensor has.
    #[error("dimension {size} is negative or too large")]
    Dimension {
        /// The size.
        size: i64,
    },
    /// A tensor does not say its elements in the one way of its type.
    #[error("the elements of the tensor {0}")]
    Storage(&'static str),
    /// The file that should hold a tensor cannot be used.
    #[error("external data `{location}`: {reason}; put the whole file into the model's folder")]
    External {
        /// What the model calls the file.
        location: String,
        /// Why not.
        reason: String,
    },
    /// An attribute has no value of its type.
    #[error("attribute `{name}` {reason}")]
    Attribute {
        /// Its name.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A name that must be unique is not.
    #[error("the name `{name}` is given to two {what}")]
    DuplicateName {
        /// The name.
        name: String,
        /// What has it.
        what: &'static str,
    },
    /// A name that must be there is empty.
    #[error("{0} has no name")]
    Unnamed(&'static str),
    /// A node or an output reads what nobody computes.
    #[error("{reader} reads `{value}`, which nothing defines; export the model again")]
    UndefinedValue {
        /// The node or output.
        reader: String,
        /// The name that it reads.
        value: String,
    },
}

/// What to do about the errors of files that users meet most.
fn advice(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => "; check the path",
        io::ErrorKind::StorageFull => "; free some space and try again",
        _ => "",
    }
}

impl Error {
    /// The error, with where it happened.
    pub fn at(self, place: impl Into<String>) -> Error {
        Error::At { place: place.into(), error: Box::new(self) }
    }
}
