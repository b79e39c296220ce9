//! From older opsets up to 18: one function per kind of change.

use graphs::{Op, Tensor};

use super::Rule::{self, Refuse, Rewrite};
use super::site::{Site, float, floats, int};
use crate::{Result, quantized};

/// What changed in which opset. A change of an operator's schema that has no row here
/// widened its types, or added attributes and arguments whose absence means what the
/// operator did before (onnx 1.23, `onnx.defs.get_all_schemas_with_history`).
pub(super) const TABLE: &[(i64, &[&str], Rule)] = &[
    (9, &["BatchNormalization"], Rewrite(batch_normalization_spatial)),
    (9, &["Scan"], Refuse("its first version has a batch axis; export the model again")),
    (9, &["Upsample"], Rewrite(upsample_scales)),
    (10, &["Slice"], Rewrite(slice)),
    (10, &["TopK"], Rewrite(top_k)),
    (10, &["Upsample"], Rewrite(upsample)),
    (11, &["Clip"], Rewrite(clip)),
    (11, &["Pad"], Rewrite(pad)),
    (11, &["Resize"], Rewrite(resize_coordinates)),
    (11, &["Scatter"], Rewrite(scatter)),
    (12, &["Dropout"], Rewrite(dropout)),
    (13, &["ReduceSum", "Squeeze", "Unsqueeze"], Rewrite(axes)),
    (13, &["Hardmax", "LogSoftmax", "Softmax"], Rewrite(softmax)),
    (13, &["Resize"], Rewrite(resize_optional)),
    (13, &["Split"], Rewrite(split)),
    (14, &["BatchNormalization"], Rewrite(batch_normalization_training)),
    (16, &["RoiAlign"], Rewrite(roi_align)),
    (18, REDUCTIONS, Rewrite(axes)),
    (18, &["Split"], Rewrite(split_count)),
];

/// The reductions whose axes became an argument in opset 18.
const REDUCTIONS: &[&str] = &[
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceMax",
    "ReduceMean",
    "ReduceMin",
    "ReduceProd",
    "ReduceSumSquare",
];

/// With `spatial` 0 every pixel has statistics of its own: `(x - mean) / sqrt(var + epsilon)
/// * scale + bias`, each but `x` of shape `[C, H, W]`.
fn batch_normalization_spatial(site: &mut Site) -> Result<()> {
    match site.take("spatial", int)? {
        None | Some(1) => return Ok(()),
        Some(_) if (1..site.outputs()).any(|slot| site.has_output(slot)) => {
            return Err(site.refuse("it trains statistics of every pixel by itself"));
        }
        Some(_) => {}
    }
    let x = site.x()?;
    let [scale, bias, mean, variance] =
        [site.given(1)?, site.given(2)?, site.given(3)?, site.given(4)?];
    let epsilon = site.take("epsilon", float)?.unwrap_or(1e-5);
    let epsilon = site.number("epsilon", epsilon, variance);
    let variance = site.apply("Add", &[variance, epsilon]);
    let deviation = site.apply("Sqrt", &[variance]);
    let factor = site.apply("Div", &[scale, deviation]);
    let centred = site.apply("Sub", &[x, mean]);
    let scaled = site.apply("Mul", &[centred, factor]);
    site.truncate_outputs(1);
    site.become_call(Op::new("Add"), &[scaled, bias]);
    Ok(())
}

/// Up to opset 13 the number of outputs says whether the node trains.
fn batch_normalization_training(site: &mut Site) -> Result<()> {
    let training = (1..site.outputs()).any(|slot| site.has_output(slot));
    if site.is_read(3) || site.is_read(4) {
        return Err(site.refuse("its saved statistics are read, which no longer exist"));
    }
    if training {
        site.op.attributes.insert("training_mode".to_owned(), 1.into());
    }
    site.truncate_outputs(if training { 3 } else { 1 });
    Ok(())
}

fn upsample_scales(site: &mut Site) -> Result<()> {
    if let Some(scales) = site.take("scales", floats)? {
        let scales = site.constant("scales", Tensor::vector(&scales));
        site.set(1, Some(scales));
    }
    Ok(())
}

/// Upsample only enlarges, and then Resize of opset 10 rounds down.
fn upsample(site: &mut Site) -> Result<()> {
    site.op.op_type = "Resize".to_owned();
    site.op.attributes.insert("nearest_mode".to_owned(), "floor".into());
    Ok(())
}

/// Resize of opset 10 maps coordinates without offset; to the nearest pixel it rounds
/// down along axes that grow and up along those that shrink, as ONNX Runtime does.
fn resize_coordinates(site: &mut Site) -> Result<()> {
    let nearest = site.op.string("mode").unwrap_or("nearest") == "nearest";
    if nearest && !site.op.attributes.contains_key("nearest_mode") {
        let scales = site.argument(1).and_then(|scales| quantized::constant(site.graph, scales));
        let Some(scales) = scales else {
            return Err(site.refuse("its scales must be constant"));
        };
        let scales = scales.floats()?;
        let rounding = match (scales.iter().all(|&s| s >= 1.0), scales.iter().all(|&s| s <= 1.0)) {
            (true, _) => "floor",
            (_, true) => "ceil",
            _ => return Err(site.refuse("it enlarges one axis and shrinks another")),
        };
        site.op.attributes.insert("nearest_mode".to_owned(), rounding.into());
    }
    let coordinates = "coordinate_transformation_mode".to_owned();
    site.op.attributes.insert(coordinates, "asymmetric".into());
    site.arguments.insert(1.min(site.arguments.len()), None);
    Ok(())
}

/// Empty tensors stood for absent arguments, and one coordinate mode was dropped:
/// floor((i + 0.5) / s) is round((i + 0.5) / s - 0.5), halves up.
fn resize_optional(site: &mut Site) -> Result<()> {
    for slot in 1..site.arguments.len().min(3) {
        let tensor = site.argument(slot).and_then(|value| site.graph.tensor(value));
        if tensor.is_some_and(Tensor::is_empty) {
            site.set(slot, None);
        }
    }
    if site.op.string("coordinate_transformation_mode") == Some("tf_half_pixel_for_nn") {
        if site.op.string("nearest_mode") != Some("floor") {
            return Err(site.refuse("tf_half_pixel_for_nn goes with nearest_mode floor only"));
        }
        let attributes = &mut site.op.attributes;
        attributes.insert("coordinate_transformation_mode".to_owned(), "half_pixel".into());
        attributes.insert("nearest_mode".to_owned(), "round_prefer_ceil".into());
    }
    Ok(())
}

/// Dropout of a trained network does nothing, but from opset 12 on its mask is true.
fn dropout(site: &mut Site) -> Result<()> {
    if site.is_read(1) {
        return Err(site.refuse("its mask is read, which changed its meaning"));
    }
    site.truncate_outputs(1);
    if let Some(ratio) = site.take("ratio", float)? {
        let ratio = site.constant("ratio", Tensor::scalar(ratio));
        site.set(1, Some(ratio));
    }
    Ok(())
}

fn slice(site: &mut Site) -> Result<()> {
    site.ints_to_argument("starts", 1)?;
    site.ints_to_argument("ends", 2)?;
    site.ints_to_argument("axes", 3)
}

fn top_k(site: &mut Site) -> Result<()> {
    if let Some(k) = site.take("k", int)? {
        let k = site.constant("k", Tensor::vector(&[k]));
        site.set(1, Some(k));
    }
    Ok(())
}

fn clip(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    for (slot, name) in [(1, "min"), (2, "max")] {
        if let Some(bound) = site.take(name, float)? {
            let bound = site.number(name, bound, x);
            site.set(slot, Some(bound));
        }
    }
    Ok(())
}

fn pad(site: &mut Site) -> Result<()> {
    let x = site.x()?;
    site.ints_to_argument("pads", 1)?;
    if let Some(value) = site.take("value", float)? {
        let value = site.number("value", value, x);
        site.set(2, Some(value));
    }
    Ok(())
}

fn scatter(site: &mut Site) -> Result<()> {
    site.op.op_type = "ScatterElements".to_owned();
    Ok(())
}

fn axes(site: &mut Site) -> Result<()> {
    site.ints_to_argument("axes", 1)
}

/// Before opset 13 the input is taken as a matrix, its rows the axes before `axis`.
fn softmax(site: &mut Site) -> Result<()> {
    let axis = site.take("axis", int)?.unwrap_or(1);
    let rank = site.rank().or(site.result_rank());
    let last = rank.and_then(|rank| i64::try_from(rank).ok()).map(|rank| rank - 1);
    let rowwise = site.op.clone().with("axis", -1);
    if axis == -1 || last == Some(axis) {
        site.op = rowwise;
        return Ok(());
    }
    let x = site.x()?;
    let shape = site.apply("Shape", &[x]);
    let matrix = site.emit(Op::new("Flatten").with("axis", axis), &[x]);
    let rows = site.emit(rowwise, &[matrix]);
    site.become_call(Op::new("Reshape"), &[rows, shape]);
    Ok(())
}

fn split(site: &mut Site) -> Result<()> {
    site.ints_to_argument("split", 1)
}

fn split_count(site: &mut Site) -> Result<()> {
    if site.argument(1).is_none() {
        let count = i64::try_from(site.outputs()).unwrap_or(i64::MAX);
        site.op.attributes.insert("num_outputs".to_owned(), count.into());
    }
    Ok(())
}

fn roi_align(site: &mut Site) -> Result<()> {
    let coordinates = "coordinate_transformation_mode".to_owned();
    site.op.attributes.insert(coordinates, "output_half_pixel".into());
    Ok(())
}
