//! Gives the batch to what does not depend on the images, but has as many rows: class
//! tokens, masks.

use bytes::Bytes;
use graphs::{Fact, Kind, NodeId, Op, Tensor};

use super::axis::{Held, candidates};
use super::free::Probe;
use super::vector::{Entry, vector};
use crate::Result;

impl Probe<'_> {
    /// Makes `axis` of an argument of a node `share` times as long as the batch, whatever
    /// its size; it is so at the file's batch size.
    ///
    /// # Errors
    /// When the argument differs between examples, or comes from an operator that has no
    /// rule here.
    pub(super) fn demand(
        &mut self,
        id: NodeId,
        slot: usize,
        axis: usize,
        share: usize,
    ) -> Result<()> {
        let Some(value) = self.graph.argument(id, slot) else {
            return Err(self.refuse(id, format!("argument {slot}")));
        };
        let source = value.node;
        let shape = self.fixed.fact(value).known_shape().unwrap_or_default();
        let op = match &self.graph.node(source).kind {
            Kind::Initializer(tensor) => {
                let tensor = tensor.clone();
                return self.repeat(id, slot, &tensor, axis);
            }
            Kind::Op(op) if op.in_onnx_domain() => op.op_type.clone(),
            _ => return Err(self.refuse(source, format!("axis {axis} of {shape:?}"))),
        };
        let inputs: Vec<Option<Vec<usize>>> =
            (0..self.graph.arguments(source).len()).map(|i| self.shape(source, i)).collect();
        let own = || inputs.first().cloned().flatten().unwrap_or_default();
        let size = self.baked * share;
        match op.as_str() {
            "ConstantOfShape" => self.shape_with_batch(source, 0, &shape, axis, share),
            "Expand" => {
                let from = own();
                let inside = (axis + from.len()).checked_sub(shape.len());
                match inside.filter(|&i| from.get(i) == Some(&size) && size > 1) {
                    Some(i) => self.demand(source, 0, i, share),
                    None => self.shape_with_batch(source, 1, &shape, axis, share),
                }
            }
            "Transpose" => {
                let perm = self.graph.node(source).op().and_then(|op| op.ints("perm"));
                let reverse = shape.len().wrapping_sub(axis + 1) as i64;
                let from = perm.map_or(Some(reverse), |perm| perm.get(axis).copied());
                let from = from.and_then(|i| usize::try_from(i).ok()).unwrap_or(axis);
                self.demand(source, 0, from, share)
            }
            "Reshape" | "Flatten" | "Unsqueeze" | "Squeeze" => {
                let held = Held { axis, outer: 1, inner: share };
                match candidates(&shape, held, &own(), self.baked).first() {
                    Some(held) => self.demand(source, 0, held.axis, held.share()),
                    None => Err(self.refuse(source, format!("{:?} to {shape:?}", own()))),
                }
            }
            "Concat" => (0..inputs.len()).try_for_each(|i| self.demand(source, i, axis, share)),
            "Slice" if own().get(axis) == Some(&size) => self.demand(source, 0, axis, share),
            "Gather" => {
                let gathered = self.graph.node(source).op().map_or(0, |op| op.int("axis", 0));
                let rank = own().len() as i64;
                let at = if gathered < 0 { gathered + rank } else { gathered } as usize;
                let indices = inputs.get(1).cloned().flatten().unwrap_or_default().len();
                match axis.checked_sub(at) {
                    None => self.demand(source, 0, axis, share),
                    Some(i) if i < indices => self.demand(source, 1, i, share),
                    Some(_) => self.demand(source, 0, axis + 1 - indices, share),
                }
            }
            // Every row of the result is made of the same row of the first argument.
            "Conv" | "ConvTranspose" | "AveragePool" | "MaxPool" | "GlobalAveragePool"
            | "GlobalMaxPool" | "Resize" | "Gemm" | "MatMul"
                if axis == 0 && own().first() == Some(&size) && own().len() == shape.len() =>
            {
                self.demand(source, 0, 0, share)
            }
            _ => self.demand_elementwise(source, &inputs, &shape, axis, share),
        }
    }

    /// Of an elementwise operator every argument that is as long as its result.
    fn demand_elementwise(
        &mut self,
        source: NodeId,
        inputs: &[Option<Vec<usize>>],
        shape: &[usize],
        axis: usize,
        share: usize,
    ) -> Result<()> {
        let elementwise = inputs.iter().flatten().all(|from| stretches(from, shape));
        let mut found = false;
        for (slot, from) in inputs.iter().enumerate().filter(|_| elementwise) {
            let Some(from) = from else { continue };
            let Some(i) = (axis + from.len()).checked_sub(shape.len()) else { continue };
            if from.get(i) == shape.get(axis) {
                self.demand(source, slot, i, share)?;
                found = true;
            }
        }
        if found { Ok(()) } else { Err(self.refuse(source, format!("axis {axis} of {shape:?}"))) }
    }

    /// Computes the shape that a node takes as argument `slot` from the batch size.
    fn shape_with_batch(
        &mut self,
        id: NodeId,
        slot: usize,
        shape: &[usize],
        axis: usize,
        share: usize,
    ) -> Result<()> {
        let entry = |(i, &size)| match i == axis {
            true => Entry::Batch(share as i64),
            false => Entry::Known(size as i64),
        };
        let entries: Vec<Entry> = shape.iter().enumerate().map(entry).collect();
        let shape = vector(self.graph, &mut self.names, self.input, &entries);
        self.graph.set_argument(id, slot, Some(shape));
        Ok(())
    }

    /// Repeats what a constant holds for one example as often as there are examples.
    pub(super) fn repeat(
        &mut self,
        id: NodeId,
        slot: usize,
        tensor: &Tensor,
        axis: usize,
    ) -> Result<()> {
        let Some(one) = first_example(tensor, axis, self.baked) else {
            let reason = format!("a constant {tensor:?} differs between examples");
            return Err(self.refuse(id, reason));
        };
        let Some(value) = self.graph.argument(id, slot) else { return Ok(()) };
        let shape = one.shape().to_vec();
        let fact = Fact { dtype: Some(one.dtype()), shape: None };
        let one = match self.graph.readers(value).len() {
            // The weight keeps its name.
            1 => {
                let node = self.graph.node_mut(value.node);
                node.outputs = vec![Fact::of(&one)];
                node.kind = Kind::Initializer(one);
                value
            }
            _ => self.graph.initializer(&self.names.claim("batch/example"), one),
        };
        // One row stretches; several are repeated as a block.
        let op = if shape.get(axis) == Some(&1) { "Expand" } else { "Tile" };
        let entry = |(i, &size): (usize, &usize)| match op {
            _ if i == axis => Entry::Batch(1),
            "Expand" => Entry::Known(size as i64),
            _ => Entry::Known(1),
        };
        let entries: Vec<Entry> = shape.iter().enumerate().map(entry).collect();
        let target = vector(self.graph, &mut self.names, self.input, &entries);
        let name = self.names.claim(&format!("batch/{op}"));
        let all = self.graph.op(&name, Op::new(op), &[Some(one), Some(target)], vec![fact]);
        self.graph.set_argument(id, slot, Some(all.into()));
        Ok(())
    }
}

/// Whether `from` broadcasts to `to`.
fn stretches(from: &[usize], to: &[usize]) -> bool {
    let mut pairs = from.iter().rev().zip(to.iter().rev());
    from.len() <= to.len() && pairs.all(|(a, b)| a == b || *a == 1)
}

/// The first of `baked` equal parts along `axis`; `None` if they are not equal.
fn first_example(tensor: &Tensor, axis: usize, baked: usize) -> Option<Tensor> {
    let mut shape = tensor.shape().to_vec();
    let size = shape.get_mut(axis)?;
    *size = size.checked_div(baked)?;
    let width = tensor.dtype().bits() / 8;
    let part = shape.get(axis..)?.iter().product::<usize>() * width;
    if part == 0 {
        return None;
    }
    let mut bytes = Vec::new();
    for examples in tensor.bytes().chunks_exact(part * baked) {
        let (first, rest) = examples.split_at_checked(part)?;
        if rest.chunks_exact(part).any(|other| other != first) {
            return None;
        }
        bytes.extend_from_slice(first);
    }
    Tensor::from_bytes(tensor.dtype(), shape, Bytes::from(bytes)).ok()
}
