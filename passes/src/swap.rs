//! Products of half precision behind a Transpose, as ONNX Runtime loads them.

use graphs::{Attribute, DType, Dim, Fact, Graph, Kind, Op, Value};

use crate::Result;

/// Turns `MatMul(Transpose(x), w)` into `Transpose(MatMul(x, w))` where `w` is a matrix, the
/// element type float16 (or not known, in a graph that has some of it), and the Transpose
/// leaves the last axis where it is: tokens before images, as in attention.
///
/// ONNX Runtime (1.31, without this type among its processor's kernels) merges the two when
/// they stand in that order and the first axis moves, and then crashes while it loads.
///
/// # Errors
/// When the graph or a body in it has a cycle.
pub(crate) fn swap_half_products(graph: &mut Graph) -> Result<()> {
    for id in graph.ids().collect::<Vec<_>>() {
        let Kind::Op(op) = &mut graph.node_mut(id).kind else { continue };
        for attribute in op.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                swap_half_products(body)?;
            }
        }
    }
    let half = |fact: &Fact| fact.dtype == Some(DType::F16);
    if !graph.ids().any(|id| graph.node(id).outputs.iter().any(half)) {
        return Ok(());
    }
    for id in graph.op_order()? {
        let Some((order, x)) = transposed_product(graph, id.into()) else { continue };
        let whole = graph.fact(id.into()).clone();
        let uses = graph.uses(id.into());
        let name = format!("{}/Transpose", graph.node(id).name);
        let shape = whole.shape.as_ref().map(|dims| before(dims, &order));
        graph.set_argument(id, 0, Some(x));
        graph.node_mut(id).outputs = vec![Fact { shape, ..whole }];
        let op = Op::new("Transpose").with("perm", crate::signed(&order));
        let y = graph.op(&name, op, &[Some(id.into())], vec![whole]);
        graph.redirect(uses, y.into());
    }
    Ok(())
}

/// The dimensions that a Transpose in that order brings to `dims`.
fn before(dims: &[Dim], order: &[usize]) -> Vec<Dim> {
    let mut before = dims.to_vec();
    for (dim, &from) in dims.iter().zip(order) {
        if let Some(slot) = before.get_mut(from) {
            slot.clone_from(dim);
        }
    }
    before
}

/// The number of axes, if known; a Cast keeps it.
fn rank(graph: &Graph, mut value: Value) -> Option<usize> {
    loop {
        if let Some(dims) = &graph.fact(value).shape {
            return Some(dims.len());
        }
        graph.node(value.node).op().filter(|op| op.is("Cast"))?;
        value = graph.argument(value.node, 0)?;
    }
}

/// The order of a Transpose that such a product reads, and what that reads.
fn transposed_product(graph: &Graph, y: Value) -> Option<(Vec<usize>, Value)> {
    graph.node(y.node).op().filter(|op| op.is("MatMul"))?;
    let (left, w) = (graph.argument(y.node, 0)?, graph.argument(y.node, 1)?);
    let op = graph.node(left.node).op().filter(|op| op.is("Transpose"))?;
    let order: Option<Vec<usize>> =
        op.ints("perm")?.iter().map(|&axis| usize::try_from(axis).ok()).collect();
    let order = order?;
    let moves = order.first() != Some(&0) && order.last() == order.iter().max();
    let matrix = rank(graph, w) == Some(2);
    let dtype = [y, left, w].into_iter().find_map(|value| graph.fact(value).dtype);
    let half = dtype.is_none_or(|dtype| dtype == DType::F16);
    (moves && matrix && half).then(|| Some((order, graph.argument(left.node, 0)?)))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{Role, Tensor};
    use half::f16;

    use super::*;

    fn product(perm: &[i64], w: &[usize], dtype: DType) -> Graph {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(dtype, &[2, 3, 4]));
        let tensor = Tensor::full(w, f16::ONE).expect("small");
        let w = graph.initializer("w", tensor);
        let turn = Op::new("Transpose").with("perm", perm);
        let turned = graph.op("turn", turn, &[Some(x)], vec![Fact::default()]);
        let fact = Fact::new(dtype, &[3, 2, 5]);
        let arguments = [Some(turned.into()), Some(w)];
        let y = graph.op("product", Op::new("MatMul"), &arguments, vec![fact]);
        graph.output("y", y.into());
        swap_half_products(&mut graph).expect("no cycle");
        graph.sweep();
        graph.check().expect("a whole graph");
        graph
    }

    #[test]
    fn products_inside_a_body_are_turned_too() {
        let mut body = Graph::new("body");
        let x = body.input("x", Role::Data, Fact::new(DType::F16, &[2, 3, 4]));
        let w = body.initializer("w", Tensor::full(&[4, 5], f16::ONE).expect("small"));
        let turn = Op::new("Transpose").with("perm", &[1, 0, 2][..]);
        let turned = body.op("turn", turn, &[Some(x)], vec![Fact::default()]);
        let arguments = [Some(turned.into()), Some(w)];
        let fact = Fact::new(DType::F16, &[3, 2, 5]);
        let y = body.op("product", Op::new("MatMul"), &arguments, vec![fact]);
        body.output("y", y.into());
        let mut graph = Graph::new("outer");
        let scan = Op::new("Scan").with("body", Attribute::Graph(Box::new(body)));
        let scan = graph.op("scan", scan, &[], vec![Fact::default()]);
        swap_half_products(&mut graph).expect("no cycle");
        let op = graph.node(scan).op().expect("a call");
        let Some(Attribute::Graph(body)) = op.attributes.get("body") else { panic!("no body") };
        let last = body.outputs.first().expect("an output").value;
        assert_eq!(body.node(last.node).op().expect("a call").op_type, "Transpose");
    }

    #[test]
    fn the_transpose_comes_behind_the_product() {
        let last = |graph: &Graph| {
            let y = graph.outputs.first().expect("an output").value;
            (graph.node(y.node).op().expect("a call").op_type.clone(), graph.fact(y).clone(), y)
        };
        let graph = product(&[1, 0, 2], &[4, 5], DType::F16);
        let (op, fact, y) = last(&graph);
        assert_eq!((op.as_str(), &fact), ("Transpose", &Fact::new(DType::F16, &[3, 2, 5])));
        let product_of = graph.argument(y.node, 0).expect("the product");
        assert_eq!(graph.fact(product_of), &Fact::new(DType::F16, &[2, 3, 5]));
        assert_eq!(graph.argument(product_of.node, 0), graph.source("x"));

        for (perm, w, dtype) in [
            ([0, 2, 1], &[4, 5][..], DType::F16),
            ([1, 0, 2], &[3, 4, 5], DType::F16),
            ([1, 0, 2], &[4, 5], DType::F32),
        ] {
            assert_eq!(last(&product(&perm, w, dtype)).0, "MatMul", "{perm:?} {w:?} {dtype}");
        }
    }
}
