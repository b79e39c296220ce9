//! Every invariant of a graph, checked and reported together.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::{Attribute, Error, Graph, Kind, NodeId, NodeSet, Value};

/// One broken invariant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Defect {
    /// The node (or the graph) at fault, as [`crate::Node::describe`] names it.
    pub location: String,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for Defect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.location, self.message)
    }
}

impl Graph {
    /// Checks every invariant.
    ///
    /// # Errors
    /// [`Error::Defects`] with all that is wrong.
    pub fn check(&self) -> Result<(), Error> {
        let defects = self.defects();
        if defects.is_empty() { Ok(()) } else { Err(Error::Defects(defects)) }
    }

    /// All that is wrong with the graph, subgraphs included.
    pub fn defects(&self) -> Vec<Defect> {
        let mut found = Vec::new();
        let listed: NodeSet = self.inputs.iter().copied().collect();
        let mut slots = Vec::new();
        for id in self.ids() {
            self.check_node(id, &listed, &mut found);
            self.check_arguments(id, &mut slots, &mut found);
        }
        self.check_ports(&mut found);
        self.check_sources(&mut found);
        if let Err(cycle) = self.order() {
            found.push(Defect { location: self.title(), message: cycle.to_string() });
        }
        found
    }

    fn title(&self) -> String {
        format!("graph `{}`", self.name)
    }

    fn check_node(&self, id: NodeId, listed: &NodeSet, found: &mut Vec<Defect>) {
        let node = self.node(id);
        let mut defect = |message| found.push(Defect { location: node.describe(), message });
        match &node.kind {
            Kind::Initializer(tensor) if !matches!(&node.outputs[..], [fact] if fact.is_of(tensor)) =>
            {
                defect("its recorded type and shape are not its tensor's".to_owned());
            }
            Kind::Input(_) if !listed.contains(id) => {
                defect("is not listed among the graph's inputs".to_owned());
            }
            Kind::Input(_) | Kind::Capture(_) if node.outputs.len() != 1 => {
                defect(format!("has {} outputs instead of one", node.outputs.len()));
            }
            Kind::Op(op) => {
                for attribute in op.attributes.values() {
                    if let Attribute::Graph(body) = attribute {
                        found.extend(body.defects());
                    }
                }
            }
            _ => {}
        }
    }

    /// `slots` is room for the argument slots of a node.
    fn check_arguments(&self, id: NodeId, slots: &mut Vec<usize>, found: &mut Vec<Defect>) {
        let consumer = self.node(id);
        let mut defect = |message| found.push(Defect { location: consumer.describe(), message });
        let count = consumer.op().map(|op| op.arity + captures(op));
        slots.clear();
        for (value, to) in self.reads(id) {
            match count {
                None => defect("takes no arguments, but an edge ends there".to_owned()),
                Some(count) if to >= count => {
                    defect(format!("argument {to} is beyond its {count} arguments"));
                }
                Some(_) => slots.push(to),
            }
            if value.slot >= self.node(value.node).outputs.len() {
                let producer = self.node(value.node).describe();
                defect(format!("reads output {} of {producer}, which has none", value.slot));
            }
        }
        slots.sort_unstable();
        for twice in slots.windows(2).filter(|pair| pair.first() == pair.last()) {
            defect(format!("argument {} is given twice", twice.first().copied().unwrap_or(0)));
        }
    }

    fn check_ports(&self, found: &mut Vec<Defect>) {
        let mut names = HashSet::new();
        for port in &self.outputs {
            let mut defect = |message| {
                found.push(Defect { location: format!("output `{}`", port.name), message })
            };
            if !names.insert(&port.name) {
                defect("the name is used by another output".to_owned());
            }
            let Value { node, slot } = port.value;
            if self.get(node).is_none_or(|n| slot >= n.outputs.len()) {
                defect("shows a value that does not exist".to_owned());
            }
        }
    }

    fn check_sources(&self, found: &mut Vec<Defect>) {
        let mut names: HashSet<&str> = HashSet::new();
        let mut wrong: BTreeMap<&str, usize> = BTreeMap::new();
        for id in self.ids() {
            let node = self.node(id);
            let named = matches!(node.kind, Kind::Input(_) | Kind::Initializer(_));
            if named && (!names.insert(&node.name) || node.name.is_empty()) {
                *wrong.entry(&node.name).or_default() += 1;
            }
        }
        for (name, more) in wrong {
            let location = format!("input or initializer `{name}`");
            let message = match name.is_empty() {
                true => "has no name".to_owned(),
                false => format!("is defined {} times", more + 1),
            };
            found.push(Defect { location, message });
        }
        for &id in &self.inputs {
            let fits = |kind: &Kind| matches!(kind, Kind::Input(_) | Kind::Initializer(_));
            if self.get(id).is_none_or(|node| !fits(&node.kind)) {
                let message = "lists an input that is not one".to_owned();
                found.push(Defect { location: self.title(), message });
            }
        }
    }
}

/// The number of outer values that the bodies of an operator use.
fn captures(op: &crate::Op) -> usize {
    let bodies = op.attributes.values().filter_map(|attribute| match attribute {
        Attribute::Graph(body) => Some(body),
        _ => None,
    });
    bodies
        .flat_map(|body| {
            body.ids().filter_map(|id| match body.node(id).kind {
                Kind::Capture(i) => Some(i + 1),
                _ => None,
            })
        })
        .max()
        .unwrap_or(0)
}
