//! How sure a model is of its predictions, and whether it is right to be.
//!
//! A [`Tally`] counts what the draws of the weights say of some images, [`Judged`] is what
//! comes of it for one image, [`Uncertainty`] and [`reliability`] are what comes of many.

mod figures;
mod interval;
mod separation;
mod tally;
#[cfg(test)]
mod tests;

pub use figures::{BINS, ReliabilityBin, Uncertainty, reliability};
pub use interval::{Spread, wilson};
pub use separation::auroc;
pub(crate) use tally::entropy;
pub use tally::{Judged, Tally};
