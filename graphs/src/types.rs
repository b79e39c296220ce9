//! Facts, to and from the types that ONNX files state.

use crate::proto::{Dimension, DimensionValue, TensorShapeProto, TensorTypeProto, TypeProto};
use crate::{DType, Dim, Error, Fact};

impl Fact {
    /// What a type says of a tensor; nothing, for types that are no dense tensors.
    ///
    /// # Errors
    /// [`Error::UnknownType`] and [`Error::Dimension`]. A size of -1, which some
    /// exporters write, is [`Dim::Unknown`].
    pub fn from_type(proto: &TypeProto) -> Result<Fact, Error> {
        let Some(tensor) = &proto.tensor_type else { return Ok(Fact::default()) };
        let dtype = match tensor.elem_type.unwrap_or(0) {
            0 => None,
            code => Some(DType::from_code(code).ok_or(Error::UnknownType { code })?),
        };
        let dims = |shape: &TensorShapeProto| shape.dim.iter().map(dim_from).collect();
        Ok(Fact { dtype, shape: tensor.shape.as_ref().map(dims).transpose()? })
    }

    /// The type that says it; none while the element type is unknown, because a
    /// tensor type without one is not valid.
    pub fn to_type(&self) -> Option<TypeProto> {
        let dims = |shape: &Vec<Dim>| TensorShapeProto { dim: shape.iter().map(dim_to).collect() };
        let tensor = TensorTypeProto {
            elem_type: Some(self.dtype?.code()),
            shape: self.shape.as_ref().map(dims),
        };
        Some(TypeProto { tensor_type: Some(tensor), ..TypeProto::default() })
    }
}

fn dim_from(proto: &Dimension) -> Result<Dim, Error> {
    Ok(match &proto.value {
        Some(DimensionValue::DimValue(-1)) | None => Dim::Unknown,
        Some(DimensionValue::DimValue(size)) => {
            Dim::Known(usize::try_from(*size).map_err(|_| Error::Dimension { size: *size })?)
        }
        Some(DimensionValue::DimParam(name)) if name.is_empty() => Dim::Unknown,
        Some(DimensionValue::DimParam(name)) => Dim::Named(name.clone()),
    })
}

fn dim_to(dim: &Dim) -> Dimension {
    let value = match dim {
        Dim::Known(size) => i64::try_from(*size).ok().map(DimensionValue::DimValue),
        Dim::Named(name) => Some(DimensionValue::DimParam(name.clone())),
        Dim::Unknown => None,
    };
    Dimension { value, denotation: None }
}
