//! ONNX Runtime, loaded from the library that [`install`] finds.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use graphs::{DType, Program};
use ort::environment::Environment;
use ort::ep;
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{self, SessionInputValue};
use ort::value::{DynTensor, DynTensorValueType, DynValue, Tensor, TensorRef, ValueType};

use super::element::with_element;
use super::panics::guard;
use super::signature::{Given, Input, Output, Signature};
use super::state::{Buffer, Home};
use super::{Engine, Feed, Session, State};
use crate::install::{self, Library, Provider};
use crate::{Error, Result};

pub(super) const NAME: &str = "ort";

/// A tensor of ONNX Runtime, in the memory of the provider.
pub(super) type Value = DynTensor;

pub(super) struct OnnxRuntime {
    environment: Environment,
    version: String,
    provider: Provider,
    threads: usize,
}

impl OnnxRuntime {
    /// # Errors
    /// As [`super::open`].
    pub(super) fn open(provider: Provider, threads: usize) -> Result<OnnxRuntime> {
        let (environment, library) = environment(provider)?;
        if provider == Provider::Cuda {
            library.preload_cuda()?;
        }
        let engine = OnnxRuntime { environment, version: library.version, provider, threads };
        // Tells now, not at the first program, whether the provider can start.
        engine.builder().map_err(|error| {
            let command = provider.install_command();
            Error::OnnxRuntime(format!(
                "the {provider} provider of {} cannot start ({error}); `{command}` installs \
                 one that works",
                library.path.display()
            ))
        })?;
        Ok(engine)
    }

    fn builder(&self) -> ort::Result<SessionBuilder> {
        let builder = session::Session::builder(&self.environment)?
            .with_intra_threads(self.threads)?
            .with_inter_threads(1)?
            .with_parallel_execution(false)?
            .with_memory_pattern(true)?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_log_level(LogLevel::Warning)?;
        let provider = match self.provider {
            Provider::Cpu => return Ok(builder),
            Provider::OpenVino => ep::OpenVINO::default()
                .with_device_type("CPU")
                .with_num_threads(self.threads)
                .with_precision("FP32")
                .build(),
            // TensorFloat-32 has 10 bits of mantissa: gradients would differ between engines.
            Provider::Cuda => ep::CUDA::default().with_device_id(0).with_tf32(false).build(),
        };
        Ok(builder.with_execution_providers([provider.error_on_failure()])?)
    }
}

/// ONNX Runtime keeps one environment per process: the library that was loaded first
/// serves all engines.
fn environment(provider: Provider) -> Result<(Environment, Library)> {
    static LOADED: Mutex<Option<(Environment, Library)>> = Mutex::new(None);
    let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((environment, library)) = &*loaded {
        if library.providers.contains(&provider) {
            return Ok((environment.clone(), library.clone()));
        }
        let path = library.path.display();
        return Err(Error::OnnxRuntime(format!(
            "{path} is loaded, which has no {provider} provider, and a process can load only one \
             library; start another process for {provider}"
        )));
    }
    let library = install::find(provider)?;
    let failed = |error: String| Error::OnnxRuntime(format!("{}: {error}", library.path.display()));
    let environment = ort::init_from(&library.path)
        .map_err(|error| failed(error.to_string()))?
        .with_name("advbnn")
        .with_telemetry(false)
        .with_logger(Arc::new(|level, _, _, place, message| {
            tracing::debug!(target: "onnxruntime", ?level, place, "{message}");
        }))
        .build()
        .map_err(|error| failed(error.to_string()))?;
    environment.set_log_level(LogLevel::Warning);
    *loaded = Some((environment.clone(), library.clone()));
    Ok((environment, library))
}

impl Engine for OnnxRuntime {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        &self.version
    }

    fn provider(&self) -> Provider {
        self.provider
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn state(&self) -> State {
        State::empty(Home::OnnxRuntime(self.provider))
    }

    fn load(&self, program: &Program) -> Result<Box<dyn Session>> {
        let (signature, model) = Signature::of(program)?;
        let bytes = model.to_bytes()?;
        let session = guarded(|| self.builder()?.commit_from_memory(&bytes))?;
        let home = Home::OnnxRuntime(self.provider);
        Ok(Box::new(Loaded { signature, session, home, device: device(self.provider) }))
    }
}

struct Loaded {
    signature: Signature,
    session: session::Session,
    home: Home,
    /// Where carried values stay when that is not the host's memory.
    device: Option<AllocationDevice<'static>>,
}

impl Session for Loaded {
    fn run(
        &mut self,
        state: &mut State,
        feeds: &[Feed],
    ) -> Result<BTreeMap<String, graphs::Tensor>> {
        let given = self.signature.bind(self.home, state, feeds)?;
        let views: Result<Vec<SessionInputValue>> = given.iter().map(view).collect();
        let (session, views) = (&mut self.session, views?);
        let Signature { inputs, outputs, .. } = &self.signature;
        let values = guarded(|| match &self.device {
            Some(device) => run_on(session, inputs, outputs, &views, device),
            None => {
                let names = inputs.iter().map(|input| input.name.as_str());
                let values = session.run(names.zip(views).collect::<Vec<_>>())?;
                tensors(values.into_iter().map(|(_, value)| value))
            }
        })?;
        self.signature.settle(values, state)
    }
}

/// Runs with the carried outputs left on `device`. They are bound anew each time, because
/// a binding writes to the same buffers again, which the state now holds.
fn run_on(
    session: &mut session::Session,
    inputs: &[Input],
    outputs: &[Output],
    views: &[SessionInputValue],
    device: &AllocationDevice<'static>,
) -> ort::Result<Vec<Buffer>> {
    let memory = |device| MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default);
    let (there, host) = (memory(device.clone())?, memory(AllocationDevice::CPU)?);
    let mut binding = session.create_binding()?;
    for (input, view) in inputs.iter().zip(views) {
        binding.bind_input(&input.name, view)?;
    }
    for output in outputs {
        let memory = if output.carried.is_some() { &there } else { &host };
        binding.bind_output_to_device(&output.name, memory)?;
    }
    let mut values: BTreeMap<&str, DynValue> = session.run_binding(&binding)?.into_iter().collect();
    tensors(outputs.iter().filter_map(|output| values.remove(output.name.as_str())))
}

fn tensors(values: impl Iterator<Item = DynValue>) -> ort::Result<Vec<Buffer>> {
    values.map(|v| Ok(Buffer::OnnxRuntime(v.downcast::<DynTensorValueType>()?))).collect()
}

/// What ONNX Runtime reads for one input: the host's own memory or the state's buffer.
fn view<'a>(given: &Given<'a>) -> Result<SessionInputValue<'a>> {
    let feed = match given {
        Given::Feed(feed) => feed,
        Given::Held(Buffer::OnnxRuntime(value)) => return Ok(value.into()),
        Given::Held(Buffer::Tract(_)) => {
            return Err(Error::Program("the state is of another engine".to_owned()));
        }
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

/// Runs code of `ort`: its errors and its panics become errors of one line.
fn guarded<T>(work: impl FnOnce() -> ort::Result<T>) -> Result<T> {
    match guard(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::engine(NAME, error)),
        Err(panic) => Err(Error::engine(NAME, format!("the program {panic}"))),
    }
}

fn device(provider: Provider) -> Option<AllocationDevice<'static>> {
    match provider {
        Provider::Cpu | Provider::OpenVino => None,
        Provider::Cuda => Some(AllocationDevice::CUDA),
    }
}

pub(super) fn upload(feed: &Feed, provider: Provider) -> Result<DynTensor> {
    let tensor = with_element!(feed.dtype(), T => {
        let values = feed.values::<T>()?.into_owned();
        Tensor::from_array((feed.shape(), values)).map(Tensor::upcast)
    });
    let tensor = tensor.ok_or_else(|| feed.unsupported())?.map_err(|error| feed.error(error))?;
    match device(provider) {
        Some(device) => tensor.to(device, 0).map_err(|error| feed.error(error)),
        None => Ok(tensor),
    }
}

pub(super) fn fact(value: &DynTensor) -> (Option<DType>, Vec<usize>) {
    let shape = value.shape().iter().map(|&dim| usize::try_from(dim).unwrap_or(0)).collect();
    (dtype(value.dtype()), shape)
}

pub(super) fn download(value: &DynTensor) -> Result<graphs::Tensor, String> {
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

/// ONNX Runtime numbers element types as ONNX does.
fn dtype(value: &ValueType) -> Option<DType> {
    let element = value.tensor_type()?;
    DType::from_code(ort::sys::ONNXTensorElementDataType::from(element) as i32)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use graphs::Tensor;

    use super::super::tests::{descent, install_onnxruntime};
    use super::*;

    #[test]
    fn carried_values_may_stay_on_a_device() {
        install_onnxruntime();
        let engine = OnnxRuntime::open(Provider::Cpu, 1).unwrap();
        let (signature, model) = Signature::of(&descent()).unwrap();
        let session = engine.builder().unwrap();
        let session = { session }.commit_from_memory(&model.to_bytes().unwrap()).unwrap();
        let (home, device) = (Home::OnnxRuntime(Provider::Cpu), Some(AllocationDevice::CPU));
        let mut loaded = Loaded { signature, session, home, device };
        let mut state = engine.state();
        state.put("w", &Tensor::vector(&[1f32, 2.0])).unwrap();
        let mut held = Vec::new();
        for step in 1..=3u8 {
            let gradient = [f32::from(step), 1.0];
            let feeds = [Feed::new("gradient", &[2], &gradient), Feed::new("rate", &[], &[1f32])];
            let returned = loaded.run(&mut state, &feeds).unwrap();
            assert_eq!(returned["step"], Tensor::vector(&gradient));
            held.push(state.get("w").unwrap().unwrap());
        }
        let expected = [[0f32, 1.0], [-2.0, 0.0], [-5.0, -1.0]];
        assert_eq!(held, expected.map(|w| Tensor::vector(&w)));
    }
}
