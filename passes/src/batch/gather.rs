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
}
