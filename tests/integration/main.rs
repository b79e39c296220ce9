//! What only running on real engines proves: every operator's shape and gradient, whole networks,
//! the training programs, and the exports.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod backend;
mod cli;
mod compositions;
mod conversion;
mod corners;
mod cuda;
mod differences;
mod engines;
mod estimator;
mod export;
mod functions;
mod half;
mod image_gradient;
mod kl;
mod losses;
mod lowering;
mod models;
mod networks;
mod noise_layers;
mod normals;
mod operators;
mod optimizers;
mod platforms;
mod priors;
mod programs;
mod randlayer;
mod regression;
mod ruled_out;
