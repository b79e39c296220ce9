//! The command line as clap parses it; what it means is decided by the commands.

mod deployment;
mod measuring;
mod models;
mod reproduce;
mod training;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub use deployment::{Export, Predict};
pub use measuring::{Bench, Evaluate, Judging, Transfer};
pub use models::{Convert, Gradient, Inspect, New, Sizes, Storage};
pub use reproduce::Reproduce;
pub use training::{Compile, Train, TrainingFlags};

/// Turns a trained ONNX classifier into a robust Bayesian one, and runs it anywhere ONNX runs.
#[derive(Debug, Parser)]
#[command(name = "advbnn", version, propagate_version = true, max_term_width = 100)]
#[command(after_help = "Start with `advbnn quickstart`: it does the whole job on data that ships \
    with the program and prints what it reached.")]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub command: Command,
    /// What to run on
    #[command(flatten)]
    pub machine: Machine,
}

/// Every command takes these flags, so that scripts need not tell commands apart.
const ENGINE: &str = "Engine (of commands that run models or programs)";

/// What the commands that run programs run them on; the others have no use for it.
#[derive(Debug, Args)]
pub struct Machine {
    /// Engine: auto takes ONNX Runtime if it is found, otherwise the embedded tract
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = ENGINE)]
    pub engine: EngineName,
    /// Where ONNX Runtime computes
    #[arg(long, global = true, value_enum, default_value = "cpu", help_heading = ENGINE)]
    pub provider: ProviderName,
    /// In what the provider computes
    #[arg(long, global = true, value_enum, default_value = "f32", help_heading = ENGINE)]
    pub precision: PrecisionName,
    /// Threads [default: all cores]
    #[arg(long, global = true, help_heading = ENGINE, value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// No progress bars and no remarks
    #[arg(long, short, global = true, help_heading = ENGINE)]
    pub quiet: bool,
}

/// Names of engines.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum EngineName {
    /// ONNX Runtime if found, otherwise tract
    Auto,
    /// ONNX Runtime
    Ort,
    /// The embedded engine
    Tract,
}

/// Names of providers.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProviderName {
    /// ONNX Runtime's own CPU kernels
    Cpu,
    /// Intel's OpenVINO
    Openvino,
    /// NVIDIA's CUDA
    Cuda,
}

/// Names of precisions.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum PrecisionName {
    /// float32
    F32,
    /// bfloat16, half the mantissa's bits in convolutions and products (OpenVINO)
    Bf16,
    /// float16 (OpenVINO, where the processor has it)
    F16,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what a model is and what can become variational
    Inspect(Inspect),
    /// Make a network with fresh weights
    New(New),
    /// Rewrite layers into variational ones
    Convert(Convert),
    /// Write the training programs as ONNX files
    Compile(Box<Compile>),
    /// Write the gradient of the loss as an ONNX file
    Gradient(Gradient),
    /// Train
    Train(Box<Train>),
    /// Measure clean and robust accuracy
    Evaluate(Evaluate),
    /// Measure how well images that fool one model fool another
    Transfer(Transfer),
    /// Write a graph for deployment
    Export(Export),
    /// Classify images, or say their numbers, with uncertainty
    Predict(Predict),
    /// Time the programs on random images
    Bench(Bench),
    /// Find or install ONNX Runtime
    Runtime(Runtime),
    /// Experiments of the paper
    Reproduce(Box<Reproduce>),
    /// The whole job on data that ships with the program
    Quickstart(Quickstart),
}

/// `advbnn runtime`
#[derive(Debug, Args)]
pub struct Runtime {
    /// What to do
    #[command(subcommand)]
    pub action: RuntimeAction,
}

/// What `advbnn runtime` does.
#[derive(Debug, Subcommand)]
pub enum RuntimeAction {
    /// Show which ONNX Runtime libraries are here and what is missing
    List,
    /// Fetch a library through pip into the user's cache
    Install {
        /// cpu, openvino or cuda
        #[arg(value_enum, default_value = "cpu")]
        provider: ProviderName,
    },
}

/// `advbnn quickstart`
#[derive(Debug, Args)]
pub struct Quickstart {
    /// Folder for the results
    #[arg(short, long, value_name = "DIR", default_value = "quickstart")]
    pub output: PathBuf,
}
