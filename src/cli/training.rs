//! The flags of the commands that train.

use std::path::PathBuf;

use clap::Args;

/// What training and compiling share.
#[derive(Clone, Debug, Args)]
pub struct TrainingFlags {
    /// none, adv, bnn or adv-bnn [default: adv-bnn]
    #[arg(long)]
    pub defense: Option<String>,
    /// Radius of the training attack, L-infinity in [0, 1], as a number or a fraction
    /// [default: 8/255]
    #[arg(long)]
    pub eps: Option<String>,
    /// Steps of the training attack [default: 10]
    #[arg(long)]
    pub steps: Option<usize>,
    /// Size of a step of the training attack [default: 0.007]
    #[arg(long)]
    pub step_size: Option<String>,
    /// Start the training attack at a random point of the ball
    #[arg(long)]
    pub random_start: bool,
    /// Factor of KL / number of images [default: 1.0]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Standard deviation of the prior [default: what convert noted, or 0.05]
    #[arg(long)]
    pub prior: Option<f32>,
    /// Weight draws per attack step [default: 1]
    #[arg(long)]
    pub draws: Option<usize>,
    /// Which posteriors the KL sums over: all, or last-layer as the published code
    #[arg(long)]
    pub kl_scope: Option<String>,
    /// adam or sgd [default: adam; sgd for none and adv]
    #[arg(long)]
    pub optimizer: Option<String>,
    /// Learning rate [default: 0.01]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Images of a batch [default: 128]
    #[arg(long)]
    pub batch: Option<usize>,
    /// Hyper-parameters of the paper: paper-cifar10, paper-stl10, paper-imagenet143;
    /// flags given beside it win
    #[arg(long)]
    pub preset: Option<String>,
}

/// `advbnn compile`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  advbnn compile bayes.onnx -o programs --batch 64\n\n\
    Writes attack.onnx, update.onnx and predict.onnx; their metadata says which outputs feed \
    which inputs at the next run.")]
pub struct Compile {
    /// An ONNX file
    pub model: PathBuf,
    /// Folder for the programs
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// How to train
    #[command(flatten)]
    pub training: TrainingFlags,
}

/// `advbnn train`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    advbnn convert net.onnx -o bayes.onnx --init-s 0.02\n  \
    advbnn train bayes.onnx --data cifar10 -o run --alpha 0.02 --lr 0.001 --schedule cosine --epochs 5\n  \
    advbnn train bayes.onnx --data cifar10 -o run --resume\n\n\
    Ctrl-C saves and stops; --resume goes on from there, with the same result as an uninterrupted run.")]
pub struct Train {
    /// An ONNX file: variational for bnn and adv-bnn, any for none and adv
    pub model: PathBuf,
    /// Training data: IDX, CIFAR-10 or STL-10 binary, .npz, .parquet, or a folder of class folders
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the run: settings, metrics, checkpoints, the trained model
    #[arg(short, long, value_name = "RUN")]
    pub output: PathBuf,
    /// How to train
    #[command(flatten)]
    pub training: TrainingFlags,
    /// Epochs per stage, each at a tenth of the rate before with a fresh optimizer
    /// (80,60,40,20); or `constant` or `cosine` over --epochs [default: constant]
    #[arg(long)]
    pub schedule: Option<String>,
    /// Number of epochs [default: 10, or the sum of the schedule's stages]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Random crop with padding 4 and horizontal flip: on, off, or auto: on with a
    /// preset, whose published runs had it; a pretrained model may never have seen such
    /// images and needs longer then
    #[arg(long, default_value = "auto")]
    pub augment: String,
    /// Use so many images only
    #[arg(long, value_name = "N")]
    pub limit: Option<std::num::NonZeroUsize>,
    /// Seed of shuffling, augmentation and noise
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Which part of the data
    #[arg(long, default_value = "train")]
    pub split: String,
    /// Put (x - MEAN) / STD in front of the model, per channel
    #[arg(long, value_name = "MEAN/STD", allow_hyphen_values = true)]
    pub normalize: Option<String>,
    /// Go on with the run in the output folder
    #[arg(long)]
    pub resume: bool,
}
