//! Attacks as text, such as `pgd:steps=20,eot=10`, before their radius is known.

use std::fmt;
use std::str::FromStr;

use super::Pgd;
use crate::{Error, Result};

/// The step size of the paper's evaluation, whatever the radius.
const PUBLISHED_STEP: f64 = 0.007;

/// Which attack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// One step of the whole radius along the sign of the gradient (Goodfellow et al. 2015).
    Fgsm,
    /// Projected gradient descent (Madry et al. 2018).
    Pgd,
    /// A random point of the ball, without any gradient: what an attack has to beat.
    Noise,
}

impl Method {
    const ALL: [Method; 3] = [Method::Fgsm, Method::Pgd, Method::Noise];

    /// What `AttackSpec` accepts for this method.
    fn keys(self) -> &'static [&'static str] {
        match self {
            Method::Fgsm => &["eot"],
            Method::Pgd => &["steps", "step", "eot", "restarts", "random-start"],
            Method::Noise => &["eot", "restarts"],
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Method::Fgsm => "fgsm",
            Method::Pgd => "pgd",
            Method::Noise => "noise",
        })
    }
}

/// An attack without its radius. As text: a method, then after a colon what differs
/// from the default, such as `pgd:steps=20,step=0.007,eot=10,restarts=2,random-start`.
#[derive(Clone, Debug, PartialEq)]
pub struct AttackSpec {
    method: Method,
    steps: u64,
    step_size: Option<f64>,
    draws: u64,
    restarts: u64,
    random_start: bool,
}

impl AttackSpec {
    /// The method.
    pub fn method(&self) -> Method {
        self.method
    }

    /// How often the attack starts anew; more than once, it starts at random.
    pub(crate) fn restarts(&self) -> u64 {
        self.restarts
    }

    /// The attack at radius `eps`. Without a given step size, PGD takes the published
    /// 0.007, or `2.5 eps / steps` (Madry et al. 2018) where that many steps of 0.007
    /// could not reach the radius.
    pub(crate) fn at(&self, eps: f64) -> Pgd {
        let steps = self.steps;
        let published = PUBLISHED_STEP * steps as f64 >= eps;
        let default = if published { PUBLISHED_STEP } else { 2.5 * eps / steps as f64 };
        let (steps, step_size) = match self.method {
            Method::Fgsm => (1, eps),
            Method::Pgd => (steps, self.step_size.unwrap_or(default)),
            Method::Noise => (0, 0.0),
        };
        let random_start = self.random_start || self.restarts > 1 || self.method == Method::Noise;
        Pgd { eps, steps, step_size, random_start, draws: self.draws }
    }
}

impl FromStr for AttackSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<AttackSpec> {
        let (name, options) = text.split_once(':').unwrap_or((text, ""));
        let method = Method::ALL.into_iter().find(|m| m.to_string() == name).ok_or_else(|| {
            let known = Method::ALL.map(|method| method.to_string()).join(", ");
            Error::Setting(format!("attack `{name}` is unknown; there are {known}"))
        })?;
        let mut spec = AttackSpec {
            method,
            steps: 20,
            step_size: None,
            draws: 1,
            restarts: 1,
            random_start: false,
        };
        for option in options.split(',').filter(|_| text.contains(':')) {
            let (key, value) =
                option.split_once('=').map_or((option, None), |(key, v)| (key, Some(v)));
            if !method.keys().contains(&key) {
                let keys = method.keys().join(", ");
                return Err(Error::Setting(format!(
                    "attack `{text}`: {name} has no option `{key}`; it has {keys}"
                )));
            }
            spec.set(key, value).ok_or_else(|| {
                let wanted = match key {
                    "step" => "a positive number",
                    "random-start" => "no value",
                    _ => "a whole number from 1 to 100000",
                };
                Error::Setting(format!("attack `{text}`: `{key}` takes {wanted}"))
            })?;
        }
        Ok(spec)
    }
}

impl AttackSpec {
    /// Sets one option; `None` when the value is not what it takes.
    fn set(&mut self, key: &str, value: Option<&str>) -> Option<()> {
        let count = || value?.parse().ok().filter(|n| (1..=100_000).contains(n));
        match key {
            "steps" => self.steps = count()?,
            "eot" => self.draws = count()?,
            "restarts" => self.restarts = count()?,
            "step" => {
                let positive = |size: &f64| size.is_finite() && *size > 0.0;
                self.step_size = Some(value?.parse().ok().filter(positive)?);
            }
            "random-start" if value.is_none() => self.random_start = true,
            _ => return None,
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn spec(text: &str) -> AttackSpec {
        text.parse().unwrap()
    }

    #[test]
    fn options_are_read() {
        let spec = spec("pgd:steps=40,step=0.01,eot=10,restarts=2,random-start");
        let attack = Pgd { eps: 0.05, steps: 40, step_size: 0.01, random_start: true, draws: 10 };
        assert_eq!(spec.at(0.05), attack);
        assert_eq!(spec.restarts(), 2);
    }

    #[test]
    fn the_default_is_the_paper_s_unless_it_cannot_reach_the_radius() {
        let paper = Pgd { eps: 0.1, steps: 20, step_size: 0.007, random_start: false, draws: 1 };
        assert_eq!(spec("pgd").at(0.1), paper);
        assert_eq!(spec("pgd").at(0.5).step_size, 2.5 * 0.5 / 20.0);
        assert_eq!(spec("pgd:step=0.001").at(0.5).step_size, 0.001);
    }

    #[test]
    fn fgsm_is_one_step_and_noise_none() {
        let fgsm = Pgd { eps: 0.1, steps: 1, step_size: 0.1, random_start: false, draws: 1 };
        assert_eq!(spec("fgsm").at(0.1), fgsm);
        assert_eq!(spec("noise").at(0.1).steps, 0);
        assert!(spec("noise").at(0.1).random_start);
    }

    #[test]
    fn bad_text_says_what_is_wrong() {
        let error = |text: &str| text.parse::<AttackSpec>().unwrap_err().to_string();
        assert!(error("deepfool").contains("`deepfool` is unknown; there are fgsm, pgd, noise"));
        assert!(error("").contains("unknown"));
        assert!(error("pgd:").contains("no option ``"));
        assert!(error("fgsm:steps=3").contains("fgsm has no option `steps`; it has eot"));
        assert!(error("pgd:steps=0").contains("`steps` takes a whole number"));
        assert!(error("pgd:steps").contains("`steps` takes a whole number"));
        assert!(error("pgd:step=-1").contains("`step` takes a positive number"));
        assert!(error("pgd:step=NaN").contains("`step` takes a positive number"));
        assert!(error("pgd:random-start=1").contains("`random-start` takes no value"));
    }
}
