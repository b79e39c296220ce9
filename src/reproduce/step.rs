//! One command of an experiment: its words, what it leaves, whether it was done before.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, bail};
use clap::Parser;

use crate::cli::{Cli, Machine};
use crate::print;
use crate::train::watch_ctrl_c;

/// One command, and the file that is there once it is done.
pub(super) struct Step {
    pub(super) arguments: Vec<String>,
    leaves: PathBuf,
}

impl Step {
    /// The words of `line`, of which those that name a path of `paths` become that path.
    pub(super) fn new(line: &str, paths: &[(&str, &Path)], leaves: PathBuf) -> Step {
        let argument = |word: &str| {
            let path = paths.iter().find(|(name, _)| *name == word);
            path.map_or_else(|| word.to_owned(), |(_, path)| path.display().to_string())
        };
        Step { arguments: line.split_whitespace().map(argument).collect(), leaves }
    }

    /// Where it is noted that the command was done.
    fn mark(&self) -> PathBuf {
        let mut name = self.leaves.clone().into_os_string();
        name.push(".done");
        name.into()
    }

    /// The command, whether it goes on from an earlier one or not.
    fn identity(&self) -> String {
        self.line().replace(" --resume", "")
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

    /// Whether the command was done before.
    ///
    /// # Errors
    /// When what is there was left by another command.
    pub(super) fn done(&self) -> Result<bool> {
        let path = self.mark();
        if !path.exists() || !self.leaves.exists() {
            return Ok(false);
        }
        let before = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        if before.trim_end() != self.identity() {
            bail!(
                "{} was made by `{}`; give the same flags, or choose another folder",
                self.leaves.display(),
                before.trim_end()
            );
        }
        Ok(true)
    }

    /// Runs the command, unless it was done before. A training that was stopped is not done.
    ///
    /// # Errors
    /// When the command fails, was stopped, or was done before with other flags.
    pub(super) fn take(&self, machine: &Machine) -> Result<()> {
        if self.done()? {
            return Ok(());
        }
        if !machine.quiet {
            print::remark(self.line());
        }
        let words = std::iter::once("advbnn".to_owned()).chain(self.arguments.iter().cloned());
        let Machine { engine, provider, precision, threads, quiet } = *machine;
        let cli = Cli::try_parse_from(words).with_context(|| self.line())?;
        crate::run(Cli { machine: Machine { engine, provider, precision, threads, quiet }, ..cli })
            .with_context(|| self.line())?;
        if !self.leaves.exists() || watch_ctrl_c()?.load(Ordering::Relaxed) {
            bail!("{} is not finished; the same command goes on from there", self.line());
        }
        let identity = self.identity();
        Ok(runtime::write_whole(&self.mark(), |file| file.write_all(identity.as_bytes()))?)
    }
}
