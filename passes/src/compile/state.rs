//! What programs keep between runs: where it comes from, and how it returns to the model.

use std::collections::BTreeMap;

use graphs::{Kind, Model, Program, Role, Tensor};

use crate::pass::{Pass, Pipeline};
use crate::variational;
use crate::{Error, Hoist, Prior, Result};

/// What the state inputs of a model's programs hold at first, by name: the model's own
/// constants. What an optimizer or an attack keeps is not the model's and not among them.
///
/// # Errors
/// When the model cannot be brought to the form that programs are made from.
pub fn initial_state(model: &Model, programs: &[&Program]) -> Result<BTreeMap<String, Tensor>> {
    let mut model = model.clone();
    Pipeline::opening().run(&mut model)?;
    let stated = programs.iter().flat_map(|program| {
        let graph = &program.model.graph;
        let nodes = graph.inputs.iter().map(|&id| graph.node(id));
        nodes.filter(|node| matches!(node.kind, Kind::Input(Role::State))).map(|node| &node.name)
    });
    let sources = model.graph.sources();
    let stored = |name: &String| {
        let tensor = model.graph.tensor(*sources.get(name.as_str())?)?;
        Some((name.clone(), tensor.clone()))
    };
    Ok(stated.filter_map(stored).collect())
}

/// Writes trained values back into the model's constants of the same names; other
/// entries of the state (moments, images) are not the model's.
///
/// # Errors
/// When a value's shape differs from that of the constant.
pub fn store_state(model: &mut Model, state: &BTreeMap<String, Tensor>) -> Result<()> {
    Hoist.run(model)?;
    let sources = model.graph.sources();
    let values: Vec<_> = state.keys().map(|name| sources.get(name.as_str()).copied()).collect();
    for ((name, tensor), value) in state.iter().zip(values) {
        let Some(value) = value else { continue };
        let node = model.graph.node_mut(value.node);
        if let Kind::Initializer(old) = &mut node.kind {
            if old.shape() != tensor.shape() {
                let reason =
                    format!("trained shape {:?}, stored {:?}", tensor.shape(), old.shape());
                return Err(Error::Node { node: format!("initializer `{name}`"), reason });
            }
            *old = tensor.clone();
        }
    }
    Ok(())
}

/// The prior that `convert` or a training noted in the model.
///
/// # Errors
/// When the note is there but no prior.
pub fn noted_prior(model: &Model) -> Result<Prior> {
    const PUBLISHED: Prior = Prior::Gaussian(0.05);
    let Some(text) = model.metadata.get(variational::PRIOR) else { return Ok(PUBLISHED) };
    let bad = |error| Error::Model(format!("metadata `{}`: {error}", variational::PRIOR));
    text.parse().map_err(bad)
}

/// Notes in the model which prior it is trained with.
pub fn note_prior(model: &mut Model, prior: &Prior) {
    model.metadata.insert(variational::PRIOR.to_owned(), prior.to_string());
}
