//! Element types that an operator takes since a newer opset only.

use graphs::{Attribute, DType, Graph, NodeId, OPSET, Op, Value};

use super::site::Site;
use crate::Result;

/// The opset that brought an element type, if it is a newer one.
fn appeared(dtype: DType) -> Option<i64> {
    use DType as D;
    Some(match dtype {
        D::F8E4M3FN | D::F8E4M3FNUZ | D::F8E5M2 | D::F8E5M2FNUZ => 19,
        D::I4 | D::U4 => 21,
        D::F4E2M1 => 23,
        D::F8E8M0 => 24,
        D::I2 | D::U2 => 25,
        D::F6E2M3 | D::F6E3M2 => 28,
        _ => return None,
    })
}

/// Operators that take `.2` only since opset `.0`: they compute in `.3` in its place, which
/// holds every value of it.
const WIDENED: &[(i64, &[&str], DType, DType)] = &[
    (20, &["IsInf"], DType::F16, DType::F32),
    (20, &["IsInf"], DType::BF16, DType::F32),
    (20, &["ReduceMax", "ReduceMin"], DType::Bool, DType::U8),
    (21, &["QLinearMatMul"], DType::F16, DType::F32),
    (21, &["QLinearMatMul"], DType::BF16, DType::F32),
    (22, SINCE_22, DType::BF16, DType::F32),
    (24, &["TopK"], DType::BF16, DType::F32),
    (27, &["Range"], DType::F16, DType::F32),
    (27, &["Range"], DType::BF16, DType::F32),
    (28, &["Celu"], DType::F16, DType::F32),
    (28, SINCE_28, DType::BF16, DType::F32),
];

const SINCE_22: &[&str] = &[
    "Acos",
    "Acosh",
    "Asin",
    "Asinh",
    "Atan",
    "Atanh",
    "AveragePool",
    "Bernoulli",
    "Conv",
    "ConvTranspose",
    "Cos",
    "Cosh",
    "DeformConv",
    "Det",
    "Dropout",
    "Elu",
    "EyeLike",
    "GRU",
    "GlobalAveragePool",
    "GlobalLpPool",
    "GlobalMaxPool",
    "GridSample",
    "HardSigmoid",
    "HardSwish",
    "InstanceNormalization",
    "LSTM",
    "LpNormalization",
    "LpPool",
    "MaxPool",
    "MaxRoiPool",
    "MaxUnpool",
    "Mish",
    "Multinomial",
    "NegativeLogLikelihoodLoss",
    "RNN",
    "RandomNormalLike",
    "RandomUniformLike",
    "RoiAlign",
    "Round",
    "Selu",
    "Sin",
    "Sinh",
    "Softplus",
    "Softsign",
    "Tan",
    "ThresholdedRelu",
];

const SINCE_28: &[&str] = &["Celu", "Compress", "Einsum", "OneHot", "ReverseSequence", "Unique"];

/// Brings a call down to the types that operators take at [`OPSET`].
pub(super) fn narrow(site: &mut Site, from: i64) -> Result<()> {
    let given = (0..site.arguments.len()).filter_map(|slot| site.dtype(slot));
    let cast = DType::from_code(site.op.int("to", site.op.int("output_dtype", 0)) as i32);
    for dtype in given.chain(cast).chain(constant(&site.op)).collect::<Vec<_>>() {
        if let Some(since) = appeared(dtype).filter(|since| *since > OPSET) {
            return Err(site.refuse(format!("opset {since} brought {dtype}")));
        }
    }
    for &(since, ops, dtype, via) in WIDENED {
        let op = &*site.op.op_type;
        let takes = (0..site.arguments.len()).any(|slot| site.dtype(slot) == Some(dtype));
        if since <= from && takes && ops.contains(&op) {
            return through(site, dtype, via);
        }
    }
    Ok(())
}

/// The element type of the tensor among the attributes.
fn constant(op: &Op) -> Option<DType> {
    op.attributes.values().find_map(|attribute| match attribute {
        Attribute::Tensor(tensor) => Some(tensor.dtype()),
        _ => None,
    })
}

/// The call on arguments cast to `via`, what it gives of `dtype` cast back.
fn through(site: &mut Site, dtype: DType, via: DType) -> Result<()> {
    let same = site.result() == Some(dtype);
    let cast = |to: DType| Op::new("Cast").with("to", i64::from(to.code()));
    for slot in 0..site.arguments.len() {
        let argument = site.argument(slot).filter(|_| site.dtype(slot) == Some(dtype));
        if let Some(argument) = argument {
            let wide = site.emit(cast(via), &[argument]);
            site.set(slot, Some(wide));
        }
    }
    if !same {
        return Ok(());
    }
    let (op, arguments) = (site.op.clone(), std::mem::take(&mut site.arguments));
    // Beside their first output pools and the like give indices, recurrent networks more states.
    let recurrent = ["GRU", "LSTM", "RNN"].contains(&&*op.op_type);
    let wide = site.emit_many(op, &arguments, site.outputs());
    for slot in (1..site.outputs()).filter(|&slot| site.is_read(slot)).collect::<Vec<_>>() {
        let mut value = Value { node: wide, slot };
        if recurrent {
            value = site.emit(cast(dtype), &[value]);
        }
        site.replace_output(slot, value);
    }
    site.truncate_outputs(1);
    site.become_call(cast(dtype), &[wide.into()]);
    Ok(())
}

/// The element type of a node's first output, from those of its arguments; for operators of
/// ONNX's own domain.
pub(super) fn result(graph: &Graph, id: NodeId) -> Option<DType> {
    let op = graph.node(id).op().filter(|op| op.in_onnx_domain())?;
    let argument = |slot: usize| graph.fact(graph.argument(id, slot)?).dtype;
    let stated = |name: &str| DType::from_code(i32::try_from(op.int(name, 0)).ok()?);
    match op.op_type.as_str() {
        "Equal" | "Greater" | "GreaterOrEqual" | "IsInf" | "IsNaN" | "Less" | "LessOrEqual"
        | "Not" | "And" | "Or" | "Xor" => Some(DType::Bool),
        "ArgMax" | "ArgMin" | "NonMaxSuppression" | "NonZero" | "Shape" | "Size" => {
            Some(DType::I64)
        }
        "Cast" => stated("to"),
        "Bernoulli" | "EyeLike" | "RandomNormalLike" | "RandomUniformLike" => {
            stated("dtype").or(argument(0))
        }
        "CastLike" | "Where" => argument(1),
        "OneHot" => argument(2),
        "DequantizeLinear" => stated("output_dtype").or(argument(1)),
        "Gather" | "GatherElements" | "GatherND" => argument(0),
        "ConstantOfShape" => constant(op).or(Some(DType::F32)),
        "BitCast"
        | "Constant"
        | "ConvInteger"
        | "DynamicQuantizeLinear"
        | "If"
        | "ImageDecoder"
        | "Loop"
        | "MatMulInteger"
        | "Multinomial"
        | "QLinearConv"
        | "QLinearMatMul"
        | "QuantizeLinear"
        | "RandomNormal"
        | "RandomUniform"
        | "Scan"
        | "SequenceMap"
        | "StringNormalizer"
        | "TfIdfVectorizer"
        | "BlackmanWindow"
        | "HammingWindow"
        | "HannWindow"
        | "MelWeightMatrix"
        | "RegexFullMatch" => None,
        name if name.starts_with("Sequence") || name.starts_with("Optional") => None,
        _ => argument(0),
    }
}

/// Operators of several outputs that are all of one type.
const ALIKE: &[&str] = &["GRU", "LSTM", "RNN", "Split"];

/// Notes what [`result`] says where the file says nothing: constants that a rule adds have to
/// be of the same type.
pub(crate) fn note_type(graph: &mut Graph, id: NodeId) {
    let dtype = result(graph, id);
    let alike = |op: &Op| op.in_onnx_domain() && ALIKE.contains(&&*op.op_type);
    let node = graph.node_mut(id);
    let count = if node.op().is_some_and(alike) { node.outputs.len() } else { 1 };
    for fact in node.outputs.iter_mut().take(count) {
        fact.dtype = fact.dtype.or(dtype);
    }
}

impl Site<'_> {
    /// The element type of an argument, if known.
    pub(super) fn dtype(&self, slot: usize) -> Option<DType> {
        self.graph.fact(self.argument(slot)?).dtype
    }

    /// The element type of output 0, if known.
    fn result(&self) -> Option<DType> {
        result(self.graph, self.id)
    }
}
