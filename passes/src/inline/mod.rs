//! Model-local functions, put in the place of their calls, and branches in that of an If.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use graphs::proto::{AttributeProto, FunctionProto, NodeProto};
use graphs::{Attribute, Graph, Kind, Model, NodeId, decode::decode_function};

use crate::control::chosen;
use crate::hoist::hoist;
use crate::naming::Names;
use crate::pass::Pass;
use crate::splice::splice;
use crate::upgrade::upgrade_body;
use crate::{DOMAIN, Error, Result};

/// How deep functions may call one another.
const DEPTH: usize = 64;
/// How many nodes a model may have when its functions are inlined.
const NODES: usize = 1 << 20;

/// Replaces every call of a model-local function by its body, brought to opset 18 from the opset
/// of the function, and every If whose condition is a constant by its branch; inside one another
/// too. Variational nodes stay, and operators of ONNX's own domain. The model must be at opset 18
/// already (see [`Upgrade`](crate::Upgrade)).
#[derive(Clone, Copy, Debug)]
pub struct Inline;

impl Pass for Inline {
    fn name(&self) -> &'static str {
        "inline"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let mut inliner = Inliner {
            functions: functions(model)?,
            names: Names::of(&model.graph),
            opset: model.opset(),
            active: Vec::new(),
            nodes: model.graph.len(),
        };
        inliner.graph(&mut model.graph)?;
        model.functions.retain(|function| function.domain() == DOMAIN);
        model.graph.sweep();
        let called = domains(&model.graph);
        model.opsets.retain(|domain, _| is_onnx(domain) || called.contains(domain));
        Ok(())
    }
}

/// Domain, name and overload.
type Key = (String, String, String);

struct Function {
    body: Graph,
    /// The version of ONNX's own operators in the body, if it says one.
    opset: Option<i64>,
    /// Attributes that a call may leave out.
    defaults: Vec<(String, Attribute)>,
}

struct Inliner {
    functions: HashMap<Key, Function>,
    names: Names,
    /// The version of ONNX's own operators in the model.
    opset: i64,
    /// The calls that are being replaced, outermost first.
    active: Vec<Key>,
    /// The nodes that there are so far.
    nodes: usize,
}

impl Inliner {
    /// Replaces the calls in a graph and in the bodies in it.
    fn graph(&mut self, graph: &mut Graph) -> Result<()> {
        let ids = graph.op_order()?;
        self.calls(graph, &ids)
    }

    fn calls(&mut self, graph: &mut Graph, ids: &[NodeId]) -> Result<()> {
        for &id in ids {
            if let Some(branch) = chosen(graph, id)? {
                let added = splice(graph, &mut self.names, id, branch)?;
                self.calls(graph, &added)?;
                continue;
            }
            let Kind::Op(op) = &mut graph.node_mut(id).kind else { continue };
            for attribute in op.attributes.values_mut() {
                if let Attribute::Graph(body) = attribute {
                    self.graph(body)?;
                }
            }
            if self.functions.is_empty() {
                continue;
            }
            let key = (op.domain.clone(), op.op_type.clone(), op.overload.clone());
            if self.functions.contains_key(&key) {
                self.call(graph, id, key)?;
            }
        }
        Ok(())
    }

    fn call(&mut self, graph: &mut Graph, id: NodeId, key: Key) -> Result<()> {
        let error = |reason: String| Error::Node { node: graph.node(id).describe(), reason };
        let Some(function) = self.functions.get(&key) else { return Ok(()) };
        if self.active.contains(&key) {
            return Err(error("the function calls itself, which ONNX forbids".to_owned()));
        }
        if self.active.len() >= DEPTH {
            return Err(error(format!("functions are nested more than {DEPTH} deep")));
        }
        self.nodes = self.nodes.saturating_add(function.body.len());
        if self.nodes > NODES {
            let reason =
                format!("with its functions inlined the model has more than {NODES} nodes");
            return Err(error(reason));
        }
        let op = graph.node(id).op().cloned().unwrap_or_default();
        let (given, takes) = (op.arity, function.body.inputs.len());
        if given > takes {
            return Err(error(format!("gives {given} arguments, but the function takes {takes}")));
        }
        if op.attributes.values().any(|attribute| matches!(attribute, Attribute::Graph(_))) {
            return Err(error("gives the function a graph, which cannot be inlined".to_owned()));
        }
        let mut body = function.body.clone();
        let mut given = op.attributes;
        for (name, default) in &function.defaults {
            given.entry(name.clone()).or_insert_with(|| default.clone());
        }
        bind(&mut body, &given);
        let from = function.opset.unwrap_or(self.opset);
        self.prepare(graph, id, &mut body, from)?;
        let added = splice(graph, &mut self.names, id, body)?;
        self.active.push(key);
        self.calls(graph, &added)?;
        self.active.pop();
        Ok(())
    }

    /// Tells the body what is known of the arguments, and brings it to the model's opset.
    fn prepare(&mut self, graph: &Graph, id: NodeId, body: &mut Graph, from: i64) -> Result<()> {
        let arguments = graph.arguments(id);
        for (&input, argument) in body.inputs.clone().iter().zip(arguments) {
            let Some(argument) = argument else { continue };
            let node = body.node_mut(input);
            node.outputs = vec![graph.fact(argument).clone()];
        }
        hoist(body, &mut self.names)?;
        let constants = constants(graph, id, body);
        upgrade_body(body, &mut self.names, from)?;
        for (input, kind) in constants {
            body.node_mut(input).kind = kind;
        }
        Ok(())
    }
}

/// Shows a body which of its inputs are constants; what is to be put back afterwards.
fn constants(graph: &Graph, id: NodeId, body: &mut Graph) -> Vec<(NodeId, Kind)> {
    let mut inputs = Vec::new();
    for (&input, argument) in body.inputs.clone().iter().zip(graph.arguments(id)) {
        if let Some(tensor) = argument.and_then(|argument| graph.tensor(argument)) {
            let constant = Kind::Initializer(tensor.clone());
            let kind = std::mem::replace(&mut body.node_mut(input).kind, constant);
            inputs.push((input, kind));
        }
    }
    inputs
}

fn functions(model: &Model) -> Result<HashMap<Key, Function>> {
    let mut functions = HashMap::new();
    for proto in &model.functions {
        let key: Key =
            (proto.domain().to_owned(), proto.name().to_owned(), proto.overload().to_owned());
        if key.0 == DOMAIN || is_onnx(&key.0) {
            continue;
        }
        let imported = proto.opset_import.iter().find(|import| is_onnx(import.domain()));
        let function = Function {
            body: decode_function(proto)?,
            opset: imported.map(|import| import.version()),
            defaults: defaults(&proto.attribute_proto)?,
        };
        let name = format!("{}::{}", key.0, key.1);
        if functions.insert(key, function).is_some() {
            return Err(Error::Model(format!("there are two functions `{name}`; rename one")));
        }
    }
    Ok(functions)
}

fn is_onnx(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// Attributes as the decoder makes them of a node's.
fn defaults(protos: &[AttributeProto]) -> Result<Vec<(String, Attribute)>> {
    let node = NodeProto {
        op_type: Some("Defaults".to_owned()),
        attribute: protos.to_vec(),
        ..NodeProto::default()
    };
    let body = decode_function(&FunctionProto { node: vec![node], ..FunctionProto::default() })?;
    let attributes = body.ids().filter_map(|id| body.node(id).op()).map(|op| op.attributes.clone());
    Ok(attributes.flatten().collect())
}

/// Replaces references to a function's attributes by their values; what a call leaves out is
/// absent in the body too.
fn bind(body: &mut Graph, given: &BTreeMap<String, Attribute>) {
    let ids: Vec<NodeId> = body.ids().collect();
    for id in ids {
        let Kind::Op(op) = &mut body.node_mut(id).kind else { continue };
        op.attributes.retain(|_, attribute| match attribute {
            Attribute::Reference { name, .. } => match given.get(name) {
                Some(value) => {
                    *attribute = value.clone();
                    true
                }
                None => false,
            },
            Attribute::Graph(inner) => {
                bind(inner, given);
                true
            }
            _ => true,
        });
    }
}

/// The domains of all operators of a graph.
fn domains(graph: &Graph) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for op in graph.ids().filter_map(|id| graph.node(id).op()) {
        found.insert(op.domain.clone());
        for attribute in op.attributes.values() {
            if let Attribute::Graph(body) = attribute {
                found.extend(domains(body));
            }
        }
    }
    found
}
