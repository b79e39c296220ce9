//! Constants that a file does not hold as they are used: weights as integers or in another
//! float type, and what is computed from other constants.

use graphs::{DType, Graph, Tensor, Value, element_count};

use crate::ops::{self, Call};
use crate::{Error, Result};

/// The most calls between stored tensors and the value that they become.
const CALLS: usize = 256;

/// The float32 numbers of a value that is computed from one stored tensor by views,
/// Cast, QuantizeLinear and DequantizeLinear.
///
/// # Errors
/// When something else stands on the way, or parts do not fit each other.
pub(crate) fn floats(graph: &Graph, value: Value) -> Result<Tensor> {
    let tensor = evaluate(graph, value, &mut { CALLS })?;
    if tensor.dtype() == DType::F32 {
        return Ok(tensor);
    }
    let values = tensor.floats()?.into_owned();
    Ok(Tensor::new(tensor.shape(), values)?)
}

/// A value that is computed from constants by operators whose rows can do so; `None` for
/// another one.
pub(crate) fn constant(graph: &Graph, value: Value) -> Option<Tensor> {
    evaluate(graph, value, &mut { CALLS }).ok()
}

/// Takes every call that it evaluates from `calls`, so that no file takes long.
fn evaluate(graph: &Graph, value: Value, calls: &mut usize) -> Result<Tensor> {
    if let Some(tensor) = graph.tensor(value) {
        return Ok(tensor.clone());
    }
    let node = graph.node(value.node);
    let error = |reason: &str| Error::Node { node: node.describe(), reason: reason.to_owned() };
    let left = calls.checked_sub(1);
    let (Some(op), Some(left)) = (node.op(), left) else {
        return Err(error("a weight cannot be computed from it"));
    };
    *calls = left;
    let arguments: Vec<Option<Tensor>> = graph
        .arguments(value.node)
        .into_iter()
        .map(|argument| argument.map(|v| evaluate(graph, v, calls)).transpose())
        .collect::<Result<_>>()?;
    let code =
        |x: &Tensor| {
            Code::of(x, &arguments, op.int("axis", 1)).ok_or_else(|| {
        error("its scale and zero point do not fit a weight quantized per tensor or per channel")
    })
        };
    match (op.op_type.as_str(), arguments.first()) {
        ("DequantizeLinear", Some(Some(x))) => code(x)?.decode(x),
        ("QuantizeLinear", Some(Some(x))) => code(x)?.encode(x),
        ("Cast", Some(Some(x))) => match i32::try_from(op.int("to", 0)).map(DType::from_code) {
            Ok(Some(to)) if to.is_float() => numbers(x),
            _ => Err(error("a weight cannot be computed from it")),
        },
        _ => {
            // The operator's own row, on constants.
            let mut scratch = Graph::new("");
            let arguments: Vec<Option<Value>> = arguments
                .into_iter()
                .map(|tensor| tensor.map(|tensor| scratch.initializer("", tensor)))
                .collect();
            let call = Call::new(&scratch, &node.name, op, arguments);
            let eval = ops::row(op, &node.name)?.eval;
            let tensors = eval.map(|eval| eval(&call)).transpose()?.flatten().unwrap_or_default();
            let tensor = tensors.into_iter().nth(value.slot);
            tensor.ok_or_else(|| error("a weight cannot be computed from it"))
        }
    }
}

/// Numbers as float32, whatever they are held as.
fn numbers(x: &Tensor) -> Result<Tensor> {
    let values = match x.dtype().is_float() {
        true => x.floats()?.into_owned(),
        false => x.integers()?.iter().map(|&v| v as f32).collect(),
    };
    Ok(Tensor::new(x.shape(), values)?)
}

/// Scale and zero point, one for all elements or one for each index of an axis.
struct Code {
    scale: Vec<f32>,
    zero: Vec<f32>,
    zero_type: DType,
    /// How many elements follow each other under one scale.
    run: usize,
}

impl Code {
    fn of(x: &Tensor, arguments: &[Option<Tensor>], axis: i64) -> Option<Code> {
        let scale = arguments.get(1)?.as_ref()?.floats().ok()?.into_owned();
        let zero = arguments.get(2).and_then(Option::as_ref);
        let zero_type = zero.map_or(DType::U8, Tensor::dtype);
        let zero = match zero {
            Some(zero) => numbers(zero).ok()?.floats().ok()?.into_owned(),
            None => vec![0.0; scale.len()],
        };
        let axis = if axis < 0 { axis.checked_add(x.shape().len() as i64)? } else { axis };
        let run = match scale.len() {
            1 => x.len(),
            count => {
                let axis = usize::try_from(axis).ok()?;
                (*x.shape().get(axis)? == count).then_some(())?;
                element_count(x.shape().get(axis + 1..)?)?
            }
        };
        (scale.len() == zero.len()).then_some(Code { scale, zero, zero_type, run: run.max(1) })
    }

    /// The scale and zero point of element `i`.
    fn at(&self, i: usize) -> (f32, f32) {
        let place = i / self.run % self.scale.len().max(1);
        let pick = |values: &[f32]| values.get(place).copied().unwrap_or_default();
        (pick(&self.scale), pick(&self.zero))
    }

    /// `(x - zero) * scale`
    fn decode(&self, x: &Tensor) -> Result<Tensor> {
        let values = numbers(x)?;
        let decode = |(i, &v): (usize, &f32)| {
            let (scale, zero) = self.at(i);
            (v - zero) * scale
        };
        let values = values.floats()?.iter().enumerate().map(decode).collect();
        Ok(Tensor::new(x.shape(), values)?)
    }

    /// `round(x / scale) + zero`, ties to even, within the range of the zero point's type.
    fn encode(&self, x: &Tensor) -> Result<Tensor> {
        let (least, most) = match self.zero_type {
            DType::I8 => (-128.0, 127.0),
            DType::U16 => (0.0, 65_535.0),
            DType::I16 => (-32_768.0, 32_767.0),
            _ => (0.0, 255.0),
        };
        let values = x.floats()?;
        let encode = |(i, &v): (usize, &f32)| {
            let (scale, zero) = self.at(i);
            ((v / scale).round_ties_even() + zero).clamp(least, most) as i32
        };
        let values = values.iter().enumerate().map(encode).collect();
        Ok(Tensor::new(x.shape(), values)?)
    }
}
