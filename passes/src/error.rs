//! The one error type of this crate.

/// What can go wrong in a pass.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The graph itself is at fault.
    #[error(transparent)]
    Graph(#[from] graphs::Error),
    /// A rule met a node that it cannot handle.
    #[error("{node}: {reason}")]
    Node {
        /// The node, as [`graphs::Node::describe`] names it.
        node: String,
        /// What is wrong, and what to do.
        reason: String,
    },
    /// The table of operators has no row for an operator.
    #[error(
        "{node}: no rule for operator `{op}` (domain `{domain}`); it has to be replaced or inlined first"
    )]
    UnknownOperator {
        /// The node.
        node: String,
        /// The operator.
        op: String,
        /// Its domain, `ai.onnx` for ONNX's own.
        domain: String,
    },
    /// A gradient would have to pass through an operator that has no gradient rule.
    #[error(
        "{node}: operator `{op}` has no gradient rule, and the gradient would pass through it; replace it by operators that have one"
    )]
    NoGradient {
        /// The node.
        node: String,
        /// The operator.
        op: String,
    },
    /// A gradient would have to pass where activations become integers.
    #[error(
        "{node}: activations are rounded to integers here, so no gradient passes; take the model from before its activations were quantized"
    )]
    Rounded {
        /// The node.
        node: String,
    },
    /// The model as a whole does not fit the request.
    #[error("{0}")]
    Model(String),
    /// A pass left a graph that breaks its invariants: a defect of the pass itself.
    #[error("pass `{pass}` broke the graph: {source}")]
    Broken {
        /// The pass.
        pass: String,
        /// What is wrong with the graph.
        source: graphs::Error,
    },
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
