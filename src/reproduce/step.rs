//! One command of an experiment: its words, what it reads and leaves, how far it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use clap::Parser;
use runtime::train::LAST;

use super::mark::{Mark, checksum};
use crate::cli::{Cli, Command, Machine};
use crate::machinery::Machinery;
use crate::{evaluate, interrupt, print, train, transfer};

/// One command, and the file that is there once it is done.
pub(super) struct Step {
    pub(super) arguments: Vec<String>,
    /// The models that it reads.
    reads: Vec<PathBuf>,
    leaves: PathBuf,
}

/// How far a command is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    New,
    Begun,
    Done,
}

impl Step {
    /// The words of `line`, of which those that name a path of `paths` become that path. A path
    /// that belongs to no flag is a model that the command reads.
    pub(super) fn new(line: &str, paths: &[(&str, &Path)], leaves: PathBuf) -> Step {
        let (mut arguments, mut reads, mut before) = (Vec::new(), Vec::new(), "");
        for word in line.split_whitespace() {
            let path = paths.iter().find(|(name, _)| *name == word).map(|(_, path)| *path);
            reads.extend(path.filter(|_| !before.starts_with('-')).map(Path::to_owned));
            arguments.push(path.map_or_else(|| word.to_owned(), |path| path.display().to_string()));
            before = word;
        }
        Step { arguments, reads, leaves }
    }

    fn command(&self) -> &str {
        self.arguments.first().map_or("", String::as_str)
    }

    /// What the command goes on from if it was broken off.
    fn notes(&self) -> Option<PathBuf> {
        match self.command() {
            "train" => Some(self.leaves.with_file_name(LAST)),
            "evaluate" => Some(self.leaves.with_file_name("progress.jsonl")),
            _ => None,
        }
    }

    fn has_notes(&self) -> bool {
        self.notes().is_some_and(|notes| notes.exists())
    }

    /// Where it is noted that the command was begun (`begun`) or is done (`done`).
    fn path(&self, state: &str) -> PathBuf {
        let mut name = self.leaves.clone().into_os_string();
        name.push(format!(".{state}"));
        name.into()
    }

    /// With the sums of those models that are there.
    fn mark(&self, machinery: &Machinery) -> Result<Mark> {
        let mut reads = BTreeMap::new();
        for path in self.reads.iter().filter(|path| path.exists()) {
            reads.insert(path.display().to_string(), checksum(path)?);
        }
        let computes = !["new", "convert"].contains(&self.command());
        Ok(Mark { command: self.line(), machinery: computes.then(|| machinery.to_string()), reads })
    }

    /// As a shell takes it.
    pub(super) fn line(&self) -> String {
        let plain = |c: char| c.is_ascii_alphanumeric() || "/._-=,:".contains(c);
        let quoted = |word: &String| match word.chars().all(plain) && !word.is_empty() {
            true => word.clone(),
            false => format!("'{}'", word.replace('\'', r"'\''")),
        };
        let words: Vec<String> = self.arguments.iter().map(quoted).collect();
        format!("advbnn {}", words.join(" "))
    }

    /// The command, as the program reads it.
    fn parse(&self, more: Option<&str>) -> Result<Cli> {
        let words = std::iter::once("advbnn").chain(self.arguments.iter().map(String::as_str));
        Ok(Cli::try_parse_from(words.chain(more))?)
    }

    /// Checks the flags of the command, for those before it may take days.
    ///
    /// # Errors
    /// When the command would refuse them.
    pub(super) fn check(&self) -> Result<()> {
        let checked = self.parse(None).and_then(|cli| match &cli.command {
            Command::Train(flags) => train::check(flags),
            Command::Evaluate(flags) => evaluate::check(flags),
            Command::Transfer(flags) => transfer::check(flags),
            // The others come first, and have no flags but the presets' own.
            _ => Ok(()),
        });
        checked.with_context(|| self.line())
    }

    /// How far the command is.
    ///
    /// # Errors
    /// When what is there was left by something else, which would be lost or mislabelled.
    pub(super) fn state(&self, machinery: &Machinery) -> Result<State> {
        if !self.leaves.exists() && !self.has_notes() {
            return Ok(State::New);
        }
        let leaves = self.leaves.display();
        for (name, state) in [("begun", State::Begun), ("done", State::Done)] {
            let Some(old) = Mark::read(&self.path(name))? else { continue };
            if let Some(difference) = old.differs(&self.mark(machinery)?) {
                let what = if state == State::Done { "made" } else { "begun" };
                bail!("{leaves} was {what} {difference}, or choose another folder");
            }
            return Ok(if self.leaves.exists() { state } else { State::Begun });
        }
        bail!("{leaves}: something else is there already; move it away, or choose another folder")
    }

    /// Runs the command, unless it was done before.
    ///
    /// # Errors
    /// When the command fails, a training of it was stopped, or [`Step::state`] says so.
    pub(super) fn take(&self, machine: &Machine, machinery: &Machinery) -> Result<()> {
        let state = self.state(machinery)?;
        if state == State::Done {
            return Ok(());
        }
        let notes = self.notes().filter(|_| self.has_notes());
        let more = if notes.is_some() { " --resume" } else { "" };
        let shown = format!("{}{more}", self.line());
        if !machine.quiet {
            print::remark(&shown);
        }
        if let Some(folder) = self.leaves.parent() {
            crate::folder::create(folder)?;
        }
        let (begun, done) = (self.path("begun"), self.path("done"));
        self.mark(machinery)?.write(&begun)?;
        let Machine { engine, provider, precision, threads, quiet } = *machine;
        let resume = notes.is_some().then_some("--resume");
        let cli = self.parse(resume).with_context(|| shown.clone())?;
        let cli = Cli { machine: Machine { engine, provider, precision, threads, quiet }, ..cli };
        let finished = match &cli.command {
            Command::Train(flags) => train::finish(flags, &cli.machine)
                .map(|trained| trained.finished || trained.collapsed),
            _ => crate::run(cli).map(|()| true),
        };
        let finished = finished.with_context(|| match &notes {
            None => shown.clone(),
            Some(notes) => format!("{shown} (without {} it begins anew)", notes.display()),
        })?;
        if !finished {
            bail!("{} is not finished; the same command goes on from there", self.line());
        }
        fs::rename(&begun, &done).with_context(|| done.display().to_string())?;
        match interrupt::asked() {
            true => bail!("stopped; the same command goes on from there"),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn machinery(precision: &str) -> Machinery {
        Machinery {
            engine: "ort".to_owned(),
            engine_version: "1.0".to_owned(),
            provider: "openvino".to_owned(),
            precision: precision.to_owned(),
            advbnn_version: "0.1.0",
        }
    }

    fn network(path: &Path, seed: u64) {
        let line = format!("advbnn new small-cnn --input 1x8x8 --width 0.1 --seed {seed} -o");
        let words = line.split(' ').map(Into::into).chain([path.as_os_str().to_owned()]);
        crate::run(Cli::try_parse_from(words).unwrap()).unwrap();
    }

    #[test]
    fn a_result_of_another_command_engine_or_model_is_not_taken_for_this_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let (net, out) = (path("net.onnx"), path("out"));
        fs::create_dir(&out).unwrap();
        network(&net, 0);
        let paths: [(&str, &Path); 3] = [("NET", &net), ("DATA", &path("data")), ("OUT", &out)];
        let step = |line: &str| Step::new(line, &paths, out.join("results.json"));
        let line = "evaluate NET --data DATA -o OUT";
        let state = |line: &str, precision| step(line).state(&machinery(precision));
        let refused = |line: &str, precision, parts: &[&str]| {
            let error = state(line, precision).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{error}");
        };
        assert_eq!(state(line, "f32").unwrap(), State::New);
        fs::write(out.join("progress.jsonl"), "").unwrap();
        refused(line, "f32", &["results.json: something else is there", "another folder"]);
        for (name, expected) in [("begun", State::Begun), ("done", State::Done)] {
            let leaves = step(line);
            leaves.mark(&machinery("f32")).unwrap().write(&leaves.path(name)).unwrap();
            if expected == State::Done {
                fs::remove_file(leaves.path("begun")).unwrap();
                fs::write(&leaves.leaves, "{}").unwrap();
            }
            assert_eq!(state(line, "f32").unwrap(), expected);
            let what = if expected == State::Done { "was made" } else { "was begun" };
            refused("evaluate NET --data DATA -o OUT --seed 1", "f32", &[what, "the same flags"]);
            refused(line, "bf16", &[what, "in f32, and this is", "in bf16"]);
            network(&net, 1);
            refused(line, "f32", &[what, "from another", "net.onnx"]);
            network(&net, 0);
        }
    }
}
