//! Engines, data, attacks, training and evaluation for ONNX programs.

pub mod attack;
pub mod bench;
pub mod checkpoint;
pub mod data;
mod draws;
pub mod engine;
mod error;
pub mod evaluate;
mod fraction;
pub mod install;
#[cfg(test)]
mod linear;
mod loaded;
mod network;
pub mod noise;
pub mod predict;
pub mod report;
pub mod sessions;
mod shard;
mod target;
pub mod train;
pub mod transfer;
pub mod uncertainty;
mod whole_file;

pub use error::{Error, Result};
pub use fraction::fraction;
pub use network::Network;
pub use whole_file::write_whole;
