//! The flags of `reproduce`.

use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;

/// `advbnn reproduce`
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    advbnn reproduce table1 --preset fashion --data fashion-mnist -o fashion\n  \
    advbnn reproduce fig3 --preset fashion --data fashion-mnist -o fashion\n  \
    advbnn reproduce table1 --preset cifar10-small --pretrained net.onnx --data cifar10 -o cifar10\n  \
    advbnn reproduce tradeoff --preset fashion --data fashion-mnist -o fashion\n  \
    advbnn reproduce fig2 --preset paper-cifar10 --variant code --data cifar10 -o paper\n\n\
    Trains none, adv, bnn, adv-bnn and rse (fig4: adv and adv-bnn; tradeoff: these two over the \
    training radius and the weight of the KL) from the same network. table1 \
    and fig2 attack each with PGD-20, one draw a step as in the paper, and with EOT-PGD-20, 20 \
    draws a step; fig3 has the affinity matrix; fig4 the accuracy against the draws of a \
    prediction and against the steps of the attack; tradeoff clean against robust accuracy. The commands that it runs are in \
    EXPERIMENT.sh. What was done before is not done again: a run that was stopped goes on, and \
    experiments in one folder share the models.")]
pub struct Reproduce {
    /// table1: accuracies at the paper's radii; fig2: at many radii; fig3: affinity of the
    /// models; fig4: accuracy against draws and against steps; tradeoff: clean against robust
    /// accuracy of adv and adv-bnn, over the training radius and alpha
    pub experiment: String,
    /// fashion and cifar10-small finish on two cores; paper-cifar10, paper-stl10,
    /// paper-imagenet143 are the paper's own
    #[arg(long, default_value = "fashion")]
    pub preset: String,
    /// A pretrained ONNX classifier of these images that every training starts from, in place of
    /// the preset's fresh network; cifar10-small needs one
    #[arg(long, value_name = "FILE")]
    pub pretrained: Option<PathBuf>,
    /// Where the paper and its published code differ: paper (SGD, random weights only) or code
    /// (KL of VGG over its last layer only) [default: what works in both]
    #[arg(long)]
    pub variant: Option<String>,
    /// The data, with a training and a test part
    #[arg(long, value_name = "DIR")]
    pub data: PathBuf,
    /// Folder for the runs, evaluations and tables
    #[arg(short, long, value_name = "DIR")]
    pub output: PathBuf,
    /// Epochs of every training [default: the preset's]
    #[arg(long, value_name = "N")]
    pub epochs: Option<NonZeroUsize>,
    /// Train on so many images only
    #[arg(long, value_name = "N")]
    pub limit: Option<NonZeroUsize>,
    /// Attack so many test images
    #[arg(long, value_name = "N", default_value = "1000")]
    pub images: NonZeroUsize,
    /// Weight draws that a prediction averages
    #[arg(long, value_name = "N", default_value = "20")]
    pub samples: NonZeroUsize,
    /// Seed of networks, trainings and attacks
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}
