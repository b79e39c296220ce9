//! Sets of nodes.

use fixedbitset::FixedBitSet;
use petgraph::graph::NodeIndex;

use crate::NodeId;

/// A set of nodes of one graph: a bit for every index, so that a walk over a long graph
/// does not miss the cache at each of them.
#[derive(Clone, Debug, Default)]
pub struct NodeSet(FixedBitSet);

impl NodeSet {
    /// Adds a node; false if it was there.
    pub fn insert(&mut self, id: NodeId) -> bool {
        self.0.grow(id.index() + 1);
        !self.0.put(id.index())
    }

    /// True if the node is in the set.
    pub fn contains(&self, id: NodeId) -> bool {
        self.0.contains(id.index())
    }

    /// The nodes in order of index.
    pub fn iter(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.0.ones().map(NodeIndex::new)
    }
}

impl Extend<NodeId> for NodeSet {
    fn extend<I: IntoIterator<Item = NodeId>>(&mut self, ids: I) {
        for id in ids {
            self.insert(id);
        }
    }
}

impl FromIterator<NodeId> for NodeSet {
    fn from_iter<I: IntoIterator<Item = NodeId>>(ids: I) -> NodeSet {
        let mut set = NodeSet::default();
        set.extend(ids);
        set
    }
}
