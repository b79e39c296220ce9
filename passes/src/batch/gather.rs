//! Constant indices that reach into several examples: exporters write a strided view as
//! a Gather from the flattened tensor.

use graphs::{Fact, NodeId, Op, Tensor};

use super::axis::Held;
use super::free::Probe;
use crate::Result;

impl Probe<'_> {
    /// Takes the same positions from every example, where the indices do. The batch of
    /// argument 0 is on `held`. Returns whether it changed the graph.
    ///
    /// # Errors
    /// When the indices are not the same in every example.
    pub(super) fn gather(&mut self, id: NodeId, held: Held) -> Result<bool> {
        let (Some(from), Some(shape)) = (self.shape(id, 0), self.shape(id, 1)) else {
            return Ok(false);
        };
        let Some(op) = self.graph.node(id).op() else { return Ok(false) };
        let axis = op.int("axis", 0);
        let axis = if axis < 0 { axis + from.len() as i64 } else { axis };
        let Some(indices) = self.baked_integers(id, 1).filter(|_| axis == held.axis as i64) else {
            return Ok(false);
        };
        let inner = held.inner as i64;
        if inner == 1 {
            return Ok(false);
        }
        if held.outer != 1 || shape.first() != Some(&self.baked) {
            return Err(self.refuse(id, format!("indices of shape {shape:?}")));
        }
        let size = inner * self.baked as i64;
        let indices: Vec<i64> =
            indices.into_iter().map(|i| if i < 0 { i + size } else { i }).collect();
        let count = indices.len() / self.baked;
        let first = indices.get(..count).unwrap_or_default();
        let same = |(n, part): (usize, &[i64])| {
            part.iter().zip(first).all(|(index, base)| *index == base + n as i64 * inner)
        };
        let inside = first.iter().all(|index| (0..inner).contains(index));
        if !inside || !indices.chunks(count.max(1)).enumerate().all(same) {
            return Err(self.refuse(id, "its indices differ between examples"));
        }
        let base = Tensor::new(shape.get(1..).unwrap_or_default(), first.to_vec())?;
        let mut split = crate::signed(&from);
        if let Some(size) = split.get_mut(held.axis) {
            *size = -1;
        }
        split.insert(held.axis + 1, inner);
        let graph = &mut *self.graph;
        let split = graph.initializer(&self.names.claim("batch/shape"), Tensor::vector(&split));
        let base = graph.initializer(&self.names.claim("batch/indices"), base);
        let fact = Fact { dtype: graph.fact(id.into()).dtype, shape: None };
        let name = self.names.claim("batch/Reshape");
        let arguments = [graph.argument(id, 0), Some(split)];
        let examples = graph.op(&name, Op::new("Reshape"), &arguments, vec![fact]);
        graph.set_argument(id, 0, Some(examples.into()));
        graph.set_argument(id, 1, Some(base));
        if let graphs::Kind::Op(op) = &mut graph.node_mut(id).kind {
            *op = op.clone().with("axis", held.axis as i64 + 1);
        }
        Ok(true)
    }

    /// Takes the same positions from every example of a GatherND whose indices name the
    /// example as well, as exporters write masks that are looked up. Returns whether it
    /// changed the graph.
    ///
    /// # Errors
    /// When the indices are not the same in every example.
    pub(super) fn gather_nd(&mut self, id: NodeId, held: Held) -> Result<bool> {
        let batched = self.graph.node(id).op().is_some_and(|op| op.int("batch_dims", 0) != 0);
        let Some(shape) = self.shape(id, 1).filter(|_| !batched) else { return Ok(false) };
        let (Some((&count, rest)), Some(indices)) =
            (shape.split_last(), self.baked_integers(id, 1))
        else {
            return Ok(false);
        };
        let whole = (held.axis, held.share()) == (0, 1) && rest.first() == Some(&self.baked);
        if !whole || count < 2 {
            return Ok(false);
        }
        let examples = indices.chunks((indices.len() / self.baked).max(1));
        for (i, vector) in examples
            .enumerate()
            .flat_map(|(i, part)| part.chunks(count).map(move |vector| (i as i64, vector)))
        {
            let own = |n: i64| if n < 0 { n + self.baked as i64 } else { n };
            if vector.first().is_none_or(|&n| own(n) != i) {
                return Err(self.refuse(id, "its indices reach into other examples"));
            }
        }
        let own = indices.chunks(count).flat_map(|vector| vector.iter().skip(1).copied());
        let own = Tensor::new(&[rest, &[count - 1]].concat(), own.collect())?;
        let value = self.graph.initializer(&self.names.claim("batch/indices"), own.clone());
        self.graph.set_argument(id, 1, Some(value));
        if let graphs::Kind::Op(op) = &mut self.graph.node_mut(id).kind {
            *op = op.clone().with("batch_dims", 1i64);
        }
        self.repeat(id, 1, &own, 0)?;
        Ok(true)
    }
}
