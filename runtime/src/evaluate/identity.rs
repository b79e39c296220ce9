//! What an evaluation depends on.

use crc32c::{crc32c, crc32c_append};

use super::EvalSettings;
use crate::Result;
use crate::attack::AttackSpec;
use crate::data::Dataset;
use crate::network::Running;
use crate::sessions::Purpose;

/// Grows when the same settings come to see other draws.
const DRAWS: u32 = 2;

/// A text that differs where the figures would: of another program, other parameters, images
/// or settings. Further attacks and radii may join, but for cumulative ones, which depend on
/// one another.
///
/// # Errors
/// When the program cannot be compiled, or a parameter not be read.
pub(super) fn identity(
    network: &mut Running,
    datasets: &[&Dataset],
    settings: &EvalSettings,
    about: &str,
) -> Result<String> {
    let EvalSettings { samples, batch, seed, seeds, cumulative, .. } = settings;
    let images: Vec<String> = datasets.iter().map(|dataset| dataset.identity()).collect();
    let size = batch.min(&datasets.first().map_or(0, |dataset| dataset.len())).to_owned();
    let model = model(network, size)?;
    let runs: Vec<String> = match cumulative {
        true => {
            let run = |(spec, eps): (&AttackSpec, f64)| format!("{} at {eps}", spec.text());
            settings.runs().into_iter().map(run).collect()
        }
        false => Vec::new(),
    };
    Ok(format!(
        "{about}; draws {DRAWS}; model {model:08x}; {}; samples {samples}, batch {batch}, seed {seed}, \
         seeds {seeds}; {}",
        images.join(", "),
        runs.join(", ")
    ))
}

/// A sum of the program that predicts `batch` images, and of the parameters that it reads: the
/// same on any number of threads.
///
/// # Errors
/// When it cannot be compiled, or a parameter not be read.
pub(super) fn model(network: &mut Running, batch: usize) -> Result<u32> {
    let Running { sessions, state, .. } = network;
    let mut sum = crc32c(&sessions.program(Purpose::Predict, batch)?.model.to_bytes()?);
    for (name, _) in sessions.get(Purpose::Predict, batch)?.state() {
        if let Some(tensor) = state.get(name)? {
            sum = crc32c_append(crc32c_append(sum, name.as_bytes()), tensor.bytes());
        }
    }
    Ok(sum)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::tests::engines;
    use crate::evaluate::Network;
    use crate::linear::{Linear, dataset, weight};

    #[test]
    fn everything_that_the_figures_depend_on_changes_the_text() {
        let engine = &*engines()[0];
        let settings = EvalSettings {
            attacks: Vec::new(),
            eps: vec![0.1],
            samples: 2,
            batch: 4,
            seed: 0,
            cumulative: false,
            seeds: 1,
            probing: None,
        };
        let of = |std, datasets: &[&Dataset]| {
            let model = Linear { classes: 3, std };
            let compile = |purpose, batch| model.compile(purpose, batch);
            let mut state = engine.state();
            state.put("weight", &weight(3)["weight"]).unwrap();
            let network = Network { compile: &compile, state };
            let mut network = Running::new(engine, network, datasets[0], 4).unwrap();
            identity(&mut network, datasets, &settings, "this").unwrap()
        };
        let (six, nine, fifteen) = (dataset(6, 3), dataset(9, 3), dataset(15, 3));
        let texts = [
            of(None, &[&six]),
            // Noise of another size is in the program alone.
            of(Some(0.1), &[&six]),
            of(Some(0.2), &[&six]),
            of(None, &[&nine]),
            of(None, &[&six, &nine]),
            of(None, &[&nine, &six]),
            of(None, &[&fifteen]),
        ];
        for (i, text) in texts.iter().enumerate() {
            assert!(!texts[..i].contains(text), "{text}");
        }
        assert_eq!(of(Some(0.1), &[&six]), texts[1]);
    }
}
