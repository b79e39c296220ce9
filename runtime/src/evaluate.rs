//! Accuracy and uncertainty on clean, attacked and foreign images, and whether to believe them.

mod attack;
mod budget;
mod checks;
mod errors;
mod evidence;
mod examples;
mod found;
mod identity;
mod journal;
mod measure;
mod plan;
mod regression;
mod results;
mod runner;
mod settings;

use std::collections::BTreeMap;

use crate::data::Dataset;
use crate::engine::Engine;
use crate::network::{Network, Running};
use crate::{Error, Result};

pub use attack::Attack;
pub use budget::{Budget, Probing};
pub use checks::{Check, Verdict};
pub use errors::{AttackedErrors, Errors, RegressionReport, WorstErrors};
pub use examples::{Evaluation, Pictured};
pub use journal::{Notes, check_resumable};
pub use regression::evaluate_regression;
pub use results::{
    Attacked, BySamples, Foreign, Measured, Probe, Probes, Report, SCHEMA, Separation, Worst,
};
pub use settings::{EvalSettings, MOST_DRAWS, Progress, Subject};

use evidence::Asked;
use found::{Found, Run, left};
use journal::Journal;
use plan::Plan;
use runner::{Images, Runner};
use settings::check;

/// Measures `network` on the images of `subject`. An attack from another model finds that
/// among `surrogates`, under the name that its spec gives.
///
/// The predicted class is the argmax of the mean probabilities over `samples` draws,
/// which are never the draws that an attack has seen, and the same for every attack. Calls
/// `on_progress` after each batch.
///
/// # Errors
/// When a setting makes no sense, the images do not fit a model, a program cannot be
/// compiled or run, an attack leaves its ball, or the journal cannot be written.
pub fn evaluate<'a>(
    engine: &'a dyn Engine,
    network: Network<'a>,
    surrogates: BTreeMap<String, Network<'a>>,
    subject: Subject,
    settings: &EvalSettings,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<Evaluation> {
    check(settings)?;
    let Subject { dataset, foreign, notes } = subject;
    let mut network = Running::new(engine, network, dataset, settings.batch)?;
    let open = |(name, other)| Ok((name, Running::new(engine, other, dataset, settings.batch)?));
    let surrogates: Result<BTreeMap<String, Running>> = surrogates.into_iter().map(open).collect();
    let mut surrogates = surrogates?;
    let size = settings.batch.min(dataset.len());
    let sum = |(name, network): (&String, &mut Running<'a>)| {
        Ok((name.clone(), identity::model(network, size)?))
    };
    let sums: BTreeMap<String, u32> = surrogates.iter_mut().map(sum).collect::<Result<_>>()?;
    if let Some(foreign) = foreign {
        network.check(foreign).map_err(|error| Error::Data(format!("foreign images: {error}")))?;
    }
    let datasets: Vec<&Dataset> = [Some(dataset), foreign].into_iter().flatten().collect();
    let journal = match notes {
        Some(Notes { path, about, resume }) => {
            let identity = identity::identity(&mut network, &datasets, settings, about)?;
            Some(Journal::open(path, &identity, resume)?)
        }
        None => None,
    };
    let clean = Vec::new();
    let mut runner = Runner {
        network,
        surrogates,
        sums,
        settings,
        journal,
        plan: Plan::default(),
        clean,
        on_progress,
    };
    let own = Images { dataset, name: "images", seeds: settings.seeds };
    // Of what has no label, the accuracies under other seeds mean nothing.
    let foreign = foreign.map(|dataset| Images { dataset, name: "foreign images", seeds: 1 });
    let attacks = settings.runs().into_iter().map(|(spec, eps)| runner.attack(spec, eps));
    let attacks: Vec<Attack> = attacks.collect::<Result<_>>()?;
    let probes = probes(&mut runner, &attacks)?;
    let shown = settings.compared().and_then(|(norm, eps)| attack::shown(&attacks, norm, eps));
    plan(&mut runner, own, &attacks, &probes, foreign);

    let all = vec![true; dataset.len()];
    let clean = runner.run(own, None, &all)?;
    runner.clean = clean.seen.iter().map(|seen| Some(seen.as_ref()?.judged)).collect();
    let mut runs: Vec<Run> = Vec::new();
    for (place, attack) in attacks.iter().enumerate() {
        let asked = match settings.cumulative {
            true => left(&clean, &runs, (attack.norm, attack.eps)),
            false => all.clone(),
        };
        let left_out = asked.iter().filter(|asked| !**asked).count();
        runner.leave_out(own, Some(attack), left_out);
        // A probe may do the same as the attack that is shown.
        runner.plan.showing = shown == Some(place);
        runs.push(runner.run(own, Some(attack), &asked)?);
        runner.plan.showing = false;
    }
    let first = settings.probing.as_ref().map_or(0, |probing| probing.images);
    let asked: Vec<bool> = (0..dataset.len()).map(|index| index < first).collect();
    let mut probed = Vec::new();
    for (attack, known) in &probes {
        probed.push(match known.and_then(|place| runs.get(place)) {
            Some(run) => run.first(first),
            None => runner.run(own, Some(attack), &asked)?,
        });
    }
    let foreign = match foreign {
        Some(foreign) => runner.run(foreign, None, &vec![true; foreign.dataset.len()])?,
        None => Run { attack: None, seen: Vec::new() },
    };
    if let Some(journal) = &mut runner.journal {
        journal.finish()?;
    }
    let samples = runner.network.draws(settings.samples);
    let random = runner.network.random;
    let pictures = runner.plan.pictures;
    let found = Found { clean, runs, probed, foreign, pictures };
    Evaluation::new(found, &Asked { samples, random, shown, settings })
}

/// The attacks that the checks compare, each once, and which of `attacks` does the same.
fn probes(runner: &mut Runner, attacks: &[Attack]) -> Result<Vec<(Attack, Option<usize>)>> {
    let settings = runner.settings;
    let mut probes: Vec<(Attack, Option<usize>)> = Vec::new();
    for (spec, eps) in settings.probing.iter().flat_map(|probing| &probing.runs) {
        let probe = runner.attack(spec, *eps)?;
        // Without noise, all of a sweep over draws is one attack.
        if !probes.iter().any(|(other, _)| other.is_same(&probe)) {
            let known = attacks.iter().position(|attack| attack.is_same(&probe));
            // A cumulative run is not one on all of the first images.
            probes.push((probe, known.filter(|_| !settings.cumulative)));
        }
    }
    Ok(probes)
}

/// Adds up the work.
fn plan(
    runner: &mut Runner,
    own: Images,
    attacks: &[Attack],
    probes: &[(Attack, Option<usize>)],
    foreign: Option<Images>,
) {
    let images = own.dataset.len();
    let first = runner.settings.probing.as_ref().map_or(0, |probing| probing.images.min(images));
    let new = probes.iter().filter(|(_, known)| known.is_none());
    let parts = [(own, None, images)]
        .into_iter()
        .chain(attacks.iter().map(|attack| (own, Some(attack), images)))
        .chain(new.map(|(attack, _)| (own, Some(attack), first)))
        .chain(foreign.map(|foreign| (foreign, None, foreign.dataset.len())));
    for (images, attack, count) in parts {
        let work = runner.work(images, attack);
        runner.plan.add(work, count);
    }
}

#[cfg(test)]
mod tests;
