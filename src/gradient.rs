//! `advbnn gradient`: the gradient of the loss as plain ONNX.

use anyhow::{Context, Result};

use crate::cli::Gradient;
use crate::settings::likelihood;
use crate::{model, print};

pub(crate) fn run(flags: &Gradient) -> Result<()> {
    let likelihood = likelihood(flags.likelihood.as_deref())?;
    let mut network = model::read_sized(&flags.model, &flags.sizes)?;
    model::note_likelihood(&mut network, likelihood)?;
    let batch = flags.batch.map(std::num::NonZeroUsize::get);
    let gradient = passes::loss_gradient(&network, batch, &flags.wrt)
        .with_context(|| flags.model.display().to_string())?;
    model::write_as(&gradient, &flags.output, flags.storage)?;
    let outputs: Vec<&str> = gradient.graph.outputs.iter().map(|p| p.name.as_str()).collect();
    print::line(format_args!("wrote {}: {}", flags.output.display(), outputs.join(", ")))?;
    Ok(())
}
