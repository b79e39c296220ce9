//! The embedded engine: tract, in pure Rust.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use graphs::{Attribute, DType, Graph, Kind, Model, Program};
use tract_linalg::multithread::Executor;
use tract_onnx::Onnx;
use tract_onnx::prelude::*;
use tract_onnx::tract_core::plan::eval;

use super::element::with_element;
use super::panics::{WORKER, guard};
use super::signature::{Given, Signature};
use super::state::{Buffer, Home};
use super::{Engine, Feed, Precision, Session, State};
use crate::install::Provider;
use crate::{Error, Result};

pub(super) const NAME: &str = "tract";

/// The version that Cargo.toml pins; tract itself does not tell.
pub const VERSION: &str = "0.23.9";

/// A value of tract; cloning shares it.
pub(super) type Value = TValue;

pub(super) struct Tract {
    /// The reader of models, with its table of operators.
    onnx: Onnx,
    options: RunOptions,
    threads: usize,
}

impl Tract {
    /// # Errors
    /// When the system gives no threads.
    pub(super) fn open(threads: usize) -> Result<Tract> {
        let executor = if threads == 1 {
            Executor::SingleThread
        } else {
            let pool = rayon::ThreadPoolBuilder::new()
                .num_threads(threads)
                .thread_name(|i| format!("{WORKER}-{i}"))
                .build()
                .map_err(|error| Error::engine(NAME, error))?;
            Executor::MultiThread(Arc::new(pool))
        };
        Ok(Tract::with(executor, threads))
    }

    fn with(executor: Executor, threads: usize) -> Tract {
        let options = RunOptions { executor: Some(executor), ..RunOptions::default() };
        Tract { onnx: tract_onnx::onnx(), options, threads }
    }

    /// Refuses what tract lacks by the node's own name. tract looks operators up without
    /// their domain, so it would take a model's function for a standard operator.
    fn check_operators(&self, model: &Model) -> Result<()> {
        for id in model.graph.ids() {
            let node = model.graph.node(id);
            let Some(op) = node.op() else { continue };
            let function = model.functions.iter().any(|function| {
                function.name.as_deref() == Some(&op.op_type)
                    && function.domain.as_deref().unwrap_or_default() == op.domain
            });
            if function || !self.onnx.op_register.0.contains_key(&op.op_type) {
                let node = node.describe();
                return Err(Error::engine(
                    NAME,
                    format!("{node}: this engine has no such operator; use the engine ort"),
                ));
            }
        }
        Ok(())
    }
}

impl Engine for Tract {
    fn name(&self) -> &'static str {
        NAME
    }

    fn version(&self) -> &str {
        VERSION
    }

    fn provider(&self) -> Provider {
        Provider::Cpu
    }

    fn precision(&self) -> Precision {
        Precision::F32
    }

    fn threads(&self) -> usize {
        self.threads
    }

    /// tract's threads share the work of a large product only; most operators run on one.
    fn single_threaded(&self) -> Option<Box<dyn Engine>> {
        (self.threads > 1).then(|| Box::new(Tract::with(Executor::SingleThread, 1)) as _)
    }

    fn state(&self) -> State {
        State::empty(Home::Tract)
    }

    fn load(&self, program: &Program) -> Result<Box<dyn Session>> {
        let (signature, mut model) = Signature::of(program)?;
        self.check_operators(&model)?;
        adapt(&mut model.graph);
        let bytes = model.to_bytes()?;
        let plan = guarded(
            || "the program".to_owned(),
            || {
                let model = self.onnx.model_for_read(&mut bytes.as_slice())?;
                model.into_optimized()?.into_runnable_with_options(&self.options)
            },
        )?;
        Ok(Box::new(Loaded { signature, plan }))
    }
}

struct Loaded {
    signature: Signature,
    plan: Arc<TypedRunnableModel>,
}

impl Session for Loaded {
    fn run(
        &mut self,
        state: &mut State,
        feeds: &[Feed],
    ) -> Result<BTreeMap<String, graphs::Tensor>> {
        let given = self.signature.bind(Home::Tract, state, feeds)?;
        let inputs: Result<TVec<TValue>> = given.into_iter().map(value).collect();
        let (inputs, plan) = (inputs?, &self.plan);
        let at = Cell::new(None);
        let place = || {
            let node = at.get().and_then(|id: usize| plan.model().nodes().get(id));
            node.map_or("the program".to_owned(), |node| format!("node `{}`", node.name))
        };
        let outputs = guarded(place, || {
            // A fresh one for each run: it remembers the last state of a Scan, and the sizes
            // that the program leaves open.
            let mut runner = plan.spawn()?;
            let outputs = runner.run_plan_with_eval(inputs, |context, state, node, inputs| {
                at.set(Some(node.id));
                eval(context, state, node, inputs)
            })?;
            outputs.into_iter().map(known).collect::<TractResult<Vec<Buffer>>>()
        })?;
        Ok(self.signature.settle(outputs, state)?.returned)
    }
}

fn value(given: Given) -> Result<TValue> {
    match given {
        Given::Feed(feed) => upload(feed),
        Given::Held(buffer) => buffer.tract().cloned(),
    }
}

/// Says a model so that tract reads it as it is meant:
///
/// - every node gets a name of its own kind, because tract derives names such as
///   `NODE.bias` for what it adds, and refuses a model in which an initializer has that
///   name already; it also takes a random operator for shape-like only if the node's
///   name ends with the operator's;
/// - ConstantOfShape states its value, which tract otherwise takes for float64.
fn adapt(graph: &mut Graph) {
    for id in graph.ids().collect::<Vec<_>>() {
        let node = graph.node_mut(id);
        let Kind::Op(op) = &mut node.kind else { continue };
        // Names are optional in ONNX, and tract wants them to differ.
        if node.name.is_empty() {
            node.name = id.index().to_string();
        }
        node.name = format!("{}@{}", node.name, op.op_type);
        if op.is("ConstantOfShape") {
            let zero = || graphs::Tensor::vector(&[0f32]).into();
            op.attributes.entry("value".to_owned()).or_insert_with(zero);
        }
        for attribute in op.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                adapt(body);
            }
        }
    }
}

/// Runs tract's own code: its errors and its panics become errors of one line. The
/// errors name the node themselves; `place` tells it for a panic.
fn guarded<T>(place: impl FnOnce() -> String, work: impl FnOnce() -> TractResult<T>) -> Result<T> {
    match guard(work) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(Error::engine(NAME, format!("{error:#}"))),
        Err(panic) => Err(Error::engine(NAME, format!("{} {panic}", place()))),
    }
}

/// Shapes are computed in tract's symbolic integers; outside they are ONNX's int64.
fn known(value: TValue) -> TractResult<Buffer> {
    Ok(Buffer::Tract(match value.datum_type() {
        DatumType::TDim => value.cast_to::<i64>()?.into_owned().into_tvalue(),
        _ => value,
    }))
}

pub(super) fn upload(feed: &Feed) -> Result<TValue> {
    let tensor = with_element!(feed.dtype(), T => {
        Tensor::from_shape::<T>(feed.shape(), &feed.values::<T>()?)
    });
    let tensor = tensor.ok_or_else(|| feed.unsupported())?;
    tensor.map(IntoTValue::into_tvalue).map_err(|error| feed.error(error))
}

pub(super) fn fact(value: &TValue) -> (Option<DType>, Vec<usize>) {
    (dtype(value.datum_type()), value.shape().to_vec())
}

pub(super) fn download(value: &TValue) -> Result<graphs::Tensor, String> {
    let found = value.datum_type();
    let dtype = dtype(found).ok_or_else(|| format!("{found:?} is no element type of ONNX"))?;
    let view = value.try_as_plain_ram().map_err(|error| error.to_string())?;
    let bytes = Bytes::copy_from_slice(view.as_bytes());
    graphs::Tensor::from_bytes(dtype, value.shape().to_vec(), bytes).map_err(|e| e.to_string())
}

/// The elements, without a copy.
pub(super) fn floats(value: &TValue) -> Result<&[f32], String> {
    let view = value.try_as_plain_ram().map_err(|error| error.to_string())?;
    view.as_slice::<f32>().map_err(|error| error.to_string())
}

fn dtype(datum: DatumType) -> Option<DType> {
    Some(match datum {
        DatumType::F32 => DType::F32,
        DatumType::F64 => DType::F64,
        DatumType::F16 => DType::F16,
        DatumType::I8 => DType::I8,
        DatumType::I16 => DType::I16,
        DatumType::I32 => DType::I32,
        DatumType::I64 => DType::I64,
        DatumType::U8 => DType::U8,
        DatumType::U16 => DType::U16,
        DatumType::U32 => DType::U32,
        DatumType::U64 => DType::U64,
        DatumType::Bool => DType::Bool,
        _ => return None,
    })
}
