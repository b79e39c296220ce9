//! `advbnn new`: networks with fresh weights.

use anyhow::Result;
use passes::Architecture;

use crate::cli::New;
use crate::{misuse, model, print};

pub(crate) fn run(flags: &New) -> Result<()> {
    let architecture: Architecture = flags.architecture.parse().map_err(misuse)?;
    let input = image_shape(&flags.input)?;
    let network =
        architecture.build(input, flags.classes, flags.width, flags.seed).map_err(misuse)?;
    model::write(&network, &flags.output)?;
    print::line(format_args!("wrote {}: {architecture}, fresh weights", flags.output.display()))
}

/// `3x32x32` as channels, height, width.
fn image_shape(text: &str) -> Result<[usize; 3]> {
    let sizes: Option<Vec<usize>> =
        text.split('x').map(|n| n.parse().ok().filter(|&n| n > 0)).collect();
    sizes.and_then(|s| s.try_into().ok()).ok_or_else(|| {
        misuse(format!("--input {text}: give channels x height x width, such as 3x32x32"))
    })
}

#[cfg(test)]
mod tests {
    #[test]
    fn image_shapes() {
        assert_eq!(super::image_shape("3x32x24").ok(), Some([3, 32, 24]));
        for bad in ["3x32", "3x32x0", "3x32x-1", "axbxc", "", "1x2x3x4"] {
            assert!(super::image_shape(bad).is_err(), "{bad}");
        }
    }
}
