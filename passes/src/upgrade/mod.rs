//! Brings a model to the opset that all other passes work at.
//!
//! The tables [`older`] and [`newer`] hold one row for every change of an operator
//! that needs work; to support a later opset, add what it changed to [`newer`] and
//! raise [`NEWEST`].

mod newer;
mod older;
mod site;
#[cfg(test)]
mod tests;

use graphs::{Attribute, Graph, Kind, Model, NodeId, OPSET};

use self::site::Site;
use crate::naming::Names;
use crate::pass::Pass;
use crate::{Error, Result};

/// The oldest opset that is read: before it arguments did not broadcast as today.
const OLDEST: i64 = 7;
/// The newest opset whose changes the tables know.
const NEWEST: i64 = 28;
/// The IR version that came with [`OPSET`]. The first three had no initializers but
/// those that are also inputs.
const IR_VERSION: i64 = 8;

/// Rewrites a model of opset 7 to 28 so that it means the same at [`OPSET`], bodies
/// of If, Loop and Scan included. Operators of other domains, and those that ONNX
/// does not define, stay as they are. Rules read constants, so run
/// [`Hoist`](crate::Hoist) first.
#[derive(Clone, Copy, Debug)]
pub struct Upgrade;

impl Pass for Upgrade {
    fn name(&self) -> &'static str {
        "upgrade"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let from = model.opset();
        if !(OLDEST..=NEWEST).contains(&from) {
            return Err(Error::Model(format!(
                "the model is of opset {from}; opsets {OLDEST} to {NEWEST} are read, so export it again with opset {OPSET}"
            )));
        }
        if from == OPSET {
            return Ok(());
        }
        let mut names = Names::of(&model.graph);
        upgrade(&mut model.graph, &mut names, from)?;
        model.opsets.remove("ai.onnx");
        model.opsets.insert(String::new(), OPSET);
        model.header.ir_version = Some(model.header.ir_version().max(IR_VERSION));
        Ok(())
    }
}

/// What one opset changed for some operators, and what to do about it.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The call is rewritten.
    Rewrite(fn(&mut Site) -> Result<()>),
    /// The attribute is new: it is dropped if it says what was meant without it.
    Default(&'static str, &'static str),
    /// The attribute may not have this new value.
    Without(&'static str, &'static str),
    /// The operator did not exist before.
    Appeared,
    /// The change cannot be made good.
    Refuse(&'static str),
}

fn upgrade(graph: &mut Graph, names: &mut Names, from: i64) -> Result<()> {
    for id in graph.op_order()? {
        for body in bodies(graph, id) {
            upgrade(body, names, from)?;
        }
        inherit_type(graph, id);
        let Some(mut site) = Site::of(graph, names, id, from) else { continue };
        if from < OPSET {
            for version in from + 1..=OPSET {
                apply(older::TABLE, version, &mut site)?;
            }
        } else {
            for version in (OPSET + 1..=from).rev() {
                apply(newer::TABLE, version, &mut site)?;
            }
        }
        site.commit();
    }
    Ok(())
}

fn bodies(graph: &mut Graph, id: NodeId) -> impl Iterator<Item = &mut Graph> {
    let op = match &mut graph.node_mut(id).kind {
        Kind::Op(op) => Some(op),
        _ => None,
    };
    op.into_iter().flat_map(|op| op.attributes.values_mut()).filter_map(|attribute| {
        if let Attribute::Graph(body) = attribute { Some(&mut **body) } else { None }
    })
}

/// Does what `version` asks for. A rule may rename the operator, so the name is read
/// anew for every version.
fn apply(table: &[(i64, &[&str], Rule)], version: i64, site: &mut Site) -> Result<()> {
    let op = site.op.op_type.clone();
    let rows = table.iter().filter(|(since, ops, _)| *since == version && ops.contains(&&*op));
    for (.., rule) in rows {
        match *rule {
            Rule::Rewrite(rule) => rule(site)?,
            Rule::Default(name, value) => {
                let found = site.op.attributes.remove(name);
                if found.is_some_and(|found| !says(&found, value)) {
                    return Err(site.refuse(format!("opset {version} brought `{name}`")));
                }
            }
            Rule::Without(name, value) => {
                if site.op.attributes.get(name).is_some_and(|found| says(found, value)) {
                    return Err(site.refuse(format!("opset {version} brought {name} `{value}`")));
                }
            }
            Rule::Appeared => {
                return Err(site.refuse(format!("{op} appeared in opset {version}")));
            }
            Rule::Refuse(reason) => {
                return Err(site.refuse(format!("{op} changed in opset {version}: {reason}")));
            }
        }
    }
    Ok(())
}

fn says(attribute: &Attribute, text: &str) -> bool {
    match attribute {
        Attribute::Int(value) => value.to_string() == text,
        Attribute::String(value) => *value == text.as_bytes(),
        _ => false,
    }
}

/// Passes the element type of argument 0 on to output 0, for the operators of
/// classifiers that keep it: constants that a rule adds have to be of the same type.
fn inherit_type(graph: &mut Graph, id: NodeId) {
    #[rustfmt::skip]
    const KEEP: &[&str] = &[
        "Add", "AveragePool", "BatchNormalization", "Clip", "Concat", "Conv", "ConvTranspose",
        "Div", "Dropout", "Elu", "Flatten", "Gemm", "GlobalAveragePool", "Identity",
        "InstanceNormalization", "LRN", "LeakyRelu", "MatMul", "MaxPool", "Mul", "PRelu", "Pad",
        "ReduceMean", "Relu", "Reshape", "Sigmoid", "Softmax", "Squeeze", "Sub", "Sum", "Tanh",
        "Transpose", "Unsqueeze",
    ];
    let keeps = graph.node(id).op().is_some_and(|op| KEEP.iter().any(|name| op.is(name)));
    let x = graph.argument(id, 0).filter(|_| keeps);
    let dtype = x.and_then(|x| graph.fact(x).dtype);
    if let Some(fact) = graph.node_mut(id).outputs.first_mut() {
        fact.dtype = fact.dtype.or(dtype);
    }
}
