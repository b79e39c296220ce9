//! Finds what fixes the batch size, and frees it.

use std::collections::{HashMap, HashSet};

use graphs::{Dim, Graph, NodeId, Tensor, Value};

use super::axis::{Held, candidates};
use super::vector::{Entry, vector};
use crate::naming::Names;
use crate::{Error, Result, fold, variational};

/// A batch size that divides no size of a real model: prime, and out of the way.
const STRANGE: usize = 65_521;

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
enum Walk {
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
    strange: Graph,
    /// Where values of `strange` hold the batch.
    held: HashMap<Value, Held>,
    /// What is computed from the inputs.
    reached: HashSet<NodeId>,
}

impl Probe<'_> {
    fn new<'g>(graph: &'g mut Graph, inputs: &[Value], baked: usize) -> Result<Probe<'g>> {
        let mut fixed = graph.clone();
        variational::expand(&mut fixed, |_, _| Ok(None))?;
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
                Err(_) if !known => self.guess(id),
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
        self.reached.contains(&value.node) || self.held(value).is_some()
    }

    /// Where a value of `strange` holds the batch.
    fn held(&self, value: Value) -> Option<Held> {
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

    /// The integers of a constant argument in which the batch size does not show; `None`
    /// when it does, and the shape follows it already.
    pub(super) fn baked_integers(&self, id: NodeId, slot: usize) -> Option<Vec<i64>> {
        let tensor = self.strange.tensor(self.strange.argument(id, slot)?)?;
        let follows = |n: &i64| *n != 0 && n % STRANGE as i64 == 0;
        tensor.integers().ok().filter(|entries| !entries.iter().any(follows))
    }

    /// Rewrites the constants of a node that fix the batch size although shapes agree.
    fn adapt(&mut self, id: NodeId) -> Result<Walk> {
        let op = self.graph.get(id).and_then(|node| node.op()).filter(|op| op.in_onnx_domain());
        let (Some(op), Some(x)) = (op.map(|op| op.op_type.clone()), self.strange.argument(id, 0))
        else {
            return Ok(Walk::Through);
        };
        let Some(held) = self.held(x) else { return Ok(Walk::Through) };
        match op.as_str() {
            "Reshape" => self.reshape(id, held)?,
            "Expand" => self.expand(id, held),
            "Slice" => self.slice(id, held),
            "Resize" => return Ok(self.resize(id, held)),
            "Gather" if self.gather(id, held)? => return Ok(Walk::Changed),
            _ => {}
        }
        Ok(Walk::Through)
    }

    fn reshape(&mut self, id: NodeId, held: Held) -> Result<()> {
        let Some(target) = self.baked_integers(id, 1) else { return Ok(()) };
        let shapes = (self.shape(id, 0), self.fixed.fact(id.into()).known_shape());
        let (Some(from), Some(to)) = shapes else {
            return Err(self.refuse(id, "its shape is not known"));
        };
        let Some(&new) = candidates(&from, held, &to, self.baked).first() else {
            return Err(self.refuse(id, format!("{from:?} to {to:?}")));
        };
        self.held.insert(id.into(), new);
        let keeps = new.axis == held.axis && new.share() == held.share();
        let allow_zero = self.graph.node(id).op().is_some_and(|op| op.int("allowzero", 0) != 0);
        match target.get(new.axis) {
            Some(-1) => return Ok(()),
            Some(0) if keeps && !allow_zero => return Ok(()),
            _ => {}
        }
        let free = if keeps && !allow_zero { 0 } else { -1 };
        let mut entries = crate::signed(&to);
        if let Some(entry) = entries.get_mut(new.axis) {
            *entry = free;
        }
        self.replace(id, 1, &entries);
        Ok(())
    }

    /// Expand keeps the size of an axis where its shape says 1.
    fn expand(&mut self, id: NodeId, held: Held) {
        let Some(mut entries) = self.baked_integers(id, 1) else { return };
        let Some(from) = self.shape(id, 0) else { return };
        let place = (entries.len() + held.axis).checked_sub(from.len());
        let entry = place.and_then(|i| entries.get_mut(i)).filter(|entry| **entry != 1);
        if let Some(entry) = entry {
            *entry = 1;
            self.replace(id, 1, &entries);
        }
    }

    /// A Slice of the whole batch axis goes to its end.
    fn slice(&mut self, id: NodeId, held: Held) {
        let (Some(from), Some(to)) = (self.shape(id, 0), self.fixed.fact(id.into()).known_shape())
        else {
            return;
        };
        let Some(mut ends) = self.baked_integers(id, 2) else { return };
        let axes = match self.baked_integers(id, 3) {
            Some(axes) => axes,
            None => (0..from.len() as i64).collect(),
        };
        let on_batch = |axis: &i64| {
            let axis = if *axis < 0 { axis + from.len() as i64 } else { *axis };
            axis == held.axis as i64
        };
        let whole = from.get(held.axis) == to.get(held.axis);
        let end = axes.iter().position(on_batch).and_then(|i| ends.get_mut(i));
        if let Some(end) = end.filter(|end| whole && **end > 0 && **end < STRANGE as i64) {
            *end = i64::MAX;
            self.replace(id, 2, &ends);
        }
    }

    /// The sizes of a Resize are computed from the batch size.
    fn resize(&mut self, id: NodeId, held: Held) -> Walk {
        let all = self.graph.node(id).op().is_some_and(|op| op.ints("axes").is_none());
        let Some(sizes) = self.baked_integers(id, 3).filter(|_| all) else { return Walk::Through };
        let mut entries: Vec<Entry> = sizes.into_iter().map(Entry::Known).collect();
        let Some(entry) = entries.get_mut(held.axis) else { return Walk::Through };
        *entry = Entry::Batch(held.share() as i64);
        let sizes = vector(self.graph, &mut self.names, self.input, &entries);
        self.graph.set_argument(id, 3, Some(sizes));
        Walk::Changed
    }

    /// Gives a node another constant, in the graph and at the strange size.
    fn replace(&mut self, id: NodeId, slot: usize, entries: &[i64]) {
        let name = self.names.claim("batch/shape");
        for graph in [&mut *self.graph, &mut self.strange] {
            let value = graph.initializer(&name, Tensor::vector(entries));
            graph.set_argument(id, slot, Some(value));
        }
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

    /// Takes the shapes of a node without a rule from the file: the batch stays on the
    /// first axis.
    fn guess(&mut self, id: NodeId) {
        if !self.reached.contains(&id) {
            return;
        }
        for slot in 0..self.strange.node(id).outputs.len() {
            let value = Value { node: id, slot };
            if first(&self.strange, value) == Some(&Dim::Known(self.baked)) {
                super::set_first(&mut self.strange, value, &Dim::Known(STRANGE));
            }
        }
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
        for &id in &self.reached {
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
