//! Commands that measure.

use std::path::PathBuf;

use clap::Args;

/// What `evaluate` and `transfer` judge models on, and how.
#[derive(Clone, Debug, Args)]
pub struct Judging {
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
    /// Folder for results.json, per_example.csv and report.html; of a regression results.json alone
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
    /// Seeds under which every prediction is made, for the spread of the accuracy
    #[arg(long, default_value_t = 5)]
    pub seeds: usize,
    /// Put (x - MEAN) / STD in front of MODEL, per channel; models of --surrogate and transfer:from=
    /// are taken as their files are (convert --layers none --normalize writes one with its own)
    #[arg(long, value_name = "MEAN/STD", allow_hyphen_values = true)]
    pub normalize: Option<String>,
    /// What the model's output is for: categorical, or gaussian:STD, a regression [default: what
    /// convert or train noted in the model, or categorical]
    #[arg(long, value_name = "LIKELIHOOD")]
    pub likelihood: Option<String>,
    /// On what, and how it is judged
    #[command(flatten)]
    pub judging: Judging,
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
    /// ONNX files or run folders, all of the same images and classes, each with its normalization,
    /// if it wants one, inside (convert --layers none --normalize)
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
    /// On what, and how it is judged
    #[command(flatten)]
    pub judging: Judging,
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
    /// What the model's output is for: categorical, or gaussian:STD, a regression [default: what
    /// convert or train noted in the model, or categorical]
    #[arg(long, value_name = "LIKELIHOOD")]
    pub likelihood: Option<String>,
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
