//! Test cases of Conv and ConvTranspose: every attribute, in one to three dimensions.

use super::{Case, case};

pub(super) fn forward() -> Vec<Case> {
    let conv = || case("Conv");
    vec![
        conv().x(&[2, 3, 5, 6]).x(&[4, 3, 3, 3]).x(&[4]),
        conv().with("pads", vec![1i64, 1, 1, 1]).x(&[2, 2, 4, 4]).x(&[3, 2, 3, 3]),
        conv().with("pads", vec![0i64, 2, 1, 0]).x(&[1, 2, 4, 5]).x(&[2, 2, 2, 3]),
        conv()
            .with("strides", vec![2i64, 3])
            .with("pads", vec![1i64, 0, 2, 1])
            .x(&[2, 2, 7, 8])
            .x(&[3, 2, 3, 2])
            .x(&[3]),
        conv()
            .with("dilations", vec![2i64, 1])
            .with("strides", vec![1i64, 2])
            .x(&[1, 2, 6, 7])
            .x(&[2, 2, 2, 3]),
        conv().with("group", 2i64).x(&[2, 4, 4, 4]).x(&[6, 2, 3, 3]).x(&[6]),
        conv()
            .with("group", 3i64)
            .with("strides", vec![2i64, 2])
            .with("pads", vec![1i64, 1, 1, 1])
            .x(&[2, 3, 5, 5])
            .x(&[3, 1, 3, 3]),
        conv().with("auto_pad", "SAME_UPPER").x(&[1, 1, 5, 4]).x(&[2, 1, 2, 2]),
        conv()
            .with("auto_pad", "SAME_LOWER")
            .with("strides", vec![2i64, 2])
            .x(&[1, 2, 6, 5])
            .x(&[2, 2, 3, 3]),
        conv().with("strides", vec![2i64, 2]).x(&[2, 3, 5, 4]).x(&[4, 3, 2, 2]),
        conv().with("strides", vec![2i64, 2]).x(&[2, 3, 5, 4]).x(&[4, 3, 1, 1]).x(&[4]),
        conv().x(&[2, 3, 4, 4]).x(&[4, 3, 1, 1]),
        conv().with("pads", vec![3i64, 3]).x(&[2, 2, 5]).x(&[3, 2, 2]).x(&[3]),
        conv().with("pads", vec![4i64, 4]).x(&[1, 2, 9]).x(&[2, 2, 9]),
        conv().with("strides", vec![3i64]).with("group", 2i64).x(&[2, 2, 9]).x(&[4, 1, 3]),
        conv().with("pads", vec![0i64, 1, 1, 1, 0, 1]).x(&[1, 2, 3, 4, 3]).x(&[2, 2, 2, 3, 2]),
        conv().with("pads", vec![4i64; 4]).x(&[1, 1, 3, 3]).x(&[2, 1, 9, 9]),
        conv().with("pads", vec![1i64, 0, 0, 1]).x(&[1, 16, 3, 3]).x(&[2, 16, 2, 3]),
        conv()
            .with("strides", vec![2i64, 1, 2])
            .with("dilations", vec![1i64, 2, 1])
            .with("pads", vec![1i64, 0, 0, 0, 2, 1])
            .with("group", 2i64)
            .x(&[1, 4, 3, 4, 4])
            .x(&[4, 2, 2, 2, 3])
            .x(&[4]),
        conv()
            .with("dilations", vec![3i64])
            .with("pads", vec![3i64, 2])
            .with("group", 2i64)
            .x(&[2, 2, 7])
            .x(&[2, 1, 3]),
        conv().with("auto_pad", "SAME_UPPER").x(&[1, 2, 6]).x(&[2, 2, 4]),
        conv().with("auto_pad", "VALID").x(&[1, 1, 3, 4, 3]).x(&[2, 1, 2, 2, 2]),
    ]
}

pub(super) fn transposed() -> Vec<Case> {
    let conv = || case("ConvTranspose");
    vec![
        conv().x(&[2, 3, 4, 3]).x(&[3, 2, 3, 3]).x(&[2]),
        conv()
            .with("strides", vec![2i64, 2])
            .with("pads", vec![1i64, 1, 1, 1])
            .with("output_padding", vec![1i64, 1])
            .x(&[1, 2, 3, 4])
            .x(&[2, 3, 3, 3]),
        conv()
            .with("strides", vec![2i64, 3])
            .with("pads", vec![0i64, 1, 2, 0])
            .x(&[2, 2, 3, 3])
            .x(&[2, 2, 3, 2]),
        conv().with("dilations", vec![2i64, 1]).x(&[1, 2, 3, 3]).x(&[2, 1, 2, 3]),
        conv()
            .with("group", 2i64)
            .with("strides", vec![2i64, 2])
            .x(&[2, 4, 3, 2])
            .x(&[4, 3, 2, 2])
            .x(&[6]),
        conv().with("group", 3i64).x(&[1, 3, 3, 3]).x(&[3, 1, 2, 2]),
        conv().with("strides", vec![2i64]).x(&[2, 2, 4]).x(&[2, 3, 3]),
        conv().with("strides", vec![2i64, 2, 2]).x(&[1, 2, 2, 2, 2]).x(&[2, 1, 2, 2, 2]),
        conv()
            .with("strides", vec![2i64, 1, 3])
            .with("dilations", vec![1i64, 2, 1])
            .with("pads", vec![0i64, 1, 0, 1, 0, 2])
            .with("output_padding", vec![1i64, 0, 2])
            .with("group", 2i64)
            .x(&[1, 4, 2, 3, 2])
            .x(&[4, 1, 2, 2, 3])
            .x(&[2]),
        conv()
            .with("strides", vec![3i64])
            .with("dilations", vec![2i64])
            .with("output_padding", vec![1i64])
            .with("group", 2i64)
            .x(&[2, 4, 3])
            .x(&[4, 2, 3]),
        conv()
            .with("strides", vec![2i64, 2])
            .with("auto_pad", "SAME_UPPER")
            .x(&[1, 2, 3, 4])
            .x(&[2, 2, 3, 3]),
        conv()
            .with("strides", vec![2i64])
            .with("auto_pad", "SAME_LOWER")
            .x(&[1, 2, 4])
            .x(&[2, 1, 3]),
        conv()
            .with("strides", vec![2i64, 2])
            .with("auto_pad", "VALID")
            .x(&[1, 1, 3, 2])
            .x(&[1, 2, 3, 2]),
        conv()
            .with("strides", vec![2i64, 3])
            .with("output_shape", vec![6i64, 9])
            .x(&[1, 2, 3, 3])
            .x(&[2, 2, 3, 3]),
        conv()
            .with("strides", vec![2i64])
            .with("auto_pad", "SAME_UPPER")
            .with("output_shape", vec![8i64])
            .x(&[1, 2, 4])
            .x(&[2, 1, 3]),
    ]
}
