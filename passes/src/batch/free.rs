//! Follows the batch through a graph at two sizes, and finds what fixes it.

use std::collections::HashMap;

use graphs::{Dim, Graph, Kind, NodeId, NodeSet, Value};

use super::axis::{Held, candidates};
use crate::naming::Names;
use crate::{Error, Result, fold, variational};

/// A batch size that divides no size of a real model: prime, and out of the way.
pub(super) const STRANGE: usize = 65_521;

/// Rewrites the graph so that it takes any batch size, in place of `baked` only.
/// `inputs` hold it on axis 0.
///
/// # Errors
/// When something cannot be freed; the error names the node. The graph may be half
/// rewritten then.
pub(super) fn free(graph: &mut Graph, inputs: &[Value], baked: usize) -> Result<()> {
    // A round that changes something behind it ends there, and the next one sees it.
    for _ in 0..=graph.len() {
        let mut probe = Probe::new(graph, inputs, baked)?;
        if probe.walk()? == Walk::Through {
            probe.record();
            return Ok(());
        }
    }
    Err(Error::Model(format!("cannot free the batch size {baked}; export with a dynamic one")))
}

#[derive(PartialEq, Eq)]
pub(super) enum Walk {
    Through,
    Changed,
}

/// A graph at two batch sizes.
pub(super) struct Probe<'g> {
    /// The graph to rewrite.
    pub(super) graph: &'g mut Graph,
    pub(super) names: Names,
    pub(super) input: Value,
    pub(super) baked: usize,
    /// Shapes at the batch size of the file.
    pub(super) fixed: Graph,
    /// Shapes at [`STRANGE`].
    pub(super) strange: Graph,
    /// Where values of `strange` hold the batch.
    pub(super) held: HashMap<Value, Held>,
    /// What is computed from the inputs.
    reached: NodeSet,
}

impl Probe<'_> {
    fn new<'g>(graph: &'g mut Graph, inputs: &[Value], baked: usize) -> Result<Probe<'g>> {
        let mut fixed = graph.clone();
        variational::expand_means(&mut fixed)?;
        let mut strange = fixed.clone();
        for &input in inputs.iter().filter(|v| first(graph, **v) == Some(&Dim::Known(baked))) {
            super::set_first(&mut strange, input, &Dim::Known(STRANGE));
        }
        let input = inputs.first().copied();
        let input = input.ok_or_else(|| Error::Model("the model has no data input".to_owned()))?;
        let reached = inputs.iter().map(|value| value.node).collect();
        let (names, held) = (Names::of(graph), HashMap::new());
        Ok(Probe { graph, names, input, baked, fixed, strange, held, reached })
    }

    fn walk(&mut self) -> Result<Walk> {
        for id in self.fixed.op_order()? {
            // What has no rule keeps the shapes that the file states.
            let known = fold::infer_node(&mut self.fixed, id).is_ok();
            if self.strange.arguments(id).iter().flatten().any(|v| self.follows(*v)) {
                self.reached.insert(id);
                if self.adapt(id)? == Walk::Changed {
                    return Ok(Walk::Changed);
                }
            }
            match fold::infer_node(&mut self.strange, id) {
                Ok(()) => {}
                Err(_) if !known => self.guess(id)?,
                Err(error) => {
                    let Some((slot, axis, share)) = self.conflict(id) else {
                        return Err(self.refuse(id, error.to_string()));
                    };
                    self.demand(id, slot, axis, share)?;
                    return Ok(Walk::Changed);
                }
            }
            self.follow(id);
        }
        Ok(Walk::Through)
    }

    /// An error about a node that fixes the batch size.
    pub(super) fn refuse(&self, id: NodeId, reason: impl AsRef<str>) -> Error {
        let node = self.fixed.get(id).map(graphs::Node::describe).unwrap_or_default();
        let (baked, reason) = (self.baked, reason.as_ref());
        let reason =
            format!("fixes the batch size {baked} ({reason}); export with a dynamic batch size");
        Error::Node { node, reason }
    }

    /// Whether a value of `strange` is computed from the inputs, or their batch size.
    fn follows(&self, value: Value) -> bool {
        self.reached.contains(value.node) || self.held(value).is_some()
    }

    /// Where a value of `strange` holds the batch.
    pub(super) fn held(&self, value: Value) -> Option<Held> {
        if let Some(held) = self.held.get(&value) {
            return Some(*held);
        }
        let (axis, share) = shares(&self.strange.fact(value).known_shape()?)?;
        Some(Held { axis, outer: 1, inner: share })
    }

    /// The shape of an argument at the batch size of the file.
    pub(super) fn shape(&self, id: NodeId, slot: usize) -> Option<Vec<usize>> {
        self.fixed.fact(self.fixed.argument(id, slot)?).known_shape()
    }

    /// The argument that lacks the batch where another one holds it: its slot, its axis,
    /// and how many times the batch size that axis is long.
    fn conflict(&self, id: NodeId) -> Option<(usize, usize, usize)> {
        let arguments = self.strange.arguments(id);
        let rank = |value: Value| self.strange.fact(value).shape.as_ref().map(Vec::len);
        for (slot, &argument) in arguments.iter().enumerate() {
            for &other in arguments.iter().flatten().filter(|v| Some(**v) != argument) {
                let (Some(argument), Some(held)) = (argument, self.held(other)) else { continue };
                let (own, others) = (rank(argument)?, rank(other)?);
                let Some(axis) = (own + held.axis).checked_sub(others) else { continue };
                let size = self.shape(id, slot).and_then(|shape| shape.get(axis).copied());
                if self.held(argument).is_none() && size == self.baked.checked_mul(held.share()) {
                    return Some((slot, axis, held.share()));
                }
            }
        }
        None
    }

    /// Takes the shapes of a node without a rule from the file, which must show the batch
    /// on the first axis: there it stays.
    fn guess(&mut self, id: NodeId) -> Result<()> {
        if !self.reached.contains(id) {
            return Ok(());
        }
        for slot in 0..self.strange.node(id).outputs.len() {
            let value = Value { node: id, slot };
            if first(&self.strange, value) != Some(&Dim::Known(self.baked)) {
                return Err(self.refuse(id, "what it does to the batch is not known"));
            }
            super::set_first(&mut self.strange, value, &Dim::Known(STRANGE));
        }
        Ok(())
    }

    /// Notes where the outputs of a node hold the batch.
    fn follow(&mut self, id: NodeId) {
        let inner = |share: usize| {
            let same = |value: &Value| self.held(*value).filter(|held| held.share() == share);
            self.strange.arguments(id).iter().flatten().find_map(same).map(|held| held.inner)
        };
        let mut found = Vec::new();
        for slot in 0..self.strange.node(id).outputs.len() {
            let value = Value { node: id, slot };
            let shape = self.strange.fact(value).known_shape();
            let Some((axis, share)) = shape.as_deref().and_then(shares) else { continue };
            if self.held.get(&value).is_some_and(|held| (held.axis, held.share()) == (axis, share))
            {
                continue;
            }
            let through = self.reshaped(id, axis).map(|held| held.inner);
            let inner = through.or_else(|| inner(share)).unwrap_or(share);
            found.push((value, Held { axis, outer: share / inner.max(1), inner }));
        }
        self.held.extend(found);
    }

    /// Where a Reshape or Flatten that follows the batch size takes it.
    fn reshaped(&self, id: NodeId, axis: usize) -> Option<Held> {
        self.graph.get(id)?.op().filter(|op| op.is("Reshape") || op.is("Flatten"))?;
        let held = self.held(self.strange.argument(id, 0)?)?;
        let to = self.fixed.fact(id.into()).known_shape()?;
        let found = candidates(&self.shape(id, 0)?, held, &to, self.baked);
        found.into_iter().find(|held| held.axis == axis)
    }

    /// Frees the batch in all shapes that the file states.
    fn record(&mut self) {
        // What is not computed from the images may hold it too: a token for each of them.
        let ids: Vec<NodeId> = self.graph.ids().collect();
        for id in ids {
            // A tensor has the shape that it has.
            if matches!(self.graph.node(id).kind, Kind::Initializer(_)) {
                continue;
            }
            let Some(strange) = self.strange.get(id).map(|node| node.outputs.clone()) else {
                continue;
            };
            for (fact, strange) in self.graph.node_mut(id).outputs.iter_mut().zip(strange) {
                let (Some(dims), Some(sizes)) = (fact.shape.as_mut(), strange.known_shape()) else {
                    continue;
                };
                for (dim, size) in dims.iter_mut().zip(sizes) {
                    match size.checked_div(STRANGE).filter(|n| *n > 0 && n * STRANGE == size) {
                        None => {}
                        Some(1) => *dim = Dim::Named("N".to_owned()),
                        Some(_) => *dim = Dim::Unknown,
                    }
                }
            }
        }
    }
}

fn first(graph: &Graph, value: Value) -> Option<&Dim> {
    graph.fact(value).shape.as_ref()?.first()
}

/// The axis that is a multiple of the strange batch size, and which.
fn shares(shape: &[usize]) -> Option<(usize, usize)> {
    let share = |&size: &usize| {
        let share = size / STRANGE;
        (share > 0 && share * STRANGE == size).then_some(share)
    };
    shape.iter().enumerate().find_map(|(axis, size)| Some((axis, share(size)?)))
}
