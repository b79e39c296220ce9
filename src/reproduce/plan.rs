//! The command lines that make the models, which all experiments share.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::presets::Preset;
use super::step::Step;
use crate::cli::Reproduce;
use crate::misuse;

/// The run folder of a training, which has the name of its defence as a rule, in the folder of
/// an experiment.
pub(super) fn run(flags: &Reproduce, name: &str) -> PathBuf {
    flags.output.join("runs").join(name)
}

/// A training with a defence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Training {
    pub(super) defense: &'static str,
    /// Of the preset's training radius.
    pub(super) radius: f64,
    /// Of the preset's weight of the KL; for Bayesian defences.
    pub(super) alpha: f64,
}

impl Training {
    /// As the preset has it.
    fn of(defense: &'static str) -> Training {
        Training { defense, radius: 1.0, alpha: 1.0 }
    }

    /// The name of its run: the defence, and what is not the preset's.
    pub(super) fn name(&self) -> String {
        let factor = |what: &str, factor: f64| match factor {
            1.0 => String::new(),
            factor => format!("-{what}-x{factor}"),
        };
        format!("{}{}{}", self.defense, factor("eps", self.radius), factor("alpha", self.alpha))
    }
}

/// Which differences between the paper and its published code a preset of the paper follows, as
/// flags of `convert` and of `train`, for Bayesian defences.
fn variant(flags: &Reproduce, preset: &Preset) -> [&'static str; 2] {
    match flags.variant.as_deref() {
        // No random biases, and SGD (appendix B and section 4 of the paper).
        Some("paper") => ["--no-bias", "--optimizer sgd"],
        // The published VGG sums the KL over its last layer only.
        Some("code") if preset.network.is_some_and(|network| network.starts_with("vgg")) => {
            ["", "--kl-scope last-layer"]
        }
        _ => ["", ""],
    }
}

/// Every command up to the trained models of `defenses`, in order.
///
/// # Errors
/// Those of [`trained`].
pub(super) fn models(flags: &Reproduce, preset: &Preset, defenses: &[&str]) -> Result<Vec<Step>> {
    let asked = preset.defenses.iter().filter(|(name, _)| defenses.contains(name));
    let trainings: Vec<Training> = asked.map(|(name, _)| Training::of(name)).collect();
    trained(flags, preset, &trainings)
}

/// Every command up to the models of `trainings`, in order; those of one defence start alike.
///
/// # Errors
/// When the preset starts from a pretrained network and none is named.
pub(super) fn trained(
    flags: &Reproduce,
    preset: &Preset,
    trainings: &[Training],
) -> Result<Vec<Step>> {
    let folder = flags.output.as_path();
    let mut steps = Vec::new();
    let network = match (&flags.pretrained, preset.network) {
        (Some(path), _) => path.clone(),
        (None, Some(network)) => {
            let path = folder.join("network.onnx");
            let line = format!("new {network} -o NETWORK --seed {}", flags.seed);
            steps.push(Step::new(&line, &[("NETWORK", &path)], path.clone()));
            path
        }
        (None, None) => {
            return Err(misuse(format!(
                "--preset {} starts from a pretrained classifier of its images: name its ONNX file, \
                 --pretrained FILE",
                preset.name
            )));
        }
    };
    let mut converted = Vec::new();
    for training in trainings {
        let defense = training.defense;
        let own = preset.defenses.iter().find(|(name, _)| *name == defense);
        let mut own = own.map_or("", |(_, own)| own).to_owned();
        let mut start = network.clone();
        if let Some(bayesian) = ["bnn", "adv-bnn"].iter().position(|name| *name == defense) {
            let [convert, train] = variant(flags, preset);
            let prior = preset.convert.get(bayesian).copied().unwrap_or_default();
            start = folder.join(format!("{defense}.onnx"));
            if !converted.contains(&defense) {
                let line = format!("convert NETWORK -o START {prior} {convert}");
                let paths = [("NETWORK", network.as_path()), ("START", &start)];
                steps.push(Step::new(&line, &paths, start.clone()));
                converted.push(defense);
            }
            own = format!("{own} {train}");
        }
        steps.push(train(flags, preset, (training, &own), &start));
    }
    Ok(steps)
}

fn train(
    flags: &Reproduce,
    preset: &Preset,
    (training, own): (&Training, &str),
    start: &Path,
) -> Step {
    let (defense, run) = (training.defense, run(flags, &training.name()));
    let (adversarial, bayesian) = (defense.starts_with("adv"), defense.ends_with("bnn"));
    let paths: [(&str, &Path); 3] = [("START", start), ("DATA", &flags.data), ("RUN", &run)];
    let number = |flag: &str, value: Option<usize>| {
        value.map_or_else(String::new, |value| format!("{flag} {value}"))
    };
    // What a defence does not read would be remarked on.
    let eps = preset.radius(training.radius);
    let attacked = if adversarial { format!("--eps {eps}") } else { String::new() };
    let alpha = (bayesian && training.alpha != 1.0)
        .then(|| format!("--alpha {}", preset.weight(training.alpha)));
    let own_alpha = alpha.is_some() || own.contains("--alpha");
    let train = read(preset.train, adversarial, bayesian && !own_alpha);
    let alpha = alpha.unwrap_or_default();
    let epochs = number("--epochs", flags.epochs.map(Into::into).or(preset.epochs));
    let limit = number("--limit", flags.limit.map(Into::into));
    let line = format!(
        "train START --data DATA -o RUN --defense {defense} {attacked} {} {alpha} {own} {epochs} {limit} --seed {}",
        train.join(" "),
        flags.seed
    );
    Step::new(&line, &paths, run.join("model.onnx"))
}

/// The flags of `train` that a defence reads, without the attack's and the KL's if so asked.
fn read(flags: &'static str, attack: bool, alpha: bool) -> Vec<&'static str> {
    const ATTACK: [(&str, usize); 4] =
        [("--steps", 1), ("--step-size", 1), ("--random-start", 0), ("--draws", 1)];
    let mut kept = Vec::new();
    let mut words = flags.split_whitespace();
    while let Some(word) = words.next() {
        let skipped = ATTACK.iter().find(|(flag, _)| *flag == word && !attack);
        let skipped = skipped.map(|(_, values)| *values);
        match skipped.or_else(|| (word == "--alpha" && !alpha).then_some(1)) {
            Some(values) => _ = words.by_ref().take(values).count(),
            None => kept.push(word),
        }
    }
    kept
}

/// `evaluate` on the run of a training, which leaves its results in `output`.
pub(super) fn evaluate(flags: &Reproduce, name: &str, own: &str, output: &Path) -> Step {
    let run = run(flags, name);
    let paths: [(&str, &Path); 3] = [("RUN", &run), ("DATA", &flags.data), ("EVALUATION", output)];
    // One seed of the prediction: a spread over several is not what the experiments ask for.
    let line = format!(
        "evaluate RUN --data DATA -o EVALUATION {own} --seeds 1 --limit {} --seed {}",
        flags.images, flags.seed
    );
    Step::new(&line, &paths, output.join("results.json"))
}

#[cfg(test)]
pub(super) mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::reproduce::presets::PRESETS;

    pub(in crate::reproduce) fn flags(line: &str) -> Reproduce {
        let words = ["advbnn", "reproduce"].into_iter().chain(line.split_whitespace());
        match Cli::try_parse_from(words).unwrap().command {
            Command::Reproduce(flags) => *flags,
            other => panic!("{other:?}"),
        }
    }

    pub(in crate::reproduce) fn preset(name: &str) -> &'static Preset {
        PRESETS.iter().find(|preset| preset.name == name).unwrap()
    }

    #[test]
    fn a_defence_gets_the_flags_that_it_reads() {
        let flags = flags("table1 --data a'b -o out");
        let defenses = ["none", "adv", "bnn", "adv-bnn", "rse"];
        let steps = models(&flags, preset("fashion"), &defenses).unwrap();
        let line = |name: &str| {
            let wanted = format!("--defense {name} ");
            steps.iter().map(Step::line).find(|line| line.contains(&wanted)).unwrap()
        };
        assert!(line("adv").contains("--eps 0.1 --steps 5") && !line("adv").contains("--alpha"));
        assert!(line("adv-bnn").contains("--steps 5") && line("adv-bnn").contains("--alpha"));
        assert!(!line("none").contains("--eps") && !line("none").contains("--steps"));
        assert!(line("bnn").contains("--alpha") && !line("rse").contains("--alpha"));
        assert!(line("rse").contains(r"--data 'a'\''b'"), "{}", line("rse"));
        assert_eq!(models(&flags, preset("fashion"), &["adv", "adv-bnn"]).unwrap().len(), 4);
        let steps = models(&flags, preset("cifar10-small"), &["bnn"]);
        assert!(steps.is_err(), "it has no network of its own");
    }

    #[test]
    fn a_defence_that_has_its_own_weight_of_the_kl_is_given_that_alone() {
        let flags = flags("table1 --data d -o out --pretrained net.onnx");
        let steps = models(&flags, preset("cifar10-small"), &["bnn", "adv-bnn"]).unwrap();
        let lines: Vec<String> = steps.iter().map(Step::line).collect();
        for (line, alpha) in [(&lines[1], "--alpha 0.02 "), (&lines[3], "--alpha 0.2 ")] {
            assert!(line.contains(alpha) && line.matches("--alpha").count() == 1, "{line}");
        }
    }

    #[test]
    fn other_radii_and_weights_of_the_kl_have_runs_of_their_own_from_the_same_start() {
        let training = |defense, radius, alpha| Training { defense, radius, alpha };
        let asked = [
            training("adv", 1.5, 1.0),
            training("adv-bnn", 1.0, 1.0),
            training("adv-bnn", 1.5, 10.0),
        ];
        let lines = |line: &str, name| {
            let steps = trained(&flags(line), preset(name), &asked).unwrap();
            steps.iter().map(Step::line).collect::<Vec<_>>()
        };
        let fashion = lines("tradeoff --data d -o out", "fashion");
        assert_eq!(fashion.len(), 5, "{fashion:?}");
        assert!(fashion[1].contains("-o out/runs/adv-eps-x1.5 --defense adv --eps 0.15 "));
        let usual = models(&flags("table1 --data d -o out"), preset("fashion"), &["adv-bnn"]);
        assert_eq!(fashion[3], usual.unwrap()[2].line());
        let heavy = &fashion[4];
        assert!(heavy.contains("train out/adv-bnn.onnx ") && heavy.contains(" --alpha 2 "));
        assert!(heavy.contains("-o out/runs/adv-bnn-eps-x1.5-alpha-x10 "), "{heavy}");
        assert_eq!(heavy.matches("--alpha ").count(), 1, "{heavy}");
        let paper = lines("tradeoff --data d -o out", "paper-imagenet143");
        assert!(paper[4].contains("--preset paper-imagenet143 --alpha 0.2 "), "{}", paper[4]);
        assert!(paper[4].contains("--eps 0.015 "), "{}", paper[4]);
    }

    #[test]
    fn a_pretrained_network_takes_the_place_of_a_fresh_one() {
        let lines = |line: &str, name| {
            let steps = models(&flags(line), preset(name), &["adv", "adv-bnn"])?;
            Ok::<_, anyhow::Error>(steps.iter().map(Step::line).collect::<Vec<_>>())
        };
        let given = "table1 --data data -o out --pretrained net.onnx";
        for name in ["cifar10-small", "fashion"] {
            let lines = lines(given, name).unwrap();
            assert!(lines[0].starts_with("advbnn train net.onnx "), "{lines:?}");
            assert!(lines[1].starts_with("advbnn convert net.onnx "), "{lines:?}");
        }
        let error = lines("table1 --data data -o out", "cifar10-small").unwrap_err();
        assert!(error.to_string().contains("--pretrained FILE"), "{error}");
    }
}
