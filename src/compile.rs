//! `advbnn compile`: the training programs as files.

use anyhow::{Context, Result};
use runtime::sessions::Purpose;

use crate::cli::{Compile, Machine, TrainingFlags};
use crate::programs::Programs;
use crate::settings::{Recipe, unused};
use crate::{folder, misuse, model, print};

pub(crate) fn run(flags: &Compile, machine: &Machine) -> Result<()> {
    let recipe = Recipe::new(&flags.training)?;
    if recipe.batch == 0 {
        return Err(misuse("--batch 0: a batch has at least one image"));
    }
    let unused = unused(&flags.training, recipe.defense, false);
    if !unused.is_empty() && !machine.quiet {
        let unused = unused.join(", ");
        print::remark(format_args!("note: `{}` does not use {unused}", recipe.defense));
    }
    let mut unread = unread(&flags.training);
    unread.retain(|flag| !unused.contains(flag));
    if !unread.is_empty() && !machine.quiet {
        let unread = unread.join(", ");
        print::remark(format_args!("note: the programs take {unread} as inputs, or not at all"));
    }
    let mut network = model::read(&flags.model)?;
    let context = || flags.model.display().to_string();
    recipe.apply(&mut network).with_context(context)?;
    folder::create(&flags.output)?;
    let programs = Programs::training(&network, recipe.training);
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

/// The flags that were given and that decide about a run, not about its programs.
fn unread(flags: &TrainingFlags) -> Vec<&'static str> {
    let all = [
        ("--eps", flags.eps.is_some()),
        ("--steps", flags.steps.is_some()),
        ("--step-size", flags.step_size.is_some()),
        ("--random-start", flags.random_start),
        ("--fast", flags.fast),
        ("--draws", flags.draws.is_some()),
        ("--alpha", flags.alpha.is_some()),
        ("--kl-warmup", flags.kl_warmup.is_some()),
        ("--lr", flags.lr.is_some()),
    ];
    all.into_iter().filter(|(_, given)| *given).map(|(flag, _)| flag).collect()
}
