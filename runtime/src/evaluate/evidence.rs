//! What the checks look at, from what was seen.

use std::collections::BTreeMap;

use super::EvalSettings;
use super::checks::Evidence;
use super::examples::probe;
use super::found::{Found, Run};
use super::results::Probe;
use crate::attack::{Ball, Norm};

/// What the results depend on beside what was seen.
pub(super) struct Asked<'e> {
    pub(super) samples: u64,
    pub(super) random: bool,
    /// See [`super::results::Report::shown`].
    pub(super) shown: Option<usize>,
    pub(super) settings: &'e EvalSettings,
}

/// The evidence of the first images: those of the probes, or all.
pub(super) fn evidence(found: &Found, asked: &Asked) -> Evidence {
    let settings = asked.settings;
    let images = settings.probing.as_ref().map_or(usize::MAX, |probing| probing.images);
    let (norm, eps) = settings.compared().unwrap_or((Norm::Linf, 0.0));
    let clean = found.clean.first(images);
    let runs: Vec<Run> = found.runs.iter().map(|run| run.first(images)).collect();
    let new = |run: &&Run| !found.probed.iter().any(|other| is_same(other, run));
    let all: Vec<&Run> = runs.iter().filter(new).chain(&found.probed).collect();
    // Attacks on what others have left are not to be compared with those on all.
    let compared: Vec<&Run> = match settings.cumulative {
        true => found.probed.iter().collect(),
        false => all.clone(),
    };
    // Nor do radii of different norms compare.
    let rows = compared.iter().filter_map(|run| probe(run)).filter(|row| row.attack.norm == norm);
    let everything: Vec<&Run> = found.runs.iter().chain(&found.probed).collect();
    let moved = everything.iter().flat_map(|run| run.tried()).map(|seen| seen.moved);
    Evidence {
        norm,
        eps,
        rows: rows.collect::<Vec<Probe>>(),
        clean: clean.accuracy_of_tried(),
        random: asked.random,
        chance: most_frequent(&clean),
        farthest: moved.reduce(f64::max),
        outside: everything.iter().map(|run| outside(run)).sum(),
        repeated: repeated(&all, &clean, (norm, eps)),
    }
}

fn is_same(a: &Run, b: &Run) -> bool {
    a.attack.as_ref().zip(b.attack.as_ref()).is_some_and(|(a, b)| a.is_same(b))
}

/// How many images an attack has moved out of its ball.
fn outside(run: &Run) -> usize {
    let Some((norm, eps)) = run.ball() else { return 0 };
    let ball = Ball { norm, eps };
    run.tried().iter().filter(|seen| !ball.reaches(seen.moved * eps)).count()
}

/// The share of the most frequent label, in percent.
fn most_frequent(run: &Run) -> f64 {
    let mut counts: BTreeMap<i64, usize> = BTreeMap::new();
    let judged = run.judged();
    judged.iter().for_each(|one| *counts.entry(one.label).or_default() += 1);
    let most = counts.values().max().copied().unwrap_or_default();
    100.0 * most as f64 / judged.len().max(1) as f64
}

/// Of the successes of attacks by gradients, how often they are one under the other seeds, in
/// percent. An image that is misclassified without an attack is no success.
fn repeated(runs: &[&Run], clean: &Run, ball: (Norm, f64)) -> Option<f64> {
    let gradient = |run: &&&Run| {
        let attack = run.attack.as_ref();
        attack.is_some_and(|attack| attack.spec.method().follows_gradient())
    };
    let there = runs.iter().filter(|run| run.ball() == Some(ball)).filter(gradient);
    let pairs = there.flat_map(|run| run.seen.iter().zip(clean.right()));
    let tried = pairs.filter_map(|(seen, right)| seen.as_ref().filter(|_| right));
    let successes = tried.filter(|seen| !seen.judged.is_right());
    let again: Vec<bool> =
        successes.flat_map(|seen| seen.seeds.iter().map(|right| !right)).collect();
    let count = again.iter().filter(|wrong| **wrong).count();
    (!again.is_empty()).then(|| 100.0 * count as f64 / again.len() as f64)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::super::attack::Attack;
    use super::super::measure::Seen;
    use super::*;

    fn run(spec: &str, eps: f64, seen: Vec<Option<Seen>>) -> Run {
        Run { attack: Some(Attack::new(&spec.parse().unwrap(), eps, 1)), seen }
    }

    fn settings(cumulative: bool) -> EvalSettings {
        EvalSettings {
            attacks: vec!["pgd".parse().unwrap()],
            eps: vec![0.0, 0.1],
            samples: 1,
            batch: 1,
            seed: 0,
            cumulative,
            seeds: 3,
            probing: None,
        }
    }

    /// Three images, the last of them misclassified without an attack.
    fn found() -> Found {
        let seen = |right, seeds: &[bool], moved| Some(Seen::as_right(right, seeds, moved));
        let lucky = [true, true];
        let other = || vec![seen(false, &lucky, 1.0), seen(false, &lucky, 1.0), None];
        let clean = [(true, 0.0), (true, 0.0), (false, 0.0)];
        Found {
            clean: Run {
                attack: None,
                seen: clean.map(|(right, moved)| seen(right, &[right; 2], moved)).into(),
            },
            runs: vec![
                run(
                    "pgd:eot=3",
                    0.1,
                    vec![
                        seen(false, &[false, true], 1.0),
                        seen(true, &lucky, 0.0),
                        seen(false, &lucky, 0.5),
                    ],
                ),
                run("noise", 0.1, other()),
                run("square", 0.1, other()),
                run("pgd", 0.2, other()),
                run("pgd:norm=l2", 0.1, other()),
            ],
            probed: vec![run("fgsm", 0.1, vec![seen(false, &[false, false], 1.5)])],
            foreign: Run { attack: None, seen: Vec::new() },
            pictures: Vec::new(),
        }
    }

    fn evidence(found: &Found, cumulative: bool) -> Evidence {
        let settings = settings(cumulative);
        super::evidence(
            found,
            &Asked { samples: 1, random: true, shown: None, settings: &settings },
        )
    }

    #[test]
    fn successes_are_of_gradients_at_the_radius_on_images_that_were_right() {
        // Of PGD one of two seeds, of FGSM both.
        for cumulative in [false, true] {
            assert_eq!(evidence(&found(), cumulative).repeated, Some(75.0));
        }
        let mut none = found();
        none.runs.remove(0);
        none.probed.clear();
        assert_eq!(evidence(&none, false).repeated, None);
    }

    #[test]
    fn attacks_are_compared_with_those_of_their_norm_on_the_same_images() {
        let whole = evidence(&found(), false);
        let specs = |e: &Evidence| {
            e.rows.iter().map(|row| row.attack.spec.text().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!((whole.norm, whole.eps), (Norm::Linf, 0.1));
        assert_eq!(specs(&whole), ["pgd:eot=3", "noise", "square", "pgd", "fgsm"]);
        assert_eq!(specs(&evidence(&found(), true)), ["fgsm"]);
        let third = 100.0 / 3.0;
        assert!((whole.rows[0].accuracy - third).abs() + (whole.clean - 2.0 * third).abs() < 1e-9);
        assert!((whole.rows[0].unmoved - third).abs() < 1e-9);
        assert_eq!((whole.chance, whole.random), (100.0, true));
        assert_eq!((whole.farthest, whole.outside), (Some(1.5), 1));
    }

    /// A pixel is rounded by more than a millionth of a radius of a ten thousandth.
    #[test]
    fn rounding_is_not_outside_of_a_small_ball() {
        let rounded = Some(Seen::as_right(true, &[], 1.0 + 3e-4));
        let found =
            Found { runs: vec![run("pgd", 1e-4, vec![rounded])], probed: Vec::new(), ..found() };
        assert_eq!(evidence(&found, false).outside, 0);
    }
}
