//! How much an evaluation spends.

use std::fmt;
use std::str::FromStr;

use super::checks::UNBOUNDED;
use crate::attack::{AttackSpec, Norm};
use crate::{Error, Result};

/// How much an evaluation spends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Budget {
    /// To see that everything works: about a minute for a small model.
    Quick,
    /// What a claim of robustness needs at least.
    Standard,
    /// What it needs where somebody doubts it.
    Thorough,
}

/// The attacks that the checks compare, beside those of the evaluation.
#[derive(Clone, Debug, PartialEq)]
pub struct Probing {
    /// On the first so many images.
    pub images: usize,
    /// How the radius is measured.
    pub norm: Norm,
    /// The radius at which they are compared.
    pub eps: f64,
    /// The attacks and their radii.
    pub runs: Vec<(AttackSpec, f64)>,
}

/// What the budgets differ in.
struct Sizes {
    images: usize,
    probed: usize,
    /// Steps and draws of the attack that everything is compared with.
    steps: u64,
    draws: u64,
    sweep: &'static [u64],
    steps_sweep: &'static [u64],
    /// Steps of attacks with one draw a step.
    curve: &'static [u64],
    apgd: &'static str,
    queries: u64,
    restarts: u64,
}

impl Budget {
    const ALL: [Budget; 3] = [Budget::Quick, Budget::Standard, Budget::Thorough];

    fn sizes(self) -> Sizes {
        match self {
            Budget::Quick => Sizes {
                images: 200,
                probed: 100,
                steps: 10,
                draws: 10,
                sweep: &[1, 5, 10, 20],
                steps_sweep: &[1, 5],
                curve: &[],
                apgd: "steps=10,eot=10",
                queries: 400,
                restarts: 2,
            },
            Budget::Standard => Sizes {
                images: 1000,
                probed: 200,
                steps: 20,
                draws: 20,
                sweep: &[1, 5, 10, 20, 40],
                steps_sweep: &[1, 5, 10],
                curve: &[],
                apgd: "steps=20,eot=10",
                queries: 500,
                restarts: 2,
            },
            Budget::Thorough => Sizes {
                images: usize::MAX,
                probed: 1000,
                steps: 50,
                draws: 40,
                sweep: &[1, 5, 10, 20, 40, 80],
                steps_sweep: &[1, 5, 10, 20],
                curve: &[1, 5, 10, 20, 50, 100, 200, 500, 1000],
                apgd: "steps=100,eot=20",
                queries: 5000,
                restarts: 5,
            },
        }
    }

    /// The most images that it takes.
    pub fn images(self) -> usize {
        self.sizes().images
    }

    /// The attacks on every image: one-draw PGD as published, and what is stronger.
    ///
    /// # Errors
    /// When a spec cannot be read.
    pub fn attacks(self) -> Result<Vec<AttackSpec>> {
        let Sizes { steps, draws, apgd, .. } = self.sizes();
        let texts = [
            format!("fgsm:eot={draws}"),
            format!("pgd:steps={steps}"),
            reference(steps, draws),
            format!("apgd-ce:{apgd}"),
            format!("apgd-dlr:{apgd}"),
        ];
        texts.iter().map(|text| text.parse()).collect()
    }

    /// What the checks compare at radius `eps` of `norm`, and attacks by the gradients of the
    /// models `surrogates` (files or run folders).
    ///
    /// # Errors
    /// As [`Budget::attacks`].
    pub fn probing(self, norm: Norm, eps: f64, surrogates: &[String]) -> Result<Probing> {
        let Sizes {
            probed, steps, draws, sweep, steps_sweep, curve, queries, restarts, apgd, ..
        } = self.sizes();
        let mut texts: Vec<(String, f64)> = Vec::new();
        texts.extend(sweep.iter().map(|&draws| (reference(steps, draws), eps)));
        let fewer = steps_sweep.iter().copied().chain([2 * steps]);
        texts.extend(fewer.map(|steps| (reference(steps, draws), eps)));
        texts.extend(curve.iter().map(|&steps| (reference(steps, 1), eps)));
        texts.push((format!("{},restarts={restarts}", reference(steps, draws)), eps));
        let radii = match norm {
            Norm::Linf => vec![0.5 * eps, (2.0 * eps).min(UNBOUNDED), UNBOUNDED],
            Norm::L2 => vec![0.5 * eps, 2.0 * eps],
        };
        texts.extend(radii.into_iter().map(|eps| (reference(steps, draws), eps)));
        texts.extend(
            [
                format!("fgsm:eot={draws}"),
                "noise".to_owned(),
                format!("fixed-noise:steps={steps}"),
                format!("mean-weight:steps={steps}"),
                format!("apgd-dlr:{apgd}"),
            ]
            .map(|text| (text, eps)),
        );
        if norm == Norm::Linf {
            texts.push((format!("square:queries={queries},eot={}", draws / 2), eps));
        }
        texts.extend(
            surrogates
                .iter()
                .map(|from| (format!("transfer:from={from},steps={steps},eot={draws}"), eps)),
        );
        let mut runs: Vec<(AttackSpec, f64)> = Vec::new();
        for (text, eps) in texts {
            let between = if text.contains(':') { ',' } else { ':' };
            let text = match norm {
                Norm::Linf => text,
                Norm::L2 => format!("{text}{between}norm={norm}"),
            };
            let run = (text.parse()?, eps);
            if !runs.contains(&run) {
                runs.push(run);
            }
        }
        Ok(Probing { images: probed, norm, eps, runs })
    }
}

fn reference(steps: u64, draws: u64) -> String {
    format!("pgd:steps={steps},eot={draws}")
}

impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Budget::Quick => "quick",
            Budget::Standard => "standard",
            Budget::Thorough => "thorough",
        })
    }
}

impl FromStr for Budget {
    type Err = Error;

    fn from_str(text: &str) -> Result<Budget> {
        Budget::ALL.into_iter().find(|budget| budget.to_string() == text).ok_or_else(|| {
            Error::Setting(format!("`{text}` is no budget; use quick, standard or thorough"))
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_budget_has_attacks_and_no_probe_twice() {
        for budget in Budget::ALL {
            assert_eq!(budget.to_string().parse::<Budget>().unwrap(), budget);
            assert!(budget.attacks().unwrap().len() > 3);
            let probing = budget.probing(Norm::Linf, 0.1, &["net.onnx".to_owned()]).unwrap();
            assert!(probing.runs.iter().any(|(spec, _)| spec.from() == Some("net.onnx")));
            for (i, run) in probing.runs.iter().enumerate() {
                assert!(!probing.runs[..i].contains(run), "{run:?}");
            }
        }
        let steps = |(spec, _): &(AttackSpec, f64)| spec.steps();
        let thorough = Budget::Thorough.probing(Norm::Linf, 0.1, &[]).unwrap();
        assert_eq!(thorough.runs.iter().map(steps).filter(|steps| *steps == 1000).count(), 1);
        assert!("all".parse::<Budget>().is_err());
        let length = Budget::Quick.probing(Norm::L2, 1.5, &["net.onnx".to_owned()]).unwrap();
        assert!(
            length.runs.len() > 12
                && length.runs.iter().all(|(spec, _)| spec.norm() == length.norm)
        );
    }
}
