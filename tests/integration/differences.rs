//! Gradients against finite differences, computed on the engine itself.

use std::ops::{Add, Mul};

use graphs::{Graph, Model, Op, Role, Tensor, Value};
use passes::ops::Forms;
use passes::{Lower, Pass, Tape, gradients};
use runtime::engine::Engine;

use crate::engines::{Runner, Values};
use crate::models::{doubles, uniform};

/// Gradients this small count as this large when errors are set in relation to them: the
/// differences of float32 outputs are not exact either.
const LEAST_NORM: f64 = 0.05;
const DIRECTIONS: u64 = 8;

/// An input that a gradient is taken for, and where.
#[derive(Clone, Debug)]
pub(crate) struct Point {
    pub(crate) name: String,
    pub(crate) value: Tensor,
    /// How far an element may move without crossing a kink.
    pub(crate) reach: f32,
}

/// A graph that computes both a function and its gradient.
pub(crate) struct Trial {
    pub(crate) model: Model,
    pub(crate) points: Vec<Point>,
    /// Values of the other inputs.
    pub(crate) feeds: Values,
    /// The function is the sum of these outputs' elements, times these weights.
    pub(crate) weights: Vec<(String, Vec<f64>)>,
    /// Steps may meet kinks of the function. A derivative then only has to lie between the
    /// differences ahead and behind; of few directions not even that, with kinks on both sides.
    pub(crate) kinks: bool,
}

/// The output that holds the gradient with respect to input `name`.
pub(crate) fn gradient_of(name: &str) -> String {
    format!("{name}.gradient")
}

impl Trial {
    /// The sum of all elements of `outputs`, weighted at random, and its gradient with respect to
    /// every point.
    pub(crate) fn new(
        graph: Graph,
        outputs: &[Value],
        targets: &[(Value, Point)],
    ) -> passes::Result<Trial> {
        Trial::of_forms(graph, outputs, targets, Forms::default())
    }

    /// The same, of gradients in those forms.
    pub(crate) fn of_forms(
        graph: Graph,
        outputs: &[Value],
        targets: &[(Value, Point)],
        forms: Forms,
    ) -> passes::Result<Trial> {
        let mut model = Model::new(graph);
        let tape = &mut Tape::new(&mut model.graph, "trial");
        tape.forms = forms;
        let (loss, weights) = weighted_sum(tape, outputs)?;
        let values: Vec<Value> = targets.iter().map(|(value, _)| *value).collect();
        let slopes = gradients(tape, loss, &values)?;
        let mut named = Vec::new();
        for (i, (&output, weight)) in outputs.iter().zip(weights).enumerate() {
            let name = format!("y{i}");
            model.graph.output(&name, output);
            named.push((name, doubles(&weight)));
        }
        for ((_, point), slope) in targets.iter().zip(slopes) {
            model.graph.output(&gradient_of(&point.name), slope);
        }
        Lower.run(&mut model)?;
        model.graph.sweep();
        model.graph.check()?;
        let points = targets.iter().map(|(_, point)| point.clone()).collect();
        Ok(Trial { model, points, feeds: Values::new(), weights: named, kinks: false })
    }

    /// The same for the gradient of the weighted sum in place of the outputs.
    pub(crate) fn second(
        mut graph: Graph,
        outputs: &[Value],
        targets: &[(Value, Point)],
    ) -> passes::Result<Trial> {
        let tape = &mut Tape::new(&mut graph, "first");
        let (loss, _) = weighted_sum(tape, outputs)?;
        let values: Vec<Value> = targets.iter().map(|(value, _)| *value).collect();
        let slopes = gradients(tape, loss, &values)?;
        Trial::new(graph, &slopes, targets)
    }

    /// The gradients with respect to `targets` as a function of the gradients that arrive at
    /// `outputs`.
    pub(crate) fn of_gradient(
        mut graph: Graph,
        outputs: &[Value],
        targets: &[(Value, Point)],
    ) -> passes::Result<Trial> {
        let tape = &mut Tape::new(&mut graph, "first");
        let (mut arriving, mut total) = (Vec::new(), None);
        for (i, &output) in outputs.iter().enumerate() {
            let (name, shape) = (format!("dy{i}"), tape.shape(output)?);
            let dy = tape.graph.input(&name, Role::Data, tape.fact(output).clone());
            let value = uniform(&name, 1, &shape, -1.0, 1.0);
            arriving.push((dy, Point { name, value, reach: 1.0 / 32.0 }));
            let product = tape.apply("Mul", &[output, dy])?;
            let axes: Vec<usize> = (0..shape.len()).collect();
            let sum = tape.reduce_sum(product, &axes, false)?;
            total = Some(match total {
                None => sum,
                Some(total) => tape.apply("Add", &[total, sum])?,
            });
        }
        let values: Vec<Value> = targets.iter().map(|(value, _)| *value).collect();
        let slopes = gradients(tape, total.expect("an output"), &values)?;
        let mut trial = Trial::new(graph, &slopes, &arriving)?;
        trial.feeds = targets.iter().map(|(_, p)| (p.name.clone(), p.value.clone())).collect();
        Ok(trial)
    }

    /// Multiplies every gradient, so that a test can see that it notices.
    pub(crate) fn spoil(&mut self, factor: f32) {
        for point in &self.points {
            let graph = &mut self.model.graph;
            let port = graph.outputs.iter().position(|p| p.name == gradient_of(&point.name));
            let port = port.expect("a gradient");
            let mut tape = Tape::new(graph, "spoil");
            let factor = tape.scalar(factor);
            let right = tape.graph.outputs[port].value;
            let wrong = tape.apply("Mul", &[right, factor]).expect("a product");
            graph.outputs[port].value = wrong;
        }
    }

    /// The error of the worst gradient, in units of its norm, and the input it is of: the error
    /// of its derivative along the worst direction, or half-way to it where there are kinks.
    pub(crate) fn error(&self, engine: &dyn Engine) -> runtime::Result<(f64, String)> {
        let mut runner = Runner::of_model(engine, &self.model)?;
        let mut feeds = self.feeds.clone();
        feeds.extend(self.points.iter().map(|p| (p.name.clone(), p.value.clone())));
        let at = runner.run(&feeds)?;
        let mut worst = (0.0, String::new());
        for point in &self.points {
            let gradient = doubles(&at[&gradient_of(&point.name)]);
            let norm = gradient.iter().map(|g| g * g).sum::<f64>().sqrt().max(LEAST_NORM);
            let mut errors = Vec::new();
            for seed in 0..DIRECTIONS {
                let direction = direction(&point.name, seed, gradient.len());
                let gradient = &gradient;
                let along = Line { trial: self, feeds: &feeds, point, gradient, direction };
                errors.push(along.error(&mut runner)? / norm);
            }
            // NaN sorts behind every number.
            errors.sort_by(f64::total_cmp);
            let error = errors[if self.kinks { errors.len() / 2 } else { errors.len() - 1 }];
            if error.total_cmp(&worst.0).is_gt() {
                worst = (error, point.name.clone());
            }
        }
        Ok(worst)
    }
}

/// The function along one direction of one input.
struct Line<'t> {
    trial: &'t Trial,
    feeds: &'t Values,
    point: &'t Point,
    gradient: &'t [f64],
    direction: Vec<f32>,
}

/// The function at a point, and what the gradient makes of the way there.
struct Ahead {
    value: f64,
    promised: f64,
}

impl Line<'_> {
    /// How far the gradient is from the derivative.
    fn error(&self, runner: &mut Runner) -> runtime::Result<f64> {
        let step = self.point.reach;
        let (error, ahead, behind) = self.central(runner, step)?;
        if self.trial.kinks {
            let here = self.at(runner, 0.0)?.value;
            // The differences ahead and behind lie this far from the one over both.
            let apart = (ahead + behind - 2.0 * here) / f64::from(2.0 * step);
            let beyond = error.abs() - apart.abs();
            // Not `max`, which would take NaN for 0.
            return Ok(if beyond < 0.0 { 0.0 } else { beyond });
        }
        // Richardson's extrapolation to a step of 0.
        let (half, ..) = self.central(runner, step / 2.0)?;
        Ok(((4.0 * half - error) / 3.0).abs())
    }

    /// The error of the gradient over a step ahead and one behind, and the values there.
    fn central(&self, runner: &mut Runner, step: f32) -> runtime::Result<(f64, f64, f64)> {
        let (ahead, behind) = (self.at(runner, step)?, self.at(runner, -step)?);
        let difference = ahead.value - behind.value - (ahead.promised - behind.promised);
        Ok((difference / f64::from(2.0 * step), ahead.value, behind.value))
    }

    fn at(&self, runner: &mut Runner, step: f32) -> runtime::Result<Ahead> {
        let (from, shape) = (&self.point.value, self.point.value.shape());
        let moved = match from.values::<f64>() {
            Ok(values) => Tensor::new(shape, self.moved(&values, step.into()))?,
            Err(_) => Tensor::new(shape, self.moved(&from.floats()?, step))?,
        };
        // The way that was gone, which rounding makes another one than was meant.
        let way = doubles(&moved).into_iter().zip(doubles(from)).map(|(to, from)| to - from);
        let promised = way.zip(self.gradient).map(|(d, g)| d * g).sum();
        let mut feeds = self.feeds.clone();
        feeds.insert(self.point.name.clone(), moved);
        let outputs = runner.run(&feeds)?;
        let weighted = |(name, weights): &(String, Vec<f64>)| -> f64 {
            doubles(&outputs[name]).iter().zip(weights).map(|(y, w)| y * w).sum()
        };
        Ok(Ahead { value: self.trial.weights.iter().map(weighted).sum(), promised })
    }

    fn moved<T>(&self, values: &[T], step: T) -> Vec<T>
    where
        T: From<f32> + Copy + Add<Output = T> + Mul<Output = T>,
    {
        let steps = self.direction.iter().map(|&d| step * T::from(d));
        values.iter().zip(steps).map(|(&value, step)| value + step).collect()
    }
}

/// The sum of all elements of `outputs` times random weights, and the weights.
fn weighted_sum(tape: &mut Tape, outputs: &[Value]) -> passes::Result<(Value, Vec<Tensor>)> {
    let mut weights = Vec::new();
    let mut total: Option<Value> = None;
    for (i, &output) in outputs.iter().enumerate() {
        let shape = tape.shape(output)?;
        let weight = uniform("weights", i as u64, &shape, -1.0, 1.0);
        weights.push(weight.clone());
        let dtype = tape.dtype(output)?;
        let weight = tape.constant(weight);
        let weight = tape.cast(weight, dtype)?;
        let product = tape.apply("Mul", &[output, weight])?;
        let axes: Vec<usize> = (0..shape.len()).collect();
        let sum = tape.reduce_sum(product, &axes, false)?;
        total = Some(match total {
            None => sum,
            Some(total) => tape.op(Op::new("Add"), &[total, sum])?,
        });
    }
    Ok((total.expect("an output"), weights))
}

/// Elements of either sign between 1/2 and 1 in size, so that no two of them cancel exactly and
/// none goes farther than the reach.
fn direction(name: &str, seed: u64, count: usize) -> Vec<f32> {
    let numbers = uniform(&format!("direction of {name}"), seed, &[count], -1.0, 1.0);
    let numbers = numbers.floats().expect("floats");
    numbers.iter().map(|v| if *v < 0.0 { v / 2.0 - 0.5 } else { v / 2.0 + 0.5 }).collect()
}
