//! The names of values: unique in a graph. A name in a body may hide one of the graphs
//! around it, if the file had it so and the body does not read the other; new names
//! never do.

use std::collections::{HashMap, HashSet};

use crate::{Error, Graph, Kind, Node, NodeId, Port, Value};

/// The names of one graph's values.
pub(super) struct Names<'a> {
    values: HashMap<Value, String>,
    used: HashSet<String>,
    /// The next number to make a name unique with.
    next: HashMap<String, usize>,
    outer: Option<&'a Names<'a>>,
}

impl<'a> Names<'a> {
    /// Names every value of `graph`, and says how each of its ports is called.
    /// `captured` are the outer values that a body reads, by index.
    pub(super) fn new(
        graph: &Graph,
        captured: &[String],
        outer: Option<&'a Names<'a>>,
    ) -> Result<(Names<'a>, Vec<String>), Error> {
        let mut names =
            Names { values: HashMap::new(), used: HashSet::new(), next: HashMap::new(), outer };
        for id in graph.ids() {
            if let Kind::Capture(i) = graph.node(id).kind {
                let name = captured.get(i).filter(|name| !name.is_empty()).ok_or_else(|| {
                    let (reader, value) = (graph.name.clone(), format!("captured value {i}"));
                    Error::UndefinedValue { reader, value }
                })?;
                names.used.insert(name.clone());
                names.values.insert(id.into(), name.clone());
            }
        }
        for id in graph.ids() {
            let node = graph.node(id);
            if let Kind::Input(_) | Kind::Initializer(_) = node.kind {
                let name = names.keep(&node.name).unwrap_or_else(|| names.claim(&node.name));
                names.values.insert(id.into(), name);
            }
        }
        let mut ports = Vec::with_capacity(graph.outputs.len());
        for port in &graph.outputs {
            ports.push(names.port(graph, port)?);
        }
        names.ops(graph);
        Ok((names, ports))
    }

    /// The name of a value of a checked graph; empty for an absent output.
    pub(super) fn of(&self, value: Value) -> &str {
        self.values.get(&value).map_or("", String::as_str)
    }

    fn port(&mut self, graph: &Graph, port: &Port) -> Result<String, Error> {
        let node = graph.node(port.value.node);
        if matches!(node.kind, Kind::Input(_) | Kind::Initializer(_)) && node.name == port.name {
            return Ok(self.of(port.value).to_owned());
        }
        let name = match self.keep(&port.name) {
            Some(name) => name,
            None if self.outer.is_some() => self.claim(&port.name),
            None => {
                let what = "values: an output and an input, initializer or other output";
                return Err(Error::DuplicateName { name: port.name.clone(), what });
            }
        };
        if node.op().is_some() {
            self.values.entry(port.value).or_insert_with(|| name.clone());
        }
        Ok(name)
    }

    /// The outputs of operators that no port names: as in the file where they can be,
    /// and only then those that need a new name, lest it be one of the file's.
    fn ops(&mut self, graph: &Graph) {
        let mut read: HashSet<Value> = graph.edges().map(|(value, ..)| value).collect();
        read.extend(graph.outputs.iter().map(|port| port.value));
        let mut unnamed = Vec::new();
        for (value, node) in outputs(graph).filter(|(_, node)| node.op().is_some()) {
            if self.values.contains_key(&value) {
                continue;
            }
            let name = node.extras.names.get(value.slot);
            if name.is_some_and(String::is_empty) && !read.contains(&value) {
                continue;
            }
            match name.filter(|name| !name.is_empty()).and_then(|name| self.keep(name)) {
                Some(name) => _ = self.values.insert(value, name),
                None => unnamed.push((value, node)),
            }
        }
        for (value, node) in unnamed {
            let op_type = node.op().map_or("", |op| op.op_type.as_str());
            let base = if node.name.is_empty() { op_type } else { &node.name };
            let name = self.claim(base);
            self.values.insert(value, name);
        }
    }

    /// The values by name.
    pub(super) fn inverse(&self) -> HashMap<&str, Value> {
        self.values.iter().map(|(value, name)| (name.as_str(), *value)).collect()
    }

    fn taken(&self, name: &str) -> bool {
        self.used.contains(name) || self.outer.is_some_and(|outer| outer.taken(name))
    }

    /// Takes the name, if no other value of this graph has it.
    fn keep(&mut self, name: &str) -> Option<String> {
        self.used.insert(name.to_owned()).then(|| name.to_owned())
    }

    /// Takes the name, or the first free one that begins with it.
    fn claim(&mut self, base: &str) -> String {
        let mut name = base.to_owned();
        while self.taken(&name) {
            let next = self.next.entry(base.to_owned()).or_insert(0);
            *next += 1;
            name = format!("{base}_{next}");
        }
        self.used.insert(name.clone());
        name
    }
}

fn outputs(graph: &Graph) -> impl Iterator<Item = (Value, &Node)> {
    let slots = |id: NodeId| (0..graph.node(id).outputs.len()).map(move |slot| (id, slot));
    graph.ids().flat_map(slots).map(|(node, slot)| (Value { node, slot }, graph.node(node)))
}
