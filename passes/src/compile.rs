//! Compiles a model into the programs that train and attack it.
//!
//! All of them read the same state (parameters, running statistics, the images under
//! attack), under the same names, so that an engine keeps it once.

use std::collections::{BTreeMap, BTreeSet};

use graphs::{DType, Fact, Graph, Kind, Model, Program, Role, Tensor, Value, names};

use crate::fold::Fold;
use crate::optimizer::{Carried, Optimizer};
use crate::pass::{Pass, Pipeline};
use crate::variational::{self, Posterior};
use crate::{
    Error, FixBatch, Hoist, Lower, Result, Tape, Upgrade, gradients, layers, loss, statistics,
};

/// What the update step minimises besides the cross-entropy, and how.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Training {
    /// The optimizer.
    pub optimizer: Optimizer,
    /// Which posteriors the KL sums over.
    pub kl_scope: KlScope,
    /// The standard deviation of the prior; `None` takes the one that `convert` noted
    /// in the model.
    pub prior: Option<f32>,
    /// The share of the new batch in running statistics.
    pub momentum: f32,
}

/// Which posteriors the KL sums over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KlScope {
    /// All, as the paper has it.
    #[default]
    All,
    /// Those of the last variational node only, as the published code's VGG does.
    LastLayer,
}

/// A model prepared for one batch size: opset 18, static shapes, parameters as state
/// inputs, noise as inputs.
struct Prepared {
    graph: Graph,
    model: Model,
    images: Value,
    posteriors: Vec<Posterior>,
    /// Those of the last variational node.
    last_layer: Vec<Posterior>,
    /// Trained parameters: means, log-stds, and the weights of plain layers.
    trained: Vec<Value>,
}

fn prepare(model: &Model, batch: usize) -> Result<Prepared> {
    let mut model = model.clone();
    Pipeline::new().then(Hoist).then(Upgrade).then(FixBatch(batch)).run(&mut model)?;
    let mut graph = std::mem::take(&mut model.graph);
    let posteriors = variational::posteriors(&graph)?;
    let last_layer = variational::last_layer(&graph)?;
    let images = images(&graph)?;
    graph.node_mut(images.node).name = free_name(&graph, images, names::IMAGES)?;

    variational::expand(&mut graph, |graph, posterior| {
        let fact = graph.fact(posterior.mean).clone();
        Ok(Some(graph.input(&format!("{}.noise", posterior.name), Role::Noise, fact)))
    })?;
    model.graph = graph;
    let mut trained: Vec<Value> = Vec::new();
    for value in posteriors.iter().flat_map(|p| [p.mean, p.log_std]) {
        trained.push(value);
    }
    let plain: BTreeSet<Value> =
        layers::weights(&model)?.into_iter().map(|weight| weight.value).collect();
    trained.extend(plain.into_iter().filter(|v| !posteriors.iter().any(|p| p.mean == *v)));
    let mut stated = trained.clone();
    stated.extend(running_statistics(&model.graph)?);
    for value in stated {
        make_state(&mut model.graph, value);
    }
    Fold.run(&mut model)?;
    model.graph.sweep();
    model.graph.check()?;
    model.functions.clear();
    model.opsets.retain(|domain, _| domain.is_empty());
    let graph = std::mem::take(&mut model.graph);
    Ok(Prepared { graph, model, images, posteriors, last_layer, trained })
}

/// The one data input: the images.
fn images(graph: &Graph) -> Result<Value> {
    let data: Vec<Value> = graph
        .inputs
        .iter()
        .filter(|&&id| matches!(graph.node(id).kind, Kind::Input(Role::Data)))
        .map(|&id| id.into())
        .collect();
    match *data.as_slice() {
        [one] => Ok(one),
        _ => Err(Error::Model(format!(
            "the model has {} data inputs; a classifier of images has one",
            data.len()
        ))),
    }
}

/// `name`, unless another input or initializer has it.
fn free_name(graph: &Graph, value: Value, name: &str) -> Result<String> {
    match graph.source(name) {
        Some(other) if other != value => {
            Err(Error::Model(format!("an initializer is called `{name}`, which programs need")))
        }
        _ => Ok(name.to_owned()),
    }
}

/// Turns a constant into an input that the engine keeps.
fn make_state(graph: &mut Graph, value: Value) {
    let node = graph.node_mut(value.node);
    if matches!(node.kind, Kind::Initializer(_)) {
        node.kind = Kind::Input(Role::State);
        if !graph.inputs.contains(&value.node) {
            graph.inputs.push(value.node);
        }
    }
}

/// The constants that hold the running mean and variance of BatchNormalization.
fn running_statistics(graph: &Graph) -> Result<BTreeSet<Value>> {
    let mut found = BTreeSet::new();
    for id in graph.op_order()? {
        if graph.node(id).op().is_some_and(|op| op.is("BatchNormalization")) {
            found.extend([3, 4].iter().filter_map(|&slot| graph.argument(id, slot)));
        }
    }
    found.retain(|&value| graph.tensor(value).is_some());
    Ok(found)
}

impl Prepared {
    fn batch(&self) -> usize {
        self.graph.fact(self.images).known_shape().and_then(|s| s.first().copied()).unwrap_or(0)
    }

    fn labels(&mut self) -> Value {
        let fact = Fact::new(DType::I64, &[self.batch()]);
        self.graph.input(names::LABELS, Role::Label, fact)
    }

    fn scalar(&mut self, name: &str) -> Value {
        self.graph.input(name, Role::Scalar, Fact::new(DType::F32, &[]))
    }

    /// A program whose only outputs are `outputs`; unused inputs are gone.
    fn program(mut self, outputs: &[(&str, Value)], carried: &[Carried]) -> Result<Program> {
        self.graph.outputs.clear();
        for &(name, value) in outputs {
            self.graph.output(name, value);
        }
        let mut carries = Vec::new();
        for &Carried { old, new } in carried {
            let input = self.graph.node(old.node).name.clone();
            let output = format!("{input}.next");
            self.graph.output(&output, new);
            carries.push((output, input));
        }
        let header = Model::new(Graph::default()).header;
        let mut model = Model { graph: self.graph, header, ..self.model };
        Pipeline::new().then(Lower).run(&mut model)?;
        model.graph.prune_inputs();
        Ok(Program::new(model, &carries))
    }
}

/// Probabilities of one draw of the weights: `images`, noise -> `probabilities`
/// `[N, classes]`.
///
/// # Errors
/// When the model is no image classifier or holds an operator without a rule.
pub fn predict(model: &Model, batch: usize) -> Result<Program> {
    let mut prepared = prepare(model, batch)?;
    let tape = &mut Tape::new(&mut prepared.graph, "predict");
    let logits = loss::logits(tape)?;
    let softmax = graphs::Op::new("Softmax").with("axis", -1);
    let probabilities = tape.op(softmax, &[logits])?;
    prepared.program(&[(names::PROBABILITIES, probabilities)], &[])
}

/// One draw of one step of PGD under L-infinity (Adv-BNN, algorithm 1).
///
/// `gradient` becomes `keep * gradient` plus the gradient of this draw, then `images`
/// move by `step_size * sign(gradient)`, stay within `radius` of `clean`, then within
/// [0, 1]. Both are carried. With `keep` 0 and the step size this is a whole step of
/// PGD; k runs of which the last alone has a step size and the first alone `keep` 0
/// are a step of EOT-PGD with k draws. BatchNormalization uses its running statistics.
/// Returns `losses` `[N]` of the images before the step.
///
/// # Errors
/// As [`predict`], or when an operator has no gradient rule.
pub fn attack(model: &Model, batch: usize) -> Result<Program> {
    let mut prepared = prepare(model, batch)?;
    let images = prepared.images;
    let labels = prepared.labels();
    let fact = prepared.graph.fact(images).clone();
    let clean = prepared.graph.input(names::CLEAN, Role::Data, fact.clone());
    let before = prepared.graph.input(names::GRADIENT, Role::State, fact);
    let keep = prepared.scalar(names::KEEP);
    let radius = prepared.scalar(names::RADIUS);
    let step_size = prepared.scalar(names::STEP_SIZE);

    let tape = &mut Tape::new(&mut prepared.graph, "attack");
    let logits = loss::logits(tape)?;
    let losses = loss::cross_entropy(tape, logits, labels)?;
    let sum = tape.reduce_sum(losses, &[0], false)?;
    let mut gradient = tape.apply("Mul", &[before, keep])?;
    for part in gradients(tape, sum, &[images])? {
        gradient = tape.apply("Add", &[gradient, part])?;
    }
    let sign = tape.apply("Sign", &[gradient])?;
    let step = tape.apply("Mul", &[sign, step_size])?;
    let moved = tape.apply("Add", &[images, step])?;
    let least = tape.apply("Sub", &[clean, radius])?;
    let most = tape.apply("Add", &[clean, radius])?;
    let above = tape.apply("Max", &[moved, least])?;
    let inside = tape.apply("Min", &[above, most])?;
    let [zero, one] = [tape.number(0.0, images)?, tape.number(1.0, images)?];
    let next = tape.apply("Clip", &[inside, zero, one])?;
    let carried = [Carried { old: images, new: next }, Carried { old: before, new: gradient }];
    prepared.program(&[(names::LOSSES, losses)], &carried)
}

/// One training step on the (attacked) `images`: forward with batch statistics, mean
/// cross-entropy + `kl_scale` * KL, backward, optimizer. Carries parameters, optimizer
/// state and running statistics; returns `loss`, `cross_entropy`, `kl` (only with
/// posteriors) and `correct`.
///
/// # Errors
/// As [`attack`], or when nothing is to be trained.
pub fn update(model: &Model, batch: usize, training: &Training) -> Result<Program> {
    let mut prepared = prepare(model, batch)?;
    if prepared.trained.is_empty() {
        return Err(Error::Model("the model has no weights to train".to_owned()));
    }
    let prior = training.prior.map_or_else(|| noted_prior(model), Ok)?;
    let running = statistics::use_batch_statistics(&mut prepared.graph, training.momentum)?;
    let labels = prepared.labels();
    let learning_rate = prepared.scalar(names::LEARNING_RATE);
    let step = prepared.scalar(names::STEP);
    let kl_scale = prepared.scalar(names::KL_SCALE);
    let scope = match training.kl_scope {
        KlScope::All => prepared.posteriors.clone(),
        KlScope::LastLayer => std::mem::take(&mut prepared.last_layer),
    };
    let trained: Vec<(String, Value)> = prepared
        .trained
        .iter()
        .map(|&value| (prepared.graph.node(value.node).name.clone(), value))
        .collect();

    let tape = &mut Tape::new(&mut prepared.graph, "update");
    let logits = loss::logits(tape)?;
    let losses = loss::cross_entropy(tape, logits, labels)?;
    let correct = loss::correct(tape, logits, labels)?;
    let zero = tape.ints(&[0]);
    let mean = graphs::Op::new("ReduceMean").with("keepdims", 0);
    let cross_entropy = tape.op(mean, &[losses, zero])?;
    let mut total = cross_entropy;
    let mut outputs = vec![(names::CROSS_ENTROPY, cross_entropy), (names::CORRECT, correct)];
    if !scope.is_empty() {
        let kl = loss::kl(tape, &scope, prior)?;
        let scaled = tape.apply("Mul", &[kl, kl_scale])?;
        total = tape.apply("Add", &[cross_entropy, scaled])?;
        outputs.push((names::KL, kl));
    }
    outputs.push((names::LOSS, total));

    let targets: Vec<Value> = trained.iter().map(|(_, value)| *value).collect();
    let slopes = gradients(tape, total, &targets)?;
    let schedule = training.optimizer.schedule(tape, learning_rate, step)?;
    let mut carried: Vec<Carried> =
        running.iter().map(|r| Carried { old: r.old, new: r.new }).collect();
    for ((name, parameter), gradient) in trained.iter().zip(slopes) {
        carried.extend(training.optimizer.update(tape, name, *parameter, gradient, schedule)?);
    }
    prepared.program(&outputs, &carried)
}

/// The standard deviation of the prior that `convert` noted in the model.
///
/// # Errors
/// When the note is there but no positive number.
pub fn noted_prior(model: &Model) -> Result<f32> {
    const PUBLISHED: f32 = 0.05;
    let Some(text) = model.metadata.get(variational::PRIOR) else { return Ok(PUBLISHED) };
    text.parse().ok().filter(|std: &f32| *std > 0.0).ok_or_else(|| {
        Error::Model(format!(
            "metadata `{}` is `{text}`, not a positive number",
            variational::PRIOR
        ))
    })
}

/// What the state inputs of a model's programs hold at first, by name: the model's own
/// constants, and zeros for what an optimizer or an attack keeps.
///
/// # Errors
/// When a state input of a program has no known shape.
pub fn initial_state(model: &Model, programs: &[&Program]) -> Result<BTreeMap<String, Tensor>> {
    let mut model = model.clone();
    Pipeline::new().then(Hoist).then(Upgrade).run(&mut model)?;
    let mut state = BTreeMap::new();
    for program in programs {
        let graph = &program.model.graph;
        for &id in &graph.inputs {
            let node = graph.node(id);
            if !matches!(node.kind, Kind::Input(Role::State)) || node.name == names::GRADIENT {
                continue;
            }
            let stored = model.graph.source(&node.name).and_then(|v| model.graph.tensor(v));
            let tensor = match (stored, graph.fact(id.into()).known_shape()) {
                (Some(tensor), _) => tensor.clone(),
                (None, Some(shape)) => Tensor::full(&shape, 0f32)?,
                (None, None) => {
                    return Err(Error::Model(format!("state `{}` has no known shape", node.name)));
                }
            };
            state.insert(node.name.clone(), tensor);
        }
    }
    Ok(state)
}

/// Writes trained values back into the model's constants of the same names; other
/// entries of the state (moments, images) are not the model's.
///
/// # Errors
/// When a value's shape differs from that of the constant.
pub fn store_state(model: &mut Model, state: &BTreeMap<String, Tensor>) -> Result<()> {
    Hoist.run(model)?;
    for (name, tensor) in state {
        let Some(value) = model.graph.source(name) else { continue };
        let node = model.graph.node_mut(value.node);
        if let Kind::Initializer(old) = &mut node.kind {
            if old.shape() != tensor.shape() {
                let reason =
                    format!("trained shape {:?}, stored {:?}", tensor.shape(), old.shape());
                return Err(Error::Node { node: format!("initializer `{name}`"), reason });
            }
            *old = tensor.clone();
        }
    }
    Ok(())
}

/// Notes in the model which prior it is trained with.
pub fn note_prior(model: &mut Model, std: f32) {
    model.metadata.insert(variational::PRIOR.to_owned(), std.to_string());
}
