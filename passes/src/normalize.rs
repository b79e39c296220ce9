//! The mean/std normalization of images, as nodes inside the model: callers keep
//! giving pixels in [0, 1], and attacks stay in pixel space.

use std::fmt;
use std::str::FromStr;

use graphs::{DType, Dim, Fact, Graph, Kind, Model, Op, Role, Tensor, Value};

use crate::naming::Names;
use crate::pass::Pass;
use crate::{Error, Result};

/// Puts `(x - mean) / std` between the image input and everything that reads it. One
/// value per channel, or one for all.
#[derive(Clone, Debug, PartialEq)]
pub struct Normalize {
    /// The mean of every channel.
    pub mean: Vec<f32>,
    /// The standard deviation of every channel.
    pub std: Vec<f32>,
}

impl FromStr for Normalize {
    type Err = Error;

    /// Reads `MEAN/STD`, such as `.49,.48,.45/.25,.24,.26`.
    fn from_str(text: &str) -> Result<Normalize> {
        let Some((mean, std)) = text.split_once('/') else {
            let reason = "has no `/`; write MEAN/STD, such as .49,.48,.45/.25,.24,.26";
            return Err(Error::Model(format!("normalization `{text}` {reason}")));
        };
        let mut normalize = Normalize { mean: numbers(mean)?, std: numbers(std)? };
        let channels = normalize.mean.len().max(normalize.std.len());
        for values in [&mut normalize.mean, &mut normalize.std] {
            if let [all] = **values {
                *values = vec![all; channels];
            }
        }
        normalize.validate()?;
        Ok(normalize)
    }
}

impl fmt::Display for Normalize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let join = |values: &[f32]| values.iter().map(f32::to_string).collect::<Vec<_>>().join(",");
        write!(f, "{}/{}", join(&self.mean), join(&self.std))
    }
}

fn numbers(text: &str) -> Result<Vec<f32>> {
    let number = |part: &str| {
        let number = part.trim().parse().ok().filter(|value: &f32| value.is_finite());
        number.ok_or_else(|| Error::Model(format!("normalization: `{part}` is no number")))
    };
    text.split(',').map(number).collect()
}

impl Normalize {
    fn validate(&self) -> Result<()> {
        let (mean, std) = (self.mean.len(), self.std.len());
        let reason = if mean != std || mean == 0 {
            format!(
                "{mean} means and {std} standard deviations; give one of each per channel, or one for all"
            )
        } else if let Some(std) = self.std.iter().find(|std| **std <= 0.0 || !std.is_finite()) {
            format!("a standard deviation of {std}; it must be positive")
        } else {
            return Ok(());
        };
        Err(Error::Model(format!("normalization: {reason}")))
    }

    /// The shape that lets the values broadcast over the channels of `images`.
    fn shape(&self, graph: &Graph, images: Value) -> Result<Vec<usize>> {
        let channels = self.mean.len();
        let shape = graph.fact(images).shape.as_deref().unwrap_or_default();
        let fits = |axis: usize| shape.get(axis) == Some(&Dim::Known(channels));
        if channels == 1 {
            return Ok(vec![]);
        }
        if fits(1) {
            return Ok(vec![1, channels, 1, 1]);
        }
        if fits(3) {
            return Ok(vec![channels]);
        }
        Err(Error::Node {
            node: graph.node(images.node).describe(),
            reason: format!(
                "its shape {} has {channels} channels on neither axis 1 nor axis 3",
                graph.fact(images)
            ),
        })
    }
}

impl Pass for Normalize {
    fn name(&self) -> &'static str {
        "normalize"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        self.validate()?;
        let graph = &mut model.graph;
        let mut names = Names::of(graph);
        let images = images(graph)?;
        let shape = self.shape(graph, images)?;
        let fact = graph.fact(images).clone();
        let uses = graph.uses(images);
        let mut value = images;
        for (op, what, values) in [("Sub", "mean", &self.mean), ("Div", "std", &self.std)] {
            let tensor = Tensor::new(&shape, values.clone())?;
            let constant = graph.initializer(&names.claim(&format!("normalize.{what}")), tensor);
            let name = format!("normalize.{}", op.to_lowercase());
            let arguments = [Some(value), Some(constant)];
            value = graph.op(&name, Op::new(op), &arguments, vec![fact.clone()]).into();
        }
        graph.redirect(uses, value);
        Ok(())
    }
}

/// The one data input of four dimensions.
fn images(graph: &Graph) -> Result<Value> {
    let data = |id: &_| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
    let four = |fact: &Fact| fact.shape.as_ref().is_some_and(|shape| shape.len() == 4);
    let inputs: Vec<Value> = graph.inputs.iter().copied().filter(data).map(Value::from).collect();
    let images: Vec<Value> = inputs.into_iter().filter(|&v| four(graph.fact(v))).collect();
    match images[..] {
        [images] if graph.fact(images).dtype != Some(DType::F32) => Err(Error::Node {
            node: graph.node(images.node).describe(),
            reason: format!("holds {}; only float32 images are normalized", graph.fact(images)),
        }),
        [images] => Ok(images),
        [] => Err(Error::Model(
            "the model has no input of four dimensions, so no images to normalize".to_owned(),
        )),
        _ => Err(Error::Model(format!(
            "the model has {} inputs of four dimensions; which holds the images is not known",
            images.len()
        ))),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    fn model(shape: &[usize]) -> Model {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, shape));
        let y = graph.op("y", Op::new("Mul"), &[Some(x), Some(x)], vec![Fact::default()]);
        graph.output("y", y.into());
        graph.output("x_again", x);
        Model::new(graph)
    }

    fn constants(spec: &str, shape: &[usize]) -> Vec<Vec<usize>> {
        let mut model = model(shape);
        spec.parse::<Normalize>().expect("a spec").run(&mut model).expect("an image input");
        model.graph.check().expect("a whole graph");
        let port = model.graph.port("x_again").expect("kept").value;
        let y = model.graph.port("y").expect("kept").value;
        assert_eq!(model.graph.arguments(y.node), [Some(port), Some(port)]);
        let div = model.graph.arguments(port.node);
        let sub = model.graph.arguments(div[0].expect("dividend").node);
        assert_eq!(sub[0], model.graph.source("x"));
        [sub[1], div[1]]
            .map(|v| model.graph.tensor(v.expect("given")).expect("constant"))
            .map(|t| t.shape().to_vec())
            .to_vec()
    }

    #[test]
    fn channels_are_found_on_either_axis() {
        assert_eq!(constants(".1,.2,.3/1,2,3", &[5, 3, 8, 8]), [[1, 3, 1, 1], [1, 3, 1, 1]]);
        assert_eq!(constants(".1,.2,.3/1,2,3", &[5, 8, 8, 3]), [[3], [3]]);
        assert!(constants(".1/2", &[5, 8, 8, 3]).iter().all(Vec::is_empty));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (spec, shape, message) in [
            (".1,.2/1,1", &[5usize, 3, 8, 8][..], "neither axis"),
            (".1/1", &[5, 3], "no input of four"),
        ] {
            let normalize: Normalize = spec.parse().expect("a spec");
            let error = normalize.run(&mut model(shape)).expect_err("must be refused");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn bad_specs_say_why() {
        for (spec, message) in [
            (".5", "has no `/`"),
            (".5,x/1,1", "`x` is no number"),
            ("nan/1", "is no number"),
            (".5,.5/1,1,1", "2 means and 3"),
            (".5/0", "must be positive"),
            (".5/-1", "must be positive"),
            ("/", "is no number"),
        ] {
            let error = spec.parse::<Normalize>().expect_err(spec);
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn one_value_stands_for_every_channel() {
        let all: Normalize = ".4,.5,.6/.2".parse().expect("a spec");
        assert_eq!(all.std, [0.2; 3]);
    }

    #[test]
    fn display_is_read_back() {
        let normalize: Normalize = ".49,.48,.45/.25,.24,.26".parse().expect("a spec");
        assert_eq!(normalize.to_string().parse::<Normalize>().expect("its own text"), normalize);
    }
}
