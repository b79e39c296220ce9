//! How much memory the values between the layers take.

use std::collections::HashMap;

use graphs::{Model, NodeId, Value};

use crate::pass::{Pass, Pipeline};
use crate::{FixBatch, Fold, Result, variational};

/// An estimate in bytes: engines reuse and fuse, so they may need less.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Activations {
    /// The most that is alive at once when nodes run in order and values go as soon as
    /// nothing reads them any more.
    pub peak: usize,
    /// All of them: what a gradient may need.
    pub total: usize,
}

/// The values of one run on `batch` images.
///
/// # Errors
/// When the shapes are not known.
pub fn activations(model: &Model, batch: usize) -> Result<Activations> {
    let mut model = model.clone();
    Pipeline::opening().then(FixBatch(batch)).run(&mut model)?;
    variational::expand_means(&mut model.graph)?;
    Fold.run(&mut model)?;
    model.graph.sweep();
    let graph = &model.graph;
    let bytes = |id: NodeId| -> usize {
        let size = |fact: &graphs::Fact| {
            let count: usize = fact.known_shape()?.iter().product();
            fact.dtype?.bytes_for(count)
        };
        graph.node(id).outputs.iter().filter_map(size).sum()
    };
    let mut readers: HashMap<NodeId, usize> = HashMap::new();
    let shown = graph.outputs.iter().map(|port| port.value);
    for value in graph.edges().map(|(value, ..)| value).chain(shown) {
        *readers.entry(value.node).or_default() += 1;
    }
    let (mut alive, mut found) = (0usize, Activations { peak: 0, total: 0 });
    for id in graph.op_order()? {
        alive = alive.saturating_add(bytes(id));
        found.total = found.total.saturating_add(bytes(id));
        found.peak = found.peak.max(alive);
        for Value { node, .. } in graph.arguments(id).into_iter().flatten() {
            if let Some(count) = readers.get_mut(&node) {
                *count = count.saturating_sub(1);
                if *count == 0 && graph.node(node).op().is_some() {
                    alive = alive.saturating_sub(bytes(node));
                }
            }
        }
    }
    Ok(found)
}
