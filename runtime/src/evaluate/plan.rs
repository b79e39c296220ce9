//! How much work there is, and which images the report shows.

use super::{EvalSettings, Pictured};
use crate::attack::AttackSpec;

/// Images that the report shows.
pub(super) const PICTURED: usize = 6;

/// The work, in passes of one image through the network.
#[derive(Debug)]
pub(super) struct Plan {
    all: f64,
    done: f64,
    random: bool,
    predictions: f64,
    /// The attack whose images the report shows, and its radius.
    shown: Option<(String, f64)>,
    /// Those images.
    pub(super) pictures: Vec<Pictured>,
}

impl Plan {
    pub(super) fn new(
        settings: &EvalSettings,
        images: usize,
        foreign: usize,
        random: bool,
    ) -> Plan {
        let predictions = if random { (settings.samples * settings.seeds) as f64 } else { 1.0 };
        let shown = settings.runs().filter(|(_, eps)| *eps > 0.0);
        // Of equals the first: that at the first radius.
        let shown =
            shown.reduce(|best, run| if effort(run.0) > effort(best.0) { run } else { best });
        let shown = shown.map(|(spec, eps)| (spec.text().to_owned(), eps));
        let pictures = Vec::new();
        let mut plan = Plan { all: 0.0, done: 0.0, random, predictions, shown, pictures };
        plan.all = (images + foreign) as f64 * plan.cost(None);
        for (spec, eps) in settings.runs() {
            plan.all += images as f64 * plan.cost(Some((spec, eps)));
        }
        for (spec, eps) in settings.probing.iter().flat_map(|probing| &probing.runs) {
            let probed = settings.probing.as_ref().map_or(0, |probing| probing.images.min(images));
            plan.all += probed as f64 * plan.cost(Some((spec, *eps)));
        }
        plan
    }

    /// What one image costs. A gradient costs about three forward passes.
    fn cost(&self, attack: Option<(&AttackSpec, f64)>) -> f64 {
        let steps = attack.filter(|(_, eps)| *eps > 0.0).map_or(0, |(spec, _)| {
            let draws = if self.random { spec.draws() } else { 1 };
            spec.steps().max(1) * draws * spec.restarts()
        });
        3.0 * steps as f64 + self.predictions
    }

    /// Notes so many images as done, or as left out.
    pub(super) fn advance(&mut self, attack: Option<(&AttackSpec, f64)>, images: usize) {
        self.done += images as f64 * self.cost(attack);
    }

    /// The share that is done.
    pub(super) fn share(&self) -> f64 {
        (self.done / self.all.max(1.0)).min(1.0)
    }

    /// Whether the report shows images of this attack.
    pub(super) fn shows(&self, attack: Option<(&AttackSpec, f64)>) -> bool {
        let same = |(text, eps): &(String, f64)| {
            attack.is_some_and(|(spec, at)| (spec.text(), at) == (text.as_str(), *eps))
        };
        self.shown.as_ref().is_some_and(same) && self.pictures.len() < PICTURED
    }
}

fn effort(spec: &AttackSpec) -> u64 {
    // Random search leaves patterns that say little.
    let gradient = !matches!(spec.method(), crate::attack::Method::Square);
    u64::from(gradient) * spec.draws() * spec.steps()
}
