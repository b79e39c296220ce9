//! A model made ready for programs: opset 18, static shapes, parameters as state, noise
//! as inputs.

use std::collections::{BTreeSet, HashMap};

use graphs::{DType, Draw, Fact, Graph, Kind, Model, Program, Role, Value, names};

use super::Estimator;
use crate::batched::Batched;
use crate::fold::Fold;
use crate::ops::Forms;
use crate::optimizer::Carried;
use crate::pass::{Pass, Pipeline, Sweep};
use crate::postpone::postpone_relu;
use crate::share::Share;
use crate::variational::{self, Posterior};
use crate::{
    Build, Error, FixBatch, Likelihood, Lower, Platform, Result, Tape, layers, noise_layers,
    noted_likelihood,
};

/// A model prepared for one batch size: opset 18, static shapes, parameters as state
/// inputs, noise as inputs.
pub(super) struct Prepared {
    pub(super) graph: Graph,
    pub(super) model: Model,
    platform: Platform,
    /// What the model's output is for.
    pub(super) likelihood: Likelihood,
    /// The noise inputs that take drawn weights.
    draws: Vec<Draw>,
    pub(super) images: Value,
    pub(super) posteriors: Vec<Posterior>,
    /// Those of the last variational node.
    pub(super) last_layer: Vec<Posterior>,
    /// The noise that posteriors are drawn with, by their means.
    pub(super) noise: HashMap<Value, Value>,
    /// Trained parameters: means, log-stds, and the weights of plain layers.
    pub(super) trained: Vec<Value>,
}

/// Who draws the weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Drawn {
    /// The program, which needs the noise for its gradient too.
    Inside,
    /// The runtime, where that is quicker: noise and weights in one pass over memory.
    Outside,
}

pub(super) fn prepare(
    model: &Model,
    build: Build,
    estimator: Estimator,
    drawn: Drawn,
) -> Result<Prepared> {
    let likelihood = noted_likelihood(model)?;
    let mut model = model.clone();
    Pipeline::opening().then(FixBatch(build.batch)).run(&mut model)?;
    let last_layer = variational::last_layer(&model)?;
    let posteriors = variational::posteriors(&model.graph)?;
    if estimator == Estimator::Local {
        variational::draw_activations(&mut model)?;
    }
    let mut graph = std::mem::take(&mut model.graph);
    let mut noise = HashMap::new();
    let images = images(&graph)?;
    graph.node_mut(images.node).name = free_name(&graph, images, names::IMAGES)?;

    let outside = drawn == Drawn::Outside && build.platform.draws_on_host();
    let mut draws = Vec::new();
    variational::expand_draws(&mut graph, |graph, posterior| {
        let fact = graph.fact(posterior.mean).clone();
        let suffix = if outside { names::DRAW } else { names::NOISE };
        let name = format!("{}{suffix}", posterior.name);
        let input = graph.input(&name, Role::Noise, fact);
        if !outside {
            noise.insert(posterior.mean, input);
            return Ok(variational::Draw::Noise(input));
        }
        let [mean, log_std] =
            [posterior.mean, posterior.log_std].map(|v| graph.node(v.node).name.clone());
        draws.push(Draw { input: name, mean, log_std });
        Ok(variational::Draw::Weight(input))
    })?;
    model.graph = graph;
    noise_layers::open(&mut model)?;
    let mut trained: Vec<Value> = Vec::new();
    for value in posteriors.iter().flat_map(|p| [p.mean, p.log_std]) {
        trained.push(value);
    }
    let plain: BTreeSet<Value> =
        layers::weights(&model)?.into_iter().map(|weight| weight.value).collect();
    let random: BTreeSet<Value> = trained.iter().copied().collect();
    let stored = |v: &Value| model.graph.tensor(*v).is_some() && !random.contains(v);
    trained.extend(plain.into_iter().filter(stored));
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
    let mut graph = std::mem::take(&mut model.graph);
    postpone_relu(&mut graph)?;
    let platform = build.platform;
    Ok(Prepared {
        graph,
        model,
        platform,
        likelihood,
        draws,
        images,
        posteriors,
        last_layer,
        noise,
        trained,
    })
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
        [one] if graph.fact(one).dtype.is_none_or(|dtype| dtype == DType::F32) => Ok(one),
        [one] => Err(Error::Node {
            node: graph.node(one.node).describe(),
            reason: format!(
                "is {}, and programs take float32 images; what takes something else is differentiated by `advbnn gradient --wrt WEIGHT`",
                graph.fact(one)
            ),
        }),
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

    /// The answers to the images, as the likelihood takes them.
    pub(super) fn labels(&mut self) -> Result<Value> {
        let fact = self.likelihood.answers(&self.graph, self.batch())?;
        Ok(self.graph.input(names::LABELS, Role::Label, fact))
    }

    /// The images that an attack started from.
    pub(super) fn clean(&mut self) -> Value {
        let fact = self.graph.fact(self.images).clone();
        self.graph.input(names::CLEAN, Role::Data, fact)
    }

    /// Appends nodes under names that begin with `prefix`.
    pub(super) fn tape(&mut self, prefix: &str) -> Tape<'_> {
        let mut tape = Tape::new(&mut self.graph, prefix);
        tape.forms = Forms { platform: self.platform, ..Forms::default() };
        tape
    }

    pub(super) fn scalar(&mut self, name: &str) -> Value {
        self.graph.input(name, Role::Scalar, Fact::new(DType::F32, &[]))
    }

    /// A program whose only outputs are `outputs`; unused inputs are gone.
    pub(super) fn program(
        mut self,
        outputs: &[(&str, Value)],
        carried: &[Carried],
    ) -> Result<Program> {
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
        let passes = Pipeline::new().then(Sweep).then(Batched(self.platform)).then(Lower);
        // An update holds every activation for its gradients: sums of weights that wait beside
        // them for a second reader take more memory than time.
        let updates = carried.iter().any(|carried| self.trained.contains(&carried.old));
        let passes = if updates { passes } else { passes.then(Share) };
        passes.run(&mut model)?;
        model.graph.prune_inputs();
        Ok(Program::new(model, &carries).with_draws(&self.draws))
    }
}
