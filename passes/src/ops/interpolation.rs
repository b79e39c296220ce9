//! The linear map that a Resize is along one axis.
//!
//! Formulas: the ONNX specification of Resize-18 and its reference implementation; in
//! float32 and in the order of ONNX Runtime, so that ties round as there.

use std::collections::BTreeMap;

use graphs::Op;

/// How positions in the output become positions in the input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Coordinates {
    HalfPixel,
    HalfPixelSymmetric,
    PytorchHalfPixel,
    AlignCorners,
    Asymmetric,
    TfHalfPixelForNn,
    TfCropAndResize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rounding {
    Floor,
    Ceil,
    PreferFloor,
    PreferCeil,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Kernel {
    Nearest(Rounding),
    Linear,
    /// With its coefficient a.
    Cubic(f32),
}

/// What the attributes of a Resize say.
#[derive(Clone, Copy, Debug)]
pub(super) struct Interpolation {
    coordinates: Coordinates,
    kernel: Kernel,
    antialias: bool,
    exclude_outside: bool,
}

/// One axis of a Resize.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Axis {
    /// Elements of the input.
    pub(super) size: usize,
    /// Elements of the output.
    pub(super) count: usize,
    /// Output elements for one of the input.
    pub(super) scale: f32,
    /// Start and end of the part that is resized, as shares of the axis.
    pub(super) region: (f32, f32),
}

/// The elements that one element of the output is made of, with their weights.
pub(super) type Row = Vec<(usize, f32)>;

impl Interpolation {
    /// Reads the attributes; what is unknown comes back as text.
    pub(super) fn of(op: &Op) -> Result<Interpolation, String> {
        let text = |name: &str, default: &'static str| {
            op.string(name).map_or_else(|| default.to_owned(), str::to_owned)
        };
        let mode = text("coordinate_transformation_mode", "half_pixel");
        let coordinates = match mode.as_str() {
            "half_pixel" => Coordinates::HalfPixel,
            "half_pixel_symmetric" => Coordinates::HalfPixelSymmetric,
            "pytorch_half_pixel" => Coordinates::PytorchHalfPixel,
            "align_corners" => Coordinates::AlignCorners,
            "asymmetric" => Coordinates::Asymmetric,
            "tf_half_pixel_for_nn" => Coordinates::TfHalfPixelForNn,
            "tf_crop_and_resize" => Coordinates::TfCropAndResize,
            other => return Err(format!("coordinate_transformation_mode `{other}` is unknown")),
        };
        let nearest = text("nearest_mode", "round_prefer_floor");
        let rounding = match nearest.as_str() {
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            "round_prefer_floor" => Rounding::PreferFloor,
            "round_prefer_ceil" => Rounding::PreferCeil,
            other => return Err(format!("nearest_mode `{other}` is unknown")),
        };
        let kernel = match text("mode", "nearest").as_str() {
            "nearest" => Kernel::Nearest(rounding),
            "linear" => Kernel::Linear,
            "cubic" => Kernel::Cubic(op.float("cubic_coeff_a", -0.75)),
            other => return Err(format!("mode `{other}` is unknown")),
        };
        let [antialias, exclude_outside] =
            ["antialias", "exclude_outside"].map(|name| op.int(name, 0) != 0);
        Ok(Interpolation { coordinates, kernel, antialias, exclude_outside })
    }

    /// True if only a part of the input is resized.
    pub(super) fn crops(&self) -> bool {
        self.coordinates == Coordinates::TfCropAndResize
    }

    /// One row for every element of the output.
    pub(super) fn rows(&self, axis: &Axis) -> Vec<Row> {
        (0..axis.count).map(|i| self.row(axis, i)).collect()
    }

    fn row(&self, axis: &Axis, i: usize) -> Row {
        let last = axis.size as f32 - 1.0;
        let x = self.source(axis, i as f32);
        if self.crops() && !(0.0..=last).contains(&x) {
            return Row::new();
        }
        let shrink = if self.antialias { axis.scale.min(1.0) } else { 1.0 };
        let floor = x.floor();
        let reach = match self.kernel {
            Kernel::Nearest(rounding) => {
                let place = match rounding {
                    Rounding::Floor => floor,
                    Rounding::Ceil => x.ceil(),
                    Rounding::PreferFloor if x == floor + 0.5 => floor,
                    Rounding::PreferFloor | Rounding::PreferCeil => x.round(),
                };
                return vec![(place.clamp(0.0, last) as usize, 1.0)];
            }
            Kernel::Linear => 1.0,
            Kernel::Cubic(_) => 2.0,
        };
        let mut weights: BTreeMap<usize, f32> = BTreeMap::new();
        let mut total = 0.0;
        let first = (x - reach / shrink).floor() as i64;
        let end = (x + reach / shrink).ceil() as i64;
        for place in first..=end {
            let weight = self.weight((place as f32 - x) * shrink);
            let inside = place.clamp(0, axis.size as i64 - 1);
            if inside == place || !self.exclude_outside {
                *weights.entry(inside as usize).or_default() += weight;
                total += weight;
            }
        }
        let normalize = self.antialias || self.exclude_outside;
        let divisor = if normalize && total != 0.0 { total } else { 1.0 };
        let row = weights.into_iter().map(|(place, weight)| (place, weight / divisor));
        row.filter(|(_, weight)| *weight != 0.0).collect()
    }

    /// The weight of what is `distance` away.
    fn weight(&self, distance: f32) -> f32 {
        let x = distance.abs();
        match self.kernel {
            Kernel::Cubic(a) if x < 1.0 => ((a + 2.0) * x - (a + 3.0)) * x * x + 1.0,
            Kernel::Cubic(a) if x < 2.0 => ((a * x - 5.0 * a) * x + 8.0 * a) * x - 4.0 * a,
            Kernel::Cubic(_) => 0.0,
            _ => (1.0 - x).max(0.0),
        }
    }

    /// The position in the input of position `i` in the output.
    fn source(&self, axis: &Axis, i: f32) -> f32 {
        let (size, count, scale) = (axis.size as f32, axis.count as f32, axis.scale);
        match self.coordinates {
            Coordinates::HalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::HalfPixelSymmetric => {
                let adjustment = count / (scale * size);
                size / 2.0 * (1.0 - adjustment) + (i + 0.5) / scale - 0.5
            }
            Coordinates::PytorchHalfPixel if axis.count <= 1 => 0.0,
            Coordinates::PytorchHalfPixel => (i + 0.5) / scale - 0.5,
            Coordinates::AlignCorners if axis.count <= 1 => 0.0,
            Coordinates::AlignCorners => i * (size - 1.0) / (count - 1.0),
            Coordinates::Asymmetric => i / scale,
            Coordinates::TfHalfPixelForNn => (i + 0.5) / scale,
            Coordinates::TfCropAndResize => {
                let (start, end) = axis.region;
                if axis.count <= 1 {
                    0.5 * (start + end) * (size - 1.0)
                } else {
                    start * (size - 1.0) + i * (end - start) * (size - 1.0) / (count - 1.0)
                }
            }
        }
    }
}

/// How many neighbours in the output copy each element of the input, if all copy the same
/// number.
pub(super) fn copies(rows: &[Row], size: usize) -> Option<usize> {
    let factor = rows.len().checked_div(size)?;
    let copied = |(i, row): (usize, &Row)| row.as_slice() == [(i / factor.max(1), 1.0)];
    (factor * size == rows.len() && rows.iter().enumerate().all(copied)).then_some(factor)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn rows(op: Op, size: usize, count: usize) -> Vec<Row> {
        let scale = count as f32 / size as f32;
        Interpolation::of(&op).unwrap().rows(&Axis { size, count, scale, region: (0.0, 1.0) })
    }

    #[test]
    fn nearest_neighbours_are_copies() {
        assert_eq!(copies(&rows(Op::new("Resize"), 3, 6), 3), Some(2));
        assert_eq!(copies(&rows(Op::new("Resize"), 3, 5), 3), None);
        let floor = Op::new("Resize").with("coordinate_transformation_mode", "asymmetric");
        let found = rows(floor.with("nearest_mode", "floor"), 2, 5);
        let places: Vec<usize> = found.iter().map(|row| row[0].0).collect();
        assert_eq!(places, [0, 0, 0, 1, 1]);
    }

    #[test]
    fn weights_sum_to_one() {
        for mode in ["linear", "cubic"] {
            for antialias in [0i64, 1] {
                for (size, count) in [(3, 7), (7, 3), (1, 4), (4, 1), (5, 5)] {
                    let op = Op::new("Resize").with("mode", mode).with("antialias", antialias);
                    for row in rows(op, size, count) {
                        let sum: f32 = row.iter().map(|(_, weight)| weight).sum();
                        assert!((sum - 1.0).abs() < 1e-5, "{mode} {antialias} {size} {count}");
                        assert!(row.iter().all(|(place, _)| *place < size));
                    }
                }
            }
        }
        let halves = rows(Op::new("Resize").with("mode", "linear"), 2, 4);
        assert_eq!(halves[1], [(0, 0.75), (1, 0.25)]);
    }
}
