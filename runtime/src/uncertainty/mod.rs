//! How sure a model is of its predictions, and whether it is right to be.
//!
//! A [`Tally`] counts what the draws of the weights say of some images, [`Judged`] is what
//! comes of it for one image, [`Uncertainty`] and [`reliability`] are what comes of many. Of a
//! regression [`Numbers`] has what the draws say, [`Densities`] how likely that makes the targets.

mod density;
mod figures;
mod interval;
mod numbers;
mod separation;
mod tally;
#[cfg(test)]
mod tests;

pub use density::Densities;
pub(crate) use density::add_logs;
pub use figures::{BINS, ReliabilityBin, Uncertainty, reliability};
pub(crate) use interval::Z;
pub use interval::{Spread, wilson};
pub use numbers::Numbers;
pub use separation::auroc;
pub(crate) use tally::entropy;
pub use tally::{Judged, Tally};
