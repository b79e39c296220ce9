//! Attacks and predictions, batch after batch.

use std::collections::BTreeMap;

use crc32c::crc32c_append;
use graphs::Tensor;

use super::attack::Attack;
use super::examples::Pictured;
use super::found::Run;
use super::journal::{Journal, Range};
use super::measure::{Seen, moved};
use super::plan::{PICTURED, Plan, Work};
use super::{EvalSettings, Progress};
use crate::attack::{AttackSpec, strongest};
use crate::data::Dataset;
use crate::draws::Draws;
use crate::network::{Running, target};
use crate::target::Target;
use crate::uncertainty::{Judged, Tally};
use crate::{Error, Result};

/// Numbers of draws at which a prediction is looked at before it is complete.
const PARTS: [u64; 6] = [1, 2, 5, 10, 20, 50];

/// `None` leaves the images as they are.
type Attacking<'s> = Option<&'s Attack>;

/// What the draws so far say of a batch, at each of some numbers of draws.
type Parts = Vec<(u64, Vec<Judged>)>;

/// Images to look at.
#[derive(Clone, Copy)]
pub(super) struct Images<'d> {
    pub(super) dataset: &'d Dataset,
    /// What the journal calls them.
    pub(super) name: &'static str,
    /// Seeds under which they are predicted.
    pub(super) seeds: u64,
}

/// Everything that runs.
pub(super) struct Runner<'a, 'e> {
    pub(super) network: Running<'a>,
    pub(super) surrogates: BTreeMap<String, Running<'a>>,
    /// A sum of the program and the parameters of each of them.
    pub(super) sums: BTreeMap<String, u32>,
    pub(super) settings: &'e EvalSettings,
    pub(super) journal: Option<Journal>,
    pub(super) plan: Plan,
    /// What is said of the images of the evaluation without an attack, once that is known.
    pub(super) clean: Vec<Option<Judged>>,
    pub(super) on_progress: &'e mut dyn FnMut(Progress),
}

impl<'a> Runner<'a, '_> {
    /// What is seen of the images that are `asked` for; `None` of the others.
    pub(super) fn run(&mut self, images: Images, attack: Attacking, asked: &[bool]) -> Result<Run> {
        let asked: Vec<usize> = (0..).zip(asked).filter(|(_, a)| **a).map(|(i, _)| i).collect();
        let mut all: Vec<Option<Seen>> = vec![None; images.dataset.len()];
        let work = self.work(images, attack);
        let (mut done, mut correct) = (0, 0);
        for batch in asked.chunks(self.settings.batch) {
            let key = self.key(images.name, attack, batch);
            let known = match &self.journal {
                Some(journal) => journal.get(&key, batch.len())?,
                None => None,
            };
            // One that an evaluation has noted which showed another attack.
            let lacking = |range: &&Range| range.pictures.len() < self.wanted(batch);
            let range = match known.filter(|range| !lacking(range)) {
                Some(range) => range.clone(),
                None => self.range(key, images, attack, batch)?,
            };
            correct += range.seen.iter().filter(|seen| seen.judged.is_right()).count();
            for (&index, seen) in batch.iter().zip(range.seen) {
                if let Some(place) = all.get_mut(index) {
                    *place = Some(seen);
                }
            }
            // Those in the journal may be of an attack that a stronger one has joined since.
            let wanted = self.wanted(batch);
            self.plan.pictures.extend(range.pictures.into_iter().take(wanted));
            done += batch.len();
            self.plan.advance(work, batch.len());
            self.tell(attack, done, correct);
        }
        Ok(Run { attack: attack.cloned(), seen: all })
    }

    /// Notes that so many images, which were planned for, are not tried.
    pub(super) fn leave_out(&mut self, images: Images, attack: Attacking, count: usize) {
        if count > 0 {
            self.plan.advance(self.work(images, attack), count);
            self.tell(attack, 0, 0);
        }
    }

    /// What is done to one of `images`.
    pub(super) fn work<'w>(&self, images: Images, attack: Attacking<'w>) -> Work<'w> {
        let samples = self.network.draws(self.settings.samples) as f64;
        Work { attack, predictions: samples * self.seeds(images) as f64 }
    }

    /// Under how many seeds the predictions of `images` differ.
    fn seeds(&self, images: Images) -> u64 {
        if self.network.random { images.seeds } else { 1 }
    }

    fn tell(&mut self, attack: Attacking, done: usize, correct: usize) {
        let attack = attack.map(|attack| (attack.spec.text().to_owned(), attack.eps));
        (self.on_progress)(Progress { attack, done, correct, share: self.plan.share() });
    }

    /// Attacks and judges a batch.
    fn range(
        &mut self,
        key: String,
        images: Images,
        attack: Attacking,
        indices: &[usize],
    ) -> Result<Range> {
        // The same draws for every image, in whatever batch it is: what is left of one may be
        // regrouped, and what an image is judged as must not depend on that.
        let settings = self.settings;
        let draws = |stream: &str| {
            let mut draws = Draws::new(settings.seed, stream, 0);
            draws.show(indices);
            draws
        };
        let (dataset, seeds) = (images.dataset, self.seeds(images));
        let clean = target(&self.network, dataset, indices)?;
        let images = self.images(dataset, attack, indices, draws("evaluate/attack"))?;
        let labels = clean.labels.values::<i64>()?.into_owned();
        let moved = moved(&images, &clean, attack)?;
        let parts = self.judge(&images, &labels, draws("evaluate/judge"))?;
        let mut right: Vec<Vec<bool>> = vec![Vec::new(); indices.len()];
        let samples = settings.samples;
        for other in 1..seeds {
            let mut draws = draws(&format!("evaluate/judge again {other}"));
            let again = self.network.predict(&images, samples, &mut draws)?.judge(&labels);
            for (right, judged) in right.iter_mut().zip(again) {
                right.push(judged.is_right());
            }
        }
        let parted = |row: usize| -> Vec<(u64, Judged)> {
            let of = |(n, judged): &(u64, Vec<Judged>)| Some((*n, *judged.get(row)?));
            parts.iter().filter_map(of).collect()
        };
        let rows = right.into_iter().zip(moved).enumerate();
        let seen: Vec<Seen> = rows
            .filter_map(|(row, (seeds, moved))| {
                let by_samples = parted(row);
                let (_, judged) = *by_samples.last()?;
                Some(Seen { judged, by_samples, seeds, moved })
            })
            .collect();
        if seen.len() != indices.len() {
            let (seen, all) = (seen.len(), indices.len());
            return Err(Error::Program(format!("{seen} of {all} images were judged ({key})")));
        }
        let pictures = match attack.filter(|_| self.plan.showing) {
            Some(attack) => self.pictures(&clean, &images, &seen, attack.eps)?,
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
        if let Some(Attack { spec, eps, from, .. }) = attack {
            key = format!("{key}, {} at {eps}", spec.text());
            if let Some(sum) = from.as_ref().and_then(|name| self.sums.get(name)) {
                key = format!("{key} ({sum:08x})");
            }
        }
        key
    }

    /// What the draws say of `images`: some of them, and at the end all.
    fn judge(&mut self, images: &Tensor, labels: &[i64], mut draws: Draws) -> Result<Parts> {
        let samples = self.network.draws(self.settings.samples);
        let (mut tally, mut parts) = (Tally::default(), Parts::new());
        self.network.each_draw(images, samples, &mut draws, |probabilities, classes| {
            tally.add(probabilities, classes);
            if PARTS.contains(&tally.draws()) || tally.draws() == samples {
                parts.push((tally.draws(), tally.judge(labels)));
            }
        })?;
        Ok(parts)
    }

    /// How many of these images the report still shows: the first ones that are right without
    /// an attack.
    fn wanted(&self, indices: &[usize]) -> usize {
        if !self.plan.showing {
            return 0;
        }
        let judged = indices.iter().filter_map(|&index| self.clean.get(index)?.as_ref());
        let right = judged.filter(|judged| judged.is_right()).count();
        right.min(PICTURED.saturating_sub(self.plan.pictures.len()))
    }

    /// The first images that the attack could turn, for the report.
    fn pictures(
        &self,
        clean: &Target,
        images: &Tensor,
        seen: &[Seen],
        eps: f64,
    ) -> Result<Vec<Pictured>> {
        let (from, to) = (clean.clean.values::<f32>()?, images.values::<f32>()?);
        let size = clean.size();
        let pairs = from.chunks_exact(size).zip(to.chunks_exact(size));
        let before = clean.indices.iter().map(|&index| self.clean.get(index).copied().flatten());
        let after = seen.iter().map(|seen| seen.judged);
        let rows = pairs.zip(before.zip(after));
        let right = rows.filter_map(|(pair, (before, after))| {
            before.filter(Judged::is_right).map(|before| (pair, before, after))
        });
        let pictures =
            right.take(self.wanted(&clean.indices)).map(|((from, to), before, after)| {
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
        let Some(Attack { spec, eps, .. }) = attack.filter(|attack| attack.eps > 0.0) else {
            return Ok(target(&self.network, dataset, indices)?.clean);
        };
        let attacked = self.attacked(spec)?;
        let target = target(attacked, dataset, indices)?;
        let images = strongest(attacked, spec, *eps, &target, draws)?;
        let from = attacked.form.clone();
        from.convert(&images, &self.network.form)
    }

    /// The attack `spec` at radius `eps` on these networks.
    ///
    /// # Errors
    /// When the one that it follows was not given.
    pub(super) fn attack(&mut self, spec: &AttackSpec, eps: f64) -> Result<Attack> {
        Ok(Attack::new(spec, eps, self.attacked(spec)?.draws(spec.draws())))
    }

    /// The network whose gradients the attack sees.
    fn attacked(&mut self, spec: &AttackSpec) -> Result<&mut Running<'a>> {
        match spec.from() {
            None => Ok(&mut self.network),
            Some(name) => self.surrogates.get_mut(name).ok_or_else(|| {
                let text = spec.text();
                Error::Setting(format!("attack `{text}`: the model `{name}` was not given"))
            }),
        }
    }
}
