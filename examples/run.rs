//! Runs any ONNX file on an engine of `advbnn`, from the shell or a script:
//!
//! ```sh
//! cargo run --release --example run -- MODEL.onnx INPUTS.safetensors OUTPUTS.safetensors --engine tract
//! ```
//!
//! INPUTS holds one tensor for every input of the model, under its name; OUTPUTS gets
//! every output under its own. With `--repeat` it prints the seconds of every run after
//! the first, and the process's peak memory, as one JSON object.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use advbnn::cli::Machine;
use anyhow::{Context, Result, bail};
use clap::Parser;
use graphs::{DType, Model, Program, Tensor};
use runtime::engine::Feed;
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

#[derive(Parser)]
struct Flags {
    /// An ONNX file
    model: PathBuf,
    /// Its inputs
    inputs: PathBuf,
    /// Where to write its outputs
    outputs: PathBuf,
    /// Run so many times more, and print how long each took
    #[arg(long, default_value_t = 0)]
    repeat: usize,
    #[command(flatten)]
    machine: Machine,
}

const TYPES: [(DType, Dtype); 6] = [
    (DType::F32, Dtype::F32),
    (DType::F64, Dtype::F64),
    (DType::I64, Dtype::I64),
    (DType::I32, Dtype::I32),
    (DType::U8, Dtype::U8),
    (DType::Bool, Dtype::BOOL),
];

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            advbnn::print::remark(format_args!("error: {}", advbnn::one_line(&error)));
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    let flags = Flags::parse();
    let mut model = Model::read(&flags.model)?;
    // Of a program, too, every output goes to the file: none is carried.
    model.metadata.clear();
    let engine = advbnn::open_engine(&flags.machine)?;
    let mut session = engine.load(&Program::new(model, &[]))?;
    let tensors = read(&flags.inputs).with_context(|| flags.inputs.display().to_string())?;
    let feeds: Vec<Feed> = tensors.iter().map(|(name, value)| Feed::tensor(name, value)).collect();
    let mut state = engine.state();
    let returned = session.run(&mut state, &feeds)?;
    let mut seconds = Vec::new();
    for _ in 0..flags.repeat {
        let start = Instant::now();
        session.run(&mut state, &feeds)?;
        seconds.push(start.elapsed().as_secs_f64());
    }
    if flags.repeat > 0 {
        let peak = runtime::bench::peak_mb();
        let line = serde_json::json!({ "seconds": seconds, "peak_mb": peak });
        advbnn::print::line(line)?;
    }
    let views = returned.iter().map(|(name, tensor)| Ok((name, view(name, tensor)?)));
    let views: Vec<(&String, TensorView)> = views.collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None)?;
    std::fs::write(&flags.outputs, bytes).with_context(|| flags.outputs.display().to_string())
}

fn read(path: &Path) -> Result<Vec<(String, Tensor)>> {
    let bytes = std::fs::read(path)?;
    let file = SafeTensors::deserialize(&bytes)?;
    let tensor = |(name, view): (String, TensorView)| {
        let known = TYPES.iter().find(|(_, stored)| *stored == view.dtype());
        let Some((dtype, _)) = known else { bail!("`{name}` is of type {}", view.dtype()) };
        let data = view.data().to_vec().into();
        Ok((name, Tensor::from_bytes(*dtype, view.shape().to_vec(), data)?))
    };
    file.tensors().into_iter().map(tensor).collect()
}

fn view<'a>(name: &str, tensor: &'a Tensor) -> Result<TensorView<'a>> {
    let known = TYPES.iter().find(|(dtype, _)| *dtype == tensor.dtype());
    let Some((_, stored)) = known else { bail!("`{name}` is of type {}", tensor.dtype()) };
    Ok(TensorView::new(*stored, tensor.shape().to_vec(), tensor.bytes())?)
}
