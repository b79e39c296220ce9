//! Fresh names for what a pass adds to a model that it did not write.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash, Hasher};

use graphs::{Attribute, Graph};

/// Every name of a node or value of a graph and of its bodies: ONNX wants values, and
/// ONNX Runtime nodes, to have names of their own across all of them.
///
/// The names themselves are not kept, only their hashes: where two share one, a new name
/// gets a number that it could have done without.
#[derive(Debug, Default)]
pub(crate) struct Names(HashSet<u64>);

fn hash(name: &str) -> u64 {
    // Its keys are fixed, so that a model's names are the same each time.
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

impl Names {
    /// The names of a graph and of all bodies in it.
    pub(crate) fn of(graph: &Graph) -> Names {
        let mut names = Names::default();
        names.collect(graph);
        names
    }

    /// The names of the inputs and constants of a graph.
    pub(crate) fn of_sources(graph: &Graph) -> Names {
        let sources = graph.ids().map(|id| graph.node(id)).filter(|node| node.op().is_none());
        Names(sources.map(|node| hash(&node.name)).collect())
    }

    /// Takes a name; false if it is taken.
    pub(crate) fn take(&mut self, name: &str) -> bool {
        self.0.insert(hash(name))
    }

    fn collect(&mut self, graph: &Graph) {
        for id in graph.ids() {
            let node = graph.node(id);
            self.0.extend(node.extras.names.iter().map(|name| hash(name)));
            self.take(&node.name);
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
        candidates.find(|name| !name.is_empty() && self.take(name)).unwrap_or_default()
    }

    /// `wanted`, with a number behind it if that followed by some of `endings` is taken;
    /// all of those names are taken from now on.
    pub(crate) fn claim_family(&mut self, wanted: &str, endings: &[&str]) -> String {
        let numbered = (1..).map(|i| format!("{wanted}_{i}"));
        let mut candidates = std::iter::once(wanted.to_owned()).chain(numbered);
        let member = |base: &str, end: &&str| hash(&format!("{base}{end}"));
        let taken = |base: &str| endings.iter().any(|end| self.0.contains(&member(base, end)));
        let base = candidates.find(|base| !base.is_empty() && !taken(base)).unwrap_or_default();
        self.0.extend(endings.iter().map(|end| member(&base, end)));
        base
    }
}
