//! The command lines that an experiment consists of.

use std::path::{Path, PathBuf};

use super::presets::Preset;
use crate::cli::Reproduce;

/// One command, and the file that is there once it is done.
pub(super) struct Step {
    pub(super) arguments: Vec<String>,
    pub(super) leaves: PathBuf,
}

impl Step {
    fn new(line: &str, paths: &[(&str, &Path)], leaves: PathBuf) -> Step {
        let argument = |word: &str| {
            let path = paths.iter().find(|(name, _)| *name == word);
            path.map_or_else(|| word.to_owned(), |(_, path)| path.display().to_string())
        };
        Step { arguments: line.split_whitespace().map(argument).collect(), leaves }
    }

    /// Where it is noted that the command was done.
    pub(super) fn mark(&self) -> PathBuf {
        let mut name = self.leaves.clone().into_os_string();
        name.push(".done");
        name.into()
    }

    /// The command, whether it goes on from an earlier one or not.
    pub(super) fn identity(&self) -> String {
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
}

/// The results of the evaluation of a defence in the folder of an experiment.
pub(super) fn results(folder: &Path, defense: &str) -> PathBuf {
    folder.join("evaluations").join(defense).join("results.json")
}

/// Which differences between the paper and its published code a preset of the paper follows, as
/// flags of `convert` and of `train`, for Bayesian defences.
fn variant(flags: &Reproduce, preset: &Preset) -> [&'static str; 2] {
    match flags.variant.as_deref() {
        // No random biases, and SGD (appendix B and section 4 of the paper).
        Some("paper") => ["--no-bias", "--optimizer sgd"],
        // The published VGG sums the KL over its last layer only.
        Some("code") if preset.network.starts_with("vgg") => ["", "--kl-scope last-layer"],
        _ => ["", ""],
    }
}

/// Every command of an experiment, in order.
pub(super) fn plan(flags: &Reproduce, preset: &Preset, radii: &[f64]) -> Vec<Step> {
    let folder = flags.output.as_path();
    let (network, seed) = (folder.join("network.onnx"), flags.seed);
    let line = format!("new {} -o NETWORK --seed {seed}", preset.network);
    let mut steps = vec![Step::new(&line, &[("NETWORK", &network)], network.clone())];
    for (defense, own) in preset.defenses {
        let mut start = network.clone();
        let mut own = own.to_owned();
        if let Some(bayesian) = ["bnn", "adv-bnn"].iter().position(|name| *name == defense) {
            let [convert, train] = variant(flags, preset);
            let prior = preset.convert.get(bayesian).copied().unwrap_or_default();
            start = folder.join(format!("{defense}.onnx"));
            let line = format!("convert NETWORK -o START {prior} {convert}");
            let paths = [("NETWORK", network.as_path()), ("START", &start)];
            steps.push(Step::new(&line, &paths, start.clone()));
            own = format!("{own} {train}");
        }
        steps.extend(train_and_evaluate(flags, preset, radii, (defense, &own), &start));
    }
    steps
}

fn train_and_evaluate(
    flags: &Reproduce,
    preset: &Preset,
    radii: &[f64],
    (defense, own): (&str, &str),
    start: &Path,
) -> [Step; 2] {
    let run = flags.output.join("runs").join(defense);
    let results = results(&flags.output, defense);
    let evaluation = results.parent().unwrap_or(&results).to_owned();
    let paths: [(&str, &Path); 4] =
        [("START", start), ("DATA", &flags.data), ("RUN", &run), ("EVALUATION", &evaluation)];
    let Preset { train, eps: (eps, _), step, .. } = preset;
    let number = |flag: &str, value: Option<usize>| {
        value.map_or_else(String::new, |value| format!("{flag} {value}"))
    };
    // What a defence does not read would be remarked on.
    let attacked = if defense.starts_with("adv") { format!("--eps {eps}") } else { String::new() };
    let train = read(train, defense.starts_with("adv"), defense.ends_with("bnn"));
    let epochs = number("--epochs", flags.epochs.map(Into::into));
    let limit = number("--limit", flags.limit.map(Into::into));
    let resume = if run.join("last.safetensors").exists() { "--resume" } else { "" };
    let line = format!(
        "train START --data DATA -o RUN --defense {defense} {attacked} {} {own} {epochs} {limit} --seed {} {resume}",
        train.join(" "),
        flags.seed
    );
    let train = Step::new(&line, &paths, run.join("model.onnx"));
    let radii: Vec<String> = radii.iter().filter(|eps| **eps > 0.0).map(f64::to_string).collect();
    let line = format!(
        "evaluate RUN --data DATA -o EVALUATION --eps {} --attack pgd:steps=20,step={step} --attack pgd:steps=20,step={step},eot=20 --samples {} --limit {} --seed {}",
        radii.join(","),
        flags.samples,
        flags.images,
        flags.seed
    );
    [train, Step::new(&line, &paths, results)]
}

/// The flags of `train` that a defence reads.
fn read(flags: &'static str, adversarial: bool, bayesian: bool) -> Vec<&'static str> {
    const ATTACK: [(&str, usize); 4] =
        [("--steps", 1), ("--step-size", 1), ("--random-start", 0), ("--draws", 1)];
    let mut kept = Vec::new();
    let mut words = flags.split_whitespace();
    while let Some(word) = words.next() {
        let attack = ATTACK.iter().find(|(flag, _)| *flag == word && !adversarial);
        let attack = attack.map(|(_, values)| *values);
        match attack.or_else(|| (word == "--alpha" && !bayesian).then_some(1)) {
            Some(values) => _ = words.by_ref().take(values).count(),
            None => kept.push(word),
        }
    }
    kept
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::reproduce::presets::PRESETS;

    fn flags(line: &str) -> Reproduce {
        let words = ["advbnn", "reproduce"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Reproduce(flags) => *flags,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_step_of_every_preset_is_a_command_that_the_program_takes() {
        for preset in &PRESETS {
            let mut flags = flags("table1 --data data -o out --limit 100 --epochs 2");
            for variant in [None, Some("paper".to_owned()), Some("code".to_owned())] {
                flags.variant = variant;
                let steps = plan(&flags, preset, preset.table);
                assert_eq!(steps.len(), 1 + 2 * 5 + 2, "{}", preset.name);
                for step in steps {
                    let words = std::iter::once("advbnn".to_owned()).chain(step.arguments.clone());
                    if let Err(error) = Cli::try_parse_from(words) {
                        panic!("{}: {error}", step.line());
                    }
                    assert!(!step.line().contains("  "));
                }
            }
        }
    }

    #[test]
    fn a_defence_gets_the_flags_that_it_reads() {
        let preset = PRESETS.iter().find(|preset| preset.name == "fashion").unwrap();
        let steps = plan(&flags("table1 --data a'b -o out"), preset, &[0.0, 0.1]);
        let line = |name: &str| {
            let wanted = format!("--defense {name} ");
            steps.iter().map(Step::line).find(|line| line.contains(&wanted)).unwrap()
        };
        assert!(line("adv").contains("--eps 0.1 --steps 5") && !line("adv").contains("--alpha"));
        assert!(line("adv-bnn").contains("--steps 5") && line("adv-bnn").contains("--alpha"));
        assert!(!line("none").contains("--eps") && !line("none").contains("--steps"));
        assert!(line("bnn").contains("--alpha") && !line("rse").contains("--alpha"));
        assert!(line("rse").contains(r"--data 'a'\''b'"), "{}", line("rse"));
    }
}
