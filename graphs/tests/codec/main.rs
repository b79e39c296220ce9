//! The codec: what is read is what is written, and what cannot be read is an error.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod build;
mod lossless;
mod names;
mod round_trip;
mod storage;
mod untrusted;
