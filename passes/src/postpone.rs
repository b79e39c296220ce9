//! ReLU behind the pool that reads it.

use graphs::{Graph, NodeId, Op, Value};

use crate::{Result, Tape};

/// Turns `MaxPool(Relu(x))` into `Relu(MaxPool(x))`: the same values, and the same gradient,
/// for what the pool picks among elements that ReLU has cut off has none. ReLU and its
/// gradient then work on the pooled images, which are a fraction of the size.
///
/// # Errors
/// When the graph has a cycle.
pub(crate) fn postpone_relu(graph: &mut Graph) -> Result<()> {
    for id in graph.op_order()? {
        let Some((pool, x)) = pooled_relu(graph, id) else { continue };
        let uses = graph.uses(id.into());
        let name = graph.node(id).name.clone();
        let tape = &mut Tape::new(graph, &name);
        let pooled = tape.op(pool, &[x])?;
        let y = tape.apply("Relu", &[pooled])?;
        tape.graph.redirect(uses, y);
    }
    Ok(())
}

/// A pool that alone reads a ReLU and gives no indices, and what the ReLU reads.
fn pooled_relu(graph: &Graph, id: NodeId) -> Option<(Op, Value)> {
    let pool = graph.node(id).op().filter(|op| op.is("MaxPool"))?;
    let indices = Value { node: id, slot: 1 };
    if graph.node(id).outputs.len() > 1 && graph.uses(indices).count() > 0 {
        return None;
    }
    let relu = graph.argument(id, 0)?;
    let alone = graph.uses(relu).count() == 1;
    let is_relu = graph.node(relu.node).op().is_some_and(|op| op.is("Relu"));
    (alone && is_relu).then(|| Some((pool.clone(), graph.argument(relu.node, 0)?)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use graphs::{DType, Fact, Role};

    use super::*;

    fn chain(extra: bool) -> Graph {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 2, 4, 4]));
        let tape = &mut Tape::new(&mut graph, "t");
        let relu = tape.apply("Relu", &[x]).unwrap();
        let pool = Op::new("MaxPool").with("kernel_shape", vec![2i64, 2]);
        let y = tape.op(pool, &[relu]).unwrap();
        graph.output("y", y);
        if extra {
            graph.output("z", relu);
        }
        graph
    }

    fn last(graph: &Graph) -> String {
        graph.node(graph.outputs[0].value.node).op().unwrap().op_type.clone()
    }

    #[test]
    fn a_relu_that_only_a_pool_reads_comes_behind_it() {
        let mut graph = chain(false);
        postpone_relu(&mut graph).unwrap();
        graph.sweep();
        graph.check().unwrap();
        assert_eq!(last(&graph), "Relu");
        assert_eq!(graph.op_order().unwrap().len(), 2);
        let mut other = chain(true);
        postpone_relu(&mut other).unwrap();
        assert_eq!(last(&other), "MaxPool");
    }
}
