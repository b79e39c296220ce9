//! `advbnn export`: graphs for deployment.

use anyhow::{Context, Result};
use graphs::{Model, Tensor};
use passes::Platform;
use passes::export::{Mode, Noise, Target};
use runtime::noise;

use crate::cli::{Export, Machine, ProviderName};
use crate::{misuse, model, print};

pub(crate) fn run(flags: &Export, machine: &Machine) -> Result<()> {
    if !(18..=21).contains(&flags.opset) {
        return Err(misuse(format!(
            "--opset {}: 18 to 21 are possible (from 22 on engines lack random operators)",
            flags.opset
        )));
    }
    let mode = mode(flags)?;
    let network = model::read(&flags.model)?;
    let mode = match mode {
        Some(mode) => mode,
        None => frozen(flags.seed.unwrap_or(0), &network)?,
    };
    let platform = match machine.provider {
        ProviderName::Openvino => Platform::OpenVino,
        ProviderName::Cpu | ProviderName::Cuda => Platform::Any,
    };
    let target = Target { opset: flags.opset, platform };
    let graph = passes::export::export(&network, &mode, target)
        .with_context(|| flags.model.display().to_string())?;
    if let Some(batch) = passes::fixed_batch(&graph.graph).filter(|_| !machine.quiet) {
        let file = flags.model.display();
        print::remark(format_args!("{file}: the batch size stays {batch}; `convert` says why"));
    }
    model::write_as(&graph, &flags.output, flags.storage)?;
    let outputs: Vec<&str> = graph.graph.outputs.iter().map(|p| p.name.as_str()).collect();
    print::line(format_args!(
        "wrote {}: {} graph, {}",
        flags.output.display(),
        flags.mode,
        outputs.join(", ")
    ))?;
    Ok(())
}

/// What the flags ask for; none for a frozen draw, which the model decides on too.
fn mode(flags: &Export) -> Result<Option<Mode>> {
    let only_stochastic = || {
        if flags.samples == 1 && !flags.functions && flags.noise.is_none() {
            return Ok(());
        }
        Err(misuse("--samples, --noise and --functions belong to --mode stochastic"))
    };
    if flags.seed.is_some() && flags.mode != "frozen" {
        return Err(misuse(
            "--seed belongs to --mode frozen; a graph with --noise seed takes its seed as an input",
        ));
    }
    match flags.mode.as_str() {
        "stochastic" => {
            let noise = match flags.noise.as_deref().unwrap_or("random") {
                "random" => Noise::Random,
                "seed" => Noise::Seed,
                "input" => Noise::Input,
                other => return Err(misuse(format!("--noise {other}: use random, seed or input"))),
            };
            if flags.functions && (flags.samples != 1 || noise != Noise::Random) {
                return Err(misuse(
                    "--functions: functions draw their noise themselves; use it with --noise random and one sample",
                ));
            }
            if flags.samples == 0 {
                return Err(misuse("--samples 0: an ensemble needs at least one draw"));
            }
            let Export { samples, functions, .. } = *flags;
            Ok(Some(Mode::Stochastic { noise, samples, functions }))
        }
        "mean" => only_stochastic().map(|()| Some(Mode::Mean)),
        "frozen" => only_stochastic().map(|()| None),
        other => Err(misuse(format!("--mode {other}: use stochastic, mean or frozen"))),
    }
}

/// One draw for every posterior.
fn frozen(seed: u64, network: &Model) -> Result<Mode> {
    let draw = |posterior: passes::Posterior| {
        let shape = network.graph.tensor(posterior.mean).map_or(vec![], |t| t.shape().to_vec());
        let mut values = vec![0f32; shape.iter().product()];
        let key = noise::Key::new(seed, 0, noise::hash_name(&posterior.name));
        noise::fill_normal(key, &mut values);
        Ok((posterior.name, Tensor::new(&shape, values)?))
    };
    Ok(Mode::Frozen(
        passes::posteriors(&network.graph)?.into_iter().map(draw).collect::<Result<_>>()?,
    ))
}
