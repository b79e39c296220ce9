//! What single flags mean.

use anyhow::Result;
use passes::{Defense, Estimator, KlScope, Loss, NoiseLayers, Optimizer, Prior, Training};
use runtime::attack::Pgd;
use runtime::fraction;

use super::Preset;
use crate::cli::TrainingFlags;
use crate::misuse;

/// The attack inside training; that of TRADES starts at random.
pub(super) fn attack(flags: &TrainingFlags, preset: Option<&Preset>, loss: Loss) -> Result<Pgd> {
    let usual = Pgd::default();
    if flags.fast && flags.steps.is_some_and(|steps| steps != 1) {
        return Err(misuse("--fast: its attack has one step; leave out --steps"));
    }
    let number = |flag, text: &Option<String>, default| match text {
        None => Ok(default),
        Some(text) => fraction(text).filter(|number| *number <= 1.0).ok_or_else(|| {
            misuse(format!("{flag} {text}: give a number of 0 to 1 or a fraction such as 8/255"))
        }),
    };
    let eps = number("--eps", &flags.eps, preset.map_or(usual.eps, |preset| preset.eps))?;
    // Wong et al. 2020, "Fast is better than free".
    let (steps, step_size) =
        if flags.fast { (1, 1.25 * eps) } else { (usual.steps, usual.step_size) };
    let trades = matches!(loss, Loss::Trades { .. });
    Ok(Pgd {
        eps,
        steps: flags.steps.map_or(steps, |steps| steps as u64),
        step_size: number("--step-size", &flags.step_size, step_size)?,
        random_start: flags.random_start || flags.fast || trades,
        draws: flags.draws.map_or(usual.draws, |draws| draws as u64),
    })
}

pub(super) fn optimizer(flag: Option<&str>, defense: Defense) -> Result<Optimizer> {
    match flag {
        None => Ok(Training::published(defense).optimizer),
        Some("adam") => Ok(Optimizer::ADAM),
        // Weight decay stands for a prior, which a variational model has already.
        Some("sgd") if defense.is_bayesian() => {
            Ok(Optimizer::Sgd { momentum: 0.9, weight_decay: 0.0 })
        }
        Some("sgd") => Ok(Optimizer::SGD),
        Some(other) => Err(misuse(format!("--optimizer {other}: use adam or sgd"))),
    }
}

pub(super) fn loss(flags: &TrainingFlags, defense: Defense) -> Result<Loss> {
    let beta = flags.trades_beta.unwrap_or(6.0);
    match flags.loss.as_deref() {
        None | Some("cross-entropy") if flags.trades_beta.is_some() => {
            Err(misuse("--trades-beta belongs to --loss trades"))
        }
        None | Some("cross-entropy") => Ok(Loss::CrossEntropy),
        Some("trades") if !defense.is_adversarial() => Err(misuse(format!(
            "--loss trades: `{defense}` has no attack; use it with adv or adv-bnn"
        ))),
        Some("trades") if beta.is_finite() && beta >= 0.0 => Ok(Loss::Trades { beta }),
        Some("trades") => Err(misuse(format!("--trades-beta {beta}: give 0 or a positive number"))),
        Some(other) => Err(misuse(format!("--loss {other}: use cross-entropy or trades"))),
    }
}

/// A number of 0 to 1, or 0.
pub(super) fn share(flag: &str, value: Option<f32>) -> Result<f32> {
    match value.unwrap_or_default() {
        share if (0.0..=1.0).contains(&share) => Ok(share),
        other => Err(misuse(format!("{flag} {other}: give a number of 0 to 1"))),
    }
}

/// The noise layers of RSE: `FIRST,LATER`.
pub(super) fn noise(flag: Option<&str>, defense: Defense) -> Result<Option<NoiseLayers>> {
    let Some(text) = flag else {
        return Ok((defense == Defense::Rse).then_some(NoiseLayers::RSE));
    };
    let std = |part: &str| fraction(part).map(|std| std as f32);
    let pair = text.split_once(',').and_then(|(first, later)| Some((std(first)?, std(later)?)));
    let Some((first, later)) = pair else {
        let reason = "give two standard deviations, FIRST,LATER, such as 0.2,0.1";
        return Err(misuse(format!("--noise {text}: {reason}")));
    };
    Ok((defense == Defense::Rse).then_some(NoiseLayers { first, later }))
}

pub(super) fn kl_scope(flag: Option<&str>) -> Result<KlScope> {
    match flag {
        None | Some("all") => Ok(KlScope::All),
        Some("last-layer") => Ok(KlScope::LastLayer),
        Some(other) => Err(misuse(format!("--kl-scope {other}: use all or last-layer"))),
    }
}

pub(super) fn estimator(flag: Option<&str>, prior: Option<Prior>) -> Result<Estimator> {
    match (flag, prior) {
        (None | Some("weights"), _) => Ok(Estimator::Weights),
        (Some("local"), None | Some(Prior::Gaussian(_))) => Ok(Estimator::Local),
        (Some("local"), Some(prior)) => Err(misuse(format!(
            "--estimator local draws no weights, and the KL to {prior} is estimated from a draw of them; give a standard deviation as --prior, or --estimator weights"
        ))),
        (Some(other), _) => Err(misuse(format!("--estimator {other}: use weights or local"))),
    }
}
