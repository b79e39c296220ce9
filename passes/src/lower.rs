//! Rich operators into few plain ones, for what some engine lacks or gets wrong:
//!
//! - LogSoftmax: tract takes the logarithm of a Softmax that has underflowed;
//! - `auto_pad`: tract does not know it for ConvTranspose;
//! - BatchNormalization with parameters that are not constant: tract refuses it;
//! - what [`ops::plain`] knows of operators that move elements.

use graphs::{Graph, Kind, Model, NodeId, Op, Value};

use crate::ops::{self, Call};
use crate::pass::Pass;
use crate::{Result, Tape};

/// Rewrites what not every engine runs. All facts must be known (see [`crate::Fold`]).
#[derive(Clone, Copy, Debug)]
pub struct Lower;

impl Pass for Lower {
    fn name(&self) -> &'static str {
        "lower"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        for id in graph.op_order()? {
            let Some(call) = Call::of(graph, id) else { continue };
            if let Some(explicit) = ops::explicit_padding(&call)? {
                graph.node_mut(id).kind = Kind::Op(explicit);
                continue;
            }
            let op = call.op.clone();
            let uses = graph.uses(id.into());
            let name = graph.node(id).name.clone();
            if let Some(y) = ops::plain(&mut Tape::new(graph, &name), id)? {
                graph.redirect(uses, y);
                continue;
            }
            let rule: Rule = match op.op_type.as_str() {
                "LogSoftmax" if op.in_onnx_domain() => log_softmax,
                "BatchNormalization" if op.in_onnx_domain() && varies(graph, id) => normalization,
                _ => continue,
            };
            let y = rule(&mut Tape::new(graph, &name), id, &op)?;
            graph.redirect(uses, y);
        }
        Ok(())
    }
}

type Rule = fn(&mut Tape, NodeId, &Op) -> Result<Value>;

fn varies(graph: &Graph, id: NodeId) -> bool {
    let variable = |value: &Option<Value>| value.is_some_and(|v| graph.tensor(v).is_none());
    graph.arguments(id).iter().skip(1).any(variable)
}

fn argument(tape: &Tape, id: NodeId, slot: usize) -> Result<Value> {
    let value = tape.graph.argument(id, slot);
    value.ok_or_else(|| tape.error(id.into(), format!("argument {slot} is missing")))
}

/// `x - max - log(sum(exp(x - max)))`
fn log_softmax(tape: &mut Tape, id: NodeId, op: &Op) -> Result<Value> {
    let x = argument(tape, id, 0)?;
    let axis = tape.ints(&[op.int("axis", -1)]);
    let keep = |op: &str| Op::new(op).with("keepdims", 1);
    let most = tape.op(keep("ReduceMax"), &[x, axis])?;
    let shifted = tape.apply("Sub", &[x, most])?;
    let exponential = tape.apply("Exp", &[shifted])?;
    let sum = tape.op(keep("ReduceSum"), &[exponential, axis])?;
    let log = tape.apply("Log", &[sum])?;
    tape.apply("Sub", &[shifted, log])
}

/// `x * factor + offset`, where the small vectors `factor = scale / sqrt(var + epsilon)`
/// and `offset = shift - mean * factor` are computed once.
fn normalization(tape: &mut Tape, id: NodeId, op: &Op) -> Result<Value> {
    let [x, scale, shift, mean, variance] = [0, 1, 2, 3, 4].map(|slot| argument(tape, id, slot));
    let (x, scale, shift, mean, variance) = (x?, scale?, shift?, mean?, variance?);
    let epsilon = tape.number(f64::from(op.float("epsilon", 1e-5)), variance)?;
    let sum = tape.apply("Add", &[variance, epsilon])?;
    let deviation = tape.apply("Sqrt", &[sum])?;
    let factor = tape.apply("Div", &[scale, deviation])?;
    let centre = tape.apply("Mul", &[mean, factor])?;
    let offset = tape.apply("Sub", &[shift, centre])?;
    tape.scale_channels(x, factor, Some(offset))
}
