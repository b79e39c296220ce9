//! What a file says and no pass reads: kept, so that it can be written back.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;

use crate::proto::{
    NodeDeviceConfigurationProto, NodeProto, StringStringEntryProto, TensorAnnotation, TensorProto,
    ValueInfoProto,
};

/// What the file said of a node and no pass reads; written back unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Extras {
    /// The file's names of the node's outputs; an empty name is an absent output.
    pub names: Vec<String>,
    /// Free text.
    pub doc_string: Option<Bytes>,
    /// Key-value pairs.
    pub metadata: Vec<StringStringEntryProto>,
    /// The file's type entries by output slot. One is written back as it is while it
    /// still says what the output's [`Fact`](crate::Fact) says, else only its text is.
    pub infos: BTreeMap<usize, ValueInfoProto>,
    /// Which devices the node runs on.
    pub devices: Vec<NodeDeviceConfigurationProto>,
    /// Where the node stood in the file's list of nodes or initializers.
    pub place: Option<usize>,
    /// How the file wrote it, where there is more than one way.
    pub form: Option<Arc<Form>>,
}

/// The [`Extras`] of a node, which take no memory where there are none: what passes make
/// has none.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeExtras(Option<Box<Extras>>);

impl From<Extras> for NodeExtras {
    fn from(extras: Extras) -> NodeExtras {
        NodeExtras(Some(Box::new(extras)))
    }
}

impl Deref for NodeExtras {
    type Target = Extras;

    fn deref(&self) -> &Extras {
        static NONE: Extras = Extras {
            names: Vec::new(),
            doc_string: None,
            metadata: Vec::new(),
            infos: BTreeMap::new(),
            devices: Vec::new(),
            place: None,
            form: None,
        };
        self.0.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for NodeExtras {
    fn deref_mut(&mut self) -> &mut Extras {
        self.0.get_or_insert_default()
    }
}

/// One of the several ways in which ONNX can say one thing. It holds no value that the
/// [`Node`](crate::Node) is asked for: what is written is always the node, in the
/// file's form where that can say it.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// A call: which empty fields are there, and the order and the text of the
    /// attributes. The tensors in them are as in [`Form::Tensor`], and there are no bodies.
    Node(NodeProto),
    /// A tensor: which field stores the elements. Those of typed fields are left out;
    /// `raw_data` shares the bytes, and has them also for elements in another file.
    Tensor(TensorProto),
    /// A Constant node that was a sparse initializer.
    Sparse,
}

/// What the file said of a graph and no pass reads; written back unchanged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct GraphExtras {
    /// True if the file gives the graph a name, but an empty one.
    pub empty_name: bool,
    /// Free text.
    pub doc_string: Option<Bytes>,
    /// Key-value pairs.
    pub metadata: Vec<StringStringEntryProto>,
    /// Which tensors hold the quantization parameters of which, by name.
    pub quantization: Vec<TensorAnnotation>,
    /// The names in the file's list of types of values, in its order.
    pub info_order: Vec<String>,
    /// Type entries besides those that [`Extras::infos`] has: of names that no value of
    /// the graph has, and second ones.
    pub infos: Vec<ValueInfoProto>,
    /// Entries of outputs whose values have another one of their own.
    pub outputs: Vec<ValueInfoProto>,
}

/// Where a model comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The file, which is what is written while the model still says the same.
    pub(crate) file: Option<Bytes>,
    /// How many nodes the graph had then: one with another number says something else.
    pub(crate) nodes: usize,
    /// The folder that its external data lies in.
    pub(crate) folder: Option<PathBuf>,
}
