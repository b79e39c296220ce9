//! Constant nodes become initializers, so that weights are found in one place.

use graphs::{Attribute, Fact, Graph, Kind, Model, Op, Tensor};

use crate::naming::Names;
use crate::pass::Pass;
use crate::{Error, Result, statistics};

/// Turns every dense Constant node, those in bodies too, into an initializer of the
/// same name. Sparse constants stay nodes. Running statistics get a constant each.
#[derive(Clone, Copy, Debug)]
pub struct Hoist;

impl Pass for Hoist {
    fn name(&self) -> &'static str {
        "hoist"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let mut names = Names::of(&model.graph);
        hoist(&mut model.graph, &mut names)?;
        statistics::separate(&mut model.graph, &mut names);
        Ok(())
    }
}

pub(crate) fn hoist(graph: &mut Graph, names: &mut Names) -> Result<()> {
    let ids: Vec<_> = graph.ids().collect();
    for id in ids {
        let node = graph.node_mut(id);
        let Kind::Op(op) = &mut node.kind else { continue };
        for attribute in op.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                hoist(body, names)?;
            }
        }
        if !op.is("Constant") || node.outputs.len() != 1 {
            continue;
        }
        let tensor = match constant(op) {
            Ok(Some(tensor)) => tensor,
            Ok(None) => continue,
            Err(error) => {
                return Err(Error::Node { node: node.describe(), reason: error.to_string() });
            }
        };
        node.name = match node.extras.names.first() {
            Some(name) if !name.is_empty() => name.clone(),
            _ => names.claim("constant"),
        };
        node.extras.names.clear();
        node.outputs = vec![Fact::of(&tensor)];
        node.kind = Kind::Initializer(tensor);
    }
    Ok(())
}

/// The value of a Constant node, whichever attribute holds it.
fn constant(op: &Op) -> Result<Option<Tensor>> {
    let found = op.attributes.iter().find_map(|(name, value)| match (name.as_str(), value) {
        ("value", Attribute::Tensor(tensor)) => Some(Ok(tensor.clone())),
        ("value_float", Attribute::Float(value)) => Some(Ok(Tensor::scalar(*value))),
        ("value_floats", Attribute::Floats(values)) => Some(Ok(Tensor::vector(values))),
        ("value_int", Attribute::Int(value)) => Some(Ok(Tensor::scalar(*value))),
        ("value_ints", Attribute::Ints(values)) => Some(Ok(Tensor::vector(values))),
        ("value_string", Attribute::String(value)) => {
            Some(Tensor::from_strings(vec![], vec![value.clone()]))
        }
        ("value_strings", Attribute::Strings(values)) => {
            Some(Tensor::from_strings(vec![values.len()], values.clone()))
        }
        _ => None,
    });
    Ok(found.transpose()?)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::Value;

    use super::*;

    fn constant_node(op: Op) -> (Model, Value) {
        let mut graph = Graph::new("test");
        let id = graph.op("c", op, &[], vec![Fact::default()]);
        graph.node_mut(id).extras.names = vec!["weight".to_owned()];
        let y = graph.op("y", Op::new("Relu"), &[Some(id.into())], vec![Fact::default()]);
        graph.output("y", y.into());
        (Model::new(graph), id.into())
    }

    #[test]
    fn every_dense_form_becomes_an_initializer_of_its_name() {
        let forms: Vec<(Op, Tensor)> = vec![
            (Op::new("Constant").with("value", Tensor::scalar(3f64)), Tensor::scalar(3f64)),
            (Op::new("Constant").with("value_float", 2.5), Tensor::scalar(2.5f32)),
            (Op::new("Constant").with("value_floats", vec![1.0, 2.0]), Tensor::vector(&[1f32, 2.])),
            (Op::new("Constant").with("value_int", 7), Tensor::scalar(7i64)),
            (Op::new("Constant").with("value_ints", vec![7, 8]), Tensor::vector(&[7i64, 8])),
        ];
        for (op, expected) in forms {
            let (mut model, value) = constant_node(op);
            Hoist.run(&mut model).expect("a constant");
            assert_eq!(model.graph.tensor(value), Some(&expected));
            assert_eq!(model.graph.source("weight"), Some(value));
            model.graph.check().expect("a whole graph");
        }
    }

    #[test]
    fn constants_in_bodies_are_hoisted_and_other_domains_left() {
        let (body, inner) = constant_node(Op::new("Constant").with("value_int", 7));
        let mut op = Op::new("If");
        op.attributes.insert("then_branch".to_owned(), Attribute::Graph(Box::new(body.graph)));
        let (mut model, outer) = constant_node(op);
        Hoist.run(&mut model).expect("a constant");
        let op = model.graph.node(outer.node).op().expect("still an If");
        let Some(Attribute::Graph(body)) = op.attributes.get("then_branch") else { unreachable!() };
        assert_eq!(body.tensor(inner), Some(&Tensor::scalar(7i64)));

        let foreign =
            Op { domain: "custom".to_owned(), ..Op::new("Constant").with("value_int", 7) };
        let (mut model, value) = constant_node(foreign);
        Hoist.run(&mut model).expect("nothing to do");
        assert_eq!(model.graph.tensor(value), None);
    }
}
