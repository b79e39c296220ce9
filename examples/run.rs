//! Runs any ONNX file once on an engine of `advbnn`, from the shell or a script:
//!
//! ```sh
//! cargo run --release --example run -- MODEL.onnx INPUTS.safetensors OUTPUTS.safetensors --engine tract
//! ```
//!
//! INPUTS holds one tensor for every input of the model, under its name; OUTPUTS gets
//! every output under its own. `--engine` is `auto` (the default), `ort` or `tract`.

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use graphs::{DType, Model, Program, Tensor};
use runtime::engine::{self, Choice, Feed, Settings};
use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};

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
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let (model, inputs, outputs, engine) = match *words.as_slice() {
        [model, inputs, outputs] => (model, inputs, outputs, Choice::Auto),
        [model, inputs, outputs, "--engine", engine] => (model, inputs, outputs, engine.parse()?),
        _ => bail!("usage: run MODEL INPUTS.safetensors OUTPUTS.safetensors [--engine ENGINE]"),
    };
    let mut model = Model::read(Path::new(model))?;
    // Of a program, too, every output goes to the file: none is carried.
    model.metadata.clear();
    let engine = engine::open(&Settings { engine, ..Settings::default() })?;
    let mut session = engine.load(&Program::new(model, &[]))?;
    let tensors = read(inputs).with_context(|| inputs.to_owned())?;
    let feeds: Vec<Feed> = tensors.iter().map(|(name, value)| Feed::tensor(name, value)).collect();
    let returned = session.run(&mut engine.state(), &feeds)?;
    let views = returned.iter().map(|(name, tensor)| Ok((name, view(name, tensor)?)));
    let views: Vec<(&String, TensorView)> = views.collect::<Result<_>>()?;
    let bytes = safetensors::serialize(views, None)?;
    std::fs::write(outputs, bytes).with_context(|| outputs.to_owned())
}

fn read(path: &str) -> Result<Vec<(String, Tensor)>> {
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
