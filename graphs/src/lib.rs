//! ONNX graphs: the intermediate representation, its codec and its checks.
//!
//! A [`Model`] is read by [`decode`], changed by passes, and written by [`encode`].
//! Its [`Graph`] holds [`Node`]s (inputs, constants, operator calls) in a petgraph
//! `StableDiGraph`; the edges are the only truth about who reads whom.

mod check;
pub mod decode;
pub mod encode;
mod error;
mod extras;
mod form;
mod graph;
mod model;
pub mod names;
mod node;
mod order;
mod program;
pub mod proto;
mod set;
mod tensor;
mod text;
mod types;

pub use check::Defect;
pub use error::Error;
pub use extras::{Extras, Form, GraphExtras, NodeExtras, Origin};
pub use graph::{Edge, Graph, NodeId, Port, Uses, Value};
pub use model::{IR_VERSION, Model, OPSET};
pub use node::{Attribute, Dim, Fact, Kind, Node, Op, Role};
pub use program::{Draw, Program};
pub use set::NodeSet;
pub use tensor::{DType, Element, Tensor, element_count};
