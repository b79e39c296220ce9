//! What was seen of all images under every attack.

use super::attack::Attack;
use super::examples::Pictured;
use super::measure::Seen;
use super::results::Worst;
use crate::attack::Norm;
use crate::uncertainty::{Judged, wilson};

/// What was seen under every attack.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) clean: Run,
    pub(super) runs: Vec<Run>,
    pub(super) probed: Vec<Run>,
    pub(super) foreign: Run,
    pub(super) pictures: Vec<Pictured>,
}

/// What was seen of the images under one attack; `None` of those that it was not tried on.
#[derive(Clone, Debug)]
pub(super) struct Run {
    pub(super) attack: Option<Attack>,
    pub(super) seen: Vec<Option<Seen>>,
}

impl Found {
    /// What all images are worth after the run at `place`: what was seen under it, or of an
    /// image on which it was not tried under the last one of its norm and radius before, or
    /// without an attack.
    pub(super) fn after(&self, place: usize) -> Vec<&Seen> {
        let here = self.runs.get(place).and_then(Run::ball);
        let so_far = self.runs.iter().take(place + 1).rev();
        let runs: Vec<&Run> =
            so_far.filter(|run| run.ball() == here).chain([&self.clean]).collect();
        let images = 0..self.clean.seen.len();
        images.filter_map(|i| runs.iter().find_map(|run| run.seen.get(i)?.as_ref())).collect()
    }

    /// The result of all runs of each norm and radius together.
    pub(super) fn worst(&self) -> Vec<Worst> {
        let mut balls: Vec<(Norm, f64)> = Vec::new();
        for ball in self.runs.iter().filter_map(Run::ball) {
            if !balls.contains(&ball) {
                balls.push(ball);
            }
        }
        let worst = |(norm, eps)| {
            let attacks = self.runs.iter().filter(|run| run.ball() == Some((norm, eps))).count();
            let left = left(&self.clean, &self.runs, (norm, eps));
            let count = left.iter().filter(|left| **left).count();
            let accuracy = 100.0 * count as f64 / left.len().max(1) as f64;
            Worst { norm, eps, attacks, accuracy, interval: wilson(count, left.len()) }
        };
        balls.into_iter().map(worst).collect()
    }
}

/// Which images are right without an attack and under every one of `runs` at that norm and
/// radius.
pub(super) fn left(clean: &Run, runs: &[Run], ball: (Norm, f64)) -> Vec<bool> {
    let there = runs.iter().filter(|run| run.ball() == Some(ball));
    there.fold(clean.right(), |left, run| {
        left.into_iter().zip(run.right()).map(|(left, right)| left && right).collect()
    })
}

impl Run {
    /// The norm and the radius of the attack.
    pub(super) fn ball(&self) -> Option<(Norm, f64)> {
        self.attack.as_ref().map(|attack| (attack.norm, attack.eps))
    }

    /// What was seen of the first images.
    pub(super) fn first(&self, images: usize) -> Run {
        let seen = self.seen.iter().take(images).cloned().collect();
        Run { attack: self.attack.clone(), seen }
    }

    /// What was seen, without those that were not.
    pub(super) fn tried(&self) -> Vec<&Seen> {
        self.seen.iter().flatten().collect()
    }

    pub(super) fn judged(&self) -> Vec<Judged> {
        self.tried().into_iter().map(|seen| seen.judged).collect()
    }

    /// Which images are classified right; those that were not seen are not.
    pub(super) fn right(&self) -> Vec<bool> {
        let right = |seen: &Option<Seen>| seen.as_ref().is_some_and(|seen| seen.judged.is_right());
        self.seen.iter().map(right).collect()
    }

    /// The accuracy in percent of the images that were tried.
    pub(super) fn accuracy_of_tried(&self) -> f64 {
        let tried = self.tried();
        let right = tried.iter().filter(|seen| seen.judged.is_right()).count();
        100.0 * right as f64 / tried.len().max(1) as f64
    }

    /// Images that the attack left where they were, in percent of those tried.
    pub(super) fn unmoved(&self) -> f64 {
        let tried = self.tried();
        let unmoved = tried.iter().filter(|seen| seen.moved == 0.0).count();
        100.0 * unmoved as f64 / tried.len().max(1) as f64
    }
}
