//! What the flags of `evaluate` mean together.

use std::num::NonZeroUsize;

use anyhow::Result;
use runtime::attack::{AttackSpec, Norm};
use runtime::evaluate::{Budget, EvalSettings, MOST_DRAWS};
use runtime::fraction;

use crate::cli::{Evaluate, Judging};
use crate::misuse;
use crate::settings::check_samples;

/// The settings, and how many images to take at most.
pub(super) fn settings(flags: &Evaluate) -> Result<(EvalSettings, Option<NonZeroUsize>)> {
    let budget = flags
        .budget
        .as_deref()
        .map(|text| text.parse::<Budget>().map_err(|error| misuse(format!("--budget {error}"))));
    let budget = budget.transpose()?;
    let radius = |text: &String| {
        let reason = "give numbers or fractions such as 8/255";
        fraction(text).ok_or_else(|| misuse(format!("--eps {text}: {reason}")))
    };
    let mut eps: Vec<f64> = flags.eps.iter().map(radius).collect::<Result<_>>()?;
    let mut attacks = attacks(flags)?;
    match budget {
        Some(budget) if attacks.is_empty() => attacks = budget.attacks()?,
        None if attacks.is_empty() && !eps.is_empty() => attacks = vec!["pgd".parse()?],
        _ => {}
    }
    if eps.is_empty() {
        eps.push(8.0 / 255.0);
    }
    let largest = eps.iter().copied().fold(0.0, f64::max);
    if let Some(spec) = attacks.iter().find(|a| a.norm() == Norm::Linf && largest > 1.0) {
        let text = spec.text();
        return Err(misuse(format!(
            "--eps {largest}: a radius of the L-infinity attack {text} is 0 to 1, as in 8/255"
        )));
    }
    let Judging { samples, batch, seed, limit, .. } = flags.judging;
    check_counts(&flags.judging)?;
    if !(1..=MOST_DRAWS).contains(&(flags.seeds as u64)) {
        return Err(misuse(format!("--seeds is 1 to {MOST_DRAWS}")));
    }
    if flags.resume && flags.output.is_none() {
        return Err(misuse("--resume goes on with an evaluation in a folder; give it with -o DIR"));
    }
    let probed = eps.iter().copied().find(|eps| *eps > 0.0);
    let surrogates: Vec<String> =
        flags.surrogate.iter().map(|path| path.display().to_string()).collect();
    if budget.is_none() && !surrogates.is_empty() {
        return Err(misuse(
            "--surrogate is for the checks of --budget; without it, --attack transfer:from=MODEL",
        ));
    }
    let probing = match (budget, probed) {
        (Some(budget), Some(eps)) => {
            // Where every attack is of L2, so are those that are compared.
            let l2 = !attacks.is_empty() && attacks.iter().all(|a| a.norm() == Norm::L2);
            let norm = if l2 { Norm::L2 } else { Norm::Linf };
            let probing = budget.probing(norm, eps, &surrogates);
            Some(probing.map_err(|error| misuse(format!("--surrogate: {error}")))?)
        }
        (Some(_), None) => {
            return Err(misuse("--budget compares attacks; give a radius above 0 to --eps"));
        }
        (None, _) => None,
    };
    let settings = EvalSettings {
        attacks,
        eps,
        samples: samples as u64,
        batch,
        seed,
        cumulative: flags.cumulative,
        seeds: flags.seeds as u64,
        probing,
    };
    Ok((settings, limit.or_else(|| NonZeroUsize::new(budget?.images()))))
}

/// Leaves out what a budget has chosen and a model of so few classes has no loss for; tells what.
pub(super) fn fit(settings: &mut EvalSettings, flags: &Evaluate, classes: usize) -> Option<String> {
    let mut left = Vec::new();
    let mut fits = |spec: &AttackSpec| {
        let fits = spec.least_classes() <= classes;
        if !fits && !left.contains(&spec.method()) {
            left.push(spec.method());
        }
        fits
    };
    if flags.budget.is_some() && flags.attack.is_empty() {
        settings.attacks.retain(|spec| fits(spec));
    }
    if let Some(probing) = &mut settings.probing {
        probing.runs.retain(|(spec, _)| fits(spec));
    }
    // One that was asked for is tried, and says itself what it lacks.
    left.retain(|method| !settings.attacks.iter().any(|spec| spec.method() == *method));
    let names: Vec<String> = left.iter().map(ToString::to_string).collect();
    (!names.is_empty()).then(|| {
        let names = names.join(", ");
        format!("note: the budget leaves out {names}: that takes more than the model's {classes} classes")
    })
}

fn attacks(flags: &Evaluate) -> Result<Vec<AttackSpec>> {
    let read = |spec: &String| spec.parse().map_err(|e| misuse(format!("--attack {spec}: {e}")));
    flags.attack.iter().map(read).collect()
}

/// Checks the numbers that `evaluate` and `transfer` share.
pub(crate) fn check_counts(flags: &Judging) -> Result<()> {
    check_samples(flags.samples)?;
    if flags.batch == 0 {
        return Err(misuse("--batch is at least 1"));
    }
    Ok(())
}
