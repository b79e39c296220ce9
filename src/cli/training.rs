//! The flags of the commands that train.

use std::path::PathBuf;

use clap::Args;

/// What training and compiling share.
#[derive(Clone, Debug, Args)]
pub struct TrainingFlags {
    /// none, adv, bnn, adv-bnn or rse [default: adv-bnn]
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
    /// Single-step training (Wong et al. 2020): one step of 1.25 eps from a random start; unless
    /// --holdout says otherwise, a tenth of the images (at most 256) tells whether it collapses, or
    /// of a regression which epoch is the best
    #[arg(long)]
    pub fast: bool,
    /// What the model's output is for: categorical, the logits of classes; gaussian:STD, numbers
    /// with a residual of that standard deviation (1): a regression, whose targets are the numbers
    /// of an .npz [default: what convert or train noted in the model, or categorical]
    #[arg(long, value_name = "LIKELIHOOD")]
    pub likelihood: Option<String>,
    /// What training minimises: cross-entropy of the attacked images, or trades: that of the
    /// clean ones + BETA * KL(clean || attacked probabilities), which the attack, always from a
    /// random start, maximises [default: cross-entropy]
    #[arg(long, value_name = "LOSS")]
    pub loss: Option<String>,
    /// Weighs robustness against accuracy with --loss trades [default: 6]
    #[arg(long, value_name = "BETA")]
    pub trades_beta: Option<f32>,
    /// Share of the uniform distribution in the labels, 0 to 1 [default: 0]
    #[arg(long, value_name = "SHARE")]
    pub label_smoothing: Option<f32>,
    /// Factor of KL / number of images [default: 1.0]
    #[arg(long)]
    pub alpha: Option<f64>,
    /// Epochs, also parts of one, over which alpha rises from 0 [default: 0]
    #[arg(long, value_name = "EPOCHS")]
    pub kl_warmup: Option<f64>,
    /// Prior of the weights: a standard deviation; mixture:SHARE,STD,STD, two Gaussians; or
    /// spike-and-slab:SHARE,SLAB or SHARE,SLAB,SPIKE, that share within SPIKE (SLAB / 100). The KL
    /// of the last two is estimated from the draw [default: what convert noted, or 0.05]
    #[arg(long, value_name = "PRIOR")]
    pub prior: Option<String>,
    /// What training draws: weights, once for a batch; or local, the activations of products
    /// with random weights, for each image [default: weights]
    #[arg(long, value_name = "WHAT")]
    pub estimator: Option<String>,
    /// Weight draws per attack step [default: 1]
    #[arg(long)]
    pub draws: Option<usize>,
    /// Which posteriors the KL sums over: all, or last-layer as the published code
    #[arg(long)]
    pub kl_scope: Option<String>,
    /// Standard deviations of the noise layers of rse: in front of the first convolution, and of
    /// each later one [default: 0.2,0.1]
    #[arg(long, value_name = "FIRST,LATER")]
    pub noise: Option<String>,
    /// adam or sgd [default: adam; sgd for none, adv and rse]
    #[arg(long)]
    pub optimizer: Option<String>,
    /// Keep averages over steps of parameters and running statistics, this much of them at a
    /// step, such as 0.999; they are judged and become model.onnx [default: none]
    #[arg(long, value_name = "DECAY")]
    pub ema: Option<f64>,
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
    advbnn train bayes.onnx --data cifar10 -o run --alpha 0.02 --lr 0.001 --schedule cosine --epochs 5 --resume\n  \
    advbnn train net.onnx --data cifar10 -o rse --defense rse --epochs 30\n  \
    advbnn train net.onnx --data cifar10 -o fast --defense adv --fast --ema 0.999 --holdout 500\n  \
    advbnn train bayes.onnx --data ages.npz -o run --likelihood gaussian:0.1\n\n\
    Ctrl-C saves and stops; --resume and the same flags go on from there, with the same result as an uninterrupted run.")]
pub struct Train {
    /// An ONNX file: variational for bnn and adv-bnn, plain for none, adv and rse
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
    /// Keep N images, chosen by the seed, out of the training; their accuracy under PGD after
    /// each epoch decides which is the best [default: 0; with --fast a tenth, at most 256]
    #[arg(long, value_name = "N")]
    pub holdout: Option<usize>,
    /// Steps of the attack on them, at the training radius, each of 2.5 eps / steps, from a
    /// random start [default: 10]
    #[arg(long, value_name = "N")]
    pub holdout_steps: Option<usize>,
    /// Weight draws that a step of that attack averages [default: 1]
    #[arg(long, value_name = "N")]
    pub holdout_draws: Option<usize>,
    /// stop or warn when fewer than a fifth of the held-out images of the best epoch withstand
    /// the attack [default: stop]
    #[arg(long, value_name = "WHAT")]
    pub on_collapse: Option<String>,
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
