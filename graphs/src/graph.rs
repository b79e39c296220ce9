//! The graph: a petgraph `StableDiGraph` whose edges are the only truth about who
//! reads whom.

use std::collections::HashMap;

use petgraph::Direction;
use petgraph::stable_graph::{EdgeIndex, NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;

use crate::{Fact, GraphExtras, Kind, Node, NodeExtras, NodeSet, Op, Role, Tensor};

/// Names a node. Indices of removed nodes are reused, so passes only add nodes and
/// leave removal to [`Graph::sweep`].
pub type NodeId = NodeIndex<u32>;

/// Output `slot` of a node.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Value {
    /// The producer.
    pub node: NodeId,
    /// Which of its outputs.
    pub slot: usize,
}

impl From<NodeId> for Value {
    fn from(node: NodeId) -> Value {
        Value { node, slot: 0 }
    }
}

/// From output slot `from` of the source node to argument `to` of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edge {
    /// Output slot of the producer.
    pub from: usize,
    /// Argument slot of the consumer.
    pub to: usize,
}

/// A named output of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// The name that callers use.
    pub name: String,
    /// The value it shows.
    pub value: Value,
}

/// Every place that reads one value, taken before the value is replaced, so that a
/// replacement which reads the value itself makes no cycle.
#[derive(Debug)]
pub struct Uses {
    arguments: Vec<(NodeId, usize)>,
    ports: Vec<usize>,
}

impl Uses {
    /// How many places read the value.
    pub fn count(&self) -> usize {
        self.arguments.len() + self.ports.len()
    }
}

/// A dataflow graph of ONNX operators.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    /// The graph's name.
    pub name: String,
    /// Boxed, so that walks over edges do not drag the nodes through the cache.
    dag: StableDiGraph<Box<Node>, Edge>,
    /// Inputs in the file's order; initializers with a default that callers may
    /// override (IR version 3 lists all of them) stand here too.
    pub inputs: Vec<NodeId>,
    /// Outputs in order.
    pub outputs: Vec<Port>,
    /// What only the file needs.
    pub extras: GraphExtras,
}

impl Graph {
    /// An empty graph.
    pub fn new(name: &str) -> Graph {
        Graph { name: name.to_owned(), ..Graph::default() }
    }

    /// Adds a node without arguments.
    pub fn add(&mut self, node: Node) -> NodeId {
        self.dag.add_node(Box::new(node))
    }

    /// Adds an input and lists it.
    pub fn input(&mut self, name: &str, role: Role, fact: Fact) -> Value {
        let extras = NodeExtras::default();
        let kind = Kind::Input(role);
        let id = self.add(Node { name: name.to_owned(), kind, outputs: vec![fact], extras });
        self.inputs.push(id);
        id.into()
    }

    /// Adds a constant.
    pub fn initializer(&mut self, name: &str, tensor: Tensor) -> Value {
        let outputs = vec![Fact::of(&tensor)];
        let kind = Kind::Initializer(tensor);
        let node = Node { name: name.to_owned(), kind, outputs, extras: NodeExtras::default() };
        self.add(node).into()
    }

    /// Adds an operator call; `None` is an absent optional argument.
    pub fn op(
        &mut self,
        name: &str,
        mut op: Op,
        arguments: &[Option<Value>],
        outputs: Vec<Fact>,
    ) -> NodeId {
        op.arity = arguments.len();
        let (name, kind) = (name.to_owned(), Kind::Op(op));
        let id = self.add(Node { name, kind, outputs, extras: NodeExtras::default() });
        for (to, argument) in arguments.iter().enumerate() {
            if let Some(value) = argument {
                self.connect(*value, id, to);
            }
        }
        id
    }

    /// Lists a value as an output.
    pub fn output(&mut self, name: &str, value: Value) {
        self.outputs.push(Port { name: name.to_owned(), value });
    }

    /// Makes `value` the argument `to` of `node`, in addition to those it has.
    pub fn connect(&mut self, value: Value, node: NodeId, to: usize) {
        self.dag.add_edge(value.node, node, Edge { from: value.slot, to });
    }

    /// Makes `value` the argument `to` of `node` in place of what it read there.
    pub fn set_argument(&mut self, node: NodeId, to: usize, value: Option<Value>) {
        let old: Vec<EdgeIndex> = self
            .dag
            .edges_directed(node, Direction::Incoming)
            .filter(|e| e.weight().to == to)
            .map(|e| e.id())
            .collect();
        for edge in old {
            self.dag.remove_edge(edge);
        }
        if let Some(value) = value {
            self.connect(value, node, to);
        }
    }

    /// The node, if the id is one of this graph's.
    pub fn get(&self, id: NodeId) -> Option<&Node> {
        self.dag.node_weight(id).map(Box::as_ref)
    }

    /// The node.
    ///
    /// # Panics
    /// When the id is not of this graph: ids come from the graph, never from a file.
    pub fn node(&self, id: NodeId) -> &Node {
        &self.dag[id]
    }

    /// The node, to change.
    ///
    /// # Panics
    /// As [`Graph::node`].
    pub fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.dag[id]
    }

    /// What is known of a value; nothing, if its node has no such output.
    pub fn fact(&self, value: Value) -> &Fact {
        static NOTHING: Fact = Fact { dtype: None, shape: None };
        self.get(value.node).and_then(|n| n.outputs.get(value.slot)).unwrap_or(&NOTHING)
    }

    /// The constant behind a value, if it is one.
    pub fn tensor(&self, value: Value) -> Option<&Tensor> {
        self.get(value.node)?.tensor()
    }

    /// Every node id, in order of index.
    pub fn ids(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.dag.node_indices()
    }

    /// The number of nodes, inputs and constants counted.
    pub fn len(&self) -> usize {
        self.dag.node_count()
    }

    /// True when there is no node.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every edge as (producer, consumer's id, argument slot).
    pub fn edges(&self) -> impl Iterator<Item = (Value, NodeId, usize)> + '_ {
        self.ids().flat_map(|id| self.reads(id).map(move |(value, to)| (value, id, to)))
    }

    /// What a node reads, each value with the argument slot, in no order.
    pub fn reads(&self, id: NodeId) -> impl Iterator<Item = (Value, usize)> + '_ {
        let edges = self.dag.edges_directed(id, Direction::Incoming);
        edges.map(|e| (Value { node: e.source(), slot: e.weight().from }, e.weight().to))
    }

    /// The arguments of a node, absent ones as `None`, captures of its bodies last.
    pub fn arguments(&self, id: NodeId) -> Vec<Option<Value>> {
        let arity = self.node(id).op().map_or(0, |op| op.arity);
        let mut arguments = vec![None; arity];
        for (value, to) in self.reads(id) {
            if to >= arguments.len() {
                arguments.resize(to + 1, None);
            }
            if let Some(slot) = arguments.get_mut(to) {
                *slot = Some(value);
            }
        }
        arguments
    }

    /// Argument `slot` of a node, if present.
    pub fn argument(&self, id: NodeId, slot: usize) -> Option<Value> {
        self.reads(id).find_map(|(value, to)| (to == slot).then_some(value))
    }

    /// Every place that reads `value`, in a stable order.
    pub fn uses(&self, value: Value) -> Uses {
        let reads = |(i, port): (usize, &Port)| (port.value == value).then_some(i);
        let ports = self.outputs.iter().enumerate().filter_map(reads).collect();
        Uses { arguments: self.readers(value), ports }
    }

    /// The nodes that read `value`, each with the argument slot, in a stable order.
    pub fn readers(&self, value: Value) -> Vec<(NodeId, usize)> {
        let mut readers: Vec<(NodeId, usize)> = self
            .dag
            .edges_directed(value.node, Direction::Outgoing)
            .filter(|e| e.weight().from == value.slot)
            .map(|e| (e.target(), e.weight().to))
            .collect();
        readers.sort_unstable();
        readers
    }

    /// Makes every place in `uses` read `value` instead.
    pub fn redirect(&mut self, uses: Uses, value: Value) {
        for (node, to) in uses.arguments {
            self.set_argument(node, to, Some(value));
        }
        for port in uses.ports {
            if let Some(port) = self.outputs.get_mut(port) {
                port.value = value;
            }
        }
    }

    /// Makes every reader of `old` read `new`; `new` must not depend on `old`
    /// (otherwise take [`Graph::uses`] first and [`Graph::redirect`] afterwards).
    pub fn rewire(&mut self, old: Value, new: Value) {
        let uses = self.uses(old);
        self.redirect(uses, new);
    }

    /// The value of an input or initializer of that name.
    pub fn source(&self, name: &str) -> Option<Value> {
        self.dag
            .node_indices()
            .find(|&id| {
                let node = self.node(id);
                node.name == name && matches!(node.kind, Kind::Input(_) | Kind::Initializer(_))
            })
            .map(Value::from)
    }

    /// Every input and initializer by name; of several of one name the first.
    pub fn sources(&self) -> HashMap<&str, Value> {
        let mut sources = HashMap::new();
        for id in self.dag.node_indices() {
            let node = self.node(id);
            if matches!(node.kind, Kind::Input(_) | Kind::Initializer(_)) {
                sources.entry(node.name.as_str()).or_insert_with(|| id.into());
            }
        }
        sources
    }

    /// The output of that name.
    pub fn port(&self, name: &str) -> Option<&Port> {
        self.outputs.iter().find(|port| port.name == name)
    }

    /// Every node that `values` depend on, themselves included.
    pub fn ancestors(&self, values: impl IntoIterator<Item = Value>) -> NodeSet {
        let mut seen = NodeSet::default();
        let mut stack: Vec<NodeId> = values.into_iter().map(|v| v.node).collect();
        while let Some(id) = stack.pop() {
            if seen.insert(id) {
                stack.extend(self.dag.neighbors_directed(id, Direction::Incoming));
            }
        }
        seen
    }

    /// The nodes that some output depends on, and all inputs: they are the graph's signature
    /// (see [`Graph::prune_inputs`]).
    pub fn live(&self) -> NodeSet {
        let mut live = self.ancestors(self.outputs.iter().map(|port| port.value));
        live.extend(self.inputs.iter().copied());
        live
    }

    /// Removes every node that is not [live](Graph::live).
    pub fn sweep(&mut self) {
        let live = self.live();
        self.dag.retain_nodes(|_, id| live.contains(id));
    }

    /// Removes what is not live, but for `kept` and what that depends on.
    pub fn sweep_but(&mut self, kept: &NodeSet) {
        let mut live = self.live();
        live.extend(self.ancestors(kept.iter().map(Value::from)).iter());
        self.dag.retain_nodes(|_, id| live.contains(id));
    }

    /// Removes the inputs that nothing reads: one engine returns wrong results when a
    /// graph has such an input.
    pub fn prune_inputs(&mut self) {
        let live = self.ancestors(self.outputs.iter().map(|port| port.value));
        self.inputs.retain(|id| live.contains(*id));
        self.sweep();
    }
}
