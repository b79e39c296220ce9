//! How much work there is, and which images the report shows.

use super::attack::Attack;
use super::examples::Pictured;

/// Images that the report shows.
pub(super) const PICTURED: usize = 6;

/// The work, in passes of one image through the network.
#[derive(Debug, Default)]
pub(super) struct Plan {
    all: f64,
    done: f64,
    /// Whether the attack that runs is the one whose images the report shows.
    pub(super) showing: bool,
    /// Those images.
    pub(super) pictures: Vec<Pictured>,
}

/// What is done to one image.
#[derive(Clone, Copy, Debug)]
pub(super) struct Work<'a> {
    pub(super) attack: Option<&'a Attack>,
    /// Draws of all its predictions together.
    pub(super) predictions: f64,
}

impl Work<'_> {
    /// A gradient costs about three forward passes.
    fn cost(self) -> f64 {
        let attack = self.attack.filter(|attack| attack.eps > 0.0);
        self.predictions + attack.map_or(0.0, |attack| 3.0 * attack.passes())
    }
}

impl Plan {
    /// Adds the work on so many images.
    pub(super) fn add(&mut self, work: Work, images: usize) {
        self.all += images as f64 * work.cost();
    }

    /// Notes so many images as done, or as left out.
    pub(super) fn advance(&mut self, work: Work, images: usize) {
        self.done += images as f64 * work.cost();
    }

    /// The share that is done.
    pub(super) fn share(&self) -> f64 {
        (self.done / self.all.max(1.0)).min(1.0)
    }
}
