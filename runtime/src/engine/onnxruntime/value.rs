//! Tensors of ONNX Runtime: in from the host, out to the host, and as inputs of a run.

use std::borrow::Cow;

use bytes::Bytes;
use graphs::DType;
use ort::memory::AllocationDevice;
use ort::session::SessionInputValue;
use ort::value::{DynTensor, Tensor, TensorRef, ValueType};

use crate::Result;
use crate::engine::Feed;
use crate::engine::element::with_element;
use crate::engine::signature::Given;
use crate::install::Provider;

/// A tensor of ONNX Runtime, in the memory of the provider.
pub(in crate::engine) type Value = DynTensor;

/// What ONNX Runtime reads for one input: the host's own memory or the state's buffer.
pub(super) fn view<'a>(given: &Given<'a>) -> Result<SessionInputValue<'a>> {
    let feed = match given {
        Given::Feed(feed) => feed,
        Given::Held(buffer) => return Ok(buffer.onnxruntime()?.into()),
    };
    let view = with_element!(feed.dtype(), T => match feed.values::<T>()? {
        Cow::Borrowed(values) => {
            TensorRef::from_array_view((feed.shape(), values)).map(SessionInputValue::from)
        }
        Cow::Owned(values) => {
            Tensor::from_array((feed.shape(), values)).map(SessionInputValue::from)
        }
    });
    view.ok_or_else(|| feed.unsupported())?.map_err(|error| feed.error(error))
}

/// As [`view`], with the host's memory copied: where a borrowed tensor is bound to an input
/// of the host, `ort` 2.0.0-rc.15 waits for a lock that it holds itself.
pub(super) fn owned<'a>(given: &Given<'a>) -> Result<SessionInputValue<'a>> {
    match given {
        Given::Feed(feed) => Ok(host_tensor(feed)?.into()),
        Given::Held(buffer) => Ok(buffer.onnxruntime()?.into()),
    }
}

/// Where carried values stay when that is not the host's memory.
pub(super) fn device(provider: Provider) -> Option<AllocationDevice<'static>> {
    match provider {
        Provider::Cpu | Provider::OpenVino => None,
        Provider::Cuda => Some(AllocationDevice::CUDA),
    }
}

pub(in crate::engine) fn upload(feed: &Feed, provider: Provider) -> Result<DynTensor> {
    let tensor = host_tensor(feed)?;
    match device(provider) {
        Some(device) => tensor.to(device, 0).map_err(|error| feed.error(error)),
        None => Ok(tensor),
    }
}

fn host_tensor(feed: &Feed) -> Result<DynTensor> {
    let tensor = with_element!(feed.dtype(), T => {
        let values = feed.values::<T>()?.into_owned();
        Tensor::from_array((feed.shape(), values)).map(Tensor::upcast)
    });
    tensor.ok_or_else(|| feed.unsupported())?.map_err(|error| feed.error(error))
}

pub(in crate::engine) fn fact(value: &DynTensor) -> (Option<DType>, Vec<usize>) {
    let shape = value.shape().iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    (dtype(value.dtype()), shape)
}

pub(in crate::engine) fn download(value: &DynTensor) -> Result<graphs::Tensor, String> {
    if !value.memory_info().is_cpu_accessible() {
        let value = value.to(AllocationDevice::CPU, 0).map_err(|error| error.to_string())?;
        return download(&value);
    }
    let (dtype, shape) = fact(value);
    let dtype = dtype.ok_or_else(|| format!("{} is no type of tensors", value.dtype()))?;
    let bytes = with_element!(dtype, T => {
        let values = value.try_extract_tensor::<T>().map_err(|error| error.to_string())?.1;
        Bytes::copy_from_slice(bytemuck::cast_slice(values))
    });
    let bytes = bytes.ok_or_else(|| format!("an engine cannot hand out values of type {dtype}"))?;
    graphs::Tensor::from_bytes(dtype, shape, bytes).map_err(|error| error.to_string())
}

/// The elements, without a copy.
pub(in crate::engine) fn floats(value: &DynTensor) -> Result<&[f32], String> {
    if !value.memory_info().is_cpu_accessible() {
        return Err("it is on a device".to_owned());
    }
    value.try_extract_tensor::<f32>().map(|(_, values)| values).map_err(|error| error.to_string())
}

/// ONNX Runtime numbers element types as ONNX does.
fn dtype(value: &ValueType) -> Option<DType> {
    let element = value.tensor_type()?;
    DType::from_code(ort::sys::ONNXTensorElementDataType::from(element) as i32)
}
