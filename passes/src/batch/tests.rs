#![allow(clippy::unwrap_used, clippy::expect_used)]

use graphs::{DType, Dim, Fact, Graph, Model, NodeId, Op, Role, Tensor, Value};

use super::*;
use crate::{Fold, Pipeline};

struct Net {
    graph: Graph,
    x: Value,
}

impl Net {
    fn new(shape: &[usize]) -> Net {
        let mut graph = Graph::new("test");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, shape));
        Net { graph, x }
    }

    fn ints(&mut self, values: &[i64]) -> Value {
        let name = format!("c{}", self.graph.len());
        self.graph.initializer(&name, Tensor::vector(values))
    }

    fn zeros(&mut self, shape: &[usize]) -> Value {
        let name = format!("c{}", self.graph.len());
        self.graph.initializer(&name, Tensor::full(shape, 0f32).unwrap())
    }

    fn op(&mut self, op: Op, arguments: &[Value]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        let (name, fact) = (op.op_type.to_lowercase(), Fact::default());
        self.graph.op(&name, op, &arguments, vec![fact]).into()
    }

    fn reshape(&mut self, x: Value, to: &[i64]) -> Value {
        let to = self.ints(to);
        self.op(Op::new("Reshape"), &[x, to])
    }

    fn model(mut self, y: Value) -> Model {
        self.graph.output("y", y);
        Model::new(self.graph)
    }
}

/// The shape of the output once the batch is `n`.
fn shape(model: &Model, n: usize) -> Vec<usize> {
    let mut model = model.clone();
    Pipeline::new().then(FixBatch(n)).then(Fold).run(&mut model).expect("the batch is free");
    model.graph.fact(model.graph.outputs[0].value).known_shape().expect("a known shape")
}

fn refusal(model: &Model) -> String {
    let mut model = model.clone();
    FreeBatch.run(&mut model).expect_err("must be refused").to_string()
}

#[test]
fn windows_fold_the_batch_into_other_axes_and_back() {
    for baked in [1, 2] {
        let mut net = Net::new(&[baked, 4, 4, 3]);
        let n = baked as i64;
        let split = net.reshape(net.x, &[n, 2, 2, 2, 2, 3]);
        let perm = Op::new("Transpose").with("perm", vec![0i64, 1, 3, 2, 4, 5]);
        let windows = net.op(perm, &[split]);
        let windows = net.reshape(windows, &[4 * n, 4, 3]);
        let back = net.reshape(windows, &[n, 4, 4, 3]);
        let y = net.reshape(back, &[n, -1]);
        let model = net.model(y);
        assert_eq!(shape(&model, 5), [5, 48]);
        assert_eq!(shape(&model, baked), [baked, 48]);
    }
}

#[test]
fn a_class_token_is_repeated_for_every_example() {
    for baked in [1, 3] {
        // As Expand to a baked shape, and as the constant that folding makes of it.
        for folded in [false, true] {
            let mut net = Net::new(&[baked, 6, 8]);
            let token = net.zeros(&[if folded { baked } else { 1 }, 1, 8]);
            let token = match folded {
                true => token,
                false => {
                    let to = net.ints(&[baked as i64, 1, 8]);
                    net.op(Op::new("Expand"), &[token, to])
                }
            };
            let y = net.op(Op::new("Concat").with("axis", 1i64), &[token, net.x]);
            let model = net.model(y);
            assert_eq!(shape(&model, 7), [7, 7, 8]);
        }
    }
}

#[test]
fn what_is_computed_from_a_repeated_constant_follows() {
    let mut net = Net::new(&[2, 9, 4]);
    let code = net.zeros(&[2, 3, 6, 6]);
    let kernel = net.zeros(&[4, 3, 2, 2]);
    let conv = Op::new("Conv").with("strides", vec![2i64, 2]);
    let code = net.op(conv, &[code, kernel]);
    let code = net.reshape(code, &[2, 4, -1]);
    let code = net.op(Op::new("Transpose").with("perm", vec![0i64, 2, 1]), &[code]);
    let y = net.op(Op::new("Add"), &[net.x, code]);
    assert_eq!(shape(&net.model(y), 5), [5, 9, 4]);
}

#[test]
fn positions_are_looked_up_for_every_example() {
    let mut net = Net::new(&[2, 3, 8]);
    let table = net.zeros(&[16, 8]);
    let row = net.graph.initializer("row", Tensor::new(&[1, 3], vec![0i64, 1, 2]).unwrap());
    let to = net.ints(&[2, 3]);
    let positions = net.op(Op::new("Expand"), &[row, to]);
    let codes = net.op(Op::new("Gather"), &[table, positions]);
    let y = net.op(Op::new("Add"), &[net.x, codes]);
    assert_eq!(shape(&net.model(y), 5), [5, 3, 8]);
}

#[test]
fn constants_that_differ_between_examples_are_refused() {
    let mut net = Net::new(&[2, 3]);
    let rows = net
        .graph
        .initializer("rows", Tensor::new(&[2, 3], vec![1f32, 2., 3., 4., 5., 6.]).unwrap());
    let y = net.op(Op::new("Add"), &[net.x, rows]);
    let text = refusal(&net.model(y));
    assert!(text.contains("differs between examples") && text.contains("add"), "{text}");
}

#[test]
fn masks_slices_sizes_and_strided_views_follow_the_batch() {
    let mut net = Net::new(&[2, 4]);
    let equal_rows = net.zeros(&[2, 4]);
    let y = net.op(Op::new("Add"), &[net.x, equal_rows]);
    let [starts, ends] = [net.ints(&[0, 1]), net.ints(&[2, 4])];
    let y = net.op(Op::new("Slice"), &[y, starts, ends]);
    let flat = net.reshape(y, &[-1]);
    let indices = net.graph.initializer("i", Tensor::new(&[2, 2], vec![0i64, 2, 3, 5]).unwrap());
    let y = net.op(Op::new("Gather"), &[flat, indices]);
    assert_eq!(shape(&net.model(y), 9), [9, 2]);

    let mut net = Net::new(&[2, 4]);
    let flat = net.reshape(net.x, &[-1]);
    let indices = net.graph.initializer("i", Tensor::new(&[2, 2], vec![0i64, 2, 4, 5]).unwrap());
    let y = net.op(Op::new("Gather"), &[flat, indices]);
    assert!(refusal(&net.model(y)).contains("indices differ"));
}

#[test]
fn masks_are_looked_up_in_each_example() {
    let lookup = |indices: Vec<i64>| {
        let mut net = Net::new(&[2, 4]);
        let indices = Tensor::new(&[2, 1, 3, 2], indices).unwrap();
        let indices = net.graph.initializer("i", indices);
        let y = net.op(Op::new("GatherND"), &[net.x, indices]);
        net.model(y)
    };
    let model = lookup(vec![0, 0, 0, 1, 0, -1, 1, 0, 1, 1, -1, -1]);
    assert_eq!(shape(&model, 5), [5, 1, 3]);
    let other = lookup(vec![0, 0, 0, 1, 1, 3, 1, 0, 1, 1, 1, 3]);
    assert!(refusal(&other).contains("other examples"));
    let differ = lookup(vec![0, 0, 0, 1, 0, 3, 1, 0, 1, 1, 1, 2]);
    assert!(refusal(&differ).contains("differs between examples"));
}

#[test]
fn the_shape_of_what_is_repeated_for_every_example_is_freed_too() {
    let mut net = Net::new(&[2, 6, 8]);
    let (token, to) = (net.zeros(&[1, 1, 8]), net.ints(&[2, 1, 8]));
    let token = net.op(Op::new("Expand"), &[token, to]);
    let tokens = net.op(Op::new("Relu"), &[token]);
    let y = net.op(Op::new("Concat").with("axis", 1i64), &[tokens, net.x]);
    for value in [token, tokens] {
        net.graph.node_mut(value.node).outputs = vec![Fact::new(DType::F32, &[2, 1, 8])];
    }
    let mut model = net.model(y);
    FreeBatch.run(&mut model).unwrap();
    let free = [Dim::Named("N".to_owned()), Dim::Known(1), Dim::Known(8)];
    for value in [token, tokens] {
        assert_eq!(model.graph.fact(value).shape.as_deref(), Some(&free[..]));
    }
}

#[test]
fn shapes_that_the_file_states_are_freed_and_the_rest_left() {
    let mut net = Net::new(&[2, 3, 2]);
    let y = net.reshape(net.x, &[0, -1]);
    net.graph.node_mut(y.node).outputs = vec![Fact::new(DType::F32, &[2, 6])];
    let target = net.graph.argument(y.node, 1);
    let mut model = net.model(y);
    FreeBatch.run(&mut model).unwrap();
    let fact = model.graph.fact(y).shape.clone();
    assert_eq!(fact, Some(vec![Dim::Named("N".to_owned()), Dim::Known(6)]));
    assert_eq!(model.graph.argument(y.node, 1), target);
}

#[test]
fn what_has_no_rule_keeps_the_batch_in_front() {
    let mut net = Net::new(&[2, 6]);
    let unknown = Op { domain: "custom".to_owned(), ..Op::new("Mystery") };
    let y = net.op(unknown, &[net.x]);
    let id: NodeId = y.node;
    net.graph.node_mut(id).outputs = vec![Fact::new(DType::F32, &[2, 4])];
    let y = net.reshape(y, &[2, 2, 2]);
    let mut model = net.model(y);
    FreeBatch.run(&mut model).unwrap();
    let target = model.graph.argument(y.node, 1).and_then(|v| model.graph.tensor(v).cloned());
    assert_eq!(target.unwrap().integers().unwrap(), [0, 2, 2]);
}

#[test]
fn a_batch_that_cannot_be_freed_stays() {
    let mut net = Net::new(&[2, 6]);
    let y = net.reshape(net.x, &[3, 4]);
    let mut model = net.model(y);
    assert!(try_free_batch(&mut model).is_some());
    assert_eq!(fixed_batch(&model.graph), Some(2));
    assert_eq!(shape(&model, 2), [3, 4]);
}
