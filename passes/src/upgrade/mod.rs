//! Brings a model to the opset that all other passes work at.
//!
//! The tables [`older`] and [`newer`] hold one row for every change of an operator
//! that needs work; to support a later opset, add what it changed to [`newer`] and
//! raise [`NEWEST`].

mod attention;
mod bias;
mod cumulate;
mod newer;
mod normalize;
mod older;
mod quantize;
mod rotary;
mod site;
#[cfg(test)]
mod tests;
mod types;
mod windows;

use graphs::{Attribute, Graph, Kind, Model, NodeId, OPSET};

use self::site::Site;
pub(crate) use self::types::note_type;
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
        if from == OPSET {
            return Ok(());
        }
        // A model that calls its own functions only need not say a version of ONNX's operators.
        let silent = !["", "ai.onnx"].iter().any(|domain| model.opsets.contains_key(*domain));
        if !silent || has_onnx_operators(&model.graph) {
            let mut names = Names::of(&model.graph);
            upgrade_body(&mut model.graph, &mut names, from)?;
        }
        model.opsets.remove("ai.onnx");
        model.opsets.insert(String::new(), OPSET);
        let mut ir_version = model.header.ir_version().max(IR_VERSION);
        if from > OPSET && model.header.configuration.is_empty() {
            // Engines refuse newer ones, which but for device configurations brought types only.
            ir_version = ir_version.min(graphs::IR_VERSION);
        }
        model.header.ir_version = Some(ir_version);
        Ok(())
    }
}

/// What one opset changed for some operators, and what to do about it.
#[derive(Clone, Copy, Debug)]
enum Rule {
    /// The call is rewritten.
    Rewrite(fn(&mut Site) -> Result<()>),
    /// The attribute is new, and says something of types that are new themselves.
    Forget(&'static str),
    /// The operator did not exist before.
    Appeared,
    /// The change cannot be made good.
    Refuse(&'static str),
}

fn has_onnx_operators(graph: &Graph) -> bool {
    graph.ids().any(|id| graph.node(id).op().is_some_and(graphs::Op::in_onnx_domain))
}

/// Brings a graph of opset `from` to [`OPSET`], bodies in it included.
pub(crate) fn upgrade_body(graph: &mut Graph, names: &mut Names, from: i64) -> Result<()> {
    if from == OPSET {
        return Ok(());
    }
    if !(OLDEST..=NEWEST).contains(&from) {
        return Err(Error::Model(format!(
            "the model is of opset {from}; opsets {OLDEST} to {NEWEST} are read, so export it again with opset {OPSET}"
        )));
    }
    upgrade(graph, names, from)
}

fn upgrade(graph: &mut Graph, names: &mut Names, from: i64) -> Result<()> {
    for id in graph.op_order()? {
        for body in bodies(graph, id) {
            upgrade(body, names, from)?;
        }
        types::note_type(graph, id);
        let Some(mut site) = Site::of(graph, names, id, from) else { continue };
        if from < OPSET {
            for version in from + 1..=OPSET {
                apply(older::TABLE, version, &mut site)?;
            }
        } else {
            types::narrow(&mut site, from)?;
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
            Rule::Forget(name) => _ = site.op.attributes.remove(name),
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
