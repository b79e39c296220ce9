//! Constants that fix the batch size in the operators that read it: each gets a value
//! that takes any.

use graphs::{NodeId, Tensor};

use super::axis::{Held, candidates};
use super::free::{Probe, STRANGE, Walk};
use super::vector::{Entry, vector};
use crate::Result;

impl Probe<'_> {
    /// The integers of a constant argument in which the batch size does not show; `None`
    /// when it does, and the shape follows it already.
    pub(super) fn baked_integers(&self, id: NodeId, slot: usize) -> Option<Vec<i64>> {
        let tensor = self.strange.tensor(self.strange.argument(id, slot)?)?;
        let follows = |n: &i64| *n != 0 && n % STRANGE as i64 == 0;
        tensor.integers().ok().filter(|entries| !entries.iter().any(follows))
    }

    /// Rewrites the constants of a node that fix the batch size although shapes agree.
    pub(super) fn adapt(&mut self, id: NodeId) -> Result<Walk> {
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
            "GatherND" if self.gather_nd(id, held)? => return Ok(Walk::Changed),
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
}
