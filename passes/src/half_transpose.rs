//! Transposes of half precision, in a form that ONNX Runtime loads.

use graphs::{Attribute, DType, Fact, Graph, Kind, NodeId, Op};

use crate::Result;
use crate::naming::Names;
use crate::upgrade::note_type;

/// Makes every float16 Transpose that moves the first axis one in float32, between two Casts:
/// `Cast(Transpose(Cast(x)))`. Every value stays as it is.
///
/// ONNX Runtime (1.31, without this type among its processor's kernels) computes products of
/// float16 in float32. Where one reads a Transpose of float16 that moves the first axis to one
/// of the last two, on either side, behind whatever its optimizer takes away or moves (Cast,
/// Identity, Reshape, Slice, a factor), it merges the two and crashes while it loads. Casts
/// around the product change nothing; a Transpose of float32 is merged as it should be.
///
/// # Errors
/// When the graph or a body in it has a cycle.
pub(crate) fn transpose_halves_in_single(graph: &mut Graph) -> Result<()> {
    if has_halves(graph) { rewrite(graph, &mut Names::of(graph)) } else { Ok(()) }
}

/// Whether anything is float16: by what is stated of it, or by an attribute, which is all that
/// files without types have.
fn has_halves(graph: &Graph) -> bool {
    let makes = |attribute: &Attribute| match attribute {
        Attribute::Int(code) => *code == i64::from(DType::F16.code()),
        Attribute::Tensor(tensor) => tensor.dtype() == DType::F16,
        _ => false,
    };
    let names = ["to", "dtype", "output_dtype", "value"];
    let asks = |op: &Op| names.iter().filter_map(|name| op.attributes.get(*name)).any(makes);
    graph.ids().map(|id| graph.node(id)).any(|node| {
        node.outputs.iter().any(|fact| fact.dtype == Some(DType::F16))
            || node.op().is_some_and(|op| asks(op) || bodies(op).any(has_halves))
    })
}

fn bodies(op: &Op) -> impl Iterator<Item = &Graph> {
    op.attributes.values().filter_map(|attribute| match attribute {
        Attribute::Graph(body) => Some(&**body),
        _ => None,
    })
}

/// Files need not state types, so they are noted on the way.
fn rewrite(graph: &mut Graph, names: &mut Names) -> Result<()> {
    for id in graph.op_order()? {
        note_type(graph, id);
        enter(graph, id, names)?;
        if moves_first(graph, id) {
            in_single(graph, id, names);
        }
    }
    Ok(())
}

/// Rewrites the bodies of a node: their inputs and captures are of the types of its arguments,
/// its outputs of the types of theirs.
fn enter(graph: &mut Graph, id: NodeId, names: &mut Names) -> Result<()> {
    let arguments = graph.arguments(id);
    let dtypes: Vec<Option<DType>> =
        arguments.into_iter().map(|value| graph.fact(value?).dtype).collect();
    let node = graph.node_mut(id);
    let Kind::Op(op) = &mut node.kind else { return Ok(()) };
    let (given, captured) = dtypes.split_at(op.arity.min(dtypes.len()));
    // The first output of a Loop's body says whether it goes on.
    let skipped = usize::from(op.is("Loop"));
    for attribute in op.attributes.values_mut() {
        let Attribute::Graph(body) = attribute else { continue };
        let inputs = body.inputs.clone();
        for (input, dtype) in inputs.into_iter().zip(given) {
            tell(&mut body.node_mut(input).outputs, *dtype);
        }
        for inner in body.ids().collect::<Vec<_>>() {
            if let Kind::Capture(i) = body.node(inner).kind {
                tell(&mut body.node_mut(inner).outputs, captured.get(i).copied().flatten());
            }
        }
        rewrite(body, names)?;
        let results = body.outputs.iter().skip(skipped).map(|port| body.fact(port.value).dtype);
        for (fact, dtype) in node.outputs.iter_mut().zip(results) {
            fact.dtype = fact.dtype.or(dtype);
        }
    }
    Ok(())
}

fn tell(facts: &mut [Fact], dtype: Option<DType>) {
    if let Some(fact) = facts.first_mut() {
        fact.dtype = fact.dtype.or(dtype);
    }
}

/// Whether a node is a float16 Transpose of three axes or more that moves the first.
fn moves_first(graph: &Graph, id: NodeId) -> bool {
    let node = graph.node(id);
    let half = node.outputs.first().is_some_and(|fact| fact.dtype == Some(DType::F16));
    let op = node.op().filter(|op| half && op.is("Transpose"));
    // Without an order it turns all axes around.
    op.is_some_and(|op| {
        op.ints("perm").is_none_or(|perm| perm.len() > 2 && perm.first() != Some(&0))
    })
}

fn in_single(graph: &mut Graph, id: NodeId, names: &mut Names) {
    let Some(x) = graph.argument(id, 0) else { return };
    let (whole, uses) = (graph.fact(id.into()).clone(), graph.uses(id.into()));
    // Files need not name their nodes either.
    let [widen, narrow] =
        ["Widen", "Cast"].map(|end| names.claim(&format!("{}/{end}", graph.node(id).name)));
    let cast = |to: DType| Op::new("Cast").with("to", i64::from(to.code()));
    let single = |fact: &Fact| vec![Fact { dtype: Some(DType::F32), ..fact.clone() }];
    let facts = single(graph.fact(x));
    let wide = graph.op(&widen, cast(DType::F32), &[Some(x)], facts);
    graph.set_argument(id, 0, Some(wide.into()));
    graph.node_mut(id).outputs = single(&whole);
    let y = graph.op(&narrow, cast(DType::F16), &[Some(id.into())], vec![whole]);
    graph.redirect(uses, y.into());
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{Role, Value};

    use super::*;

    /// `Transpose(x)` of float16, of a type that only its argument tells.
    fn turn(graph: &mut Graph, x: Value, perm: &[i64]) {
        let op = Op::new("Transpose").with("perm", perm);
        let y = graph.op("turn", op, &[Some(x)], vec![Fact::default()]);
        graph.output("y", y.into());
    }

    /// The operators from the output back.
    fn chain(graph: &Graph) -> Vec<&str> {
        let mut found = Vec::new();
        let mut at = graph.outputs.first().map(|port| port.value);
        while let Some(value) = at {
            found.extend(graph.node(value.node).op().map(|op| &*op.op_type));
            at = graph.argument(value.node, 0);
        }
        found
    }

    #[test]
    fn what_moves_the_first_axis_is_transposed_in_float32() {
        let found = |perm: &[i64], dtype| {
            let mut graph = Graph::new("test");
            let shape = &[2, 3, 4, 5][..perm.len()];
            let x = graph.input("x", Role::Data, Fact::new(dtype, shape));
            turn(&mut graph, x, perm);
            transpose_halves_in_single(&mut graph).expect("no cycle");
            graph.check().expect("a whole graph");
            let y = graph.outputs.first().expect("an output").value;
            assert!(graph.fact(y).dtype.is_none_or(|found| found == dtype));
            chain(&graph).len()
        };
        for perm in [&[1, 0, 2][..], &[1, 2, 0], &[2, 0, 1], &[1, 2, 0, 3], &[1, 2, 3, 0]] {
            assert_eq!((found(perm, DType::F16), found(perm, DType::F32)), (3, 1), "{perm:?}");
        }
        for perm in [&[1, 0][..], &[0, 2, 1], &[0, 2, 1, 3]] {
            assert_eq!(found(perm, DType::F16), 1, "{perm:?}");
        }
    }

    #[test]
    fn those_inside_bodies_too() {
        let mut body = Graph::new("body");
        let x = body.input("x", Role::Data, Fact::default());
        turn(&mut body, x, &[1, 0, 2]);
        let mut graph = Graph::new("outer");
        let x = graph.input("x", Role::Data, Fact::new(DType::F16, &[6, 2, 3, 4]));
        let scan = Op::new("Scan").with("body", Attribute::Graph(Box::new(body)));
        let scan = graph.op("scan", scan, &[Some(x)], vec![Fact::default()]);
        transpose_halves_in_single(&mut graph).expect("no cycle");
        let op = graph.node(scan).op().expect("a call");
        let body = bodies(op).next().expect("a body");
        assert_eq!(chain(body), ["Cast", "Transpose", "Cast"]);
        assert_eq!(graph.fact(scan.into()).dtype, Some(DType::F16));
    }
}
