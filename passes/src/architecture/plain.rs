//! Networks without branches, given as a list.

use graphs::Value;

use super::builder::{Builder, Features, Window};
use crate::Result;

/// One step of a plain network.
#[derive(Clone, Copy, Debug)]
pub(super) enum Item {
    /// A 3x3 convolution to that many channels with padding 1, BatchNormalization,
    /// ReLU.
    Same(usize),
    /// The same without padding.
    Valid(usize),
    /// Max pooling over 2x2 windows.
    Pool,
}
use Item::{Pool, Same, Valid};

/// VGG-16 in the form for CIFAR-10.
#[rustfmt::skip]
pub(super) const VGG16: &[Item] = &[
    Same(64), Same(64), Pool,
    Same(128), Same(128), Pool,
    Same(256), Same(256), Same(256), Pool,
    Same(512), Same(512), Same(512), Pool,
    Same(512), Same(512), Same(512), Pool,
];

/// The paper's Model A.
#[rustfmt::skip]
pub(super) const MODEL_A: &[Item] = &[
    Same(32), Pool,
    Same(64), Pool,
    Same(128), Pool,
    Same(256), Pool,
    Valid(256), Valid(512),
];

pub(super) const SMALL_CNN: &[Item] = &[Same(32), Pool, Same(64), Pool, Same(128), Pool];

impl Builder {
    /// The items in order, then the classifier: the logits. Layers are numbered as in
    /// one `torch.nn.Sequential` named `features`.
    pub(super) fn plain(
        &mut self,
        plan: &[Item],
        images: Features,
        classes: usize,
    ) -> Result<Value> {
        let mut x = images;
        let mut layers = (0usize..).map(|i| format!("features.{i}"));
        let mut next = || layers.next().unwrap_or_default();
        for &item in plan {
            let (channels, pad) = match item {
                Same(channels) => (channels, 1),
                Valid(channels) => (channels, 0),
                Pool => {
                    x = self.max_pool(&next(), x, Window::new(2, 2, 0));
                    continue;
                }
            };
            let channels = self.channels(channels);
            x = self.conv(&next(), x, channels, Window::new(3, 1, pad), true)?;
            x = self.batch_norm(&next(), x)?;
            x = self.relu(&next(), x);
        }
        self.classify("classifier", x, classes)
    }
}
