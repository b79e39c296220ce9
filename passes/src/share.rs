//! What is computed twice is computed once.

use std::collections::HashMap;

use graphs::{Attribute, Graph, Kind, Model, NodeId, Op, Value};

use crate::Result;
use crate::pass::Pass;

/// Calls of one operator on the same arguments become one, and so do equal constants. Those that
/// draw, and those with bodies or tensors inside, stay.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Share;

impl Pass for Share {
    fn name(&self) -> &'static str {
        "share"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        let mut firsts: HashMap<String, NodeId> = HashMap::new();
        let order = graph.order()?;
        for id in order {
            let Some(key) = key(graph, id) else { continue };
            let first = *firsts.entry(key).or_insert(id);
            if first == id || !equal(graph, first, id) {
                continue;
            }
            for slot in 0..graph.node(id).outputs.len() {
                let uses = graph.uses(Value { node: id, slot });
                graph.redirect(uses, Value { node: first, slot });
            }
        }
        Ok(())
    }
}

/// The same for calls that compute the same; arguments that compute the same are one by now.
fn key(graph: &Graph, id: NodeId) -> Option<String> {
    let node = graph.node(id);
    match &node.kind {
        Kind::Initializer(tensor) => {
            let start = tensor.bytes().get(..64).unwrap_or(tensor.bytes());
            Some(format!("{:?} {:?} {start:?}", tensor.dtype(), tensor.shape()))
        }
        Kind::Op(op) if !draws(op) && op.attributes.values().all(simple) => {
            Some(format!("{op:?} {:?} {}", graph.arguments(id), node.outputs.len()))
        }
        _ => None,
    }
}

/// Keys tell calls apart, and constants of few elements.
fn equal(graph: &Graph, first: NodeId, id: NodeId) -> bool {
    match (&graph.node(first).kind, &graph.node(id).kind) {
        (Kind::Initializer(a), Kind::Initializer(b)) => a == b,
        _ => true,
    }
}

fn draws(op: &Op) -> bool {
    let name = op.op_type.as_str();
    name.starts_with("Random") || ["Bernoulli", "Multinomial", "Dropout"].contains(&name)
}

fn simple(attribute: &Attribute) -> bool {
    !matches!(attribute, Attribute::Tensor(_) | Attribute::Graph(_) | Attribute::Other(_))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]

    use graphs::{DType, Fact, Role, Tensor};

    use super::*;
    use crate::pass::Pipeline;

    #[test]
    fn equal_calls_are_one_and_draws_are_not() {
        let mut graph = Graph::new("twice");
        let fact = Fact::new(DType::F32, &[2]);
        let x = graph.input("x", Role::Data, fact.clone());
        let mut sums = Vec::new();
        for (name, two) in [("a", 2f32), ("b", 2.0), ("c", 3.0)] {
            let two = graph.initializer(&format!("{name}.two"), Tensor::scalar(two));
            let op = |op_type: &str| Op::new(op_type);
            let product = graph.op(name, op("Mul"), &[Some(x), Some(two)], vec![fact.clone()]);
            let noise = op("RandomNormalLike");
            let noise = graph.op(&format!("{name}.z"), noise, &[Some(x)], vec![fact.clone()]);
            let both = [Some(product.into()), Some(noise.into())];
            sums.push(graph.op(&format!("{name}.sum"), op("Add"), &both, vec![fact.clone()]));
        }
        for (i, &sum) in sums.iter().enumerate() {
            graph.output(&format!("y{i}"), sum.into());
        }
        let mut model = Model::new(graph);
        Pipeline::new().then(Share).run(&mut model).unwrap();
        let count = |op_type: &str| {
            let is = |id: &NodeId| model.graph.node(*id).op().is_some_and(|op| op.is(op_type));
            model.graph.ids().filter(is).count()
        };
        assert_eq!([count("Mul"), count("RandomNormalLike"), count("Add")], [2, 3, 3]);
        let constants = model.graph.ids().filter(|&id| model.graph.node(id).tensor().is_some());
        assert_eq!(constants.count(), 2);
    }
}
