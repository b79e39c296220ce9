//! The commands of `advbnn`, thin over [`graphs`], [`passes`] and [`runtime`].

mod bench;
pub mod cli;
mod compile;
mod convert;
mod data;
mod dot;
mod evaluate;
mod export;
mod folder;
mod gradient;
mod inspect;
mod interrupt;
mod machinery;
mod model;
mod new;
mod predict;
pub mod print;
mod programs;
mod progress;
mod quickstart;
mod reproduce;
mod runtime_command;
mod settings;
mod train;
mod transfer;

use anyhow::Result;

use cli::{Cli, Command};
pub use programs::open_engine;

/// The caller asked for something that makes no sense: exit code 2.
#[derive(Debug)]
pub struct Misuse(String);

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misuse {}

/// An error of kind [`Misuse`].
fn misuse(reason: impl ToString) -> anyhow::Error {
    Misuse(reason.to_string()).into()
}

/// Runs one command.
///
/// # Errors
/// Whatever goes wrong; [`Misuse`] when the command line is at fault.
pub fn run(cli: Cli) -> Result<()> {
    let machine = &cli.machine;
    match cli.command {
        Command::Inspect(flags) => inspect::run(&flags),
        Command::New(flags) => new::run(&flags),
        Command::Convert(flags) => convert::run(&flags, machine),
        Command::Compile(flags) => compile::run(&flags, machine),
        Command::Gradient(flags) => gradient::run(&flags),
        Command::Train(flags) => train::run(&flags, machine),
        Command::Evaluate(flags) => evaluate::run(&flags, machine),
        Command::Transfer(flags) => transfer::run(&flags, machine),
        Command::Export(flags) => export::run(&flags, machine),
        Command::Predict(flags) => predict::run(&flags, machine),
        Command::Bench(flags) => bench::run(&flags, machine),
        Command::Reproduce(flags) => reproduce::run(&flags, machine),
        Command::Quickstart(flags) => quickstart::run(&flags, machine),
        Command::Runtime(flags) => runtime_command::run(&flags, machine),
    }
}

/// Sends warnings to standard error; `RUST_LOG` says more or less.
pub fn start_log(quiet: bool) {
    use tracing_subscriber::EnvFilter;
    let level = if quiet { "error" } else { "warn,tract_core=error,tract_onnx=error,ort=error" };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(level));
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    log.without_time().with_target(false).init();
}

/// An error and its causes on one line, each said once.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = String::new();
    for cause in error.chain() {
        let cause = cause.to_string();
        if line.is_empty() {
            line = cause;
        } else if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line.split_whitespace().collect::<Vec<_>>().join(" ")
}
