//! The gradient of a model's loss as a plain ONNX model.

use std::collections::BTreeMap;

use graphs::{DType, Graph, Kind, Model, Op, Role, Tensor, Value, names};

use crate::pass::{Pass, Pipeline, Sweep};
use crate::{
    Error, FixBatch, Fold, Lower, Result, Tape, gradients, noise_layers, noted_likelihood,
    variational,
};

/// From the model's inputs and `labels` int64 `[N]` to `loss` `[]` (mean softmax
/// cross-entropy; of a regression the mean negative log-likelihood, for `labels` float32 `[N, K]`), `NAME.grad` for every name of `wrt` (inputs or initializers; none
/// means the data inputs of a float type) and the model's own outputs. A variational model gets the
/// inputs `NAME.noise`.
///
/// `batch` defaults to the batch size that the file fixes, or 1.
///
/// # Errors
/// When a name is no input or initializer of a float type, or an operator on the way
/// has no gradient rule.
pub fn loss_gradient(model: &Model, batch: Option<usize>, wrt: &[String]) -> Result<Model> {
    let likelihood = noted_likelihood(model)?;
    let mut model = model.clone();
    let batch = batch.or_else(|| crate::fixed_batch(&model.graph)).unwrap_or(1);
    Pipeline::opening().then(FixBatch(batch)).run(&mut model)?;
    variational::expand(&mut model.graph, |graph, posterior| {
        let fact = graph.fact(posterior.mean).clone();
        Ok(Some(graph.input(&format!("{}{}", posterior.name, names::NOISE), Role::Noise, fact)))
    })?;
    noise_layers::open(&mut model)?;
    let targets = targets(&model.graph, wrt)?;
    let constants = open(&mut model.graph, &targets);
    Fold.run(&mut model)?;

    let graph = &mut model.graph;
    if graph.source(names::LABELS).is_some() {
        return Err(Error::Model("the model has an input `labels` of its own".to_owned()));
    }
    let fact = likelihood.answers(graph, batch)?;
    let labels = graph.input(names::LABELS, Role::Label, fact);
    let tape = &mut Tape::new(graph, "gradient");
    let said = likelihood.outputs(tape)?;
    let losses = likelihood.losses(tape, said, labels)?;
    let axis = tape.ints(&[0]);
    let mean = tape.op(Op::new("ReduceMean").with("keepdims", 0), &[losses, axis])?;
    let slopes = gradients(tape, mean, &targets)?;
    graph.output(names::LOSS, mean);
    for (target, gradient) in targets.iter().zip(slopes) {
        let name = format!("{}.grad", graph.node(target.node).name);
        graph.output(&name, gradient);
    }
    close(graph, constants);
    Pipeline::new().then(Sweep).then(Lower).run(&mut model)?;
    model.functions.clear();
    model.opsets.retain(|domain, _| domain.is_empty());
    Ok(model)
}

fn targets(graph: &Graph, wrt: &[String]) -> Result<Vec<Value>> {
    if wrt.is_empty() {
        let data = |id: &graphs::NodeId| matches!(graph.node(*id).kind, Kind::Input(Role::Data));
        let float = |value: &Value| graph.fact(*value).dtype.is_none_or(DType::is_float);
        let inputs = graph.inputs.iter().copied().filter(data).map(Value::from);
        let found: Vec<Value> = inputs.filter(float).collect();
        return match found.is_empty() {
            true => Err(Error::Model(
                "no input is of a float type, so none has a gradient; name weights with --wrt"
                    .to_owned(),
            )),
            false => Ok(found),
        };
    }
    let sources = graph.sources();
    let find = |name: &String| match sources.get(name.as_str()).copied() {
        Some(value) if graph.fact(value).dtype.is_some_and(DType::is_float) => Ok(value),
        Some(_) => {
            Err(Error::Model(format!("`{name}` is not of a float type, so it has no gradient")))
        }
        None => Err(Error::Model(format!(
            "`{name}` is no input or initializer of the model; `advbnn inspect` lists them"
        ))),
    };
    wrt.iter().map(find).collect()
}

/// Makes the constants among `targets` inputs, so that nothing folds them away.
fn open(graph: &mut Graph, targets: &[Value]) -> BTreeMap<Value, Tensor> {
    let mut constants = BTreeMap::new();
    for &target in targets {
        if let Some(tensor) = graph.tensor(target).cloned() {
            constants.insert(target, tensor);
            graph.node_mut(target.node).kind = Kind::Input(Role::State);
            graph.inputs.push(target.node);
        }
    }
    constants
}

/// Undoes [`open`].
fn close(graph: &mut Graph, constants: BTreeMap<Value, Tensor>) {
    graph.inputs.retain(|id| !constants.contains_key(&Value::from(*id)));
    for (value, tensor) in constants {
        graph.node_mut(value.node).kind = Kind::Initializer(tensor);
    }
}
