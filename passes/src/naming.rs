//! Fresh names for what a pass adds to a model that it did not write.

use std::collections::HashSet;

use graphs::{Attribute, Graph};

/// Every name of a node or value of a graph and of its bodies: ONNX wants values, and
/// ONNX Runtime nodes, to have names of their own across all of them.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    /// The names of a graph and of all bodies in it.
    pub(crate) fn of(graph: &Graph) -> Names {
        let mut names = Names::default();
        names.collect(graph);
        names
    }

    fn collect(&mut self, graph: &Graph) {
        for id in graph.ids() {
            let node = graph.node(id);
            self.0.extend(node.extras.names.iter().cloned());
            self.0.insert(node.name.clone());
            for attribute in node.op().into_iter().flat_map(|op| op.attributes.values()) {
                if let Attribute::Graph(body) = attribute {
                    self.collect(body);
                }
            }
        }
    }

    /// `wanted`, with a number behind it if that name is taken; taken from now on.
    pub(crate) fn claim(&mut self, wanted: &str) -> String {
        // From the number of names on nearly every number is free, so the search is short.
        let numbered = (self.0.len()..).map(|i| format!("{wanted}_{i}"));
        let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
        let free = candidates.find(|name| !name.is_empty() && !self.0.contains(name));
        let name = free.unwrap_or_default();
        self.0.insert(name.clone());
        name
    }

    /// `wanted`, with a number behind it if that followed by some of `endings` is taken;
    /// all of those names are taken from now on.
    pub(crate) fn claim_family(&mut self, wanted: &str, endings: &[&str]) -> String {
        let numbered = (1..).map(|i| format!("{wanted}_{i}"));
        let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
        let taken =
            |base: &String| endings.iter().any(|end| self.0.contains(&format!("{base}{end}")));
        let base = candidates.find(|base| !base.is_empty() && !taken(base)).unwrap_or_default();
        self.0.extend(endings.iter().map(|end| format!("{base}{end}")));
        base
    }
}
