//! The loop over batches, and where a run stands in it.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use graphs::names;

use super::averages::{Kept, decay_at};
use super::holdout::Judge;
use super::log::Log;
use super::metrics::{Span, Standing, Step};
use super::position::{Position, check_tensors};
use super::{BEST, CONFIG, Event, Job, LAST, OnCollapse, Outcome, Settings};
use crate::checkpoint;
use crate::data::{Answer, Batch, Dataset, Layout};
use crate::draws::Draws;
use crate::engine::State;
use crate::sessions::{Purpose, Sessions};
use crate::target::Form;
use crate::{Error, Result, write_whole};

pub(super) struct Trainer<'a> {
    pub(super) job: &'a Job<'a>,
    pub(super) on_event: &'a mut dyn FnMut(Event),
    sessions: Sessions<'a>,
    pub(super) state: State,
    pub(super) kept: Kept,
    pub(super) judge: Option<Judge<'a>>,
    form: Form,
    /// Steps in an epoch.
    pub(super) per_epoch: u64,
    pub(super) position: Position,
    pub(super) log: Log,
    /// The step of the last checkpoint, and when it was written.
    pub(super) saved: (u64, Instant),
}

impl<'a> Trainer<'a> {
    /// Trains on the images of `job`, which with those held out are `all`.
    pub(super) fn new(
        job: &'a Job<'a>,
        all: &Dataset,
        held_out: Option<Dataset>,
        on_event: &'a mut dyn FnMut(Event),
    ) -> Result<Trainer<'a>> {
        let Job { settings, dataset, .. } = *job;
        settings.check()?;
        let mut position = Position::start(settings, dataset, all, job.initial);
        let mut tensors = job.initial.clone();
        let path = job.folder.join(LAST);
        if job.resume {
            let (saved, old) = checkpoint::read(&path)?;
            position = position.continued(old)?;
            tensors = saved;
        } else if path.exists() {
            let reason = "the folder already holds a run; go on with it (`--resume`), or choose another folder";
            return Err(Error::file(job.folder, reason));
        }

        let mut sessions = Sessions::new(job.engine, job.compile);
        let batch = settings.batch.min(dataset.len());
        check_targets(job, batch)?;
        let update = sessions.get(Purpose::Update, batch)?;
        let kept = Kept::new(update, job.initial)?;
        let form = Form::new(&update.images()?, dataset)?;
        if job.resume {
            check_tensors(&path, &tensors, job.initial.iter().chain(kept.all()))?;
        }
        let judge = match held_out.zip(settings.holdout) {
            Some((images, holdout)) => {
                Some(Judge::new(job.engine, job.judge, images, holdout, settings)?)
            }
            None => None,
        };
        let mut state = job.engine.state();
        // Averages begin at what they average; a checkpoint has its own.
        let mut begin = kept.averages.iter().chain(&tensors);
        begin.try_for_each(|(name, tensor)| state.put(name, tensor))?;
        // Nothing is refused from here on: what is there may be written over.
        std::fs::create_dir_all(job.folder).map_err(|error| Error::file(job.folder, error))?;
        if let Some(config) = job.config {
            write_whole(&job.folder.join(CONFIG), |file| file.write_all(config.as_bytes()))?;
        }
        let log = Log::open(job.folder, position.step)?;
        if position.best.is_none() {
            remove_stale(&job.folder.join(BEST))?;
        }
        let per_epoch = dataset.batches(settings.batch).len() as u64;
        let saved = (position.step, Instant::now());
        Ok(Trainer {
            job,
            on_event,
            sessions,
            state,
            kept,
            judge,
            form,
            per_epoch,
            position,
            log,
            saved,
        })
    }

    pub(super) fn step(&self) -> u64 {
        self.position.step
    }

    pub(super) fn layout(&self) -> Layout {
        self.form.layout
    }

    /// Learns every batch that comes.
    pub(super) fn run(mut self, batches: Receiver<Batch>) -> Result<Outcome> {
        let steps = self.job.settings.epochs * self.per_epoch;
        let (step, per_epoch) = (self.position.step, self.per_epoch);
        (self.on_event)(Event::Start { step, steps, per_epoch });
        let mut before = Instant::now();
        for batch in batches {
            if self.gives_up() {
                break;
            }
            self.learn(batch, &mut before)?;
            if self.job.stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let step = self.position.step;
        if self.saved.0 != step {
            self.save(&[LAST], &self.tensors()?)?;
        }
        let (finished, collapsed) = (step >= steps, self.gives_up());
        Ok(Outcome { finished, collapsed, step, tensors: self.tensors()? })
    }

    /// Whether the run ends here because it has collapsed.
    fn gives_up(&self) -> bool {
        self.position.collapsed && self.job.settings.on_collapse == OnCollapse::Stop
    }

    /// Takes one step and reports on it; `before` is when the last one ended.
    fn learn(&mut self, batch: Batch, before: &mut Instant) -> Result<()> {
        let Settings { log_every, checkpoint_seconds, .. } = *self.job.settings;
        let (mut step, learning_rate) = self.attack_and_update(batch)?;
        let now = Instant::now();
        step.seconds = (now - std::mem::replace(before, now)).as_secs_f64();
        let position = &mut self.position;
        position.step += 1;
        position.epoch.add(&step);
        position.group.add(&step);
        let done = position.step;
        (self.on_event)(Event::Step { step: done, loss: step.loss });

        if log_every > 0 && done.is_multiple_of(log_every) {
            let sums = std::mem::take(&mut self.position.group);
            self.report(&sums, Span::Steps, learning_rate, Standing::default())?;
        }
        if done.is_multiple_of(self.per_epoch) {
            return self.end_epoch(learning_rate);
        }
        match self.saved.1.elapsed() >= Duration::from_secs(checkpoint_seconds) {
            true => self.save(&[LAST], &self.tensors()?),
            false => Ok(()),
        }
    }

    /// One step: the images are attacked as the settings say, then learnt.
    fn attack_and_update(&mut self, batch: Batch) -> Result<(Step, f64)> {
        let Job { settings, dataset, .. } = *self.job;
        let number = self.position.step;
        let rate =
            settings.schedule.at(settings.learning_rate, number, self.per_epoch, settings.epochs);
        if rate.optimizer_step == 1 {
            self.kept.moments.iter().try_for_each(|(name, zero)| self.state.put(name, zero))?;
        }
        let target = self.form.target(batch)?;
        match &settings.attack {
            Some(attack) => {
                let first = number.wrapping_mul(attack.draws_per_run());
                let mut draws = Draws::new(settings.seed, "train/attack", first);
                attack.run(&mut self.sessions, &mut self.state, &target, &mut draws)?;
            }
            None => target.place(&mut self.state, &target.clean)?,
        }
        let alpha = settings.alpha_at(number, self.per_epoch);
        let scalars = [
            (names::LEARNING_RATE, rate.learning_rate),
            (names::STEP, rate.optimizer_step as f64),
            (names::KL_SCALE, alpha / dataset.len() as f64),
            (names::EMA_DECAY, decay_at(settings.ema.unwrap_or_default(), number + 1)),
        ];
        let mut draws = Draws::new(settings.seed, "train/update", number);
        let (count, state) = (target.len(), &mut self.state);
        let outputs = self.sessions.update(count, state, &scalars, &mut draws)?;
        let lacking = |name| Error::Program(format!("it has no output `{name}`"));
        let number = |name| outputs.number(name)?.ok_or_else(|| lacking(name));
        let step = Step {
            images: count as u64,
            correct: outputs.number(names::CORRECT)?.map(|count| count as u64),
            loss: number(names::LOSS)?,
            cross_entropy: outputs.number(names::CROSS_ENTROPY)?,
            kl: outputs.number(names::KL)?,
            divergence: outputs.number(names::DIVERGENCE)?,
            nll: outputs.number(names::NLL)?,
            squared_error: outputs.number(names::SQUARED_ERROR)?,
            seconds: 0.0,
        };
        if step.correct.is_none() && step.squared_error.is_none() {
            return Err(lacking(names::CORRECT));
        }
        if !step.loss.is_finite() {
            return Err(self.diverged(&format!("the loss is {}", step.loss)));
        }
        Ok((step, rate.learning_rate))
    }

    pub(super) fn diverged(&self, what: &str) -> Error {
        let step = self.position.step;
        let epoch = step / self.per_epoch + 1;
        let path = self.job.folder.join(LAST);
        let kept = match path.exists() {
            true => format!("; {} holds the last good state", path.display()),
            false => String::new(),
        };
        Error::Training(format!(
            "step {} of epoch {epoch}: {what}; lower the learning rate or alpha{kept}",
            step + 1
        ))
    }
}

/// Removes the best epoch of another run, or one that this run has not come to yet: whoever
/// stops before its first epoch ends would be left with those weights.
fn remove_stale(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(Error::file(path, error)),
        _ => Ok(()),
    }
}

/// Checks that the model can say what is to be said of the images, before the first step.
fn check_targets(job: &Job, batch: usize) -> Result<()> {
    let program = (job.compile)(Purpose::Predict, batch).map_err(Error::Compile)?;
    let answer = Answer::of(&program.model.graph);
    answer.map_or(Ok(()), |answer| job.dataset.check(answer))
}
