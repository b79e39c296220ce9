//! The command line as clap parses it; what it means is decided by the commands.

mod reproduce;
mod training;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

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

/// What the commands that run programs run them on; the others have no use for it.
#[derive(Debug, Args)]
pub struct Machine {
    /// Engine: auto takes ONNX Runtime if it is found, otherwise the embedded tract
    #[arg(long, global = true, value_enum, default_value = "auto", help_heading = "Engine")]
    pub engine: EngineName,
    /// Where ONNX Runtime computes
    #[arg(long, global = true, value_enum, default_value = "cpu", help_heading = "Engine")]
    pub provider: ProviderName,
    /// Threads [default: all cores]
    #[arg(long, global = true, help_heading = "Engine", value_name = "N")]
    pub threads: Option<std::num::NonZeroUsize>,
    /// No progress bars and no remarks
    #[arg(long, short, global = true, help_heading = "Engine")]
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
    /// Classify images, with uncertainty
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
    cross-entropy), `NAME.grad` for every NAME, and the model's own outputs.")]
pub struct Gradient {
    /// An ONNX file
    pub model: PathBuf,
    /// Where to write the gradient model
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// Inputs or initializers to differentiate by [default: the data inputs]
    #[arg(long, value_delimiter = ',', value_name = "NAME,...")]
    pub wrt: Vec<String>,
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

/// `advbnn evaluate`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    advbnn evaluate run --data cifar10 --eps 8/255 --budget standard -o report\n  \
    advbnn evaluate run --data cifar10 --eps 8/255 --attack pgd --attack pgd:eot=10\n  \
    advbnn evaluate run --data cifar10 --eps 8/255 --cumulative \\\n    \
    --attack apgd-ce:eot=10 --attack apgd-t:eot=10 --attack square\n  \
    advbnn evaluate net.onnx --data cifar10 --normalize .49,.48,.45/.25,.24,.26\n\n\
    Attacks: fgsm, pgd, apgd-ce, apgd-dlr, apgd-t, square, noise, fixed-noise, mean-weight, \
    transfer:from=MODEL; with options as in pgd:steps=20,step=0.007,eot=10,restarts=2,random-start \
    or pgd:norm=l2 (docs/guide.md lists them). For a stochastic model, judge by attacks with eot: \
    one draw per step overstates the defence.")]
pub struct Evaluate {
    /// An ONNX file or a run folder
    pub model: PathBuf,
    /// Test data: IDX, CIFAR-10 or STL-10 binary, .npz, .parquet, or a folder of class folders
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for results.json, per_example.csv and report.html
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Go on with the evaluation in the folder of -o that was stopped
    #[arg(long)]
    pub resume: bool,
    /// quick, standard or thorough: chooses attacks (unless --attack does), the number of images
    /// (unless --limit does), and runs what the checks compare
    #[arg(long)]
    pub budget: Option<String>,
    /// Another model, an ONNX file or a run folder, by whose gradients the checks of --budget
    /// attack too
    #[arg(long, value_name = "MODEL")]
    pub surrogate: Vec<PathBuf>,
    /// Images of another kind: how well does uncertainty tell them
    #[arg(long, value_name = "DIR")]
    pub ood: Option<PathBuf>,
    /// Attacks to run at every radius [default: those of --budget, or else none, clean
    /// accuracy only, or pgd when --eps is given]
    #[arg(long, value_name = "SPEC")]
    pub attack: Vec<String>,
    /// Radii in units of pixels in [0, 1], as numbers or fractions [default: 8/255]
    #[arg(long, value_delimiter = ',')]
    pub eps: Vec<String>,
    /// Attack only the images that the attacks before have left right: quicker, with the
    /// same worst case, and each line then counts all attacks so far
    #[arg(long)]
    pub cumulative: bool,
    /// Weight draws that a prediction averages
    #[arg(long, default_value_t = 20)]
    pub samples: usize,
    /// Seeds under which every prediction is made, for the spread of the accuracy
    #[arg(long, default_value_t = 5)]
    pub seeds: usize,
    /// Use so many images only
    #[arg(long, value_name = "N")]
    pub limit: Option<std::num::NonZeroUsize>,
    /// Images of a batch
    #[arg(long, default_value_t = 100)]
    pub batch: usize,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Which part of the data
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Put (x - MEAN) / STD in front of the model, per channel
    #[arg(long, value_name = "MEAN/STD", allow_hyphen_values = true)]
    pub normalize: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `advbnn transfer`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    advbnn transfer none.onnx adv-run adv-bnn-run --data cifar10 --eps 0.06\n  \
    advbnn transfer a.onnx b.onnx --data cifar10 --eps 8/255 --attack pgd:eot=10 -o matrix --json\n\n\
    Row A, column B: accuracy of B on images attacked on A, and the affinity (Adv-BNN, equation 17) \
    (Acc[B] - Acc[B|A]) / (Acc[B] - Acc[B|B]): 1 where A's images harm B as its own do, 0 where \
    they do no harm.")]
pub struct Transfer {
    /// ONNX files or run folders, all of the same images and classes
    #[arg(required = true)]
    pub models: Vec<PathBuf>,
    /// Test data; see evaluate
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Radius in units of pixels in [0, 1], as a number or a fraction
    #[arg(long)]
    pub eps: String,
    /// Attack on each source model; see evaluate
    #[arg(long, value_name = "SPEC", default_value = "pgd")]
    pub attack: String,
    /// Folder for transfer.json, accuracy.csv and affinity.csv
    #[arg(short, long, value_name = "DIR")]
    pub output: Option<PathBuf>,
    /// Weight draws that a prediction averages
    #[arg(long, default_value_t = 20)]
    pub samples: usize,
    /// Use so many images only
    #[arg(long, value_name = "N")]
    pub limit: Option<std::num::NonZeroUsize>,
    /// Images of a batch
    #[arg(long, default_value_t = 100)]
    pub batch: usize,
    /// Seed of the noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Which part of the data
    #[arg(long, default_value = "test")]
    pub split: String,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
}

/// `advbnn export`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn export run -o deploy.onnx --samples 16\n  \
    advbnn export bayes.onnx -o mean.onnx --mode mean\n  \
    advbnn export bayes.onnx -o seeded.onnx --noise seed\n\n\
    Outputs: `probabilities` [N, classes]; with --samples above 1 also `predictive_entropy` [N] and \
    `mutual_information` [N], in nats.")]
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

/// `advbnn bench`
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  advbnn bench bayes.onnx --batch 64 --steps 10 --threads 2\n  \
    advbnn bench bayes.onnx --provider openvino --schedule-report\n\n\
    Prints median seconds of one attack, one update, one step (both) and one prediction."
)]
pub struct Bench {
    /// An ONNX file
    pub model: PathBuf,
    /// none, adv, bnn, adv-bnn or rse
    #[arg(long, default_value = "adv-bnn")]
    pub defense: String,
    /// Images of a batch
    #[arg(long, default_value_t = 64)]
    pub batch: usize,
    /// Steps of the attack
    #[arg(long, default_value_t = 10)]
    pub steps: usize,
    /// Draws of a prediction
    #[arg(long, default_value_t = 16)]
    pub samples: usize,
    /// Repetitions; the median counts
    #[arg(long, default_value_t = 5)]
    pub iters: usize,
    /// Time each form that the gradients of convolutions and max pools can take here, alone, and
    /// show which one programs contain
    #[arg(long)]
    pub schedule_report: bool,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
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
