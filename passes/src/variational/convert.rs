//! The pass that makes layers variational.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use graphs::names::{LOG_STD, MEAN, NOISE};
use graphs::{Attribute, DType, Fact, Graph, Model, NodeId, NodeSet, Op, Tensor, Value};
use regex::Regex;

use super::{DOMAIN, PREFIX, PRIOR, SAMPLE, SLOTS, is_sample, refresh_functions, set_call};
use crate::layers::{self, Layer, Weight};
use crate::naming::Names;
use crate::pass::Pass;
use crate::sources::{Sources, is_setting, is_view, stored_name};
use crate::{Result, quantized};

/// The first standard deviation of a weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum InitStd {
    /// The same for every weight (the published code: that of the prior).
    Constant(f32),
    /// In proportion to the pretrained weight, `delta * |w|` (MOPED, Krishnan et al.
    /// 2020).
    Moped(f32),
}

/// Replaces layers by variational nodes.
///
/// Mean and log-std are float32 whatever the weight's type; a sample is cast to that
/// type, unless all that happens to the weight is a Cast to float32.
#[derive(Clone, Debug)]
pub struct Convert {
    /// Which kinds of layers.
    pub layers: BTreeSet<Layer>,
    /// Only the nodes or weights whose name matches.
    pub include: Option<Regex>,
    /// Not the nodes or weights whose name matches; a weight that several nodes share
    /// is left if one of them matches.
    pub exclude: Option<Regex>,
    /// The first standard deviations.
    pub init: InitStd,
    /// The standard deviation of the prior N(0, prior^2).
    pub prior: f32,
    /// Biases (and betas of normalizations) too.
    pub bias: bool,
}

impl Pass for Convert {
    fn name(&self) -> &'static str {
        "convert"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let weights = self.selected(model)?;
        let rewrites: Vec<Rewrite> = {
            let sources = Sources::of(&model.graph)?;
            weights.iter().map(|weight| Rewrite::of(&model.graph, &sources, weight)).collect()
        };
        let mut names = Names::of(&model.graph);
        let mut layers: BTreeMap<NodeId, Vec<(usize, [Value; 2])>> = BTreeMap::new();
        let replaced: NodeSet = rewrites.iter().map(|r| r.value.node).collect();
        for rewrite in rewrites {
            let posterior = self.posterior(&mut model.graph, &mut names, rewrite.value)?;
            match rewrite.reader {
                Some((node, slot)) => layers.entry(node).or_default().push((slot, posterior)),
                None => draw_once(&mut model.graph, &rewrite, posterior)?,
            }
        }
        // A file of IR version 3 lists weights as inputs.
        model.graph.inputs.retain(|id| !replaced.contains(*id));
        for (id, slots) in layers {
            make_variational(&mut model.graph, id, &slots);
        }
        model.metadata.insert(PRIOR.to_owned(), self.prior.to_string());
        refresh_functions(model)
    }
}

impl Convert {
    /// One use of every weight to convert.
    fn selected(&self, model: &Model) -> Result<Vec<Weight>> {
        let mut uses = layers::weights(model)?;
        uses.retain(|weight| !is_sample(&model.graph, weight.value.node));
        let excluded: HashSet<Value> = uses
            .iter()
            .filter(|weight| self.exclude.as_ref().is_some_and(|r| matches(model, weight, r)))
            .map(|weight| weight.value)
            .collect();
        let mut seen = HashSet::new();
        uses.retain(|weight| {
            self.layers.contains(&weight.layer)
                && (self.bias || !weight.bias)
                && self.include.as_ref().is_none_or(|r| matches(model, weight, r))
                && !excluded.contains(&weight.value)
                && seen.insert(weight.value)
        });
        Ok(uses)
    }

    fn log_std(&self, mean: &Tensor) -> Result<Tensor> {
        // exp(-20): far below any float32 weight's last bit, so "no noise", yet finite.
        const LEAST: f32 = 2e-9;
        Ok(match self.init {
            InitStd::Constant(std) => Tensor::full(mean.shape(), std.ln())?,
            InitStd::Moped(delta) => {
                let log = |w: &f32| (delta * w.abs()).max(LEAST).ln();
                Tensor::new(mean.shape(), mean.floats()?.iter().map(log).collect())?
            }
        })
    }

    /// Mean and log-std for a weight, each a constant of the weight's shape.
    fn posterior(&self, graph: &mut Graph, names: &mut Names, value: Value) -> Result<[Value; 2]> {
        let mean = quantized::floats(graph, value)?;
        let log_std = self.log_std(&mean)?;
        let name = names.claim_family(stored_name(graph, value), &[MEAN, LOG_STD, NOISE]);
        let mut add = |suffix: &str, tensor| graph.initializer(&format!("{name}{suffix}"), tensor);
        Ok([add(MEAN, mean), add(LOG_STD, log_std)])
    }
}

fn matches(model: &Model, weight: &Weight, regex: &Regex) -> bool {
    let node = &model.graph.node(weight.node).name;
    regex.is_match(node) || regex.is_match(stored_name(&model.graph, weight.value))
}

/// What becomes of one weight.
struct Rewrite {
    /// The weight.
    value: Value,
    /// The one layer that reads it as it is, if there is nothing else to draw it for.
    reader: Option<(NodeId, usize)>,
    /// Everything that reads it.
    uses: Vec<(NodeId, usize)>,
    /// The element type that its readers expect.
    dtype: DType,
}

impl Rewrite {
    fn of(graph: &Graph, sources: &Sources, weight: &Weight) -> Rewrite {
        let dtype = sources.dtype(weight.value).unwrap_or(DType::F32);
        let uses: Vec<(NodeId, usize)> =
            sources.twins(weight.value).iter().flat_map(|&v| graph.readers(v)).collect();
        let shown = graph.outputs.iter().any(|port| port.value == weight.value);
        let alone = uses == [(weight.node, weight.slot)] && !shown && dtype == DType::F32;
        let reader = uses.first().copied().filter(|_| alone);
        Rewrite { value: weight.value, reader, uses, dtype }
    }
}

/// Turns a node into a variational one in place.
fn make_variational(graph: &mut Graph, id: NodeId, slots: &[(usize, [Value; 2])]) {
    let posteriors: BTreeMap<usize, [Value; 2]> = slots.iter().copied().collect();
    let mut arguments = Vec::new();
    for (slot, argument) in graph.arguments(id).into_iter().enumerate() {
        match posteriors.get(&slot) {
            Some(pair) => arguments.extend(pair.map(Some)),
            None => arguments.push(argument),
        }
    }
    let Some(op) = graph.node(id).op().cloned() else { return };
    let op_type = format!("{PREFIX}{}", op.op_type);
    set_call(graph, id, variational(op, &op_type, posteriors.keys()), &arguments);
}

/// An operator with the random arguments `slots`.
fn variational<'a>(mut op: Op, name: &str, slots: impl Iterator<Item = &'a usize>) -> Op {
    let slots: Vec<i64> = slots.map(|&slot| slot as i64).collect();
    let text: Vec<String> = slots.iter().map(i64::to_string).collect();
    op.overload = format!("{}of{}", text.join("_"), op.arity);
    name.clone_into(&mut op.op_type);
    DOMAIN.clone_into(&mut op.domain);
    op.attributes.insert(SLOTS.to_owned(), Attribute::Ints(slots));
    op
}

/// Puts a node that draws the weight in its place: whatever reads the weight reads the
/// same draw. Statistics and bounds that share the constant keep it.
fn draw_once(graph: &mut Graph, rewrite: &Rewrite, [mean, log_std]: [Value; 2]) -> Result<()> {
    let op = variational(Op { arity: 1, ..Op::new("Identity") }, SAMPLE, [0].iter());
    let fact = graph.fact(mean).clone();
    let full = &graph.node(mean.node).name;
    let name = full.strip_suffix("mean").map_or_else(String::new, |base| format!("{base}sample"));
    let sample = graph.op(&name, op, &[Some(mean), Some(log_std)], vec![fact.clone()]);
    let mut shown = Value::from(sample);
    if rewrite.dtype != DType::F32 && !widen(graph, &rewrite.uses) {
        let cast = Op::new("Cast").with("to", i64::from(rewrite.dtype.code()));
        let fact = Fact { dtype: Some(rewrite.dtype), ..fact };
        shown = graph.op(&format!("{name}.cast"), cast, &[Some(shown)], vec![fact]).into();
    }
    for &(node, slot) in &rewrite.uses {
        let Some(op) = graph.node(node).op() else { continue };
        if ["Shape", "Size"].iter().any(|name| op.is(name)) {
            graph.set_argument(node, slot, Some(mean));
        } else if !is_setting(graph, node, slot) {
            graph.set_argument(node, slot, Some(shown));
        }
    }
    for port in graph.outputs.iter_mut().filter(|port| port.value == rewrite.value) {
        port.value = shown;
    }
    Ok(())
}

/// If all that happens to a weight is a Cast to float32, notes that the views in front
/// of the Cast show float32 already.
fn widen(graph: &mut Graph, uses: &[(NodeId, usize)]) -> bool {
    let mut views: HashMap<NodeId, usize> = HashMap::new();
    let mut stack = uses.to_vec();
    while let Some((id, slot)) = stack.pop() {
        let Some(op) = graph.node(id).op() else { return false };
        if op.is("Cast") && op.int("to", 0) == i64::from(DType::F32.code()) {
            continue;
        }
        if !is_view(op) || slot != 0 || graph.outputs.iter().any(|port| port.value.node == id) {
            return false;
        }
        let outputs = graph.node(id).outputs.len();
        if views.insert(id, outputs).is_none() {
            stack.extend((0..outputs).flat_map(|slot| graph.readers(Value { node: id, slot })));
        }
    }
    for id in views.into_keys() {
        for fact in &mut graph.node_mut(id).outputs {
            fact.dtype = Some(DType::F32);
        }
    }
    true
}
