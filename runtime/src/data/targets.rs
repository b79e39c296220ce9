//! What is to be said of each image: a class, or numbers.

use std::borrow::Cow;

use graphs::{Graph, Tensor, names};

use crate::{Error, Result};

/// What a model says of an image, and a data set wants to hear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// One of so many classes.
    Class(usize),
    /// So many real numbers: a regression.
    Numbers(usize),
}

impl Answer {
    /// What the program of `graph`, which predicts, says of an image, if its shapes tell.
    pub fn of(graph: &Graph) -> Option<Answer> {
        let width = |name| graph.fact(graph.port(name)?.value).known_shape()?.last().copied();
        let classes = width(names::PROBABILITIES).map(Answer::Class);
        classes.or_else(|| width(names::OUTPUTS).map(Answer::Numbers))
    }
}

/// The answers to the images of a data set, in their order.
#[derive(Clone, Debug, PartialEq)]
pub enum Targets {
    /// Class indices, `[N]`.
    Classes(Vec<i64>),
    /// `[N, width]`, finite.
    Numbers {
        /// How many there are for an image, at least 1.
        width: usize,
        /// All of them, image after image.
        values: Vec<f32>,
    },
}

impl Default for Targets {
    fn default() -> Targets {
        Targets::Classes(Vec::new())
    }
}

impl From<Vec<i64>> for Targets {
    fn from(labels: Vec<i64>) -> Targets {
        Targets::Classes(labels)
    }
}

impl Targets {
    /// For how many images there are answers.
    pub fn len(&self) -> usize {
        match self {
            Targets::Classes(labels) => labels.len(),
            Targets::Numbers { width, values } => values.len() / (*width).max(1),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Those of some images, in this order; `None` where one is past the end.
    pub(super) fn select(&self, indices: &[usize]) -> Option<Targets> {
        Some(match self {
            Targets::Classes(labels) => {
                let label = |index: &usize| labels.get(*index).copied();
                Targets::Classes(indices.iter().map(label).collect::<Option<_>>()?)
            }
            Targets::Numbers { width, values } => {
                let row = |index: &usize| values.get(index.checked_mul(*width)?..)?.get(..*width);
                let rows: Option<Vec<&[f32]>> = indices.iter().map(row).collect();
                Targets::Numbers { width: *width, values: rows?.concat() }
            }
        })
    }

    /// Keeps those of the first `count` images.
    pub(super) fn truncate(&mut self, count: usize) {
        match self {
            Targets::Classes(labels) => labels.truncate(count),
            Targets::Numbers { width, values } => values.truncate(count.saturating_mul(*width)),
        }
    }

    /// In the byte order of this machine.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Targets::Classes(labels) => bytemuck::cast_slice(labels),
            Targets::Numbers { values, .. } => bytemuck::cast_slice(values),
        }
    }

    /// As programs take them: int64 `[N]`, or float32 `[N, width]`.
    ///
    /// # Errors
    /// When there are too many.
    pub(crate) fn tensor(&self) -> Result<Tensor> {
        let count = self.len();
        Ok(match self {
            Targets::Classes(labels) => Tensor::new(&[count], labels.clone())?,
            Targets::Numbers { width, values } => Tensor::new(&[count, *width], values.clone())?,
        })
    }

    /// Checks that they make sense.
    ///
    /// # Errors
    /// Names the first that is a negative label or no finite number.
    pub(super) fn check(&self) -> Result<()> {
        let (item, what): (usize, Cow<str>) = match self {
            Targets::Classes(labels) => match labels.iter().enumerate().find(|(_, l)| **l < 0) {
                Some((item, label)) => (item, format!("the negative label {label}").into()),
                None => return Ok(()),
            },
            Targets::Numbers { width, values } => {
                match values.iter().enumerate().find(|(_, value)| !value.is_finite()) {
                    Some((i, value)) => (i / (*width).max(1), format!("the target {value}").into()),
                    None => return Ok(()),
                }
            }
        };
        Err(Error::Data(format!("item {item} has {what}")))
    }

    /// Checks that a model that answers so can be compared with them; `class_names` may be empty.
    ///
    /// # Errors
    /// Names the first image whose label is too large, or says that they are of another kind.
    pub(super) fn check_answer(&self, answer: Answer, class_names: &[String]) -> Result<()> {
        match (self, answer) {
            (Targets::Classes(labels), Answer::Class(classes)) => {
                let bad = |l: &i64| usize::try_from(*l).is_ok_and(|label| label >= classes);
                let Some((item, &label)) = labels.iter().enumerate().find(|(_, l)| bad(l)) else {
                    return Ok(());
                };
                let name = usize::try_from(label).ok().and_then(|label| class_names.get(label));
                let name = name.map_or(String::new(), |name| format!(" (`{name}`)"));
                Err(Error::Data(format!(
                    "item {item} has label {label}{name}, but the model has {classes} classes; \
                     give data with labels 0 to {}",
                    classes.saturating_sub(1)
                )))
            }
            (Targets::Numbers { width, .. }, Answer::Numbers(wanted)) if *width == wanted => Ok(()),
            (Targets::Numbers { width, .. }, Answer::Numbers(wanted)) => Err(Error::Data(format!(
                "the targets are {width} numbers for each image, but the model gives {wanted}"
            ))),
            (Targets::Classes(_), Answer::Numbers(_)) => Err(Error::Data(
                "the targets are classes, but the model is a regression and gives numbers".into(),
            )),
            (Targets::Numbers { .. }, Answer::Class(_)) => Err(Error::Data(
                "the targets are real numbers, but the model gives classes; a regression has \
                 `--likelihood gaussian`"
                    .into(),
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn numbers() -> Targets {
        Targets::Numbers { width: 2, values: vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0] }
    }

    #[test]
    fn rows_of_numbers_stay_together() {
        let mut targets = numbers();
        assert_eq!(targets.len(), 3);
        let some = targets.select(&[2, 0]).unwrap();
        assert_eq!(some, Targets::Numbers { width: 2, values: vec![5.0, 6.0, 1.0, 2.0] });
        assert_eq!(targets.select(&[3]), None);
        assert_eq!(targets.tensor().unwrap().shape(), [3, 2]);
        targets.truncate(1);
        assert_eq!(targets, Targets::Numbers { width: 2, values: vec![1.0, 2.0] });
    }

    #[test]
    fn answers_of_another_kind_or_width_are_refused() {
        let classes = Targets::Classes(vec![0, 2]);
        classes.check_answer(Answer::Class(3), &[]).unwrap();
        numbers().check_answer(Answer::Numbers(2), &[]).unwrap();
        for (targets, answer, part) in [
            (&classes, Answer::Class(2), "item 1 has label 2"),
            (&classes, Answer::Numbers(1), "are classes"),
            (&numbers(), Answer::Numbers(3), "2 numbers for each image, but the model gives 3"),
            (&numbers(), Answer::Class(3), "--likelihood gaussian"),
        ] {
            let error = targets.check_answer(answer, &[]).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
        let bad = Targets::Numbers { width: 2, values: vec![0.0, 1.0, 2.0, f32::NAN] };
        assert_eq!(bad.check().unwrap_err().to_string(), "item 1 has the target NaN");
    }
}
