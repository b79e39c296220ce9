//! Priors of the weights, and the KL to them.

use std::fmt;
use std::str::FromStr;

use graphs::Value;

use crate::variational::Posterior;
use crate::{Error, Result, Tape};

/// The distribution that every weight has before training, independently of the others.
///
/// As text a standard deviation (`0.05`), `mixture:SHARE,STD,STD`, or
/// `spike-and-slab:SHARE,SLAB,SPIKE`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Prior {
    /// N(0, std^2); its KL has a closed form.
    Gaussian(f32),
    /// `share * N(0, first^2) + (1 - share) * N(0, second^2)` (Blundell et al. 2015, eq. 7).
    Mixture(Mixture),
    /// The same with a share of weights that are nearly zero, the first component: a narrow
    /// Gaussian in the place of a point mass, to which no posterior with a density has a finite KL.
    SpikeAndSlab(Mixture),
}

/// Two Gaussians of mean zero.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mixture {
    /// The share of the first, in (0, 1).
    pub share: f32,
    /// The standard deviation of the first.
    pub first: f32,
    /// That of the second.
    pub second: f32,
}

const MIXTURE: &str = "mixture:";
const SPIKE: &str = "spike-and-slab:";
/// The spike's standard deviation in units of the slab's, if none is given.
const NARROW: f32 = 0.01;

impl FromStr for Prior {
    type Err = Error;

    fn from_str(text: &str) -> Result<Prior> {
        let bad = || {
            Error::Model(format!(
                "prior `{text}`: give a standard deviation, mixture:SHARE,STD,STD or spike-and-slab:SHARE,SLAB, with a share between 0 and 1"
            ))
        };
        let positive = |part: &str| {
            let number = part.trim().parse().ok();
            number.filter(|std: &f32| std.is_finite() && *std > 0.0).ok_or_else(bad)
        };
        let numbers = |list: &str| list.split(',').map(positive).collect::<Result<Vec<f32>>>();
        let share = |share: f32| if share < 1.0 { Ok(share) } else { Err(bad()) };
        if let Some(list) = text.strip_prefix(MIXTURE) {
            let &[part, first, second] = numbers(list)?.as_slice() else { return Err(bad()) };
            return Ok(Prior::Mixture(Mixture { share: share(part)?, first, second }));
        }
        if let Some(list) = text.strip_prefix(SPIKE) {
            let (part, slab, spike) = match *numbers(list)?.as_slice() {
                [part, slab] => (part, slab, NARROW * slab),
                [part, slab, spike] => (part, slab, spike),
                _ => return Err(bad()),
            };
            let mixture = Mixture { share: share(part)?, first: spike, second: slab };
            return Ok(Prior::SpikeAndSlab(mixture));
        }
        Ok(Prior::Gaussian(positive(text)?))
    }
}

impl fmt::Display for Prior {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Prior::Gaussian(std) => write!(f, "{std}"),
            Prior::Mixture(Mixture { share, first, second }) => {
                write!(f, "{MIXTURE}{share},{first},{second}")
            }
            Prior::SpikeAndSlab(Mixture { share, first, second }) => {
                write!(f, "{SPIKE}{share},{second},{first}")
            }
        }
    }
}

impl Prior {
    /// The KL of every posterior to the prior, summed over their elements. With a mixture it is
    /// the estimate `log q(w) - log p(w)` of the draw `w = mean + exp(s) * noise` that the
    /// network uses, which is right on average (Adv-BNN, section 3). `noise` gives that of a
    /// posterior.
    ///
    /// # Errors
    /// When there is no posterior, or no noise for one.
    pub(crate) fn kl(
        &self,
        tape: &mut Tape,
        posteriors: &[Posterior],
        noise: impl Fn(&Posterior) -> Option<Value>,
    ) -> Result<Value> {
        let mut total: Option<Value> = None;
        for posterior in posteriors {
            let element = match self {
                Prior::Gaussian(std) => closed(tape, posterior, f64::from(*std))?,
                Prior::Mixture(mixture) | Prior::SpikeAndSlab(mixture) => {
                    let lacking = || {
                        let name = &posterior.name;
                        Error::Model(format!(
                            "`{name}` is not drawn, so its KL cannot be estimated"
                        ))
                    };
                    drawn(tape, posterior, noise(posterior).ok_or_else(lacking)?, mixture)?
                }
            };
            // Rows first: engines sum many long rows in parallel, but not one row, nor short ones.
            let shape = tape.shape(posterior.mean)?;
            let rows = shape.first().copied().unwrap_or(1);
            let rest = shape.iter().skip(1).product();
            let element = tape.reshape(element, &[rows, rest])?;
            let part = tape.reduce_sum(element, &[1], false)?;
            let part = tape.reduce_sum(part, &[0], false)?;
            total = Some(match total {
                None => part,
                Some(total) => tape.apply("Add", &[total, part])?,
            });
        }
        total.ok_or_else(|| {
            Error::Model(
                "there is no variational node, so no KL; run `advbnn convert` first".to_owned(),
            )
        })
    }
}

/// KL(N(mean, exp(log_std)^2) || N(0, prior^2)) of each element: `log(prior) - s + (exp(2 s) +
/// mean^2) / (2 prior^2) - 1/2` (Adv-BNN, eq. 6).
fn closed(tape: &mut Tape, posterior: &Posterior, prior: f64) -> Result<Value> {
    let (mean, s) = (posterior.mean, posterior.log_std);
    let two = tape.number(2.0, s)?;
    let double = tape.apply("Mul", &[s, two])?;
    let variance = tape.apply("Exp", &[double])?;
    let square = tape.apply("Mul", &[mean, mean])?;
    let sum = tape.apply("Add", &[variance, square])?;
    let precision = tape.number(0.5 / (prior * prior), s)?;
    let scaled = tape.apply("Mul", &[sum, precision])?;
    let difference = tape.apply("Sub", &[scaled, s])?;
    // The constant enters per element: added to the sum, it would cost the sum's
    // float32 digits.
    let constant = tape.number(prior.ln() - 0.5, s)?;
    tape.apply("Add", &[difference, constant])
}

/// `log q(w) - log p(w)` of each element; the `log(2 pi) / 2` of both cancel.
fn drawn(tape: &mut Tape, posterior: &Posterior, noise: Value, prior: &Mixture) -> Result<Value> {
    let (mean, s) = (posterior.mean, posterior.log_std);
    let std = tape.apply("Exp", &[s])?;
    let deviation = tape.apply("Mul", &[std, noise])?;
    let weight = tape.apply("Add", &[mean, deviation])?;
    let square = tape.apply("Mul", &[weight, weight])?;
    let mut component = |share: f64, std: f32| {
        let std = f64::from(std);
        let precision = tape.number(-0.5 / (std * std), s)?;
        let exponent = tape.apply("Mul", &[square, precision])?;
        let constant = tape.number(share.ln() - std.ln(), s)?;
        tape.apply("Add", &[exponent, constant])
    };
    let share = f64::from(prior.share);
    let [a, b] = [component(share, prior.first)?, component(1.0 - share, prior.second)?];
    // log(exp(a) + exp(b)), in a form that does not overflow.
    let most = tape.apply("Max", &[a, b])?;
    let apart = tape.apply("Sub", &[a, b])?;
    let apart = tape.apply("Abs", &[apart])?;
    let apart = tape.apply("Neg", &[apart])?;
    let rest = tape.apply("Exp", &[apart])?;
    let one = tape.number(1.0, s)?;
    let rest = tape.apply("Add", &[rest, one])?;
    let rest = tape.apply("Log", &[rest])?;
    let log_p = tape.apply("Add", &[most, rest])?;

    let half = tape.number(0.5, s)?;
    let exponent = tape.apply("Mul", &[noise, noise])?;
    let exponent = tape.apply("Mul", &[exponent, half])?;
    let minus_log_q = tape.apply("Add", &[s, exponent])?;
    let sum = tape.apply("Add", &[minus_log_q, log_p])?;
    tape.apply("Neg", &[sum])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_round_trips_and_nonsense_is_an_error() {
        for text in ["0.05", "mixture:0.25,1,0.1", "spike-and-slab:0.5,0.1,0.002"] {
            assert_eq!(text.parse::<Prior>().unwrap().to_string(), text);
        }
        let narrow: Prior = "spike-and-slab:0.5,0.2".parse().unwrap();
        let mixture = Mixture { share: 0.5, first: 0.002, second: 0.2 };
        assert_eq!(narrow, Prior::SpikeAndSlab(mixture));
        for text in ["", "0", "-1", "nan", "mixture:1,1,1", "mixture:0.5,1", "spike-and-slab:0.5"] {
            let error = text.parse::<Prior>().unwrap_err().to_string();
            assert!(error.contains("mixture:SHARE"), "{error}");
        }
    }
}
