//! Optimizers as nodes: the update of a parameter is part of the program.

use graphs::{Role, Value, names};

use crate::{Result, Tape};

/// How parameters follow their gradient.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Optimizer {
    /// Stochastic gradient descent as PyTorch's: `v = momentum * v + g + decay * w`,
    /// `w = w - lr * v`.
    Sgd {
        /// Share of the old velocity.
        momentum: f32,
        /// L2 weight decay, added to the gradient.
        weight_decay: f32,
    },
    /// Adam (Kingma & Ba 2015, algorithm 1) with bias correction.
    Adam {
        /// Decay of the first moment.
        beta1: f32,
        /// Decay of the second moment.
        beta2: f32,
        /// Added to the root of the second moment.
        epsilon: f32,
    },
}

impl Optimizer {
    /// SGD as the published code trains plain networks.
    pub const SGD: Optimizer = Optimizer::Sgd { momentum: 0.9, weight_decay: 5e-4 };
    /// Adam with its authors' settings.
    pub const ADAM: Optimizer = Optimizer::Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 };
}

/// A state input of a program and its value after the step.
#[derive(Clone, Copy, Debug)]
pub struct Carried {
    /// The input.
    pub old: Value,
    /// Its next value.
    pub new: Value,
}

/// What the updates of all parameters share.
#[derive(Clone, Copy, Debug)]
pub struct Schedule {
    /// The learning rate; for Adam with the bias of both moments corrected.
    rate: Value,
    /// Adam's epsilon in units of the biased second moment's root.
    epsilon: Option<Value>,
}

impl Optimizer {
    /// Appends what all updates share. `learning_rate` and `step` are float32 scalars;
    /// steps count 1, 2, ... since the optimizer's state was zero.
    ///
    /// # Errors
    /// When they are not float32.
    pub fn schedule(&self, tape: &mut Tape, learning_rate: Value, step: Value) -> Result<Schedule> {
        let Optimizer::Adam { beta1, beta2, epsilon } = *self else {
            return Ok(Schedule { rate: learning_rate, epsilon: None });
        };
        // lr * (m / c1) / (sqrt(v / c2) + epsilon) with two factors for all parameters in place
        // of two divisions for each (Kingma & Ba 2015, end of section 2).
        let [first, second] = [correction(tape, beta1, step)?, correction(tape, beta2, step)?];
        let root = tape.apply("Sqrt", &[second])?;
        let epsilon = scaled(tape, root, epsilon)?;
        let rate = tape.apply("Mul", &[learning_rate, root])?;
        let rate = tape.apply("Div", &[rate, first])?;
        Ok(Schedule { rate, epsilon: Some(epsilon) })
    }

    /// Appends the update of one parameter; adds the optimizer's own state inputs
    /// (`NAME.velocity`, or `NAME.moment1` and `NAME.moment2`, zero at first).
    ///
    /// # Errors
    /// When parameter and gradient differ in shape.
    pub fn update(
        &self,
        tape: &mut Tape,
        name: &str,
        parameter: Value,
        gradient: Value,
        schedule: Schedule,
    ) -> Result<Vec<Carried>> {
        match *self {
            Optimizer::Sgd { momentum, weight_decay } => {
                let mut step = gradient;
                if weight_decay != 0.0 {
                    let decay = scaled(tape, parameter, weight_decay)?;
                    step = tape.apply("Add", &[step, decay])?;
                }
                let mut carried = Vec::new();
                if momentum != 0.0 {
                    let old = state(tape, name, names::VELOCITY, parameter);
                    let kept = scaled(tape, old, momentum)?;
                    step = tape.apply("Add", &[kept, step])?;
                    carried.push(Carried { old, new: step });
                }
                let change = tape.apply("Mul", &[step, schedule.rate])?;
                let new = tape.apply("Sub", &[parameter, change])?;
                carried.push(Carried { old: parameter, new });
                Ok(carried)
            }
            Optimizer::Adam { beta1, beta2, .. } => {
                let old1 = state(tape, name, names::MOMENT1, parameter);
                let old2 = state(tape, name, names::MOMENT2, parameter);
                let square = tape.apply("Mul", &[gradient, gradient])?;
                let new1 = average(tape, old1, gradient, beta1)?;
                let new2 = average(tape, old2, square, beta2)?;
                let mut scale = tape.apply("Sqrt", &[new2])?;
                if let Some(epsilon) = schedule.epsilon {
                    scale = tape.apply("Add", &[scale, epsilon])?;
                }
                let direction = tape.apply("Div", &[new1, scale])?;
                let change = tape.apply("Mul", &[direction, schedule.rate])?;
                let new = tape.apply("Sub", &[parameter, change])?;
                Ok(vec![
                    Carried { old: old1, new: new1 },
                    Carried { old: old2, new: new2 },
                    Carried { old: parameter, new },
                ])
            }
        }
    }
}

fn state(tape: &mut Tape, name: &str, suffix: &str, like: Value) -> Value {
    let fact = tape.fact(like).clone();
    tape.graph.input(&format!("{name}{suffix}"), Role::State, fact)
}

fn scaled(tape: &mut Tape, x: Value, factor: f32) -> Result<Value> {
    let factor = tape.number(f64::from(factor), x)?;
    tape.apply("Mul", &[x, factor])
}

/// `beta * old + (1 - beta) * new`
fn average(tape: &mut Tape, old: Value, new: Value, beta: f32) -> Result<Value> {
    let kept = scaled(tape, old, beta)?;
    let taken = scaled(tape, new, 1.0 - beta)?;
    tape.apply("Add", &[kept, taken])
}

/// `1 - beta^step`
fn correction(tape: &mut Tape, beta: f32, step: Value) -> Result<Value> {
    let base = tape.number(f64::from(beta), step)?;
    let power = tape.apply("Pow", &[base, step])?;
    let one = tape.number(1.0, step)?;
    tape.apply("Sub", &[one, power])
}
