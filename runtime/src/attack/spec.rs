//! Attacks before their radius is known.

use serde::{Serialize, Serializer};

use super::Pgd;
use super::apgd::Apgd;
use super::ascent::Ascent;
use super::ball::{Ball, Norm, Stride};
use super::square::Square;
use crate::draws::Kind;
use crate::sessions::Loss;

/// The step size of the paper's evaluation, whatever the radius.
const PUBLISHED_STEP: f64 = 0.007;

/// Which attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One step of the whole radius along the sign of the gradient (Goodfellow et al. 2015).
    Fgsm,
    /// Projected gradient descent (Madry et al. 2018).
    Pgd,
    /// Auto-PGD on the cross-entropy (Croce and Hein 2020).
    ApgdCe,
    /// Auto-PGD on the difference of logits ratio.
    ApgdDlr,
    /// Auto-PGD on the same, towards each of the likeliest other classes.
    ApgdT,
    /// Random search by predictions alone (Andriushchenko et al. 2020).
    Square,
    /// A random point of the ball, without any gradient: what an attack has to beat.
    Noise,
    /// PGD that sees the same draws of the weights at every step.
    FixedNoise,
    /// PGD on the mean weights.
    MeanWeight,
    /// PGD on another model.
    Transfer,
}

impl Method {
    /// Whether it follows a gradient, of whatever model.
    pub(crate) fn follows_gradient(self) -> bool {
        match self {
            Method::Fgsm
            | Method::Pgd
            | Method::ApgdCe
            | Method::ApgdDlr
            | Method::ApgdT
            | Method::FixedNoise
            | Method::MeanWeight
            | Method::Transfer => true,
            Method::Square | Method::Noise => false,
        }
    }
}

/// An attack without its radius. As text: a method, then after a colon what differs
/// from the default, such as `pgd:steps=20,step=0.007,eot=10,restarts=2,random-start`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttackSpec {
    pub(super) text: String,
    pub(super) method: Method,
    pub(super) norm: Norm,
    pub(super) steps: u64,
    pub(super) step: Step,
    pub(super) momentum: f64,
    pub(super) draws: u64,
    pub(super) restarts: u64,
    pub(super) random_start: bool,
    pub(super) targets: u64,
    pub(super) queries: u64,
    pub(super) from: Option<String>,
}

/// The size of a step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Step {
    /// See [`AttackSpec::step_size`].
    Default,
    /// In units of the images.
    Absolute(f64),
    /// In radii.
    Relative(f64),
}

/// An attack whose radius is known: what moves the images.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Plan {
    /// The attack program.
    Program(Pgd),
    Ascent(Ascent),
    Apgd(Apgd),
    Square(Square),
    /// Nothing: a start is the result.
    Start,
}

impl AttackSpec {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How the size of a change is measured.
    pub fn norm(&self) -> Norm {
        self.norm
    }

    /// The model that the attack sees in place of the one that is judged.
    pub fn from(&self) -> Option<&str> {
        self.from.as_deref()
    }

    /// How many classes a model needs so that its loss is defined.
    pub fn least_classes(&self) -> usize {
        match self.method {
            Method::ApgdT => Loss::TargetedDlr.least_classes(),
            Method::ApgdDlr => Loss::Dlr.least_classes(),
            Method::Fgsm
            | Method::Pgd
            | Method::ApgdCe
            | Method::Square
            | Method::Noise
            | Method::FixedNoise
            | Method::MeanWeight
            | Method::Transfer => Loss::CrossEntropy.least_classes(),
        }
    }

    /// As it was written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// How often the attack starts anew; more than once, it starts at random.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// How many classes the attack aims at, one after another; 0 where it has no aim.
    pub(crate) fn targets(&self) -> u64 {
        self.targets
    }

    /// The share of the step before that each step takes again.
    pub(crate) fn momentum(&self) -> f64 {
        self.momentum
    }

    /// Whether it asks for the same as another, however it is written.
    pub(crate) fn is_same(&self, other: &AttackSpec) -> bool {
        AttackSpec { text: other.text.clone(), ..self.clone() } == *other
    }

    /// Whether it differs from another in nothing but steps, draws and starts.
    pub(crate) fn is_alike(&self, other: &AttackSpec) -> bool {
        let kind = |spec: &AttackSpec| AttackSpec {
            text: String::new(),
            steps: 0,
            draws: 0,
            restarts: 0,
            // Where there are several, they are random anyway.
            random_start: spec.random_start && spec.restarts == 1,
            ..spec.clone()
        };
        kind(self) == kind(other)
    }

    /// Draws that each answer averages.
    pub(crate) fn draws(&self) -> u64 {
        self.draws
    }

    /// Which draws of the weights the attack looks at.
    pub(crate) fn kind(&self) -> Kind {
        match self.method {
            Method::FixedNoise => Kind::Frozen(self.draws),
            Method::MeanWeight => Kind::Mean,
            Method::Fgsm
            | Method::Pgd
            | Method::ApgdCe
            | Method::ApgdDlr
            | Method::ApgdT
            | Method::Square
            | Method::Noise
            | Method::Transfer => Kind::Fresh,
        }
    }

    /// Gradient steps, or the queries of an attack without gradients.
    pub(crate) fn steps(&self) -> u64 {
        match self.method {
            Method::Square => self.queries,
            _ => self.steps,
        }
    }

    /// Whether a start is a random point of the ball.
    pub(crate) fn random_start(&self) -> bool {
        let method = self.method;
        let always = [Method::ApgdCe, Method::ApgdDlr, Method::ApgdT, Method::Noise];
        self.random_start || self.restarts > 1 || always.contains(&method)
    }

    /// The size of a step at radius `eps`, of the first for one that adapts it. Without a
    /// given one, PGD under L-infinity takes the published 0.007, or `2.5 eps / steps` (Madry
    /// et al. 2018) where that many steps of 0.007 could not reach the radius; under L2
    /// always the latter.
    pub(crate) fn step_size(&self, eps: f64) -> f64 {
        match self.method {
            Method::Fgsm => return eps,
            Method::ApgdCe | Method::ApgdDlr | Method::ApgdT => return 2.0 * eps,
            Method::Noise | Method::Square => return 0.0,
            Method::Pgd | Method::FixedNoise | Method::MeanWeight | Method::Transfer => {}
        }
        let steps = self.steps as f64;
        let published = self.norm == Norm::Linf && PUBLISHED_STEP * steps >= eps;
        match self.step {
            Step::Absolute(size) => size,
            Step::Relative(share) => share * eps,
            Step::Default if published => PUBLISHED_STEP,
            Step::Default => 2.5 * eps / steps,
        }
    }

    /// The attack at radius `eps`.
    pub(crate) fn plan(&self, eps: f64) -> Plan {
        let ball = Ball { norm: self.norm, eps };
        let loss = match self.method {
            Method::ApgdCe => Loss::CrossEntropy,
            Method::ApgdDlr => Loss::Dlr,
            Method::ApgdT => Loss::TargetedDlr,
            Method::Square => return Plan::Square(Square { eps, queries: self.queries }),
            Method::Noise => return Plan::Start,
            Method::Fgsm
            | Method::Pgd
            | Method::FixedNoise
            | Method::MeanWeight
            | Method::Transfer
                if self.norm == Norm::Linf && self.momentum == 0.0 =>
            {
                return Plan::Program(Pgd {
                    eps,
                    steps: self.steps,
                    step_size: self.step_size(eps),
                    random_start: self.random_start(),
                    draws: self.draws,
                });
            }
            Method::Fgsm
            | Method::Pgd
            | Method::FixedNoise
            | Method::MeanWeight
            | Method::Transfer => {
                let stride = Stride { size: self.step_size(eps), momentum: self.momentum };
                return Plan::Ascent(Ascent { ball, steps: self.steps, stride });
            }
        };
        Plan::Apgd(Apgd { ball, loss, steps: self.steps })
    }
}

/// As it was written.
impl Serialize for AttackSpec {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}
