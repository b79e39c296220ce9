//! Errors of a regression on clean and attacked images.

use graphs::{Tensor, names};

use super::attack::Attack;
use super::errors::{
    Answered, AttackedErrors, Errors, RegressionReport, WorstErrors, answered, root_mean,
};
use super::plan::{Plan, Work};
use super::settings::check;
use super::{EvalSettings, Progress, SCHEMA};
use crate::attack::{Norm, strongest};
use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::Engine;
use crate::network::{Network, Running, target};
use crate::uncertainty::{Densities, Numbers};
use crate::{Error, Result};

/// Measures the regression `network` on `dataset`, whose targets are numbers; `std` is the standard
/// deviation of the residual. Calls `on_progress` after each batch.
///
/// The answer is the mean over `samples` draws, which are never the draws that an attack has seen,
/// and the same for every attack.
///
/// # Errors
/// When a setting makes no sense, or is of classes alone; when the data do not fit the model, a
/// program cannot be compiled or run, or an attack leaves its ball.
pub fn evaluate_regression<'a>(
    engine: &'a dyn Engine,
    network: Network<'a>,
    dataset: &Dataset,
    std: f64,
    settings: &EvalSettings,
    on_progress: &mut dyn FnMut(Progress),
) -> Result<RegressionReport> {
    check(settings)?;
    if settings.cumulative || settings.probing.is_some() {
        let reason = "neither a cumulative evaluation nor one with a budget is of a regression";
        return Err(Error::Setting(reason.to_owned()));
    }
    if let Some(spec) = settings.attacks.iter().find(|spec| !spec.is_of_numbers()) {
        let reason = "it is of classes, and a regression has none";
        return Err(Error::Setting(format!("attack `{}`: {reason}", spec.text())));
    }
    let network = Running::new(engine, network, dataset, settings.batch)?;
    let attacks: Vec<Attack> = settings
        .runs()
        .into_iter()
        .map(|(spec, eps)| Attack::new(spec, eps, network.draws(spec.draws())))
        .collect();
    let mut runner = Runner { network, dataset, std, settings, plan: Plan::default(), on_progress };
    for attack in std::iter::once(None).chain(attacks.iter().map(Some)) {
        runner.plan.add(runner.work(attack), dataset.len());
    }
    let clean = runner.run(None)?;
    let mut runs: Vec<(Attack, Run)> = Vec::new();
    for attack in attacks {
        let run = runner.run(Some(&attack))?;
        runs.push((attack, run));
    }
    let worst = worst(&clean, &runs);
    let errors = |run: &Run| Errors::of(&run.answered, &run.seeds);
    let attacked = |(attack, run): (Attack, Run)| AttackedErrors { errors: errors(&run), attack };
    Ok(RegressionReport {
        schema: SCHEMA,
        images: dataset.len(),
        outputs: clean.width,
        samples: runner.network.draws(settings.samples),
        clean: errors(&clean),
        attacks: runs.into_iter().map(attacked).collect(),
        worst,
    })
}

/// What was said of all images under one attack.
struct Run {
    answered: Vec<Answered>,
    /// The root mean square errors under further seeds.
    seeds: Vec<f64>,
    width: usize,
}

struct Runner<'a, 'e> {
    network: Running<'a>,
    dataset: &'e Dataset,
    std: f64,
    settings: &'e EvalSettings,
    plan: Plan,
    on_progress: &'e mut dyn FnMut(Progress),
}

impl Runner<'_, '_> {
    /// How many seeds make a difference.
    fn seeds(&self) -> u64 {
        if self.network.random { self.settings.seeds } else { 1 }
    }

    fn work<'w>(&self, attack: Option<&'w Attack>) -> Work<'w> {
        let samples = self.network.draws(self.settings.samples) as f64;
        Work { attack, predictions: samples * self.seeds() as f64 }
    }

    fn run(&mut self, attack: Option<&Attack>) -> Result<Run> {
        let (settings, images) = (self.settings, self.dataset.len());
        let mut run = Run { answered: Vec::new(), seeds: Vec::new(), width: 0 };
        let mut errors = vec![Vec::new(); self.seeds().saturating_sub(1) as usize];
        let all: Vec<usize> = (0..images).collect();
        for indices in all.chunks(settings.batch) {
            let draws = |stream: &str| {
                let mut draws = Draws::new(settings.seed, stream, 0);
                draws.show(indices);
                draws
            };
            let target = target(&self.network, self.dataset, indices)?;
            let images = match attack.filter(|attack| attack.eps > 0.0) {
                None => target.clean.clone(),
                Some(Attack { spec, eps, .. }) => {
                    strongest(&mut self.network, spec, *eps, &target, draws("evaluate/attack"))?
                }
            };
            let targets = target.labels.values::<f32>()?;
            let mut densities = Densities::new(&targets, self.std);
            let see = |outputs: &[f32], width| densities.add(outputs, width);
            let numbers = self.numbers(&images, draws("evaluate/judge"), see)?;
            run.width = numbers.width();
            run.answered.extend(answered(&numbers, &densities, &targets, self.std));
            for (other, errors) in (1..).zip(&mut errors) {
                let draws = draws(&format!("evaluate/judge again {other}"));
                let numbers = self.numbers(&images, draws, |_, _| {})?;
                errors.extend(numbers.squared_errors(&targets));
            }
            self.plan.advance(self.work(attack), indices.len());
            let named = attack.map(|attack| (attack.spec.text().to_owned(), attack.eps));
            let (done, share) = (run.answered.len(), self.plan.share());
            (self.on_progress)(Progress { attack: named, done, correct: None, share });
        }
        run.seeds = errors.iter().map(|errors| root_mean(errors).0).collect();
        Ok(run)
    }

    /// What the draws say of `images`; `see` is shown each.
    fn numbers(
        &mut self,
        images: &Tensor,
        mut draws: Draws,
        mut see: impl FnMut(&[f32], usize),
    ) -> Result<Numbers> {
        let mut numbers = Numbers::default();
        let both = |outputs: &[f32], width: usize| {
            see(outputs, width);
            numbers.add(outputs, width);
        };
        self.network.each_draw(images, names::OUTPUTS, self.settings.samples, &mut draws, both)?;
        Ok(numbers)
    }
}

/// The result of all runs of each norm and radius together.
fn worst(clean: &Run, runs: &[(Attack, Run)]) -> Vec<WorstErrors> {
    let mut balls: Vec<(Norm, f64)> = Vec::new();
    for (attack, _) in runs {
        if !balls.contains(&(attack.norm, attack.eps)) {
            balls.push((attack.norm, attack.eps));
        }
    }
    let of = |(norm, eps)| {
        let there = || runs.iter().filter(|(attack, _)| (attack.norm, attack.eps) == (norm, eps));
        let mut greatest: Vec<f64> = clean.answered.iter().map(|one| one.error).collect();
        for (_, run) in there() {
            let pairs = greatest.iter_mut().zip(&run.answered);
            pairs.for_each(|(most, one)| *most = most.max(one.error));
        }
        let (rmse, interval) = root_mean(&greatest);
        WorstErrors { norm, eps, attacks: there().count(), rmse, interval }
    };
    balls.into_iter().map(of).collect()
}
