//! Passes over ONNX graphs: shapes, gradients, variational nodes, optimizers, exports.

mod absorb;
mod activations;
mod affine;
mod architecture;
mod batch;
mod batched;
mod compile;
mod control;
mod defense;
mod dlr;
mod error;
pub mod export;
mod fold;
mod gradient;
mod half_transpose;
mod hoist;
mod inline;
mod layers;
mod likelihood;
mod loss;
mod loss_gradient;
mod lower;
mod naming;
mod noise_layers;
mod normal;
mod normalize;
mod obstacles;
pub mod ops;
mod optimizer;
mod pass;
mod platform;
mod postpone;
mod prior;
mod quantized;
mod regression;
mod repeated;
mod share;
mod sizes;
mod sources;
mod splice;
mod statistics;
mod survey;
mod tape;
mod trials;
mod upgrade;
mod variational;

pub use activations::{Activations, activations};
pub use architecture::Architecture;
pub use batch::{FixBatch, FreeBatch, fixed_batch, try_free_batch};
pub use compile::{
    AttackLoss, Estimator, KlScope, Loss, Training, attack, image_gradient, initial_state,
    note_prior, noted_prior, predict, store_state, training_attack, update,
};
pub use defense::Defense;
pub use error::{Error, Result};
pub use fold::Fold;
pub use gradient::gradients;
pub use hoist::Hoist;
pub use inline::Inline;
pub use layers::{Layer, Weight, weights};
pub use likelihood::{Likelihood, note_likelihood, noted_likelihood};
pub use loss_gradient::loss_gradient;
pub use lower::Lower;
pub use noise_layers::{NoiseLayer, NoiseLayers, noise_layers};
pub use normalize::Normalize;
pub use obstacles::obstacles;
pub use optimizer::{Carried, Optimizer, Schedule};
pub use pass::{Pass, Pipeline, Sweep};
pub use platform::{Build, Platform};
pub use prior::{Mixture, Prior};
pub use sizes::FixSizes;
pub use sources::{stored, stored_name};
pub use survey::{Left, Survey, survey};
pub use tape::{Tape, signed};
pub use trials::{Form, Trial, trials};
pub use upgrade::Upgrade;
pub use variational::{
    Convert, DOMAIN, InitStd, Posterior, is_variational, posteriors, random_layers,
    refresh_functions,
};
