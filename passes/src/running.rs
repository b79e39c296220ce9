//! Running statistics of their own for every BatchNormalization.

use graphs::{Graph, Value};

use crate::naming::Names;

/// Gives every BatchNormalization a running mean and variance that nothing else reads.
///
/// Exporters merge equal constants and put Identity nodes in front of them: the zeros and
/// ones of fresh layers become one tensor, which training would then write for all.
pub(crate) fn separate(graph: &mut Graph, names: &mut Names) {
    let ids: Vec<_> = graph.ids().collect();
    for id in ids {
        let node = graph.node(id);
        if !node.op().is_some_and(|op| op.is("BatchNormalization")) {
            continue;
        }
        let name = node.name.clone();
        for (slot, what) in [(3, "running_mean"), (4, "running_var")] {
            let Some(value) = graph.argument(id, slot) else { continue };
            let source = behind_identity(graph, value);
            let Some(tensor) = graph.tensor(source).cloned() else { continue };
            let shown = graph.outputs.iter().any(|port| port.value == source);
            if source != value || graph.readers(source).len() > 1 || shown {
                let own = graph.initializer(&names.claim(&format!("{name}.{what}")), tensor);
                graph.set_argument(id, slot, Some(own));
            }
        }
    }
}

fn behind_identity(graph: &Graph, mut value: Value) -> Value {
    // A loop of Identity nodes is no graph, but may stand in a file.
    for _ in 0..graph.len() {
        let identity = graph.node(value.node).op().filter(|op| op.is("Identity"));
        match identity.and_then(|_| graph.argument(value.node, 0)) {
            Some(argument) => value = argument,
            None => break,
        }
    }
    value
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{DType, Fact, Model, Op, Role, Tensor};

    use super::*;
    use crate::{Hoist, Pipeline};

    #[test]
    fn merged_statistics_are_parted() {
        let mut graph = Graph::new("test");
        let fact = || Fact::new(DType::F32, &[2, 3]);
        let x = graph.input("x", Role::Data, fact());
        let ones = graph.initializer("ones", Tensor::vector(&[1f32; 3]));
        let zeros = graph.initializer("zeros", Tensor::vector(&[0f32; 3]));
        let behind = graph.op("i", Op::new("Identity"), &[Some(ones)], vec![Fact::default()]);
        let mut y = x;
        for (name, variance) in [("a", ones), ("b", behind.into())] {
            let arguments = [y, ones, zeros, zeros, variance].map(Some);
            y = graph.op(name, Op::new("BatchNormalization"), &arguments, vec![fact()]).into();
        }
        graph.output("y", y);
        let mut model = Model::new(graph);
        Pipeline::new().then(Hoist).run(&mut model).expect("a whole graph");
        let graph = &model.graph;
        for id in graph.op_order().expect("no cycle") {
            for slot in [3, 4] {
                let value = graph.argument(id, slot).expect("given");
                assert!(graph.tensor(value).is_some());
                assert_eq!(graph.readers(value).len(), 1);
            }
            assert_eq!(graph.argument(id, 1), Some(ones));
        }
    }
}
