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
const MEAN: &str = "advbnn.mean.";
const LOG_STD: &str = "advbnn.log_std.";

/// A noise input that takes drawn weights, mean + exp(log-std) * noise, in place of the noise.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// The input.
    pub input: String,
    /// The mean's name in the state.
    pub mean: String,
    /// The log-std's name in the state.
    pub log_std: String,
}

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

    /// The same program, some of whose noise inputs take drawn weights.
    pub fn with_draws(mut self, draws: &[Draw]) -> Program {
        for Draw { input, mean, log_std } in draws {
            self.model.metadata.insert(format!("{MEAN}{input}"), mean.clone());
            self.model.metadata.insert(format!("{LOG_STD}{input}"), log_std.clone());
        }
        self
    }

    /// The noise inputs that take drawn weights.
    pub fn draws(&self) -> impl Iterator<Item = Draw> {
        let metadata = &self.model.metadata;
        metadata.iter().filter_map(move |(key, mean)| {
            let input = key.strip_prefix(MEAN)?;
            let log_std = metadata.get(&format!("{LOG_STD}{input}"))?.clone();
            Some(Draw { input: input.to_owned(), mean: mean.clone(), log_std })
        })
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
