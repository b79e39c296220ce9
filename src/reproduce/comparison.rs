//! How an experiment stands to the paper's.

use super::presets::Preset;
use crate::cli::Reproduce;

/// What of an experiment is the paper's, what is not, and what is not even the preset's; what it
/// `varies` is neither.
pub(super) fn comparison(flags: &Reproduce, preset: &Preset, varies: &[&str]) -> String {
    let network = flags.pretrained.as_ref().filter(|_| preset.network.is_some());
    let other = [
        ("network", network.map(|path| format!("the network is {}", path.display()))),
        ("schedule", flags.epochs.map(|n| format!("every training took --epochs {n}"))),
        ("data", flags.limit.map(|n| format!("training saw the first {n} images"))),
    ];
    let kept = |name: &&str| {
        !varies.contains(name) && !other.iter().any(|(what, text)| what == name && text.is_some())
    };
    let same: Vec<&str> = preset.same.iter().copied().filter(kept).collect();
    let mut sentences = Vec::new();
    if let Some((last, rest)) = same.split_last() {
        sentences.push(match rest {
            [] => format!("The {last} are the paper's."),
            rest => format!("The {} and {last} are the paper's.", rest.join(", ")),
        });
    }
    sentences.push(preset.differs.to_owned());
    let other: Vec<String> = other.into_iter().filter_map(|(_, text)| text).collect();
    if !other.is_empty() {
        sentences.push(format!("Not the preset's: {}.", other.join("; ")));
    }
    sentences.join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::reproduce::plan::tests::flags;
    use crate::reproduce::preset;

    #[test]
    fn only_what_is_the_paper_s_is_called_so() {
        let all = |name: &str, more: &str, varies: &[&str]| {
            let flags = flags(&format!("table1 --preset {name} --data d -o o {more}"));
            comparison(&flags, preset(&flags).unwrap(), varies)
        };
        let sentence = |name: &str, more: &str| all(name, more, &[]);
        let whole = sentence("paper-cifar10", "");
        assert!(whole.starts_with("The network, data, radii and schedule are the paper's. Where"));
        let own = sentence("paper-cifar10", "--pretrained net.onnx --epochs 2");
        assert!(own.starts_with("The data and radii are the paper's. "), "{own}");
        let end = "Not the preset's: the network is net.onnx; every training took --epochs 2.";
        assert!(own.ends_with(end), "{own}");
        let few = sentence("paper-imagenet143", "--pretrained net.onnx --epochs 2 --limit 5");
        assert!(few.starts_with("The radii are the paper's. "), "{few}");
        let varied = all("paper-cifar10", "", &["radii"]);
        assert!(varied.starts_with("The network, data and schedule are the paper's. "), "{varied}");
        assert!(sentence("fashion", "").starts_with("Fashion-MNIST and a network"));
        let code = "table1 --preset paper-cifar10 --data d -o o --variant code --pretrained a.onnx";
        assert!(preset(&flags(code)).is_err());
    }
}
