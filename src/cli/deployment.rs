//! Commands that bring models to where they are used.

use std::path::PathBuf;

use clap::Args;

use super::Storage;

/// `advbnn export`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn export run -o deploy.onnx --samples 16\n  \
    advbnn export bayes.onnx -o mean.onnx --mode mean\n  \
    advbnn export bayes.onnx -o seeded.onnx --noise seed\n  \
    advbnn export run -o deploy.onnx --samples 16 --provider openvino\n\n\
    With --provider openvino, random noise of weights has the form that OpenVINO runs fastest, and \
    others slower; every file runs on every engine.\n\n\
    Outputs: `probabilities` [N, classes]; with --samples above 1 also `predictive_entropy` [N] and \
    `mutual_information` [N], in nats. Of a regression `outputs` [N, K], and `std` [N, K] over the draws.")]
pub struct Export {
    /// A variational ONNX file or a run folder
    pub model: PathBuf,
    /// Where to write the graph
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// stochastic: a fresh draw at every run; mean: the mean weights; frozen: one draw
    /// written into the file
    #[arg(long, default_value = "stochastic")]
    pub mode: String,
    /// Draws that the graph averages
    #[arg(long, default_value_t = 1)]
    pub samples: usize,
    /// random: new at every run; seed: from an int64 input `seed`, the same on every
    /// engine; input: from inputs NAME.noise
    /// [default: random]
    #[arg(long)]
    pub noise: Option<String>,
    /// Operator set of the file, 18 to 21
    #[arg(long, default_value_t = 18)]
    pub opset: i64,
    /// Keep variational nodes as calls of model-local functions
    #[arg(long)]
    pub functions: bool,
    /// Seed of the draw of --mode frozen [default: 0]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Where the weights go
    #[command(flatten)]
    pub storage: Storage,
}

/// `advbnn predict`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn predict run cat.png dog.jpg --samples 50\n  \
    advbnn predict bayes.onnx cat.png --labels classes.txt --json")]
pub struct Predict {
    /// An ONNX file or a run folder
    pub model: PathBuf,
    /// Images of the model's input size
    #[arg(required = true)]
    pub images: Vec<PathBuf>,
    /// Weight draws that a prediction averages
    #[arg(long, default_value_t = 20)]
    pub samples: usize,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Text file with one class name a line
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Put (x - MEAN) / STD in front of the model, per channel
    #[arg(long, value_name = "MEAN/STD", allow_hyphen_values = true)]
    pub normalize: Option<String>,
    /// Print a JSON array
    #[arg(long)]
    pub json: bool,
}
