//! `advbnn compile`: the training programs as files.

use anyhow::{Context, Result};
use runtime::sessions::Purpose;

use crate::cli::{Compile, Machine};
use crate::programs::Programs;
use crate::settings::Recipe;
use crate::{misuse, model, print};

pub(crate) fn run(flags: &Compile, machine: &Machine) -> Result<()> {
    let recipe = Recipe::new(&flags.training)?;
    if recipe.batch == 0 {
        return Err(misuse("--batch 0: a batch has at least one image"));
    }
    let mut network = model::read(&flags.model)?;
    let context = || flags.model.display().to_string();
    recipe.apply(&mut network).with_context(context)?;
    std::fs::create_dir_all(&flags.output).with_context(|| flags.output.display().to_string())?;
    let programs = Programs::training(&network, recipe.training).for_machine(machine);
    let wanted = [
        ("attack.onnx", Purpose::Attack, recipe.attack.is_some()),
        ("update.onnx", Purpose::Update, true),
        ("predict.onnx", Purpose::Predict, true),
    ];
    for (name, purpose, _) in wanted.into_iter().filter(|(.., wanted)| *wanted) {
        let program = programs
            .compile(purpose, recipe.batch)
            .map_err(anyhow::Error::from_boxed)
            .with_context(context)?;
        let path = flags.output.join(name);
        model::write(&program.model, &path)?;
        print::line(format_args!("wrote {}: batch {}", path.display(), recipe.batch))?;
    }
    Ok(())
}
