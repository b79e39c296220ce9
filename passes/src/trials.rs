//! Every form that the gradients of convolutions and max pools can take, as programs that can be
//! timed beside the one that is chosen.

use graphs::{Fact, Graph, Model, NodeId, Op, Program, Role, Value};

use crate::gradient::pullback;
use crate::ops::{Alternative, Alternatives, Forms, alternatives};
use crate::{Build, Result, Tape, predict};

/// One gradient of layers that are alike, in all its forms.
#[derive(Clone, Debug)]
pub struct Trial {
    /// `image`, `weight` or `maximum`.
    pub gradient: &'static str,
    /// The operator and the shapes of its arguments.
    pub call: String,
    /// The nodes that are like this.
    pub nodes: Vec<String>,
    /// The forms that apply.
    pub forms: Vec<Form>,
}

/// One form of a gradient.
#[derive(Clone, Debug)]
pub struct Form {
    /// Its name.
    pub name: String,
    /// Whether programs for the platform take it.
    pub chosen: bool,
    /// Computes it from arguments and arriving gradient, all of them state inputs; it returns
    /// one element only, so that its time is that of the gradient.
    pub program: Program,
}

/// The gradients of a classifier that have several forms, where images come in batches of
/// `build.batch`.
///
/// # Errors
/// When the model is no classifier whose shapes can be inferred.
pub fn trials(model: &Model, build: Build) -> Result<Vec<Trial>> {
    // The graph as it is before the platform has a say.
    let graph = predict(model, build.batch)?.model.graph;
    let mut trials: Vec<(String, Trial)> = Vec::new();
    for id in graph.op_order()? {
        let node = graph.node(id);
        let Some(op) = node.op() else { continue };
        let arguments = graph.arguments(id).into_iter().flatten();
        let facts: Vec<String> = arguments.map(|v| graph.fact(v).to_string()).collect();
        for Alternatives { gradient, argument, forms } in alternatives(&graph, id, build.platform)?
        {
            let key = format!("{gradient} {facts:?} {:?}", op.attributes);
            if let Some((_, alike)) = trials.iter_mut().find(|(known, _)| *known == key) {
                alike.nodes.push(node.name.clone());
                continue;
            }
            let form = |Alternative { name, forms, chosen }| {
                Ok(Form { name, chosen, program: program(&graph, (id, op), argument, forms)? })
            };
            let forms = forms.into_iter().map(form).collect::<Result<_>>()?;
            let call = format!("{} {}", op.op_type, facts.join(" "));
            let nodes = vec![node.name.clone()];
            trials.push((key, Trial { gradient, call, nodes, forms }));
        }
    }
    Ok(trials.into_iter().map(|(_, trial)| trial).collect())
}

/// The gradient of a node, a call of `op`, with respect to its argument `slot`.
fn program(graph: &Graph, (id, op): (NodeId, &Op), slot: usize, forms: Forms) -> Result<Program> {
    let mut trial = Graph::new("trial");
    let mut arguments: Vec<Option<Value>> = Vec::new();
    for (i, argument) in graph.arguments(id).into_iter().enumerate() {
        arguments.push(argument.map(|value| {
            let fact: Fact = graph.fact(value).clone();
            trial.input(&format!("x{i}"), Role::State, fact)
        }));
    }
    let node = graph.node(id);
    let dy = trial.input("dy", Role::State, node.outputs.first().cloned().unwrap_or_default());
    let tape = &mut Tape::new(&mut trial, "trial");
    tape.forms = forms;
    let y = tape.call(op.clone(), &arguments, node.outputs.len().max(1))?.into();
    let targets: Vec<Value> = arguments.get(slot).copied().flatten().into_iter().collect();
    for gradient in pullback(tape, y, dy, &targets)? {
        let first = tape.shape(gradient)?.len();
        let axes: Vec<i64> = (0..first as i64).collect();
        let (starts, ones) = (vec![0; first], vec![1; first]);
        let first = tape.slice(gradient, &axes, &starts, &ones, &ones)?;
        tape.graph.output("first", first);
    }
    trial.sweep();
    Ok(Program::new(Model::new(trial), &[]))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::{Architecture, Platform};

    #[test]
    fn one_form_of_every_gradient_is_chosen() {
        let model = Architecture::Vgg16.build([3, 32, 32], 10, 0.25, 0).unwrap();
        for platform in [Platform::Any, Platform::OnnxRuntime, Platform::OpenVino] {
            let trials = trials(&model, Build { batch: 8, platform }).unwrap();
            let nodes = |gradient| {
                let of = trials.iter().filter(|t| t.gradient == gradient);
                of.map(|t| t.nodes.len()).sum::<usize>()
            };
            // 13 layers, and normalizations that became convolutions.
            assert!(nodes("image") >= 13 && nodes("image") == nodes("weight"));
            assert_eq!(nodes("maximum"), 5);
            for Trial { gradient, call, forms, .. } in &trials {
                let chosen = forms.iter().filter(|form| form.chosen).count();
                assert_eq!(chosen, 1, "{platform:?} {gradient} {call}");
                assert!(forms.len() > 1, "{platform:?} {gradient} {call}");
            }
        }
    }
}
