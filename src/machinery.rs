//! What computed a result, as it is recorded beside it.

use std::fmt;

use runtime::engine::Engine;
use serde::Serialize;

/// What figures depend on beside models, data and flags.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Machinery {
    /// `ort` or `tract`.
    pub(crate) engine: String,
    pub(crate) engine_version: String,
    pub(crate) provider: String,
    /// Of the provider's arithmetic: `f32`, `bf16` or `f16`.
    pub(crate) precision: String,
    /// Of this program.
    pub(crate) advbnn_version: &'static str,
}

impl Machinery {
    pub(crate) fn of(engine: &dyn Engine) -> Machinery {
        Machinery {
            engine: engine.name().to_owned(),
            engine_version: engine.version().to_owned(),
            provider: engine.provider().to_string(),
            precision: engine.precision().to_string(),
            advbnn_version: env!("CARGO_PKG_VERSION"),
        }
    }
}

impl fmt::Display for Machinery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machinery { engine, engine_version, provider, precision, advbnn_version } = self;
        write!(
            f,
            "advbnn {advbnn_version} with {engine} {engine_version} on {provider} in {precision}"
        )
    }
}
