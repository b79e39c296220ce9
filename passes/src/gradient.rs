//! The reverse-mode driver: marks the nodes between targets and loss, asks each
//! operator's row for its gradient, accumulates, and alone sums a gradient back to the
//! shape of its source.

use std::collections::{HashMap, HashSet};

use graphs::{NodeId, NodeSet, Value};

use crate::ops::{self, Adjoint, Gradient};
use crate::{Error, Result, Tape};

/// Appends the gradients of `loss` (one element) with respect to every value of
/// `targets`, in order, each of its target's shape.
///
/// # Errors
/// When an operator on the way has no row or no gradient rule; the error names it.
pub fn gradients(tape: &mut Tape, loss: Value, targets: &[Value]) -> Result<Vec<Value>> {
    let one = tape.number(1.0, loss)?;
    let shape = tape.shape(loss)?;
    let seed = tape.expand(one, &shape)?;
    pullback(tape, loss, seed, targets)
}

/// As [`gradients`], of the sum of `y` weighted by `seed`, which has its shape: what arrives at
/// the targets when `seed` arrives at `y`.
///
/// # Errors
/// As [`gradients`].
pub(crate) fn pullback(
    tape: &mut Tape,
    y: Value,
    seed: Value,
    targets: &[Value],
) -> Result<Vec<Value>> {
    let mut renamed: HashMap<Value, Value> = HashMap::new();
    expand(tape, y, targets, &mut renamed)?;
    let now = |value: &Value| renamed.get(value).copied().unwrap_or(*value);
    let (y, targets) = (now(&y), &*targets.iter().map(now).collect::<Vec<_>>());
    let path = path(tape, y, targets)?;
    let mut pending: HashMap<Value, Vec<Value>> = HashMap::new();
    pending.insert(y, vec![seed]);
    let mut finished: HashMap<Value, Value> = HashMap::new();
    let wanted: HashSet<Value> = targets.iter().copied().collect();
    let members: NodeSet = path.iter().copied().collect();
    for &id in path.iter().rev() {
        let mut arriving = Vec::new();
        for slot in 0..tape.graph.node(id).outputs.len() {
            let y = Value { node: id, slot };
            let sum = total(tape, pending.remove(&y).unwrap_or_default())?;
            if let Some(sum) = sum.filter(|_| wanted.contains(&y)) {
                finished.insert(y, sum);
            }
            arriving.push(sum);
        }
        if arriving.iter().any(Option::is_some) {
            propagate(tape, id, arriving, &members, &wanted, &mut pending)?;
        }
    }
    targets
        .iter()
        .map(|&target| match finished.get(&target) {
            Some(&gradient) => Ok(gradient),
            None => match total(tape, pending.remove(&target).unwrap_or_default())? {
                Some(gradient) => {
                    finished.insert(target, gradient);
                    Ok(gradient)
                }
                None => tape.zeros_like(target),
            },
        })
        .collect()
}

/// Puts bodies in the place of the calls on the way that are differentiated by them, and
/// notes what became of their outputs.
fn expand(
    tape: &mut Tape,
    loss: Value,
    targets: &[Value],
    renamed: &mut HashMap<Value, Value>,
) -> Result<()> {
    for id in path(tape, loss, targets)? {
        let def = tape.graph.node(id).op().and_then(ops::find);
        if let Some(Gradient::Body(body)) = def.map(|def| def.gradient) {
            renamed.extend(ops::replace(tape, id, body)?);
        }
    }
    Ok(())
}

/// The operator nodes from some target to the loss, in order.
fn path(tape: &Tape, loss: Value, targets: &[Value]) -> Result<Vec<NodeId>> {
    let graph = &*tape.graph;
    let above = graph.ancestors([loss]);
    let sources: NodeSet = targets.iter().map(|t| t.node).collect();
    let targets: HashSet<Value> = targets.iter().copied().collect();
    let mut below = NodeSet::default();
    let mut path = Vec::new();
    for id in graph.op_order()? {
        if !above.contains(id) {
            continue;
        }
        let reached = |v: &Value| below.contains(v.node) || targets.contains(v);
        if sources.contains(id) || graph.arguments(id).iter().flatten().any(reached) {
            below.insert(id);
            path.push(id);
        }
    }
    Ok(path)
}

/// Asks the node's row for the gradients of its arguments and files them.
fn propagate(
    tape: &mut Tape,
    id: NodeId,
    arriving: Vec<Option<Value>>,
    path: &NodeSet,
    targets: &HashSet<Value>,
    pending: &mut HashMap<Value, Vec<Value>>,
) -> Result<()> {
    let node = tape.graph.node(id);
    let Some(op) = node.op().cloned() else { return Ok(()) };
    let arguments = tape.graph.arguments(id);
    let float = |v: &Value| tape.graph.fact(*v).dtype.is_some_and(|t| t.is_float());
    let needed = |v: &Value| float(v) && (targets.contains(v) || path.contains(v.node));
    let wanted: Vec<bool> = arguments.iter().map(|a| a.as_ref().is_some_and(needed)).collect();
    let missing = ops::find(&op).is_some_and(|def| matches!(def.gradient, Gradient::Missing));
    // Integers in between would hide that the rest of the gradient is lost.
    if !wanted.contains(&true) && !missing {
        return Ok(());
    }
    let rule = match ops::row(&op, &node.name)?.gradient {
        Gradient::Rule(rule) => rule,
        Gradient::Zero => return Ok(()),
        // No body may hold a call that has one itself.
        Gradient::Body(_) | Gradient::Missing => {
            let node = tape.graph.node(id).describe();
            if ops::rounds(&op) {
                return Err(Error::Rounded { node });
            }
            return Err(Error::NoGradient { node, op: op.op_type });
        }
    };
    let mut adjoint = Adjoint { tape, node: id, op, arguments, gradients: arriving, wanted };
    let gradients = rule(&mut adjoint)?;
    let Adjoint { tape, arguments, wanted, .. } = adjoint;
    for ((argument, gradient), wanted) in arguments.iter().zip(gradients).zip(wanted) {
        if let (Some(argument), Some(gradient), true) = (argument, gradient, wanted) {
            let shape = tape.shape(*argument)?;
            let gradient = tape.sum_to(gradient, &shape)?;
            pending.entry(*argument).or_default().push(gradient);
        }
    }
    Ok(())
}

/// The sum of gradients that arrive over several paths.
fn total(tape: &mut Tape, parts: Vec<Value>) -> Result<Option<Value>> {
    let mut parts = parts.into_iter();
    let Some(mut sum) = parts.next() else { return Ok(None) };
    for part in parts {
        sum = tape.apply("Add", &[sum, part])?;
    }
    Ok(Some(sum))
}
