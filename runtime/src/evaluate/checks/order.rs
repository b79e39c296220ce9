//! Whether attacks that should be weaker than the gradient's are.

use super::{BUDGET, Check, Evidence, TOLERANCE, judged, not_run};
use crate::attack::{Method, Norm};

pub(super) fn one_step(evidence: &Evidence) -> Check {
    weaker(evidence, Method::Fgsm, "one step is weaker than many", "FGSM")
}

pub(super) fn random_points(evidence: &Evidence) -> Check {
    weaker(evidence, Method::Noise, "random points are weaker than the gradient", "noise")
}

pub(super) fn fixed_noise(evidence: &Evidence) -> Check {
    const NAME: &str = "one frozen draw is weaker than fresh ones";
    match evidence.random {
        true => weaker(evidence, Method::FixedNoise, NAME, "fixed noise"),
        false => not_run(NAME, "the model has no noise"),
    }
}

pub(super) fn mean_weights(evidence: &Evidence) -> Check {
    const NAME: &str = "the mean weights are weaker than draws";
    match evidence.random {
        true => weaker(evidence, Method::MeanWeight, NAME, "mean weights"),
        false => not_run(NAME, "the model has no noise"),
    }
}

pub(super) fn other_loss(evidence: &Evidence) -> Check {
    let name = "another loss is no stronger than cross-entropy";
    match evidence.strongest(Method::ApgdDlr) {
        None => not_run(name, "not measured; --budget does of three classes or more"),
        Some(_) => weaker(evidence, Method::ApgdDlr, name, "APGD-DLR"),
    }
}

pub(super) fn no_gradient(evidence: &Evidence) -> Check {
    const NAME: &str = "attacks without its gradient are weaker";
    let blind = [Method::Square, Method::Transfer];
    let blind = blind.into_iter().filter_map(|method| evidence.strongest(method));
    let strongest = blind.min_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    match strongest.map(|row| row.attack.spec.method()) {
        None if evidence.norm != Norm::Linf => {
            not_run(NAME, "Square is of L-infinity alone; --budget with --surrogate transfers")
        }
        Some(Method::Transfer) => weaker(evidence, Method::Transfer, NAME, "transfer"),
        _ => weaker(evidence, Method::Square, NAME, "Square"),
    }
}

/// An attack that should leave at least the accuracy that the best gradient attack leaves.
fn weaker(evidence: &Evidence, method: Method, name: &str, shown: &str) -> Check {
    let cross_entropy = [Method::Pgd, Method::ApgdCe];
    let white = cross_entropy.into_iter().filter_map(|method| evidence.strongest(method));
    let white = white.min_by(|a, b| a.accuracy.total_cmp(&b.accuracy));
    let (Some(other), Some(white)) = (evidence.strongest(method), white) else {
        return not_run(name, BUDGET);
    };
    let title = white.attack.title();
    let detail =
        format!("{shown} leaves {:.1} %; {title} leaves {:.1} %", other.accuracy, white.accuracy);
    judged(name, other.accuracy >= white.accuracy - TOLERANCE, detail)
}
