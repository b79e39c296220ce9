//! `advbnn convert`: layers become variational.

use std::collections::BTreeSet;

use anyhow::Result;
use passes::{FreeBatch, Hoist, InitStd, Layer, Pipeline, Upgrade, posteriors};
use regex::Regex;

use crate::cli::Convert;
use crate::{misuse, model};

pub(crate) fn run(flags: &Convert) -> Result<()> {
    let mut network = model::read(&flags.model)?;
    let output = flags.output.display();
    if flags.layers == ["none"] && flags.normalize.is_none() {
        model::write(&network, &flags.output)?;
        println!("wrote {output}: unchanged");
        return Ok(());
    }
    model::normalize(&mut network, flags.normalize.as_deref())?;
    if flags.layers != ["none"] {
        let pass = pass(flags)?;
        Pipeline::new().then(Hoist).then(Upgrade).then(FreeBatch).then(pass).run(&mut network)?;
        let count = posteriors(&network.graph)?.len();
        if count == 0 {
            anyhow::bail!(
                "{}: no weight was selected; `advbnn inspect` shows what can become variational",
                flags.model.display()
            );
        }
        println!("wrote {output}: {count} weight tensors are variational");
    } else {
        println!("wrote {output}: normalization in front");
    }
    model::write(&network, &flags.output)
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
