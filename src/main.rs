//! The `advbnn` command.

use std::process::ExitCode;

use clap::Parser;

/// Graphs are many small allocations, and the system's allocator slows down with their number.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = advbnn::cli::Cli::parse();
    advbnn::start_log(cli.machine.quiet);
    match advbnn::run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            advbnn::print::remark(format_args!("error: {}", advbnn::one_line(&error)));
            ExitCode::from(if error.is::<advbnn::Misuse>() { 2 } else { 1 })
        }
    }
}
