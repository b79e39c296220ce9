//! Resizing images.

use graphs::{Fact, Op, Tensor, Value, element_count};

use super::interpolation::{Axis, Interpolation, Row, copies};
use super::{Adjoint, Call, Case, Def, Gradient, case, only};
use crate::{Result, Tape, signed};

pub(super) const TABLE: &[Def] = &[Def {
    op: "Resize",
    infer: |call| {
        let shape = resized(call)?.iter().map(|axis| axis.count).collect::<Vec<_>>();
        Ok(vec![Fact::new(call.dtype(0)?, &shape)])
    },
    gradient: Gradient::Rule(gradient),
    eval: None,
    cases,
}];

fn cases() -> Vec<Case> {
    let resize = |mode: &str, shape: &[usize]| case("Resize").with("mode", mode).x(shape);
    let by = |case: Case, scales: &[f32]| case.absent().constant(Tensor::vector(scales));
    let to = |case: Case, sizes: &[i64]| case.absent().absent().ints(sizes);
    let at = |case: Case, mode: &str| case.with("coordinate_transformation_mode", mode);
    let image = [1, 2, 4, 3];
    let mut cases = vec![
        by(at(resize("nearest", &image), "asymmetric"), &[1.0, 1.0, 2.0, 3.0]),
        to(resize("nearest", &image), &[1, 2, 8, 6]),
        to(resize("nearest", &[2, 3, 4]), &[2, 3, 8]),
        to(resize("nearest", &[1, 1, 2, 3, 2]), &[1, 1, 4, 3, 4]),
        to(resize("nearest", &[3, 2]), &[6, 5]),
        to(resize("linear", &[3, 2]), &[5, 4]),
        by(resize("linear", &[1, 2, 3, 3, 2]), &[1.0, 1.0, 2.0, 1.5, 2.0]),
        to(resize("linear", &image).with("axes", vec![3i64, 2]), &[6, 7]),
        by(resize("linear", &image), &[1.0, 1.0, 1.3, 0.8]),
        to(resize("cubic", &image).with("cubic_coeff_a", -0.5f32), &[1, 2, 7, 5]),
        to(resize("cubic", &image).with("exclude_outside", 1i64), &[1, 2, 3, 5]),
        to(resize("linear", &[1, 1, 8, 6]).with("antialias", 1i64), &[1, 1, 3, 4]),
        to(resize("cubic", &[1, 1, 9, 6]).with("antialias", 1i64), &[1, 1, 4, 8]),
        to(
            resize("cubic", &[1, 1, 9, 6]).with("antialias", 1i64).with("exclude_outside", 1i64),
            &[1, 1, 4, 3],
        ),
        at(resize("linear", &[1, 1, 4, 5]), "tf_crop_and_resize")
            .with("extrapolation_value", 0.5f32)
            .constant(Tensor::vector(&[0f32, 0.0, 0.2, -0.1, 1.0, 1.0, 0.7, 0.8]))
            .absent()
            .ints(&[1, 1, 3, 4]),
    ];
    for mode in ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"] {
        cases.push(to(at(resize("linear", &image), mode), &[1, 2, 7, 2]));
        cases.push(to(at(resize("cubic", &image), mode), &[1, 2, 6, 4]));
        for nearest in ["floor", "ceil", "round_prefer_floor", "round_prefer_ceil"] {
            let call = at(resize("nearest", &image), mode).with("nearest_mode", nearest);
            cases.push(to(call, &[1, 2, 7, 2]));
        }
    }
    for policy in ["not_larger", "not_smaller"] {
        let call = resize("linear", &image).with("axes", vec![2i64, 3]);
        cases.push(to(call.with("keep_aspect_ratio_policy", policy), &[8, 9]));
    }
    cases
}

/// The greatest size that an axis may get.
const SIZE: f32 = (1u64 << 31) as f32;

/// Every axis of the argument.
fn resized(call: &Call) -> Result<Vec<Axis>> {
    let shape = call.shape(0)?;
    let interpolation = Interpolation::of(call.op).map_err(|reason| call.error(reason))?;
    let whole = |&size: &usize| Axis { size, count: size, scale: 1.0, region: (0.0, 1.0) };
    let mut result: Vec<Axis> = shape.iter().map(whole).collect();
    let axes = match call.op.ints("axes") {
        Some(axes) => call.axes(axes, shape.len())?,
        None => (0..shape.len()).collect(),
    };
    let wrong =
        |what: &str, found: usize| call.error(format!("{found} {what} for {} axes", axes.len()));
    let scales = numbers(call, 2)?;
    let sizes = call.integers(3)?.filter(|sizes| !sizes.is_empty());
    if let Some(region) = numbers(call, 1)?.filter(|_| interpolation.crops()) {
        if region.len() != 2 * axes.len() {
            return Err(wrong("numbers of a region", region.len()));
        }
        let (starts, ends) = region.split_at(axes.len());
        for ((&i, &start), &end) in axes.iter().zip(starts).zip(ends) {
            result[i].region = (start, end);
        }
    } else if interpolation.crops() {
        return Err(call.error("argument 1, the region, is missing"));
    }
    match (scales, sizes) {
        (Some(scales), None) => {
            if scales.len() != axes.len() {
                return Err(wrong("scales", scales.len()));
            }
            for (&i, &scale) in axes.iter().zip(&scales) {
                let axis = &mut result[i];
                axis.scale = scale;
                axis.count = sized(call, (axis.size as f32 * scale).floor(), scale)?;
            }
        }
        (None, Some(sizes)) => {
            if sizes.len() != axes.len() {
                return Err(wrong("sizes", sizes.len()));
            }
            for (&i, &size) in axes.iter().zip(&sizes) {
                let axis = &mut result[i];
                axis.scale = size as f32 / axis.size as f32;
                axis.count = sized(call, size as f32, axis.scale)?;
            }
            let scales = axes.iter().map(|&i| result[i].scale);
            let scale = match call.op.string("keep_aspect_ratio_policy") {
                None | Some("stretch") => None,
                Some("not_larger") => scales.reduce(f32::min),
                Some("not_smaller") => scales.reduce(f32::max),
                Some(other) => {
                    let reason = format!("keep_aspect_ratio_policy `{other}` is unknown");
                    return Err(call.error(reason));
                }
            };
            for (&i, scale) in axes.iter().zip(scale.into_iter().cycle()) {
                let axis = &mut result[i];
                axis.scale = scale;
                axis.count = sized(call, (scale * axis.size as f32 + 0.5).floor(), scale)?;
            }
        }
        _ => return Err(call.error("needs either scales or sizes")),
    }
    Ok(result)
}

/// A constant argument as floats; `None` if it is absent or empty.
fn numbers(call: &Call, i: usize) -> Result<Option<Vec<f32>>> {
    if !call.has(i) {
        return Ok(None);
    }
    let tensor = call.constant(i);
    let tensor = tensor.ok_or_else(|| call.error(format!("argument {i} must be a constant")))?;
    let numbers = tensor.floats()?.into_owned();
    Ok(Some(numbers).filter(|numbers| !numbers.is_empty()))
}

fn sized(call: &Call, size: f32, scale: f32) -> Result<usize> {
    if scale.is_finite() && scale > 0.0 && (0.0..SIZE).contains(&size) {
        return Ok(size as usize);
    }
    Err(call.error(format!("cannot resize an axis to {size} elements, by {scale}")))
}

/// The greatest matrix that an axis is resized with.
const MATRIX: usize = 1 << 24;

/// Along every axis the transpose of the Resize: a sum over copies where it copies, else
/// a product with the matrix of its weights.
fn gradient(s: &mut Adjoint) -> Result<Vec<Option<Value>>> {
    let (call, dy, shape) = (s.call()?, s.dy()?, s.shape(0)?);
    let axes = resized(&call)?;
    let interpolation = Interpolation::of(call.op).map_err(|reason| call.error(reason))?;
    let mut maps: Vec<(usize, Vec<Row>)> = Vec::new();
    for (i, axis) in axes.iter().enumerate() {
        if axis.size == axis.count && axis.scale == 1.0 && !interpolation.crops() {
            continue;
        }
        if element_count(&[axis.size, axis.count]).is_none_or(|count| count > MATRIX) {
            let reason = format!("no gradient for resizing {} to {}", axis.size, axis.count);
            return Err(s.error(format!("{reason} elements: the matrix is too large")));
        }
        maps.push((i, interpolation.rows(axis)));
    }
    let factors = |(i, rows): &(usize, Vec<Row>)| {
        let factor = copies(rows, *shape.get(*i)?).filter(|_| *i >= 2)?;
        Some((*i, factor))
    };
    let copied: Option<Vec<(usize, usize)>> = maps.iter().map(factors).collect();
    if let Some(factors) = copied.filter(|_| (3..=5).contains(&shape.len())) {
        return only(pooled(s, dy, shape.len(), &factors)?);
    }
    let mut dx = dy;
    for (i, rows) in maps {
        dx = transposed(s.tape, dx, i, shape.get(i).copied().unwrap_or(1), &rows)?;
    }
    only(dx)
}

/// Sums of windows side by side; `factors` are their sizes along some spatial axes.
fn pooled(s: &mut Adjoint, dy: Value, rank: usize, factors: &[(usize, usize)]) -> Result<Value> {
    let mut window = vec![1; rank - 2];
    let mut count = 1.0;
    for &(axis, factor) in factors {
        window[axis - 2] = factor;
        count *= factor as f64;
    }
    if count == 1.0 {
        return Ok(dy);
    }
    let window = signed(&window);
    let pool = Op::new("AveragePool").with("kernel_shape", &window[..]);
    let mean = s.tape.op(pool.with("strides", window), &[dy])?;
    s.scaled(mean, count)
}

/// Multiplies `axis` of `x`, which becomes `size` long, by the transpose of `rows`.
fn transposed(tape: &mut Tape, x: Value, axis: usize, size: usize, rows: &[Row]) -> Result<Value> {
    let (shape, count) = (tape.shape(x)?, rows.len());
    let (outer, rest) = shape.split_at(axis);
    let inner = rest.get(1..).unwrap_or(&[]);
    let after = [outer, &[size], inner].concat();
    let (outer, inner): (usize, usize) = (outer.iter().product(), inner.iter().product());
    let last = inner == 1;
    let mut matrix = vec![0f32; count * size];
    for (i, row) in rows.iter().enumerate() {
        for &(j, weight) in row {
            matrix[if last { i * size + j } else { j * count + i }] += weight;
        }
    }
    let sides = if last { [count, size] } else { [size, count] };
    let matrix = tape.constant(Tensor::new(&sides, matrix)?);
    let matrix = tape.cast(matrix, tape.dtype(x)?)?;
    let product = if last {
        let x = tape.reshape(x, &[outer, count])?;
        tape.apply("MatMul", &[x, matrix])?
    } else {
        let x = tape.reshape(x, &[outer, count, inner])?;
        tape.apply("MatMul", &[matrix, x])?
    };
    tape.reshape(product, &after)
}

#[cfg(test)]
mod tests {
    use super::super::trial::{refusal, shape};
    use super::*;

    #[test]
    fn sizes_come_from_scales_or_sizes() {
        let call = || case("Resize").x(&[1, 3, 5, 4]);
        let scales = |scales: &[f32]| call().absent().constant(Tensor::vector(scales));
        assert_eq!(shape(scales(&[1.0, 1.0, 2.5, 0.6])), [1, 3, 12, 2]);
        assert_eq!(shape(call().absent().absent().ints(&[1, 3, 7, 7])), [1, 3, 7, 7]);
        let both = call().with("axes", vec![2i64, -1]).absent().absent().ints(&[10, 10]);
        assert_eq!(
            shape(both.clone().with("keep_aspect_ratio_policy", "not_larger")),
            [1, 3, 10, 8]
        );
        assert_eq!(shape(both.with("keep_aspect_ratio_policy", "not_smaller")), [1, 3, 13, 10]);
        let empty = call().absent().constant(Tensor::vector::<f32>(&[])).ints(&[1, 3, 2, 2]);
        assert_eq!(shape(empty), [1, 3, 2, 2]);
    }

    #[test]
    fn what_has_no_size_is_refused() {
        let call = || case("Resize").x(&[2, 3]);
        let scales = |scales: &[f32]| refusal(call().absent().constant(Tensor::vector(scales)));
        assert!(refusal(call()).contains("either scales or sizes"));
        assert!(scales(&[1.0]).contains("1 scales for 2 axes"));
        assert!(scales(&[1.0, f32::NAN]).contains("cannot resize"));
        assert!(scales(&[1.0, -2.0]).contains("cannot resize"));
        assert!(scales(&[1.0, 1e30]).contains("cannot resize"));
        let sizes = |sizes: &[i64]| refusal(call().absent().absent().ints(sizes));
        assert!(sizes(&[2, i64::MAX]).contains("cannot resize"));
        let crop = "tf_crop_and_resize";
        let call = call().with("coordinate_transformation_mode", crop).absent().absent();
        assert!(refusal(call.ints(&[2, 3])).contains("the region, is missing"));
    }
}
