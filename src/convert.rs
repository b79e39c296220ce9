//! `advbnn convert`: layers become variational.

use std::collections::BTreeSet;

use anyhow::{Context, Result, bail};
use graphs::Model;
use passes::{InitStd, Layer, Pipeline, posteriors};
use regex::Regex;

use crate::cli::{Convert, Machine};
use crate::settings::likelihood;
use crate::{misuse, model, print};

pub(crate) fn run(flags: &Convert, machine: &Machine) -> Result<()> {
    let normalization = model::normalization(flags.normalize.as_deref())?;
    let pass = if flags.layers == ["none"] { None } else { Some(pass(flags)?) };
    let likelihood = likelihood(flags.likelihood.as_deref())?;
    let mut network = model::read_sized(&flags.model, &flags.sizes)?;
    if let Some(normalization) = normalization {
        let context = || flags.model.display().to_string();
        Pipeline::new().then(normalization).run(&mut network).with_context(context)?;
    }
    model::note_likelihood(&mut network, likelihood)?;
    let remark = rewrite(flags, pass, &mut network, machine.quiet)?;
    model::write_as(&network, &flags.output, flags.storage)?;
    print::line(format_args!("wrote {}: {remark}", flags.output.display()))
}

/// Converts, and says what was done.
fn rewrite(
    flags: &Convert,
    pass: Option<passes::Convert>,
    network: &mut Model,
    quiet: bool,
) -> Result<String> {
    let context = || flags.model.display().to_string();
    let Some(pass) = pass else {
        let done = [
            (!flags.sizes.dim.is_empty(), "sizes fixed"),
            (flags.normalize.is_some(), "normalization in front"),
            (flags.likelihood.is_some(), "likelihood noted"),
        ];
        let done: Vec<&str> = done.iter().filter_map(|&(is, what)| is.then_some(what)).collect();
        return Ok(if done.is_empty() { "unchanged".to_owned() } else { done.join(", ") });
    };
    let before = posteriors(&network.graph)?.len();
    Pipeline::opening().run(network).with_context(context)?;
    if let Some(reason) = passes::try_free_batch(network).filter(|_| !quiet) {
        print::remark(format_args!("{}: the batch size stays fixed: {reason}", context()));
    }
    Pipeline::new().then(pass).run(network).with_context(context)?;
    match posteriors(&network.graph)?.len() - before {
        0 => bail!(
            "{}: no weight was selected; `advbnn inspect` shows what can become variational",
            flags.model.display()
        ),
        count => Ok(format!("{count} weight tensors are variational")),
    }
}

fn pass(flags: &Convert) -> Result<passes::Convert> {
    let layers: Result<BTreeSet<Layer>, _> = flags.layers.iter().map(|name| name.parse()).collect();
    let positive = |flag: &str, value: f32| match value > 0.0 && value.is_finite() {
        true => Ok(value),
        false => Err(misuse(format!("{flag} {value}: a standard deviation is positive"))),
    };
    let prior = positive("--prior", flags.prior)?;
    let init = match (flags.moped, flags.init_s) {
        (Some(delta), _) => InitStd::Moped(positive("--moped", delta)?),
        (None, Some(std)) => InitStd::Constant(positive("--init-s", std)?),
        (None, None) => InitStd::Constant(prior),
    };
    Ok(passes::Convert {
        layers: layers.map_err(|e| misuse(format!("--layers: {e}")))?,
        include: regex("--include", flags.include.as_deref())?,
        exclude: regex("--exclude", flags.exclude.as_deref())?,
        init,
        prior,
        bias: !flags.no_bias,
    })
}

fn regex(flag: &str, text: Option<&str>) -> Result<Option<Regex>> {
    let compile = |text| {
        Regex::new(text).map_err(|e| {
            let last = e.to_string().lines().last().unwrap_or_default().to_owned();
            misuse(format!("{flag} `{text}`: {last}"))
        })
    };
    text.map(compile).transpose()
}
