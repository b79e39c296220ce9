//! Engines run programs; the state that programs share stays in the engine's own
//! buffers.
//!
//! [`open`] gives an [`Engine`], [`Engine::load`] a [`Session`] for each program, and
//! [`Engine::state`] the one [`State`] that all of them read and write.

mod element;
mod feed;
mod onnxruntime;
mod panics;
mod signature;
mod state;
#[cfg(test)]
pub(crate) mod tests;
mod tract;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::thread::available_parallelism;

use graphs::{Program, Tensor};

use crate::install::{self, Provider, Source};
use crate::{Error, Result};

pub use feed::Feed;
pub use state::State;
pub use tract::VERSION as TRACT_VERSION;

/// Which engine to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Choice {
    /// ONNX Runtime if a library is found that can be used, otherwise tract.
    #[default]
    Auto,
    /// ONNX Runtime.
    OnnxRuntime,
    /// The embedded engine.
    Tract,
}

impl Choice {
    const ALL: [Choice; 3] = [Choice::Auto, Choice::OnnxRuntime, Choice::Tract];
}

impl fmt::Display for Choice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Choice::Auto => "auto",
            Choice::OnnxRuntime => onnxruntime::NAME,
            Choice::Tract => tract::NAME,
        })
    }
}

impl FromStr for Choice {
    type Err = Error;

    fn from_str(text: &str) -> Result<Choice> {
        Choice::ALL
            .into_iter()
            .find(|choice| choice.to_string() == text)
            .ok_or_else(|| Error::Setting(format!("no engine '{text}'; use auto, ort or tract")))
    }
}

/// In what numbers a provider computes. What programs take and return is float32 in any case.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Precision {
    /// 24 bits of mantissa.
    #[default]
    F32,
    /// The range of float32 and 8 bits of mantissa, in convolutions and products.
    Bf16,
    /// 11 bits of mantissa and a range of 6e-8 to 65504.
    F16,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Precision::F32 => "f32",
            Precision::Bf16 => "bf16",
            Precision::F16 => "f16",
        })
    }
}

impl Precision {
    /// Checks that there is such a thing here.
    ///
    /// # Errors
    /// When the provider computes in float32 alone, or the processor has no float16.
    fn check(self, provider: Provider) -> Result<()> {
        // Without the arithmetic the provider takes float32 and does not say so.
        let (name, here) = match self {
            Precision::F32 => return Ok(()),
            Precision::Bf16 => ("bfloat16", has_bfloat16()),
            Precision::F16 => ("float16", has_float16()),
        };
        match provider {
            Provider::OpenVino if here => Ok(()),
            Provider::OpenVino => Err(Error::Setting(format!(
                "this processor has no {name} arithmetic; use the precision f32"
            ))),
            Provider::Cpu | Provider::Cuda => {
                let reason = "computes in float32 only; of the providers openvino offers others";
                Err(Error::Setting(format!("the {provider} provider {reason}")))
            }
        }
    }
}

/// Whether OpenVINO can compute in bfloat16 here: natively or, with AVX-512, by conversions.
#[cfg(target_arch = "x86_64")]
pub fn has_bfloat16() -> bool {
    use std::arch::is_x86_feature_detected as has;
    has!("avx512f") && has!("avx512bw") && has!("avx512vl") && has!("avx512dq")
}

#[cfg(target_arch = "x86_64")]
fn has_float16() -> bool {
    std::arch::is_x86_feature_detected!("avx512fp16")
}

/// Whether OpenVINO can compute in bfloat16 here; not known to.
#[cfg(not(target_arch = "x86_64"))]
pub fn has_bfloat16() -> bool {
    false
}

#[cfg(not(target_arch = "x86_64"))]
fn has_float16() -> bool {
    cfg!(target_feature = "fp16")
}

/// What to run programs on.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// The engine.
    pub engine: Choice,
    /// The provider; only ONNX Runtime has others than the CPU.
    pub provider: Provider,
    /// Threads; `None` takes all that the machine has.
    pub threads: Option<usize>,
    /// In what the provider computes.
    pub precision: Precision,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            engine: Choice::Auto,
            provider: Provider::Cpu,
            threads: None,
            precision: Precision::F32,
        }
    }
}

/// Something that runs programs.
pub trait Engine: Send + Sync {
    /// `ort` or `tract`.
    fn name(&self) -> &'static str;

    /// The version of the engine's library, such as `1.31.1`.
    fn version(&self) -> &str;

    /// Where it computes.
    fn provider(&self) -> Provider;

    /// In what numbers it computes.
    fn precision(&self) -> Precision;

    /// The number of threads it uses.
    fn threads(&self) -> usize;

    /// The same engine on one thread, whose programs share states with this one's: for
    /// shards of a batch that run side by side, each on a thread of its own. `None` where
    /// that gains nothing: there is one thread only, or the engine itself puts all of
    /// them to work inside an operator.
    fn single_threaded(&self) -> Option<Box<dyn Engine>>;

    /// An empty state for the programs of this engine.
    fn state(&self) -> State;

    /// Makes a program ready to run. Inputs that nothing reads are dropped (one provider
    /// returns wrong results when a graph has such an input), and constants that the
    /// file lists as inputs too are constants.
    ///
    /// # Errors
    /// When the program is not well formed, or the engine refuses it.
    fn load(&self, program: &Program) -> Result<Box<dyn Session>>;
}

/// A loaded program.
pub trait Session: Send {
    /// Runs once. Each input is taken from `feeds`, or else from `state`; the outputs
    /// that the program carries go into `state` under their input's name, without a
    /// copy; the others are returned by name. A feed for an input that nothing reads is
    /// left alone.
    ///
    /// # Errors
    /// When an input is missing or has the wrong type or shape, a feed has the name of
    /// no input, or the engine fails. The state then is as it was.
    fn run(&mut self, state: &mut State, feeds: &[Feed]) -> Result<BTreeMap<String, Tensor>>;
}

/// Opens an engine.
///
/// # Errors
/// When ONNX Runtime is asked for and not found, or its library cannot be loaded, or the
/// provider does not exist here. Nothing falls back silently: only [`Choice::Auto`]
/// takes tract, and only for the CPU when no usable ONNX Runtime library is found at all.
pub fn open(settings: &Settings) -> Result<Box<dyn Engine>> {
    let threads = match settings.threads {
        Some(0) => return Err(Error::Setting("0 threads; use at least 1".to_owned())),
        Some(threads) => threads,
        None => available_parallelism().map_or(1, usize::from),
    };
    settings.precision.check(settings.provider)?;
    let embedded = match settings.engine {
        Choice::Tract => true,
        Choice::OnnxRuntime => false,
        Choice::Auto => settings.provider == Provider::Cpu && nothing_installed()?,
    };
    if !embedded {
        let Settings { provider, precision, .. } = *settings;
        return Ok(Box::new(onnxruntime::OnnxRuntime::open(provider, precision, threads)?));
    }
    if settings.provider != Provider::Cpu {
        return Err(Error::Setting(format!(
            "the engine tract runs on the CPU only; use the engine ort for {}",
            settings.provider
        )));
    }
    Ok(Box::new(tract::Tract::open(threads)?))
}

/// Whether there is no ONNX Runtime to use. A library named in the environment counts
/// even when it is too old: the user wants that one, so its error must show.
fn nothing_installed() -> Result<bool> {
    let inventory = install::list()?;
    let named = inventory.libraries.iter().any(|library| library.source == Source::Environment);
    Ok(!named && inventory.missing.contains(&Provider::Cpu))
}
