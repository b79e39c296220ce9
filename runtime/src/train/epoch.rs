//! What is reported and kept of a run.

use std::collections::BTreeMap;
use std::time::Instant;

use graphs::{DType, Tensor, names};

use super::averages::averaged;
use super::metrics::{Metrics, Span, Standing, Sums};
use super::quality::Quality;
use super::spread::Spread;
use super::trainer::Trainer;
use super::{BEST, Event, LAST};
use crate::{Error, Result, checkpoint};

impl Trainer<'_> {
    /// Looks at what the epoch has made, reports it and keeps it.
    pub(super) fn end_epoch(&mut self, learning_rate: f64) -> Result<()> {
        let tensors = self.tensors()?;
        let sums = std::mem::take(&mut self.position.epoch);
        let mut standing = Standing {
            noise_to_mean: Spread::of(&averaged(tensors.clone()))?,
            ..Standing::default()
        };
        let score = self.score()?;
        let quality = score.map_or(sums.quality(), |[_, robust]| robust);
        let best = self.position.best;
        if let Some(score) = score {
            standing.note(score);
            if let Some(best) = best.and_then(|best| quality.collapsed_from(best)) {
                standing.collapsed = Some(true);
                self.position.collapsed = true;
                let (epoch, now) = (self.position.step / self.per_epoch, quality.figure());
                (self.on_event)(Event::Collapsed { epoch, best, now });
            }
        }
        self.report(&sums, Span::Epoch, learning_rate, standing)?;
        let better = best.is_none_or(|best| quality.rank() > best);
        if better {
            self.position.best = Some(quality.rank());
        }
        // The best one first: a run killed in between takes the epoch anew.
        self.save(if better { &[BEST, LAST] } else { &[LAST] }, &tensors)
    }

    /// How the images that are held out, clean and attacked, are answered by what would be kept of
    /// this epoch.
    fn score(&mut self) -> Result<Option<[Quality; 2]>> {
        let Some(judge) = &mut self.judge else { return Ok(None) };
        let mut state = self.state.share();
        for average in self.kept.averages.keys() {
            if let Some(name) = average.strip_suffix(names::EMA) {
                state.adopt_from(name, &self.state, average);
            }
        }
        judge.score(&state).map(Some)
    }

    pub(super) fn report(
        &mut self,
        sums: &Sums,
        span: Span,
        learning_rate: f64,
        state: Standing,
    ) -> Result<()> {
        let step = self.position.step;
        let epoch = (step - 1) / self.per_epoch + 1;
        let metrics = Metrics { state, ..sums.metrics(span, epoch, step, learning_rate) };
        self.log.write(&metrics)?;
        (self.on_event)(Event::Metrics(&metrics));
        Ok(())
    }

    /// Writes the same checkpoint under each name.
    pub(super) fn save(
        &mut self,
        files: &[&str],
        tensors: &BTreeMap<String, Tensor>,
    ) -> Result<()> {
        self.log.sync()?;
        for file in files {
            let path = self.job.folder.join(file);
            checkpoint::write(&path, tensors, &self.position)?;
            (self.on_event)(Event::Saved(&path));
        }
        self.saved = (self.position.step, Instant::now());
        Ok(())
    }

    /// Everything that the run has learnt.
    pub(super) fn tensors(&self) -> Result<BTreeMap<String, Tensor>> {
        let names = self.job.initial.keys().chain(self.kept.all().map(|(name, _)| name));
        let tensor = |name: &String| {
            let lacking = || Error::Program(format!("`{name}` is no longer in the state"));
            let tensor = self.state.get(name)?.ok_or_else(lacking)?;
            if tensor.dtype() == DType::F32 && !tensor.floats()?.iter().all(|x| x.is_finite()) {
                return Err(self.diverged(&format!("`{name}` has elements that are not finite")));
            }
            Ok((name.clone(), tensor))
        };
        names.map(tensor).collect()
    }
}
