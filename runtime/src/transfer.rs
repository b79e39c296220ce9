//! How well images that fool one model fool another.

use graphs::Tensor;
use serde::Serialize;

use crate::attack::{AttackSpec, check_radius, strongest};
use crate::data::Dataset;
use crate::draws::Draws;
use crate::engine::Engine;
use crate::network::{Network, Running, target};
use crate::target::Target;
use crate::{Error, Result};

/// What to measure.
#[derive(Clone, Debug)]
pub struct TransferSettings {
    /// The attack, from each model on all.
    pub attack: AttackSpec,
    /// Its radius, above 0.
    pub eps: f64,
    /// Draws of the weights over which probabilities are averaged before the class is
    /// chosen.
    pub samples: u64,
    /// Images in a batch; the last batch may have fewer.
    pub batch: usize,
    /// Fixes every draw and random start.
    pub seed: u64,
}

/// Accuracies in percent, and what they say of the models' likeness. In a matrix, rows are
/// source models and columns target models.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Affinity {
    /// Of each model on clean images.
    pub clean: Vec<f64>,
    /// `Acc[B|A]`: of B on images that were attacked on A.
    pub accuracy: Vec<Vec<f64>>,
    /// `(Acc[B] - Acc[B|A]) / (Acc[B] - Acc[B|B])` (Adv-BNN, equation 17): 1 where A's images
    /// harm B as much as B's own, 0 where they do not harm it; `None` where B's own do not.
    pub affinity: Vec<Vec<Option<f64>>>,
}

/// How far a measurement is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct TransferProgress {
    /// The number of the model that is attacked.
    pub source: usize,
    /// Images done with it.
    pub done: usize,
}

/// Attacks each of `networks` on all images of `dataset` and judges the results by every
/// one, on draws of the weights that the attack has not seen.
///
/// # Errors
/// When a setting makes no sense, the attack is one from another model itself, the images do
/// not fit a model, or a program cannot be compiled or run.
pub fn transfer<'a>(
    engine: &'a dyn Engine,
    networks: Vec<Network<'a>>,
    dataset: &Dataset,
    settings: &TransferSettings,
    on_progress: &mut dyn FnMut(TransferProgress),
) -> Result<Affinity> {
    let TransferSettings { attack, eps, samples, batch, seed } = settings;
    check_radius(attack.norm(), *eps)?;
    if attack.from().is_some() {
        let text = attack.text();
        return Err(Error::Setting(format!("attack `{text}`: every model is a source here")));
    }
    if *batch == 0 || *samples == 0 {
        return Err(Error::Setting("the batch size and the samples must be at least 1".to_owned()));
    }
    let open = |network| Running::new(engine, network, dataset, *batch);
    let mut networks = networks.into_iter().map(open).collect::<Result<Vec<Running>>>()?;
    let indices: Vec<usize> = (0..dataset.len()).collect();
    let batches = || indices.chunks(*batch);
    // The same for every batch, as `evaluate` has them.
    let draws = |stream| Draws::new(*seed, stream, 0);
    let judge = |network: &mut Running, images: &Tensor, target: &Target| {
        let mut draws = draws("evaluate/judge");
        draws.show(&target.indices);
        let tally = network.predict(images, *samples, &mut draws)?;
        let labels = target.labels.values::<i64>()?;
        let pairs = tally.chosen().zip(labels.iter());
        Ok::<usize, Error>(pairs.filter(|(class, label)| *class as i64 == **label).count())
    };

    let mut clean = vec![0; networks.len()];
    for (network, right) in networks.iter_mut().zip(&mut clean) {
        for batch in batches() {
            let target = target(network, dataset, batch)?;
            *right += judge(network, &target.clean, &target)?;
        }
    }
    let mut attacked = vec![vec![0; networks.len()]; networks.len()];
    for (source, rights) in attacked.iter_mut().enumerate() {
        let mut done = 0;
        for batch in batches() {
            let Some(network) = networks.get_mut(source) else { continue };
            let target = target(network, dataset, batch)?;
            let draws = draws("evaluate/attack");
            let images = strongest(network, attack, *eps, &target, draws)?;
            let form = network.form.clone();
            for (network, right) in networks.iter_mut().zip(rights.iter_mut()) {
                let images = form.convert(&images, &network.form)?;
                *right += judge(network, &images, &target)?;
            }
            done += batch.len();
            on_progress(TransferProgress { source, done });
        }
    }
    let percent = |right: &usize| 100.0 * *right as f64 / dataset.len() as f64;
    let clean: Vec<f64> = clean.iter().map(percent).collect();
    let accuracy: Vec<Vec<f64>> =
        attacked.iter().map(|row| row.iter().map(percent).collect()).collect();
    Ok(Affinity { affinity: affinity(&clean, &accuracy), clean, accuracy })
}

/// Equation 17.
fn affinity(clean: &[f64], accuracy: &[Vec<f64>]) -> Vec<Vec<Option<f64>>> {
    let own: Vec<f64> =
        accuracy.iter().enumerate().filter_map(|(i, row)| row.get(i).copied()).collect();
    let entry = |((attacked, clean), own): ((&f64, &f64), &f64)| {
        (clean > own).then(|| (clean - attacked) / (clean - own))
    };
    accuracy.iter().map(|row| row.iter().zip(clean).zip(&own).map(entry).collect()).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::engine::tests::engines;
    use crate::linear::{Linear, dataset};

    #[test]
    fn affinity_is_equation_17() {
        let found = affinity(
            &[90.0, 80.0, 50.0],
            &[vec![10.0, 60.0, 50.0], vec![50.0, 40.0, 50.0], vec![90.0, 80.0, 50.0]],
        );
        assert_eq!(found[0], [Some(1.0), Some(0.5), None]);
        assert_eq!(found[1], [Some(0.5), Some(1.0), None]);
        assert_eq!(found[2], [Some(0.0), Some(0.0), None]);
    }

    /// A model and one that looks at other pixels: what fools the first leaves the second.
    #[test]
    fn a_twin_is_fooled_and_a_stranger_is_not() {
        let model = Linear { classes: 2, std: None };
        let compile = |purpose, batch| model.compile(purpose, batch);
        let dataset = dataset(10, 2);
        for engine in engines() {
            let network = |values: [f32; 8]| {
                let mut state = engine.state();
                state.put("weight", &Tensor::new(&[4, 2], values.to_vec()).unwrap()).unwrap();
                Network { compile: &compile, state }
            };
            let own = [4.0, 0.0, 0.0, 4.0, 0.0, 0.0, 0.0, 0.0];
            let twin = own.map(|weight| weight * 2.0);
            let stranger = [0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1.0];
            let settings = TransferSettings {
                attack: "pgd".parse().unwrap(),
                eps: 0.6,
                samples: 3,
                batch: 4,
                seed: 0,
            };
            let networks = [own, twin, stranger].map(network).into();
            let mut steps = Vec::new();
            let found = transfer(&*engine, networks, &dataset, &settings, &mut |progress| {
                steps.push((progress.source, progress.done));
            })
            .unwrap();
            assert_eq!(found.clean[..2], [100.0, 100.0]);
            assert_eq!((found.accuracy[0][0], found.accuracy[0][1]), (0.0, 0.0));
            assert_eq!(found.affinity[1][0], Some(1.0));
            assert_eq!(found.accuracy[0][2], found.clean[2], "it looks at other pixels");
            assert_eq!(steps.len(), 9);
            assert_eq!(steps[8], (2, 10));
        }
    }

    #[test]
    fn settings_that_make_no_sense_are_refused() {
        let settings = TransferSettings {
            attack: "pgd".parse().unwrap(),
            eps: 0.1,
            samples: 1,
            batch: 1,
            seed: 0,
        };
        let engine = &*engines()[0];
        let error = |settings| {
            let data = dataset(4, 2);
            transfer(engine, Vec::new(), &data, &settings, &mut |_| {}).unwrap_err().to_string()
        };
        assert!(error(TransferSettings { eps: 8.0, ..settings.clone() }).contains("radius 8"));
        assert!(error(TransferSettings { batch: 0, ..settings }).contains("batch size"));
    }
}
