//! How answers are distributed given the network's output: classes, or real numbers.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;

use graphs::{DType, Fact, Graph, Model, Value, names};

use crate::{Error, Result, Tape, loss, regression};

/// The distribution of the answer y to an image x, for one draw w of the weights (Adv-BNN, section
/// 3): what training makes likely, and attacks unlikely.
///
/// As text `categorical`, or `gaussian:STD` with 1 for STD if it is left out.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Likelihood {
    /// Of one class of several: the softmax of the network's output.
    #[default]
    Categorical,
    /// Of K real numbers, a regression: N(f(x, w), std^2) each, independently of one another.
    Gaussian {
        /// The standard deviation of the residual, in units of the answers.
        std: f32,
    },
}

/// The metadata key of the likelihood.
const LIKELIHOOD: &str = "advbnn.likelihood";
/// Standard deviations whose inverse squares single precision can hold.
const STDS: RangeInclusive<f32> = 1e-18..=1e18;
const CATEGORICAL: &str = "categorical";
const GAUSSIAN: &str = "gaussian";

impl FromStr for Likelihood {
    type Err = Error;

    fn from_str(text: &str) -> Result<Likelihood> {
        let std = match text.split_once(':') {
            None if text == CATEGORICAL => return Ok(Likelihood::Categorical),
            None if text == GAUSSIAN => Some(1.0),
            Some((GAUSSIAN, std)) => std.trim().parse().ok(),
            _ => None,
        };
        let std = std.filter(|std| STDS.contains(std));
        std.map(|std| Likelihood::Gaussian { std }).ok_or_else(|| {
            Error::Model(format!(
                "likelihood `{text}`: give categorical, gaussian, or gaussian:STD with a standard deviation of 1e-18 to 1e18"
            ))
        })
    }
}

impl fmt::Display for Likelihood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Likelihood::Categorical => f.write_str(CATEGORICAL),
            Likelihood::Gaussian { std } => write!(f, "{GAUSSIAN}:{std}"),
        }
    }
}

/// The likelihood that `convert` or a training noted in the model; without a note that of classes.
///
/// # Errors
/// When the note is there but no likelihood.
pub fn noted_likelihood(model: &Model) -> Result<Likelihood> {
    let Some(text) = model.metadata.get(LIKELIHOOD) else { return Ok(Likelihood::default()) };
    text.parse().map_err(|error| Error::Model(format!("metadata `{LIKELIHOOD}`: {error}")))
}

/// Notes in the model which likelihood its output is for; classes need no note.
pub fn note_likelihood(model: &mut Model, likelihood: Likelihood) {
    match likelihood {
        Likelihood::Categorical => model.metadata.remove(LIKELIHOOD),
        Likelihood::Gaussian { .. } => {
            model.metadata.insert(LIKELIHOOD.to_owned(), likelihood.to_string())
        }
    };
}

impl Likelihood {
    /// What the distribution is made from, `[N, K]`: the logits of K classes, or the means of K
    /// numbers.
    ///
    /// # Errors
    /// When the model's output is not of that shape.
    pub(crate) fn outputs(self, tape: &mut Tape) -> Result<Value> {
        match self {
            Likelihood::Categorical => loss::logits(tape),
            Likelihood::Gaussian { .. } => regression::outputs(tape),
        }
    }

    /// What a program takes as the answers to `batch` images: int64 `[N]`, or float32 `[N, K]`.
    ///
    /// # Errors
    /// As [`Likelihood::outputs`], or when the output has not one row for each image.
    pub(crate) fn answers(self, graph: &Graph, batch: usize) -> Result<Fact> {
        Ok(match self {
            Likelihood::Categorical => Fact::new(DType::I64, &[batch]),
            Likelihood::Gaussian { .. } => {
                let (value, shape) = regression::output(graph)?;
                if shape[0] != batch {
                    let node = graph.node(value.node).describe();
                    let rows = shape[0];
                    let reason = format!("the first output has {rows} rows for {batch} images");
                    return Err(Error::Node { node, reason });
                }
                Fact::new(DType::F32, &shape)
            }
        })
    }

    /// `-log p(y | x, w)` of each image, `[N]`: the cross-entropy, or `|y - f|^2 / (2 std^2) +
    /// K / 2 log(2 pi std^2)`.
    ///
    /// # Errors
    /// When the answers are not as [`Likelihood::answers`] says.
    pub(crate) fn losses(self, tape: &mut Tape, outputs: Value, answers: Value) -> Result<Value> {
        match self {
            Likelihood::Categorical => loss::cross_entropy(tape, outputs, answers),
            Likelihood::Gaussian { std } => {
                let std = f64::from(std);
                let errors = regression::squared_errors(tape, outputs, answers)?;
                let precision = tape.number(0.5 / (std * std), errors)?;
                let scaled = tape.apply("Mul", &[errors, precision])?;
                let width = tape.shape(outputs)?.get(1).copied().unwrap_or(0) as f64;
                let constant = 0.5 * width * (std::f64::consts::TAU * std * std).ln();
                let constant = tape.number(constant, scaled)?;
                tape.apply("Add", &[scaled, constant])
            }
        }
    }

    /// The name under which programs return [`Likelihood::outputs`].
    pub(crate) fn name(self) -> &'static str {
        match self {
            Likelihood::Categorical => names::LOGITS,
            Likelihood::Gaussian { .. } => names::OUTPUTS,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn text_round_trips_and_nonsense_is_an_error() {
        for text in ["categorical", "gaussian:0.25"] {
            assert_eq!(text.parse::<Likelihood>().unwrap().to_string(), text);
        }
        assert_eq!("gaussian".parse::<Likelihood>().unwrap(), Likelihood::Gaussian { std: 1.0 });
        for text in [
            "",
            "normal",
            "gaussian:",
            "gaussian:0",
            "gaussian:-1",
            "gaussian:nan",
            "gaussian:1e25",
            "gaussian:1e-20",
        ] {
            let error = text.parse::<Likelihood>().unwrap_err().to_string();
            assert!(error.contains("gaussian:STD"), "{error}");
        }
    }

    #[test]
    fn a_model_remembers_a_regression_and_forgets_it_for_classes() {
        let mut model = Model::new(Graph::new("test"));
        assert_eq!(noted_likelihood(&model).unwrap(), Likelihood::Categorical);
        note_likelihood(&mut model, Likelihood::Gaussian { std: 0.5 });
        assert_eq!(noted_likelihood(&model).unwrap(), Likelihood::Gaussian { std: 0.5 });
        note_likelihood(&mut model, Likelihood::Categorical);
        assert_eq!(noted_likelihood(&model).unwrap(), Likelihood::Categorical);
        model.metadata.insert(LIKELIHOOD.to_owned(), "poisson".to_owned());
        assert!(noted_likelihood(&model).is_err());
    }
}
