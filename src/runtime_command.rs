//! `advbnn runtime`: finding and installing ONNX Runtime.

use anyhow::Result;
use comfy_table::Table;
use runtime::install::{self, Provider};

use crate::cli::{Machine, ProviderName, Runtime, RuntimeAction};
use crate::print;

pub(crate) fn run(flags: &Runtime, machine: &Machine) -> Result<()> {
    match flags.action {
        RuntimeAction::List => list(),
        RuntimeAction::Install { provider } => install(provider.into(), machine.quiet),
    }
}

impl From<ProviderName> for Provider {
    fn from(name: ProviderName) -> Provider {
        match name {
            ProviderName::Cpu => Provider::Cpu,
            ProviderName::Openvino => Provider::OpenVino,
            ProviderName::Cuda => Provider::Cuda,
        }
    }
}

fn list() -> Result<()> {
    let inventory = install::list()?;
    let mut table = Table::new();
    table.load_style(comfy_table::presets::NOTHING);
    table.set_header(["engine", "version", "providers", "found in", "path"]);
    table.add_row(["tract", tract_version(), "cpu", "built in", ""]);
    for library in &inventory.libraries {
        let providers: Vec<String> = library.providers.iter().map(Provider::to_string).collect();
        let version = match library.is_usable() {
            true => library.version.clone(),
            false => format!(
                "{} (too old: 1.{} is needed)",
                library.version,
                install::Library::OLDEST_MINOR
            ),
        };
        table.add_row([
            "ort",
            &version,
            &providers.join(", "),
            &library.source.to_string(),
            &library.path.display().to_string(),
        ]);
    }
    print::line(table)?;
    for provider in &inventory.missing {
        let command = provider.install_command();
        print::line(format_args!(
            "missing: ONNX Runtime with {provider}; `{command}` installs it"
        ))?;
    }
    Ok(())
}

fn tract_version() -> &'static str {
    runtime::engine::TRACT_VERSION
}

fn install(provider: Provider, quiet: bool) -> Result<()> {
    let spinner = crate::progress::spinner(quiet);
    let library = install::install(provider, &mut |step| spinner.set_message(step.to_owned()))?;
    spinner.finish_and_clear();
    print::line(format_args!(
        "ONNX Runtime {} with {provider}: {}",
        library.version,
        library.path.display()
    ))?;
    Ok(())
}
