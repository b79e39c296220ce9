//! Tensors: every way in which a file may store their elements.

use std::mem::take;

use bytes::Bytes;

use super::external::Files;
use crate::proto::{DataLocation, TensorProto};
use crate::tensor::into_bytes;
use crate::{DType, Error, Tensor};

/// Decodes a tensor; raw and external elements share the file's bytes. What is left of
/// the message is the [form](crate::Form::Tensor) of the tensor.
pub(super) fn decode_tensor(
    mut proto: TensorProto,
    files: &mut Files,
) -> Result<(Tensor, TensorProto), Error> {
    let code = proto.data_type.unwrap_or(0);
    let dtype = DType::from_code(code).ok_or(Error::UnknownType { code })?;
    let size = |&size: &i64| usize::try_from(size).map_err(|_| Error::Dimension { size });
    let shape: Vec<usize> = proto.dims.iter().map(size).collect::<Result<_, _>>()?;
    if proto.segment.is_some() {
        return Err(Error::Storage("are split into segments, which no exporter writes"));
    }
    let external = proto.data_location() == DataLocation::External;
    if stores(&proto) + usize::from(external) > 1 {
        return Err(Error::Storage("are stored more than once"));
    }
    if dtype == DType::String {
        return Ok((Tensor::from_strings(shape, take(&mut proto.string_data))?, proto));
    }
    let data = match &proto.raw_data {
        _ if external => files.slice(&proto.external_data)?,
        Some(raw) if !raw.is_empty() => raw.clone(),
        _ => typed(&mut proto, dtype),
    };
    if external {
        proto.raw_data = Some(data.clone());
    }
    Ok((Tensor::from_bytes(dtype, shape, data)?, proto))
}

/// In how many fields there are elements.
fn stores(proto: &TensorProto) -> usize {
    let lengths = [
        proto.raw_data.as_ref().map_or(0, Bytes::len),
        proto.float_data.len(),
        proto.int32_data.len(),
        proto.string_data.len(),
        proto.int64_data.len(),
        proto.double_data.len(),
        proto.uint64_data.len(),
    ];
    lengths.iter().filter(|&&length| length > 0).count()
}

/// The elements of the field that the schema assigns to the type, taken out of it.
fn typed(proto: &mut TensorProto, dtype: DType) -> Bytes {
    match dtype {
        DType::F32 | DType::C64 => into_bytes(take(&mut proto.float_data)),
        DType::F64 | DType::C128 => into_bytes(take(&mut proto.double_data)),
        DType::I64 => into_bytes(take(&mut proto.int64_data)),
        DType::U64 => into_bytes(take(&mut proto.uint64_data)),
        DType::U32 => narrow(take(&mut proto.uint64_data), 4),
        // Floats of 16 bits and fewer are stored as their bits, types below a byte packed.
        _ => narrow(take(&mut proto.int32_data), dtype.bits().div_ceil(8)),
    }
}

/// The low `width` bytes of every value.
fn narrow<T: bytemuck::Pod>(values: Vec<T>, width: usize) -> Bytes {
    values.iter().flat_map(|v| bytemuck::bytes_of(v).iter().take(width).copied()).collect()
}
