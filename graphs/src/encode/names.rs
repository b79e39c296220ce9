//! The names of values: unique in a graph. A name in a body may hide one of the graphs
//! around it, if the file had it so and the body does not read the other; new names
//! never do.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet};

use crate::{Error, Graph, Kind, Node, NodeId, Port, Value};

/// The names of one graph's values.
pub(super) struct Names<'a> {
    /// Those of the outputs of all nodes, one node after the other; empty for none.
    texts: Vec<Cow<'a, str>>,
    /// Where in `texts` those of a node begin, by its index, and where the last one's end.
    starts: Vec<usize>,
    used: HashSet<Cow<'a, str>>,
    /// The next number to make a name unique with.
    next: HashMap<&'a str, usize>,
    outer: Option<&'a Names<'a>>,
}

impl<'a> Names<'a> {
    /// Names every value of `graph`, and says how each of its ports is called.
    /// `captured` are the outer values that a body reads, by index.
    pub(super) fn new(
        graph: &'a Graph,
        captured: &'a [String],
        outer: Option<&'a Names<'a>>,
    ) -> Result<(Names<'a>, Vec<Cow<'a, str>>), Error> {
        let mut names = Names::none(graph, outer);
        for id in graph.ids() {
            if let Kind::Capture(i) = graph.node(id).kind {
                let name = captured.get(i).filter(|name| !name.is_empty()).ok_or_else(|| {
                    let (reader, value) = (graph.name.clone(), format!("captured value {i}"));
                    Error::UndefinedValue { reader, value }
                })?;
                names.used.insert(name.into());
                names.set(id.into(), name.into());
            }
        }
        for id in graph.ids() {
            let node = graph.node(id);
            if let Kind::Input(_) | Kind::Initializer(_) = node.kind {
                let name = names.keep(&node.name).unwrap_or_else(|| names.claim(&node.name));
                names.set(id.into(), name);
            }
        }
        let mut ports = Vec::with_capacity(graph.outputs.len());
        for port in &graph.outputs {
            ports.push(names.port(graph, port)?);
        }
        names.ops(graph);
        Ok((names, ports))
    }

    fn none(graph: &Graph, outer: Option<&'a Names<'a>>) -> Names<'a> {
        let (mut starts, mut count) = (Vec::new(), 0);
        for id in graph.ids() {
            starts.resize(id.index() + 1, count);
            count += graph.node(id).outputs.len();
        }
        starts.push(count);
        let texts = vec![Cow::default(); count];
        let used = HashSet::with_capacity(count);
        Names { texts, starts, used, next: HashMap::new(), outer }
    }

    /// The name of a value of a checked graph; empty for an absent output.
    pub(super) fn of(&self, value: Value) -> &str {
        self.place(value).and_then(|place| self.texts.get(place)).map_or("", Cow::as_ref)
    }

    fn place(&self, value: Value) -> Option<usize> {
        let index = value.node.index();
        let place = self.starts.get(index)? + value.slot;
        (place < *self.starts.get(index + 1)?).then_some(place)
    }

    fn set(&mut self, value: Value, name: Cow<'a, str>) {
        if let Some(text) = self.place(value).and_then(|place| self.texts.get_mut(place)) {
            *text = name;
        }
    }

    fn port(&mut self, graph: &Graph, port: &'a Port) -> Result<Cow<'a, str>, Error> {
        let node = graph.node(port.value.node);
        if matches!(node.kind, Kind::Input(_) | Kind::Initializer(_)) && node.name == port.name {
            return Ok(self.of(port.value).to_owned().into());
        }
        let name = match self.keep(&port.name) {
            Some(name) => name,
            None if self.outer.is_some() => self.claim(&port.name),
            None => {
                let what = "values: an output and an input, initializer or other output";
                return Err(Error::DuplicateName { name: port.name.clone(), what });
            }
        };
        if node.op().is_some() && self.of(port.value).is_empty() {
            self.set(port.value, name.clone());
        }
        Ok(name)
    }

    /// The outputs of operators that no port names: as in the file where they can be,
    /// and only then those that need a new name, lest it be one of the file's.
    fn ops(&mut self, graph: &'a Graph) {
        let mut unnamed = Vec::new();
        for (value, node) in outputs(graph).filter(|(_, node)| node.op().is_some()) {
            if !self.of(value).is_empty() {
                continue;
            }
            let name = node.extras.names.get(value.slot);
            if name.is_some_and(String::is_empty) && graph.uses(value).count() == 0 {
                continue;
            }
            match name.filter(|name| !name.is_empty()).and_then(|name| self.keep(name)) {
                Some(name) => self.set(value, name),
                None => unnamed.push((value, node)),
            }
        }
        for (value, node) in unnamed {
            let op_type = node.op().map_or("", |op| op.op_type.as_str());
            let base = if node.name.is_empty() { op_type } else { &node.name };
            let name = self.claim(base);
            self.set(value, name);
        }
    }

    /// The values of `graph` by name.
    pub(super) fn inverse(&self, graph: &Graph) -> HashMap<&str, Value> {
        let named = outputs(graph).map(|(value, _)| (self.of(value), value));
        named.filter(|(name, _)| !name.is_empty()).collect()
    }

    fn taken(&self, name: &str) -> bool {
        self.used.contains(name) || self.outer.is_some_and(|outer| outer.taken(name))
    }

    /// Takes the name, if no other value of this graph has it.
    fn keep(&mut self, name: &'a str) -> Option<Cow<'a, str>> {
        self.used.insert(name.into()).then(|| name.into())
    }

    /// Takes the name, or the first free one that begins with it.
    fn claim(&mut self, base: &'a str) -> Cow<'a, str> {
        let mut name = Cow::from(base);
        while self.taken(&name) {
            let next = self.next.entry(base).or_insert(0);
            *next += 1;
            name = format!("{base}_{next}").into();
        }
        self.used.insert(name.clone());
        name
    }
}

fn outputs(graph: &Graph) -> impl Iterator<Item = (Value, &Node)> {
    let slots = |id: NodeId| (0..graph.node(id).outputs.len()).map(move |slot| (id, slot));
    graph.ids().flat_map(slots).map(|(node, slot)| (Value { node, slot }, graph.node(node)))
}
