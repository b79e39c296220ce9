//! ONNX Runtime, loaded from the library that [`install`] finds.

mod arena;
mod value;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use graphs::Program;
use ort::environment::Environment;
use ort::ep::{self, ArbitrarilyConfigurableExecutionProvider};
use ort::logging::LogLevel;
use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::session::{self, OutputSelector, RunOptions, SessionInputValue};
use ort::value::{DynTensorValueType, DynValue};

use super::panics::guard;
use super::signature::{Input, Output, Settled, Signature};
use super::state::{Buffer, Home};
use super::{Engine, Feed, Precision, Session, State};
use crate::error::one_line;
use crate::install::{self, Library, Provider};
use crate::{Error, Result};

pub(super) use value::{Value, download, fact, floats, upload};
use value::{device, owned, view};

pub(super) const NAME: &str = "ort";

pub(super) struct OnnxRuntime {
    environment: Environment,
    version: String,
    provider: Provider,
    precision: Precision,
    threads: usize,
}

impl OnnxRuntime {
    /// # Errors
    /// As [`super::open`].
    pub(super) fn open(
        provider: Provider,
        precision: Precision,
        threads: usize,
    ) -> Result<OnnxRuntime> {
        let (environment, library) = environment(provider)?;
        if provider == Provider::Cuda {
            library.preload_cuda()?;
        }
        let version = library.version.clone();
        let engine = OnnxRuntime { environment, version, provider, precision, threads };
        // Tells now, not at the first program, whether the provider can start.
        engine.builder().map_err(|error| {
            let (error, command) = (one_line(error), provider.install_command());
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
            .with_intra_op_spinning(false)?
            // One block planned for a whole run takes twice what its tensors need one after another.
            .with_memory_pattern(false)?
            .with_env_allocators()?
            .with_optimization_level(GraphOptimizationLevel::All)?
            .with_log_level(LogLevel::Warning)?;
        let builder = match self.provider {
            Provider::Cpu | Provider::OpenVino => builder,
            // A call that ran on the host would carry its tensors over the bus and back.
            Provider::Cuda => builder.with_disable_cpu_fallback()?,
        };
        let provider = match self.provider {
            Provider::Cpu => return Ok(builder),
            Provider::OpenVino => {
                let openvino = ep::OpenVINO::default()
                    .with_device_type("CPU")
                    .with_num_threads(self.threads)
                    .with_precision("FP32");
                let hint = match self.precision {
                    Precision::F32 => None,
                    Precision::Bf16 => Some(r#"{"CPU": {"INFERENCE_PRECISION_HINT": "bf16"}}"#),
                    Precision::F16 => Some(r#"{"CPU": {"INFERENCE_PRECISION_HINT": "f16"}}"#),
                };
                match hint {
                    None => openvino.build(),
                    Some(hint) => openvino.with_arbitrary_config("load_config", hint).build(),
                }
            }
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
    let failed = |error: String| {
        Error::OnnxRuntime(format!("{}: {}", library.path.display(), one_line(error)))
    };
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
    arena::share(&environment).map_err(|error| failed(error.to_string()))?;
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

    fn precision(&self) -> Precision {
        self.precision
    }

    fn threads(&self) -> usize {
        self.threads
    }

    fn single_threaded(&self) -> Option<Box<dyn Engine>> {
        None
    }

    fn state(&self) -> State {
        State::empty(Home::OnnxRuntime(self.provider))
    }

    fn load(&self, program: &Program) -> Result<Box<dyn Session>> {
        let (signature, model) = Signature::of(program)?;
        let bytes = model.to_bytes()?;
        let session = guarded(|| self.builder()?.commit_from_memory(&bytes))?;
        let home = Home::OnnxRuntime(self.provider);
        let device = device(self.provider);
        Ok(Box::new(Loaded { signature, session, home, device, spare: BTreeMap::new() }))
    }
}

struct Loaded {
    signature: Signature,
    session: session::Session,
    home: Home,
    /// Where carried values stay when that is not the host's memory.
    device: Option<AllocationDevice<'static>>,
    /// Buffers to write carried outputs to, by the name of the output. Without them every
    /// run would touch new pages, which takes as long as the update of the parameters.
    spare: BTreeMap<String, Value>,
}

impl Session for Loaded {
    fn run(
        &mut self,
        state: &mut State,
        feeds: &[Feed],
    ) -> Result<BTreeMap<String, graphs::Tensor>> {
        let given = self.signature.bind(self.home, state, feeds)?;
        let values: Result<Vec<SessionInputValue>> = match &self.device {
            Some(_) => given.iter().map(owned).collect(),
            None => given.iter().map(view).collect(),
        };
        let (session, given) = (&mut self.session, values?);
        let Signature { inputs, outputs, .. } = &self.signature;
        let spare = std::mem::take(&mut self.spare);
        let values = guarded(|| match &self.device {
            Some(device) => run_on(session, inputs, outputs, &given, device),
            None => {
                let names = inputs.iter().map(|input| input.name.as_str());
                let given = names.zip(given).collect::<Vec<_>>();
                let options = RunOptions::new()?.with_outputs(onto(spare));
                let values = session.run_with_options(given, &options)?;
                tensors(values.into_iter().map(|(_, value)| value))
            }
        })?;
        let Settled { returned, replaced } = self.signature.settle(values, state)?;
        let fits = |(name, buffer): &(String, Buffer)| {
            outputs.iter().any(|output| output.name == *name && output.holds(buffer))
        };
        // On a device outputs are bound to new memory: nothing would write to these.
        let host = self.device.is_none();
        let kept = replaced.into_iter().filter(|replaced| host && fits(replaced));
        self.spare =
            kept.filter_map(|(name, buffer)| Some((name, buffer.into_onnxruntime()?))).collect();
        Ok(returned)
    }
}

/// Writes outputs to buffers that are there.
fn onto(spare: BTreeMap<String, Value>) -> OutputSelector {
    let add = |outputs: OutputSelector, (name, value)| outputs.preallocate(name, value);
    spare.into_iter().fold(OutputSelector::default(), add)
}

/// Runs with the carried outputs left on `device`. They are bound anew each time, because
/// a binding writes to the same buffers again, which the state now holds.
fn run_on(
    session: &mut session::Session,
    inputs: &[Input],
    outputs: &[Output],
    given: &[SessionInputValue],
    device: &AllocationDevice<'static>,
) -> ort::Result<Vec<Buffer>> {
    let memory = |device| MemoryInfo::new(device, 0, AllocatorType::Device, MemoryType::Default);
    let (there, host) = (memory(device.clone())?, memory(AllocationDevice::CPU)?);
    let mut binding = session.create_binding()?;
    for (input, value) in inputs.iter().zip(given) {
        binding.bind_input(&input.name, value)?;
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

/// Runs code of `ort`: its errors and its panics become errors of one line.
fn guarded<T>(work: impl FnOnce() -> ort::Result<T>) -> Result<T> {
    match guard(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::engine(NAME, error)),
        Err(panic) => Err(Error::engine(NAME, format!("the program {panic}"))),
    }
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
        let engine = OnnxRuntime::open(Provider::Cpu, Precision::F32, 1).unwrap();
        let (signature, model) = Signature::of(&descent()).unwrap();
        let session = engine.builder().unwrap();
        let session = { session }.commit_from_memory(&model.to_bytes().unwrap()).unwrap();
        let (home, device) = (Home::OnnxRuntime(Provider::Cpu), Some(AllocationDevice::CPU));
        let mut loaded = Loaded { signature, session, home, device, spare: BTreeMap::new() };
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
