//! Networks with fresh weights: those of the paper, and two more.

mod builder;
mod plain;
mod random;
mod residual;
#[cfg(test)]
mod tests;

use std::fmt;
use std::str::FromStr;

use graphs::Model;

use self::builder::Builder;
use crate::{Error, Result};

/// A family of networks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Architecture {
    /// VGG-16 with BatchNormalization, in the form for CIFAR-10.
    Vgg16,
    /// The paper's network for STL-10.
    ModelA,
    /// ResNet-18: for images up to 64 pixels with a 3x3 stem, above as for ImageNet.
    ResNet18,
    /// Three convolutions, for trying things out.
    SmallCnn,
}

impl Architecture {
    /// Every family.
    pub const ALL: [Architecture; 4] =
        [Architecture::Vgg16, Architecture::ModelA, Architecture::ResNet18, Architecture::SmallCnn];

    /// The least height and width of images: what all pools together divide by.
    pub fn least_size(self) -> usize {
        match self {
            Architecture::Vgg16 => 32,
            Architecture::ModelA => 80,
            Architecture::ResNet18 => 1,
            Architecture::SmallCnn => 8,
        }
    }

    /// An ONNX model `input` `[N, C, H, W]` -> `logits` `[N, classes]` with fresh
    /// weights: U(+-1/sqrt(fan_in)) for weights and biases of Conv and Linear, U(0, 1)
    /// for gamma of BatchNormalization, as the published code of Adv-BNN has it. Same
    /// `seed`, same weights. `width` scales the number of channels of every layer.
    ///
    /// # Errors
    /// When the images are too small for the pools, or a size is zero or absurd.
    pub fn build(self, input: [usize; 3], classes: usize, width: f32, seed: u64) -> Result<Model> {
        self.validate(input, classes, width)?;
        let (mut builder, images) = Builder::new(&self.to_string(), input, width, seed);
        let logits = match self {
            Architecture::Vgg16 => builder.plain(plain::VGG16, images, classes)?,
            Architecture::ModelA => builder.plain(plain::MODEL_A, images, classes)?,
            Architecture::SmallCnn => builder.plain(plain::SMALL_CNN, images, classes)?,
            Architecture::ResNet18 => builder.resnet18(images, classes)?,
        };
        Ok(builder.finish(logits))
    }

    fn validate(
        self,
        [channels, height, width]: [usize; 3],
        classes: usize,
        scale: f32,
    ) -> Result<()> {
        // Far above any real network, and far below what overflows.
        const MOST: usize = 1 << 16;
        let least = self.least_size();
        let reason = if height < least || width < least {
            format!("{height}x{width} images are too small; it needs at least {least}x{least}")
        } else if channels == 0 || [channels, height, width].iter().any(|&n| n > MOST) {
            format!("{channels}x{height}x{width} is no size of images")
        } else if !(1..=MOST).contains(&classes) {
            format!("{classes} classes; give between 1 and {MOST}")
        } else if !(scale > 0.0 && scale <= 16.0) {
            format!("a width of {scale}; give more than 0 and at most 16")
        } else {
            return Ok(());
        };
        Err(Error::Model(format!("{self}: {reason}")))
    }
}

impl fmt::Display for Architecture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Architecture::Vgg16 => "vgg16",
            Architecture::ModelA => "model-a",
            Architecture::ResNet18 => "resnet18",
            Architecture::SmallCnn => "small-cnn",
        })
    }
}

impl FromStr for Architecture {
    type Err = Error;

    fn from_str(text: &str) -> Result<Architecture> {
        let found =
            Architecture::ALL.into_iter().find(|architecture| architecture.to_string() == text);
        let names = Architecture::ALL.map(|architecture| architecture.to_string()).join(", ");
        found.ok_or_else(|| Error::Model(format!("no architecture `{text}`; use one of {names}")))
    }
}
