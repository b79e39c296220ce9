//! Tensors: every way in which a file may store their elements.

use bytes::Bytes;

use super::external::Files;
use crate::proto::{DataLocation, TensorProto};
use crate::{DType, Error, Tensor};

/// Decodes a tensor; raw and external elements share the file's bytes.
pub(super) fn decode_tensor(mut proto: TensorProto, files: &mut Files) -> Result<Tensor, Error> {
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
        return Tensor::from_strings(shape, proto.string_data);
    }
    let data = match proto.raw_data.take() {
        _ if external => files.slice(&proto.external_data)?,
        Some(raw) if !raw.is_empty() => raw,
        _ => typed(&proto, dtype),
    };
    Tensor::from_bytes(dtype, shape, data)
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

/// The elements of the field that the schema assigns to the type.
fn typed(proto: &TensorProto, dtype: DType) -> Bytes {
    match dtype {
        DType::F32 | DType::C64 => cast(&proto.float_data),
        DType::F64 | DType::C128 => cast(&proto.double_data),
        DType::I64 => cast(&proto.int64_data),
        DType::U64 => cast(&proto.uint64_data),
        DType::U32 => narrow(&proto.uint64_data, 4),
        // Floats of 16 bits and fewer are stored as their bits, types below a byte packed.
        _ => narrow(&proto.int32_data, dtype.bits().div_ceil(8)),
    }
}

fn cast<T: bytemuck::NoUninit>(values: &[T]) -> Bytes {
    Bytes::copy_from_slice(bytemuck::cast_slice(values))
}

/// The low `width` bytes of every value.
fn narrow<T: bytemuck::Pod>(values: &[T], width: usize) -> Bytes {
    values.iter().flat_map(|v| bytemuck::bytes_of(v).iter().take(width).copied()).collect()
}
