//! Attacks and predictions, batch after batch.

use std::collections::BTreeMap;

use crc32c::crc32c_append;
use graphs::Tensor;

use super::examples::Pictured;
use super::journal::{Journal, Range};
use super::measure::Seen;
use super::plan::{PICTURED, Plan};
use super::{EvalSettings, Progress};
use crate::attack::{AttackSpec, Norm, strongest};
use crate::data::Dataset;
use crate::network::{Running, target};
use crate::sessions::Draws;
use crate::target::Target;
use crate::uncertainty::{Judged, Tally};
use crate::{Error, Result};

/// Numbers of draws at which a prediction is looked at before it is complete.
const PARTS: [u64; 6] = [1, 2, 5, 10, 20, 50];

/// One attack at one radius; `None` leaves the images as they are.
type Attacking<'s> = Option<(&'s AttackSpec, f64)>;

/// What the draws so far say of a batch, at each of some numbers of draws.
type Parts = Vec<(u64, Vec<Judged>)>;

/// Everything that runs.
pub(super) struct Runner<'a, 'e> {
    pub(super) network: Running<'a>,
    pub(super) surrogates: BTreeMap<String, Running<'a>>,
    /// A sum of the program and the parameters of each of them.
    pub(super) sums: BTreeMap<String, u32>,
    pub(super) settings: &'e EvalSettings,
    pub(super) journal: Option<Journal>,
    pub(super) plan: Plan,
    pub(super) on_progress: &'e mut dyn FnMut(Progress),
}

impl<'a> Runner<'a, '_> {
    /// What is seen of the images that are `asked` for; `None` of the others.
    pub(super) fn run(
        &mut self,
        dataset: &Dataset,
        what: &str,
        attack: Attacking,
        asked: &[bool],
    ) -> Result<Vec<Option<Seen>>> {
        let asked: Vec<usize> = (0..).zip(asked).filter(|(_, a)| **a).map(|(i, _)| i).collect();
        let mut all: Vec<Option<Seen>> = vec![None; dataset.len()];
        let (mut done, mut correct) = (0, 0);
        for batch in asked.chunks(self.settings.batch) {
            let key = self.key(what, attack, batch);
            let known = match &self.journal {
                Some(journal) => journal.get(&key, batch.len())?,
                None => None,
            };
            let range = match known {
                Some(range) => range.clone(),
                None => self.range(key, dataset, attack, batch)?,
            };
            correct += range.seen.iter().filter(|seen| seen.judged.is_right()).count();
            for (&index, seen) in batch.iter().zip(range.seen) {
                if let Some(place) = all.get_mut(index) {
                    *place = Some(seen);
                }
            }
            // Those in the journal may be of an attack that a stronger one has joined since.
            if self.plan.shows(attack) {
                self.plan.pictures.extend(range.pictures);
            }
            done += batch.len();
            self.plan.advance(attack, batch.len());
            (self.on_progress)(Progress {
                attack: attack.map(|(spec, eps)| (spec.text().to_owned(), eps)),
                done,
                correct,
                share: self.plan.share(),
            });
        }
        Ok(all)
    }

    /// Attacks and judges a batch.
    fn range(
        &mut self,
        key: String,
        dataset: &Dataset,
        attack: Attacking,
        indices: &[usize],
    ) -> Result<Range> {
        let first = indices.first().copied().unwrap_or(0) as u64;
        let seed = self.settings.seed;
        // So many draws that no attack on one batch reaches the next one's.
        let draws = |seed: u64, stream: &str| Draws::new(seed, stream, first << 32);
        let clean = target(&self.network, dataset, indices)?;
        let images = self.images(dataset, attack, indices, draws(seed, "evaluate/attack"))?;
        let labels = clean.labels.values::<i64>()?.into_owned();
        let moved = moved(&images, &clean, attack)?;
        let (judged, parts) = self.judge(&images, &labels, draws(seed, "evaluate/judge"))?;
        let mut right: Vec<Vec<bool>> = vec![Vec::new(); indices.len()];
        let seeds = if self.network.random { self.settings.seeds } else { 1 };
        for other in 1..seeds {
            let stream = format!("evaluate/judge again {other}");
            let (again, _) = self.judge(&images, &labels, draws(seed, &stream))?;
            for (right, judged) in right.iter_mut().zip(again) {
                right.push(judged.is_right());
            }
        }
        let parted = |row: usize| {
            let of = |(n, judged): &(u64, Vec<Judged>)| Some((*n, *judged.get(row)?));
            parts.iter().filter_map(of).collect()
        };
        let rows = judged.into_iter().zip(right).zip(moved).enumerate();
        let seen: Vec<Seen> = rows
            .map(|(row, ((judged, seeds), moved))| Seen {
                judged,
                by_samples: parted(row),
                seeds,
                moved,
            })
            .collect();
        if seen.len() != indices.len() {
            let (seen, all) = (seen.len(), indices.len());
            return Err(Error::Program(format!("{seen} of {all} images were judged ({key})")));
        }
        let pictures = match attack.filter(|_| self.plan.shows(attack)) {
            Some((_, eps)) => self.pictures(&clean, &images, &seen, eps)?,
            None => Vec::new(),
        };
        let range = Range { key, seen, pictures };
        if let Some(journal) = &mut self.journal {
            journal.put(&range)?;
        }
        Ok(range)
    }

    /// What a range of images is called in the journal.
    fn key(&self, what: &str, attack: Attacking, indices: &[usize]) -> String {
        let (first, count) = (indices.first().copied().unwrap_or(0), indices.len());
        // As many from the same one on may be others, where only what is left is attacked.
        let sum = |sum, index: &usize| crc32c_append(sum, &(*index as u64).to_le_bytes());
        let sum = indices.iter().fold(0, sum);
        let mut key = format!("{what}, {count} from {first} ({sum:08x})");
        if let Some((spec, eps)) = attack {
            key = format!("{key}, {} at {eps}", spec.text());
            if let Some(sum) = spec.from().and_then(|name| self.sums.get(name)) {
                key = format!("{key} ({sum:08x})");
            }
        }
        key
    }

    /// What all draws say of `images`, and what some of them do.
    fn judge(
        &mut self,
        images: &Tensor,
        labels: &[i64],
        mut draws: Draws,
    ) -> Result<(Vec<Judged>, Parts)> {
        let samples = self.network.draws(self.settings.samples);
        let (mut tally, mut parts) = (Tally::default(), Parts::new());
        self.network.each_draw(images, samples, &mut draws, |probabilities, classes| {
            tally.add(probabilities, classes);
            if PARTS.contains(&tally.draws()) || tally.draws() == samples {
                parts.push((tally.draws(), tally.judge(labels)));
            }
        })?;
        Ok((tally.judge(labels), parts))
    }

    /// The first images that the attack could turn, for the report.
    fn pictures(
        &mut self,
        clean: &Target,
        images: &Tensor,
        seen: &[Seen],
        eps: f64,
    ) -> Result<Vec<Pictured>> {
        let labels = clean.labels.values::<i64>()?.into_owned();
        let draws = Draws::new(self.settings.seed, "evaluate/pictures", 0);
        let (before, _) = self.judge(&clean.clean, &labels, draws)?;
        let (from, to) = (clean.clean.values::<f32>()?, images.values::<f32>()?);
        let size = clean.size();
        let pairs = from.chunks_exact(size).zip(to.chunks_exact(size));
        let after = seen.iter().map(|seen| seen.judged);
        let rows = pairs.zip(before.into_iter().zip(after));
        let right = rows.filter(|(_, (before, _))| before.is_right());
        let pictures =
            right.take(PICTURED - self.plan.pictures.len()).map(|((from, to), (before, after))| {
                Pictured::new(&self.network.form, from, to, eps, before, after)
            });
        Ok(pictures.collect())
    }

    /// The images at `indices` after the attack, as the network takes them.
    fn images(
        &mut self,
        dataset: &Dataset,
        attack: Attacking,
        indices: &[usize],
        draws: Draws,
    ) -> Result<Tensor> {
        let Some((spec, eps)) = attack.filter(|(_, eps)| *eps > 0.0) else {
            return Ok(target(&self.network, dataset, indices)?.clean);
        };
        let attacked = self.attacked(spec)?;
        let target = target(attacked, dataset, indices)?;
        let images = strongest(attacked, spec, eps, &target, draws)?;
        let from = attacked.form.clone();
        from.convert(&images, &self.network.form)
    }

    /// The network whose gradients the attack sees.
    pub(super) fn attacked(&mut self, spec: &AttackSpec) -> Result<&mut Running<'a>> {
        match spec.from() {
            None => Ok(&mut self.network),
            Some(name) => self.surrogates.get_mut(name).ok_or_else(|| {
                let text = spec.text();
                Error::Setting(format!("attack `{text}`: the model `{name}` was not given"))
            }),
        }
    }
}

/// How far each image was moved, as a share of the radius.
fn moved(images: &Tensor, target: &Target, attack: Attacking) -> Result<Vec<f64>> {
    let Some((spec, eps)) = attack.filter(|(_, eps)| *eps > 0.0) else {
        return Ok(vec![0.0; target.len()]);
    };
    let (from, to) = (target.clean.values::<f32>()?, images.values::<f32>()?);
    let size = target.size();
    let distance = |(from, to): (&[f32], &[f32])| {
        let changes = from.iter().zip(to).map(|(from, to)| f64::from((to - from).abs()));
        let distance = match spec.norm() {
            Norm::Linf => changes.fold(0.0, f64::max),
            Norm::L2 => changes.map(|change| change * change).sum::<f64>().sqrt(),
        };
        distance / eps
    };
    Ok(from.chunks_exact(size).zip(to.chunks_exact(size)).map(distance).collect())
}
