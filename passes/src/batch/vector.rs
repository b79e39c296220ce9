//! Shapes that are computed from the batch size.

use graphs::{DType, Fact, Graph, Op, Tensor, Value};

use crate::naming::Names;

/// One entry of a shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Known(i64),
    /// So many times the batch size.
    Batch(i64),
}

/// An int64 vector of `entries`, where the batch size is that of `input`.
pub(super) fn vector(
    graph: &mut Graph,
    names: &mut Names,
    input: Value,
    entries: &[Entry],
) -> Value {
    let mut parts: Vec<Value> = Vec::new();
    for run in entries.chunk_by(|a, b| [a, b].iter().all(|e| matches!(e, Entry::Known(_)))) {
        let known: Vec<i64> = run
            .iter()
            .filter_map(|e| if let Entry::Known(n) = e { Some(*n) } else { None })
            .collect();
        parts.push(match run {
            &[Entry::Batch(share)] => batch(graph, names, input, share),
            _ => graph.initializer(&names.claim("batch/sizes"), Tensor::vector(&known)),
        });
    }
    match parts.as_slice() {
        &[one] => one,
        _ => call(graph, names, Op::new("Concat").with("axis", 0i64), &parts, entries.len()),
    }
}

/// `share` times the batch size as a vector of one element.
fn batch(graph: &mut Graph, names: &mut Names, input: Value, share: i64) -> Value {
    let first = Op::new("Shape").with("start", 0i64).with("end", 1i64);
    let known = graph.readers(input).into_iter().map(|(id, _)| id).find(|&id| {
        graph.node(id).op().is_some_and(|op| {
            op.is("Shape") && (op.int("start", 0), op.int("end", i64::MAX)) == (0, 1)
        })
    });
    let size = known.map_or_else(|| call(graph, names, first, &[input], 1), Value::from);
    if share == 1 {
        return size;
    }
    let factor = graph.initializer(&names.claim("batch/share"), Tensor::vector(&[share]));
    call(graph, names, Op::new("Mul"), &[size, factor], 1)
}

fn call(graph: &mut Graph, names: &mut Names, op: Op, arguments: &[Value], len: usize) -> Value {
    let name = names.claim(&format!("batch/{}", op.op_type));
    let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
    graph.op(&name, op, &arguments, vec![Fact::new(DType::I64, &[len])]).into()
}
