//! A model: the graph and what the file says around it.

use std::collections::BTreeMap;

use crate::proto::{FunctionProto, ModelProto};
use crate::{Graph, Origin};

/// An ONNX model.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The main graph.
    pub graph: Graph,
    /// The version of every operator set that the file imports, by domain.
    pub opsets: BTreeMap<String, i64>,
    /// Model-local functions, as the file holds them.
    pub functions: Vec<FunctionProto>,
    /// Key-value pairs of the model.
    pub metadata: BTreeMap<String, String>,
    /// Everything else of the file's outermost message (IR version, producer, ...). It
    /// has neither graph nor functions, and of its opsets and metadata only the order
    /// counts, besides metadata that is no text.
    pub header: ModelProto,
    /// The file that it was read from, if it was.
    pub origin: Origin,
}

impl Model {
    /// A model of this project's own making around `graph`, at the opset that every
    /// engine runs best.
    pub fn new(graph: Graph) -> Model {
        let header = ModelProto {
            ir_version: Some(IR_VERSION),
            producer_name: Some("advbnn".into()),
            producer_version: Some(env!("CARGO_PKG_VERSION").into()),
            ..ModelProto::default()
        };
        let opsets = BTreeMap::from([(String::new(), OPSET)]);
        Model { graph, opsets, header, ..Model::default() }
    }

    /// The version of ONNX's own operator set, 1 if the file names none.
    pub fn opset(&self) -> i64 {
        self.opsets.get("").or_else(|| self.opsets.get("ai.onnx")).copied().unwrap_or(1)
    }
}

/// The opset that passes work at and that programs are emitted in. From opset 22 on
/// ONNX Runtime 1.31 has no CPU kernel for its random operators.
pub const OPSET: i64 = 18;

/// The IR version that is emitted: the first with function overloads.
pub const IR_VERSION: i64 = 10;
