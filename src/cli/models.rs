//! Commands that make models out of models.

use std::path::PathBuf;

use clap::Args;

/// Where the commands that write models put the weights.
#[derive(Clone, Copy, Debug, Default, Args)]
pub struct Storage {
    /// Keep weights of BYTES or more in a file of their own beside the model, OUTPUT.data, and
    /// the others in the model [BYTES: 1024] [default: as in the model that is read, and
    /// above 1.9 GB, which is more than one file can hold, in any case]
    #[arg(long, value_name = "BYTES", num_args = 0..=1, default_missing_value = "1024")]
    pub external_data: Option<usize>,
}

/// Sizes that a file leaves open.
#[derive(Clone, Debug, Default, Args)]
pub struct Sizes {
    /// Size of a dimension that the file leaves open: of one that it names, or of an input's
    /// axis as INPUT:AXIS=SIZE
    #[arg(long, value_name = "NAME=SIZE")]
    pub dim: Vec<String>,
}

/// `advbnn inspect`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  advbnn inspect resnet18.onnx\n  advbnn inspect resnet18.onnx --json\n  \
    advbnn inspect resnet18.onnx --dot graph.dot && dot -Tsvg graph.dot -o graph.svg"
)]
pub struct Inspect {
    /// An ONNX file
    pub model: PathBuf,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    /// Write the graph for Graphviz
    #[arg(long, value_name = "FILE")]
    pub dot: Option<PathBuf>,
    /// Batch size that the memory of activations is told for [default: the model's own, or 1]
    #[arg(long, value_name = "N")]
    pub batch: Option<std::num::NonZeroUsize>,
    /// What is open
    #[command(flatten)]
    pub sizes: Sizes,
}

/// `advbnn new`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn new vgg16 -o vgg16.onnx\n  \
    advbnn new small-cnn -o net.onnx --input 1x28x28 --classes 10 --width 0.5")]
pub struct New {
    /// vgg16, model-a, resnet18 or small-cnn
    pub architecture: String,
    /// Where to write the model
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Channels x height x width of an image
    #[arg(long, default_value = "3x32x32", value_name = "CxHxW")]
    pub input: String,
    /// Number of classes
    #[arg(long, default_value_t = 10)]
    pub classes: usize,
    /// Factor for the number of channels
    #[arg(long, default_value_t = 1.0)]
    pub width: f32,
    /// Seed of the fresh weights
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// `advbnn convert`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn convert resnet18.onnx -o bayes.onnx\n  \
    advbnn convert resnet18.onnx -o bayes.onnx --moped 0.1 --layers conv,linear\n  \
    advbnn convert net.onnx -o bayes.onnx --normalize .49,.48,.45/.25,.24,.26\n  \
    advbnn convert large.onnx -o bayes.onnx --external-data\n  \
    advbnn convert bert.onnx -o bayes.onnx --dim sequence=128")]
pub struct Convert {
    /// An ONNX file
    pub model: PathBuf,
    /// Where to write the variational model
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Kinds of layers: conv, linear, batchnorm, and layernorm (scale and bias of Layer-,
    /// Group-, Instance- and RMSNormalization); `none` copies the model unchanged
    #[arg(long, value_delimiter = ',', default_value = "conv,linear,batchnorm")]
    pub layers: Vec<String>,
    /// Only nodes or weights whose name matches
    #[arg(long, value_name = "REGEX")]
    pub include: Option<String>,
    /// Not the nodes or weights whose name matches, nor weights shared with such a node
    #[arg(long, value_name = "REGEX")]
    pub exclude: Option<String>,
    /// First standard deviation of every weight [default: that of the prior]
    #[arg(long, value_name = "STD", conflicts_with = "moped")]
    pub init_s: Option<f32>,
    /// First standard deviations of DELTA times the pretrained weight's size
    #[arg(long, value_name = "DELTA")]
    pub moped: Option<f32>,
    /// Standard deviation of the prior
    #[arg(long, value_name = "STD", default_value_t = 0.05)]
    pub prior: f32,
    /// Note in the model what its output is for: categorical, or gaussian:STD, a regression; the
    /// other commands then know
    #[arg(long, value_name = "LIKELIHOOD")]
    pub likelihood: Option<String>,
    /// Leave biases (and beta of BatchNormalization) as they are
    #[arg(long)]
    pub no_bias: bool,
    /// Put (x - MEAN) / STD in front, per channel
    #[arg(long, value_name = "MEAN/STD", allow_hyphen_values = true)]
    pub normalize: Option<String>,
    /// What is open
    #[command(flatten)]
    pub sizes: Sizes,
    /// Where the weights go
    #[command(flatten)]
    pub storage: Storage,
}

/// `advbnn gradient`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn gradient resnet18.onnx -o grad.onnx\n  \
    advbnn gradient resnet18.onnx -o grad.onnx --wrt input,conv1.weight --batch 8\n\n\
    The result takes the model's inputs and `labels` (int64 [N]) and gives `loss` (mean softmax \
    cross-entropy), `NAME.grad` for every NAME, and the model's own outputs. With --likelihood \
    gaussian `labels` are float32 [N, K] and `loss` is the mean negative log-likelihood.")]
pub struct Gradient {
    /// An ONNX file
    pub model: PathBuf,
    /// Where to write the gradient model
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Inputs or initializers to differentiate by [default: the data inputs]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub wrt: Vec<String>,
    /// What the model's output is for: categorical, or gaussian:STD, a regression [default: what
    /// convert or train noted in the model, or categorical]
    #[arg(long, value_name = "LIKELIHOOD")]
    pub likelihood: Option<String>,
    /// Batch size [default: the model's own, or 1]
    #[arg(long, value_name = "N")]
    pub batch: Option<std::num::NonZeroUsize>,
    /// What is open
    #[command(flatten)]
    pub sizes: Sizes,
    /// Where the weights go
    #[command(flatten)]
    pub storage: Storage,
}
