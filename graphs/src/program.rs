//! A program: a model that is run again and again, some outputs feeding its inputs.

use crate::{Kind, Model, Role};

/// A model together with which of its outputs feed which of its inputs at the next
/// run. The model's metadata holds the same, so that a program survives as a file.
#[derive(Clone, Debug)]
pub struct Program {
    /// The computation; its inputs have [`Role`]s and fully known shapes.
    pub model: Model,
}

const CARRY: &str = "advbnn.carry.";
const ROLE: &str = "advbnn.role.";

impl Program {
    /// A program of `model`; every `(output, input)` of `carries` is fed back.
    pub fn new(mut model: Model, carries: &[(String, String)]) -> Program {
        for (output, input) in carries {
            model.metadata.insert(format!("{CARRY}{input}"), output.clone());
        }
        for &id in &model.graph.inputs {
            let node = model.graph.node(id);
            if let Kind::Input(role) = node.kind {
                model.metadata.insert(format!("{ROLE}{}", node.name), role_name(role).to_owned());
            }
        }
        Program { model }
    }

    /// The `(output, input)` pairs that are fed back.
    pub fn carries(&self) -> impl Iterator<Item = (&str, &str)> {
        self.model
            .metadata
            .iter()
            .filter_map(|(key, output)| Some((output.as_str(), key.strip_prefix(CARRY)?)))
    }
}

fn role_name(role: Role) -> &'static str {
    match role {
        Role::Data => "data",
        Role::Label => "label",
        Role::State => "state",
        Role::Noise => "noise",
        Role::ImageNoise => "image-noise",
        Role::Scalar => "scalar",
    }
}
