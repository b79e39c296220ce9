//! The names of the values that programs and their callers agree on.

/// Images that the network sees, `[N, ...]` in [0, 1].
pub const IMAGES: &str = "images";
/// The images that an attack started from.
pub const CLEAN: &str = "clean";
/// Class indices, int64 `[N]`; of a regression the numbers to be learnt, float32 `[N, K]`.
pub const LABELS: &str = "labels";
/// The classes that a targeted attack wants the images to be taken for, int64 `[N]`.
pub const TARGETS: &str = "targets";
/// What the classes' probabilities are the softmax of, `[N, classes]`.
pub const LOGITS: &str = "logits";
/// Class probabilities, `[N, classes]`.
pub const PROBABILITIES: &str = "probabilities";
/// The gradient of the sum of losses with respect to the images, summed over draws.
pub const GRADIENT: &str = "gradient";
/// 1 to add to the gradient of earlier draws, 0 to begin anew.
pub const KEEP: &str = "keep";
/// The radius of the attack, L-infinity, in units of the images.
pub const RADIUS: &str = "radius";
/// The size of one attack step; 0 while draws are still being summed.
pub const STEP_SIZE: &str = "step_size";
/// The learning rate.
pub const LEARNING_RATE: &str = "learning_rate";
/// The number of the optimizer's step, 1, 2, ..., float32.
pub const STEP: &str = "optimizer_step";
/// The factor of the KL: alpha / number of training images.
pub const KL_SCALE: &str = "kl_scale";
/// What training minimises: the mean loss of the images + scale * KL.
pub const LOSS: &str = "loss";
/// What a regression model says, the mean of the answers, `[N, K]`.
pub const OUTPUTS: &str = "outputs";
/// The mean negative log-likelihood of a regression's answers.
pub const NLL: &str = "nll";
/// The mean over images and answers of a regression's squared errors.
pub const SQUARED_ERROR: &str = "squared_error";
/// The mean cross-entropy.
pub const CROSS_ENTROPY: &str = "cross_entropy";
/// The mean KL between the probabilities of clean and of attacked images, of TRADES.
pub const DIVERGENCE: &str = "divergence";
/// The KL, without its factor.
pub const KL: &str = "kl";
/// The number of images whose greatest logit is at the label.
pub const CORRECT: &str = "correct";
/// The loss of each image, `[N]`.
pub const LOSSES: &str = "losses";

/// How much of an average over steps is kept at a step, 0 to 1.
pub const EMA_DECAY: &str = "ema_decay";

/// What follows a weight's name in the names of the means of its posterior.
pub const MEAN: &str = ".mean";
/// The same for the logarithms of the standard deviations.
pub const LOG_STD: &str = ".log_std";
/// What follows the name of a parameter or running statistic in the name of its average over
/// steps.
pub const EMA: &str = ".ema";
/// What follows a parameter's name in the name of the optimizer's state that belongs to
/// it: SGD's velocity.
pub const VELOCITY: &str = ".velocity";
/// The same for Adam's mean of gradients.
pub const MOMENT1: &str = ".moment1";
/// The same for Adam's mean of squared gradients.
pub const MOMENT2: &str = ".moment2";

/// What follows a posterior's name in the name of an input of standard normal numbers.
pub const NOISE: &str = ".noise";
/// The same for an input of drawn weights, mean + exp(log-std) * noise.
pub const DRAW: &str = ".draw";
