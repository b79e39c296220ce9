//! What the experiments are run on, and how: the flags of the commands.

/// A data set and a network at one size.
pub(super) struct Preset {
    pub(super) name: &'static str,
    /// The flags of `new`; `None` where the experiment starts from a pretrained network.
    pub(super) network: Option<&'static str>,
    /// The training radius, as a fraction.
    eps: (f64, f64),
    /// The weight of the KL in the training of `adv-bnn`, as the flags of `train` have it.
    alpha: f64,
    /// The radii of the table.
    table: &'static [f64],
    /// Flags of every `train`.
    pub(super) train: &'static str,
    /// Epochs of every training; `None` where the flags of `train` say.
    pub(super) epochs: Option<usize>,
    /// Flags of `train` for one defence each.
    pub(super) defenses: [(&'static str, &'static str); 5],
    /// Flags of `convert` for `bnn` and for `adv-bnn`.
    pub(super) convert: [&'static str; 2],
    /// The size of an attack step as a flag takes it; of evaluation.
    pub(super) step: &'static str,
    /// Radii of figure 2, from 0, by this step, so many.
    curve: (f64, usize),
    /// The radius of figure 3.
    pub(super) transfer: f64,
    /// What the paper reports: defence, draws of a step's gradient, (radius, accuracy).
    pub(super) published: &'static [Published],
    /// What is the paper's.
    pub(super) same: &'static [&'static str],
    /// How this differs from the paper.
    pub(super) differs: &'static str,
}

impl Preset {
    /// The radii of table 1.
    pub(super) fn table(&self) -> Vec<f64> {
        self.table.to_vec()
    }

    /// The radii of figure 2.
    pub(super) fn curve(&self) -> Vec<f64> {
        let (step, count) = self.curve;
        (0..count).map(|i| rounded(i as f64 * step)).collect()
    }

    /// The training radius.
    pub(super) fn eps(&self) -> f64 {
        let (numerator, denominator) = self.eps;
        numerator / denominator
    }

    /// So many times the training radius, as a flag takes it: 12/255 tells more than 0.047059.
    pub(super) fn radius(&self, times: f64) -> String {
        let (numerator, denominator) = self.eps;
        let numerator = rounded(times * numerator);
        match denominator {
            1.0 => numerator.to_string(),
            denominator => format!("{numerator}/{denominator}"),
        }
    }

    /// So many times the weight of the KL.
    pub(super) fn weight(&self, times: f64) -> f64 {
        rounded(times * self.alpha)
    }
}

/// Without the digits that a product of fractions leaves behind.
fn rounded(value: f64) -> f64 {
    (value * 1e6).round() / 1e6
}

/// A row of the paper's table 1, or of the later work that attacked it with EOT.
pub(super) struct Published {
    pub(super) defense: &'static str,
    pub(super) eot: bool,
    pub(super) accuracies: &'static [(f64, f64)],
}

/// What the paper's experiments share; those of CIFAR-10 where they do not.
const PAPER: Preset = Preset {
    name: "paper-cifar10",
    network: Some("vgg16 --input 3x32x32 --classes 10"),
    eps: (8.0, 256.0),
    alpha: 1.0,
    table: &[0.0, 0.015, 0.035, 0.055, 0.07],
    train: "--preset paper-cifar10",
    epochs: None,
    defenses: [("none", ""), ("adv", ""), ("bnn", ""), ("adv-bnn", ""), ("rse", "")],
    convert: ["--prior 0.15", "--prior 0.05"],
    step: "0.007",
    curve: (0.005, 15),
    transfer: 0.06,
    published: CIFAR10,
    same: &["network", "data", "radii", "schedule"],
    differs: "Where the paper and its published code differ, the hyper-parameters are the code's unless --variant says otherwise.",
};

pub(super) const PRESETS: [Preset; 5] = [
    Preset {
        name: "fashion",
        network: Some("small-cnn --input 1x28x28 --classes 10 --width 0.5"),
        eps: (0.1, 1.0),
        alpha: 0.2,
        table: &[0.0, 0.05, 0.1, 0.2, 0.3],
        train: "--steps 5 --step-size 0.03 --random-start --batch 128 --schedule cosine --alpha 0.2",
        epochs: Some(3),
        defenses: [
            ("none", "--lr 0.05"),
            ("adv", "--lr 0.05"),
            ("bnn", "--lr 0.01"),
            ("adv-bnn", "--lr 0.01"),
            ("rse", "--lr 0.05"),
        ],
        convert: ["--init-s 0.05 --prior 0.1"; 2],
        step: "0.02",
        curve: (0.025, 13),
        transfer: 0.2,
        published: &[],
        same: &[],
        differs: "Fashion-MNIST and a network of three convolutions in place of CIFAR-10 and VGG-16, a larger radius, a random start and fewer steps in training, a cosine schedule: the paper has no such row to compare with.",
    },
    Preset {
        name: "cifar10-small",
        network: None,
        eps: (8.0, 255.0),
        alpha: 0.2,
        train: "--steps 7 --step-size 2/255 --random-start --batch 64 --schedule cosine --alpha 0.2",
        epochs: Some(5),
        defenses: [
            ("none", "--optimizer adam --lr 0.001"),
            ("adv", "--optimizer adam --lr 0.001"),
            ("bnn", "--alpha 0.02 --lr 0.001"),
            ("adv-bnn", "--lr 0.001"),
            ("rse", "--optimizer adam --lr 0.001"),
        ],
        convert: ["--init-s 0.02 --prior 0.05", "--init-s 0.05 --prior 0.1"],
        same: &[],
        differs: "A small pretrained network, five epochs and a cosine schedule in place of VGG-16 and 200 epochs, without augmentation; Adam for all five: at SGD's rate of the paper a network without normalization unlearns everything.",
        ..PAPER
    },
    PAPER,
    Preset {
        name: "paper-stl10",
        network: Some("model-a --input 3x96x96 --classes 10"),
        alpha: 0.02,
        train: "--preset paper-stl10",
        convert: ["--prior 0.15", "--prior 0.08"],
        published: STL10,
        ..PAPER
    },
    Preset {
        name: "paper-imagenet143",
        network: Some("vgg16 --input 3x64x64 --classes 143"),
        eps: (0.01, 1.0),
        alpha: 0.02,
        table: &[0.0, 0.004, 0.01, 0.016, 0.02],
        train: "--preset paper-imagenet143",
        convert: ["--prior 0.15", "--prior 0.1"],
        curve: (0.002, 11),
        transfer: 0.02,
        published: IMAGENET143,
        same: &["network", "radii", "schedule"],
        differs: "Where the paper and its published code differ, the hyper-parameters are the code's unless --variant says otherwise; images are padded, cropped and mirrored, where the paper takes random resized crops.",
        ..PAPER
    },
];

const CIFAR10: &[Published] = &[
    Published {
        defense: "adv",
        eot: false,
        accuracies: &[(0.0, 80.3), (0.015, 58.3), (0.035, 31.1), (0.055, 15.5), (0.07, 10.3)],
    },
    Published {
        defense: "adv-bnn",
        eot: false,
        accuracies: &[(0.0, 79.7), (0.015, 68.7), (0.035, 45.4), (0.055, 26.9), (0.07, 18.6)],
    },
    Published {
        defense: "adv-bnn",
        eot: true,
        accuracies: &[(0.0, 79.7), (0.015, 64.2), (0.035, 37.7), (0.055, 16.3), (0.07, 8.1)],
    },
];

const STL10: &[Published] = &[
    Published {
        defense: "adv",
        eot: false,
        accuracies: &[(0.0, 63.2), (0.015, 46.7), (0.035, 27.4), (0.055, 12.8), (0.07, 7.0)],
    },
    Published {
        defense: "adv-bnn",
        eot: false,
        accuracies: &[(0.0, 59.9), (0.015, 51.8), (0.035, 37.6), (0.055, 27.2), (0.07, 21.1)],
    },
    Published {
        defense: "adv-bnn",
        eot: true,
        accuracies: &[(0.0, 59.9), (0.015, 47.9), (0.035, 31.4), (0.055, 16.7), (0.07, 9.1)],
    },
];

const IMAGENET143: &[Published] = &[
    Published {
        defense: "adv",
        eot: false,
        accuracies: &[(0.0, 48.7), (0.004, 37.6), (0.01, 23.0), (0.016, 12.4), (0.02, 7.5)],
    },
    Published {
        defense: "adv-bnn",
        eot: false,
        accuracies: &[(0.0, 47.3), (0.004, 43.8), (0.01, 39.3), (0.016, 30.2), (0.02, 24.6)],
    },
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use clap::Parser;
    use runtime::fraction;

    use super::*;
    use crate::cli::{Cli, Command};
    use crate::settings::Recipe;

    #[test]
    fn radii_and_weights_are_flags_that_mean_so_many_times_those_of_the_preset() {
        let recipe = |flags: &str| {
            let line = format!("advbnn train m --data d -o r {flags}");
            match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
                Command::Train(train) => Recipe::new(&train.training).unwrap(),
                other => panic!("{other:?}"),
            }
        };
        for preset in &PRESETS {
            assert_eq!(recipe(preset.train).alpha, preset.weight(1.0), "{}", preset.name);
            assert_eq!(fraction(&preset.radius(1.0)), Some(preset.eps()), "{}", preset.name);
            for times in [0.75, 1.5] {
                let radius = fraction(&preset.radius(times)).unwrap();
                assert!((radius - times * preset.eps()).abs() < 1e-12, "{}", preset.name);
                let weight = times * preset.weight(1.0);
                assert!((preset.weight(times) - weight).abs() < 1e-12, "{}", preset.name);
            }
        }
        assert_eq!(PRESETS.each_ref().map(|preset| preset.radius(1.5))[..2], ["0.15", "12/255"]);
    }

    #[test]
    fn converted_models_and_radii_are_those_of_the_training_presets() {
        let paper = PRESETS.iter().filter(|preset| preset.name.starts_with("paper-"));
        for preset in paper {
            for (defense, flags) in ["bnn", "adv-bnn"].into_iter().zip(preset.convert) {
                let line =
                    format!("advbnn train m --data d -o r --defense {defense} {}", preset.train);
                let Command::Train(train) = Cli::try_parse_from(line.split(' ')).unwrap().command
                else {
                    panic!("{line}");
                };
                let recipe = Recipe::new(&train.training).unwrap();
                let prior = recipe.training.prior.unwrap();
                assert_eq!(flags, format!("--prior {prior}"), "{line}");
                assert_eq!(preset.eps(), recipe.eps, "{line}");
            }
        }
    }
}
