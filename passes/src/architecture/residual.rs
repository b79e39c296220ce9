//! ResNet-18 (He et al. 2016), layers named as in torchvision.

use graphs::Value;

use super::builder::{Builder, Features, Window};
use crate::Result;

/// Images up to this size keep their resolution in the first layer.
const SMALL: usize = 64;

impl Builder {
    /// The logits of a ResNet-18.
    pub(super) fn resnet18(&mut self, images: Features, classes: usize) -> Result<Value> {
        let [_, height, width] = images.shape;
        let small = height.max(width) <= SMALL;
        let stem = if small { Window::new(3, 1, 1) } else { Window::new(7, 2, 3) };
        let mut x = self.conv_norm("conv1", "bn1", images, self.channels(64), stem)?;
        x = self.relu("relu", x);
        if !small {
            x = self.max_pool("maxpool", x, Window::new(3, 2, 1));
        }
        for (stage, (channels, stride)) in
            [(64, 1), (128, 2), (256, 2), (512, 2)].iter().enumerate()
        {
            let channels = self.channels(*channels);
            let name = format!("layer{}", stage + 1);
            x = self.block(&format!("{name}.0"), x, channels, *stride)?;
            x = self.block(&format!("{name}.1"), x, channels, 1)?;
        }
        self.classify("fc", x, classes)
    }

    /// Two convolutions beside a shortcut, which is the identity where it can be.
    fn block(
        &mut self,
        name: &str,
        x: Features,
        channels: usize,
        stride: usize,
    ) -> Result<Features> {
        let part = |part: &str| format!("{name}.{part}");
        let first = Window::new(3, stride, 1);
        let mut y = self.conv_norm(&part("conv1"), &part("bn1"), x, channels, first)?;
        y = self.relu(&part("relu1"), y);
        let second = Window::new(3, 1, 1);
        y = self.conv_norm(&part("conv2"), &part("bn2"), y, channels, second)?;
        let [inputs, ..] = x.shape;
        let shortcut = if stride == 1 && inputs == channels {
            x
        } else {
            let window = Window::new(1, stride, 0);
            self.conv_norm(&part("downsample.0"), &part("downsample.1"), x, channels, window)?
        };
        let sum = self.add(&part("add"), y, shortcut);
        Ok(self.relu(&part("relu2"), sum))
    }

    fn conv_norm(
        &mut self,
        conv: &str,
        norm: &str,
        x: Features,
        channels: usize,
        window: Window,
    ) -> Result<Features> {
        let x = self.conv(conv, x, channels, window, false)?;
        self.batch_norm(norm, x)
    }
}
