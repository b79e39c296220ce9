//! An attack at a radius, as results tell of it.

use serde::Serialize;

use crate::attack::{AttackSpec, Method, Norm};

/// One attack at one radius.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Attack {
    /// The method: `pgd`, `fgsm`, `noise`, ...
    pub attack: String,
    /// The attack as it was asked for, with its options.
    pub spec: AttackSpec,
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius.
    pub eps: f64,
    /// Steps, or the queries of an attack without gradients.
    pub steps: u64,
    /// The size of one step, of the first where the attack adapts it.
    pub step_size: f64,
    /// The share of the step before that each step takes again.
    pub momentum: f64,
    /// Draws of the weights that each step's gradient is averaged over.
    pub draws: u64,
    /// Attacks on each image, of which the strongest counts.
    pub restarts: u64,
    /// Whether the attack starts at a random point of the ball.
    pub random_start: bool,
    /// How many classes it aims at, one after another; 0 where it only leaves the label.
    pub targets: u64,
    /// The model whose gradients it follows, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

impl Attack {
    /// How `spec` attacks at radius `eps` a model that takes so many draws.
    pub(super) fn new(spec: &AttackSpec, eps: f64, draws: u64) -> Attack {
        Attack {
            attack: spec.method().to_string(),
            spec: spec.clone(),
            norm: spec.norm(),
            eps,
            steps: spec.steps(),
            step_size: spec.step_size(eps),
            momentum: spec.momentum(),
            draws,
            restarts: spec.restarts(),
            random_start: spec.random_start(),
            targets: spec.targets(),
            from: spec.from().map(str::to_owned),
        }
    }

    /// Whether it does the same as another, whatever it was asked for as.
    pub(super) fn is_same(&self, other: &Attack) -> bool {
        Attack { spec: other.spec.clone(), ..self.clone() } == *other
    }

    /// Whether it is PGD once, from the clean image, without momentum: what steps, draws and
    /// radii are compared by.
    pub(crate) fn is_plain(&self) -> bool {
        let once = self.restarts == 1 && !self.random_start && self.momentum == 0.0;
        self.spec.method() == Method::Pgd && once
    }

    /// Steps times draws times starts on one image.
    pub(super) fn passes(&self) -> f64 {
        let counts = [self.steps, self.draws, self.restarts, self.targets];
        counts.map(|count| count.max(1) as f64).iter().product()
    }

    /// As a table or a legend names it: `EOT-pgd-20, 10 draws`.
    pub fn title(&self) -> String {
        let mut title = self.attack.clone();
        if self.steps > 0 && self.attack != "fgsm" {
            title = format!("{title}-{}", self.steps);
        }
        if self.draws > 1 {
            title = format!("EOT-{title}, {} draws", self.draws);
        }
        if self.restarts > 1 {
            title = format!("{title}, {} restarts", self.restarts);
        }
        title
    }
}

/// The place of the attack that stands for all in pictures and charts: of those at that norm
/// and radius that follow a gradient the one that computes most of them, the first of equals.
pub(super) fn shown(attacks: &[Attack], norm: Norm, eps: f64) -> Option<usize> {
    let there = attacks.iter().enumerate().filter(|(_, a)| (a.norm, a.eps) == (norm, eps));
    // Random search leaves patterns that say little.
    let effort = |attack: &Attack| match attack.spec.method().follows_gradient() {
        true => attack.passes(),
        false => 0.0,
    };
    let first = there.reduce(|best, one| if effort(one.1) > effort(best.1) { one } else { best });
    first.map(|(place, _)| place)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn attack(text: &str) -> Attack {
        Attack::new(&text.parse().unwrap(), 0.1, 1)
    }

    /// Every option of every method but `eot`, whose draws are those of the model.
    #[test]
    fn attacks_are_the_same_only_where_every_option_is() {
        let pgd =
            ["steps=7", "step=0.003", "restarts=3", "random-start", "norm=l2", "momentum=0.5"];
        let apgd = ["steps=7", "restarts=3", "norm=l2"];
        for (name, options) in [
            ("fgsm", &["norm=l2"][..]),
            ("pgd", &pgd),
            ("fixed-noise", &pgd),
            ("mean-weight", &pgd),
            ("transfer:from=a.onnx", &pgd),
            ("apgd-ce", &apgd),
            ("apgd-t", &["targets=3"]),
            ("square", &["queries=7", "restarts=3"]),
            ("noise", &["restarts=3", "norm=l2"]),
        ] {
            let plain = attack(name);
            assert!(plain.is_same(&attack(name)));
            let between = if name.contains(':') { ',' } else { ':' };
            for option in options {
                let other = attack(&format!("{name}{between}{option}"));
                assert!(!plain.is_same(&other), "{name} {option}");
            }
        }
        assert!(!attack("transfer:from=a.onnx").is_same(&attack("transfer:from=b.onnx")));
        assert!(!attack("pgd").is_same(&attack("fixed-noise")));
        assert!(attack("pgd").is_same(&attack("pgd:steps=20,step=0.007,eot=5")));
    }

    #[test]
    fn the_attack_shown_is_the_one_of_most_gradients_at_the_radius() {
        let texts =
            ["fgsm", "pgd:steps=40", "pgd:steps=20,restarts=2", "square", "pgd:norm=l2,steps=90"];
        let attacks = texts.map(attack);
        assert_eq!(shown(&attacks, Norm::Linf, 0.1), Some(1));
        assert_eq!(shown(&attacks, Norm::L2, 0.1), Some(4));
        assert_eq!(shown(&attacks, Norm::Linf, 0.2), None);
        assert_eq!(shown(&attacks[3..], Norm::Linf, 0.1), Some(0));
        // No product of counts is too large.
        attack("apgd-t:steps=100000,restarts=100000,targets=100000").passes();
    }
}
