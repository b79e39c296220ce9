//! Compiles a model's programs when the runtime first needs them, and opens the engine.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::Path;

use anyhow::{Context, Result};
use graphs::{Model, Program, Tensor};
use passes::{AttackLoss, Build, Platform, Training};
use runtime::data::Answer;
use runtime::engine::{self, Choice, Engine, Precision, State};
use runtime::install::Provider;
use runtime::sessions::{Loss, Purpose};

use crate::cli::{EngineName, Machine, PrecisionName};

/// The engine that the flags ask for.
///
/// # Errors
/// When it is not found, or lacks the provider.
pub fn open_engine(machine: &Machine) -> Result<Box<dyn Engine>> {
    let choice = match machine.engine {
        EngineName::Auto => Choice::Auto,
        EngineName::Ort => Choice::OnnxRuntime,
        EngineName::Tract => Choice::Tract,
    };
    let threads = machine.threads.map(std::num::NonZeroUsize::get);
    Ok(engine::open(&engine::Settings {
        engine: choice,
        provider: machine.provider.into(),
        threads,
        precision: match machine.precision {
            PrecisionName::F32 => Precision::F32,
            PrecisionName::Bf16 => Precision::Bf16,
            PrecisionName::F16 => Precision::F16,
        },
    })?)
}

/// A model and how it is trained, as the runtime's source of programs.
pub(crate) struct Programs<'m> {
    model: &'m Model,
    training: Option<Training>,
    platform: Platform,
}

/// What programs for an engine of that name are made for.
fn platform(engine: &str, provider: Provider) -> Platform {
    match (engine, provider) {
        ("ort", Provider::Cpu) => Platform::OnnxRuntime,
        ("ort", Provider::OpenVino) => Platform::OpenVino,
        _ => Platform::Any,
    }
}

type Boxed = Box<dyn Error + Send + Sync>;

impl<'m> Programs<'m> {
    /// Programs that attack and predict.
    pub(crate) fn new(model: &'m Model) -> Programs<'m> {
        Programs { model, training: None, platform: Platform::Any }
    }

    /// Programs that train too.
    pub(crate) fn training(model: &'m Model, training: Training) -> Programs<'m> {
        Programs { model, training: Some(training), platform: Platform::Any }
    }

    /// The same, in the forms that are quick on `engine`.
    pub(crate) fn on(self, engine: &dyn Engine) -> Programs<'m> {
        Programs { platform: platform(engine.name(), engine.provider()), ..self }
    }

    /// The program for one purpose and batch size.
    pub(crate) fn compile(&self, purpose: Purpose, batch: usize) -> Result<Program, Boxed> {
        let build = Build { batch, platform: self.platform };
        Ok(match (purpose, &self.training) {
            (Purpose::Attack, Some(training)) => {
                passes::training_attack(self.model, build, training)?
            }
            (Purpose::Attack, None) => passes::attack(self.model, build)?,
            (Purpose::Gradient(loss), _) => {
                let loss = match loss {
                    Loss::CrossEntropy => AttackLoss::CrossEntropy,
                    Loss::Dlr => AttackLoss::Dlr,
                    Loss::TargetedDlr => AttackLoss::TargetedDlr,
                };
                passes::image_gradient(self.model, build, loss)?
            }
            (Purpose::Predict, _) => passes::predict(self.model, build)?,
            (Purpose::Update, Some(training)) => passes::update(self.model, build, training)?,
            (Purpose::Update, None) => return Err("no training was asked for".into()),
        })
    }

    /// The gradients that have several forms, each of them as a program.
    pub(crate) fn trials(&self, batch: usize) -> passes::Result<Vec<passes::Trial>> {
        passes::trials(self.model, Build { batch, platform: self.platform })
    }

    /// Parameters and running statistics at first, by name.
    pub(crate) fn initial(&self, path: &Path) -> Result<BTreeMap<String, Tensor>> {
        let context = || path.display().to_string();
        let predict = passes::predict(self.model, 1).with_context(context)?;
        let update = match &self.training {
            Some(training) => Some(passes::update(self.model, 1, training).with_context(context)?),
            None => None,
        };
        let programs: Vec<&Program> = std::iter::once(&predict).chain(&update).collect();
        passes::initial_state(self.model, &programs).with_context(context)
    }

    /// The same, in the engine.
    pub(crate) fn state(&self, engine: &dyn Engine, path: &Path) -> Result<State> {
        let mut state = engine.state();
        for (name, tensor) in self.initial(path)? {
            state.put(&name, &tensor)?;
        }
        Ok(state)
    }

    /// What the model says of an image.
    pub(crate) fn answer(&self) -> Result<Answer> {
        let predict = passes::predict(self.model, 1)?;
        Answer::of(&predict.model.graph).context("how much the model says of an image is not known")
    }
}
