#![allow(clippy::expect_used)]

mod found;
mod numbers;

use std::collections::BTreeSet;

use graphs::{DType, Fact, Graph, Model, NodeId, Op, Role, Tensor, Value};
use regex::Regex;

use super::*;
use crate::pass::Pipeline;
use crate::{Hoist, Layer};

/// `y = product(x, weight)` with calls between the weight and the product.
struct Net(Graph);

impl Net {
    fn new() -> Net {
        let mut graph = Graph::new("test");
        graph.input("x", Role::Data, Fact::new(DType::F32, &[1, 4]));
        Net(graph)
    }

    fn with(constants: &[(&str, Tensor)]) -> Net {
        let mut net = Net::new();
        for (name, tensor) in constants {
            net.0.initializer(name, tensor.clone());
        }
        net
    }

    /// A call whose name is that of its value.
    fn call(mut self, name: &str, op: Op, arguments: &[&str]) -> Net {
        let found = |name: &&str| {
            let named = |id: &NodeId| self.0.node(*id).name == **name;
            Some(Value::from(self.0.ids().find(named).expect("an argument")))
        };
        let arguments: Vec<Option<Value>> = arguments.iter().map(found).collect();
        self.0.op(name, op, &arguments, vec![Fact::default()]);
        self
    }

    /// The model that shows the value called `y`.
    fn model(mut self) -> Model {
        let y = self.0.ids().find(|&id| self.0.node(id).name == "y").expect("an output");
        self.0.output("out", y.into());
        Model::new(self.0)
    }
}

fn convert() -> Convert {
    Convert {
        layers: BTreeSet::from(Layer::ALL),
        include: None,
        exclude: None,
        init: InitStd::Moped(0.1),
        prior: 0.1,
        bias: true,
    }
}

fn run(pass: Convert, model: Model) -> Model {
    let mut model = model;
    Pipeline::new().then(Hoist).then(pass).run(&mut model).expect("a model to convert");
    model
}

/// Name, shape and first mean of every posterior.
fn drawn(model: &Model) -> Vec<(String, Vec<usize>, f32)> {
    let describe = |p: Posterior| {
        let mean = model.graph.tensor(p.mean).expect("a constant");
        assert_eq!(mean.shape(), model.graph.tensor(p.log_std).expect("a constant").shape());
        assert_eq!(mean.dtype(), DType::F32);
        (p.name, mean.shape().to_vec(), mean.floats().expect("floats")[0])
    };
    posteriors(&model.graph).expect("posteriors").into_iter().map(describe).collect()
}

fn named(model: &Model, name: &str) -> NodeId {
    let graph = &model.graph;
    graph.ids().find(|&id| graph.node(id).name == name).expect("a node")
}

fn op_type<'m>(model: &'m Model, name: &str) -> &'m str {
    &model.graph.node(named(model, name)).op().expect("an operator").op_type
}

fn matrix(rows: usize, columns: usize) -> Tensor {
    let values = (1..=rows * columns).map(|i| i as f32).collect();
    Tensor::new(&[rows, columns], values).expect("a matrix")
}

fn cast(to: DType) -> Op {
    Op::new("Cast").with("to", i64::from(to.code()))
}

#[test]
fn a_weight_behind_views_keeps_its_stored_layout() {
    let shape = Tensor::vector(&[4i64, 3]);
    let axes = || Tensor::vector(&[0i64]);
    let constants = [("w", matrix(3, 4)), ("shape", shape), ("axes", axes())];
    let net = || Net::with(&constants);
    let turned = net()
        .call("a", Op::new("Identity"), &["w"])
        .call("b", Op::new("Transpose"), &["a"])
        .call("y", Op::new("MatMul"), &["x", "b"]);
    let reshaped = net().call("a", Op::new("Reshape"), &["w", "shape"]).call(
        "y",
        Op::new("MatMul"),
        &["x", "a"],
    );
    let axis = net()
        .call("a", Op::new("Unsqueeze"), &["w", "axes"])
        .call("b", Op::new("Squeeze"), &["a", "axes"])
        .call("c", cast(DType::F64), &["b"])
        .call("d", cast(DType::F32), &["c"])
        .call("y", Op::new("Gemm").with("transB", 1), &["x", "d"]);
    for net in [turned, reshaped, axis] {
        let mut model = run(convert(), net.model());
        assert_eq!(drawn(&model), [("w".to_owned(), vec![3, 4], 1.0)]);
        let first = named(&model, "a");
        let sample = model.graph.argument(first, 0).expect("a sample").node;
        assert!(is_sample(&model.graph, sample));
        assert_eq!(random_layers(&model).expect("layers").len(), 1);
        expand(&mut model.graph, |_, _| Ok(None)).expect("a plain graph");
        assert_eq!(model.graph.argument(first, 0), model.graph.source("w.mean"));
    }
}

#[test]
fn a_weight_that_one_layer_reads_directly_is_part_of_it() {
    let first = Net::with(&[("w", matrix(4, 4))]).call("y", Op::new("MatMul"), &["w", "x"]);
    let second = Net::with(&[("w", matrix(4, 4))]).call("y", Op::new("MatMul"), &["x", "w"]);
    let einsum = Op::new("Einsum").with("equation", "ij,jk->ik");
    let einsum = Net::with(&[("w", matrix(4, 4))]).call("y", einsum, &["x", "w"]);
    for (net, op, slot) in [
        (first, "VariationalMatMul", 0),
        (second, "VariationalMatMul", 1),
        (einsum, "VariationalEinsum", 1),
    ] {
        let model = run(convert(), net.model());
        assert_eq!(op_type(&model, "y"), op);
        let made = model.graph.node(named(&model, "y")).op().expect("an operator");
        assert_eq!(made.ints(SLOTS), Some(&[slot][..]));
        assert_eq!(model.functions.len(), 1);
    }
}

#[test]
fn nodes_of_any_kind_share_one_posterior() {
    let shape = Tensor::vector(&[4i64, 4, 1, 1]);
    let net = Net::with(&[("w", matrix(4, 4)), ("shape", shape), ("row", Tensor::scalar(1i64))])
        .call("a", Op::new("MatMul"), &["x", "w"])
        .call("turn", Op::new("Transpose"), &["w"])
        .call("b", Op::new("MatMul"), &["a", "turn"])
        .call("kernel", Op::new("Reshape"), &["w", "shape"])
        .call("c", Op::new("Conv"), &["b", "kernel"])
        .call("token", Op::new("Gather"), &["w", "row"])
        .call("size", Op::new("Shape"), &["w"])
        .call("d", Op::new("Add"), &["c", "token"])
        .call("y", Op::new("Reshape"), &["d", "size"]);
    let model = run(convert(), net.model());
    assert_eq!(drawn(&model), [("w".to_owned(), vec![4, 4], 1.0)]);
    let graph = &model.graph;
    let read = |name: &str, slot| graph.argument(named(&model, name), slot);
    let sample = read("a", 1).expect("a sample");
    assert!(is_sample(graph, sample.node));
    for view in ["turn", "kernel", "token"] {
        assert_eq!(read(view, 0), Some(sample), "{view}");
    }
    // Its size is no news of the draw, and stays a constant for shape arithmetic.
    assert_eq!(read("size", 0), graph.source("w.mean"));
    assert_eq!(random_layers(&model).expect("layers").len(), 3);
}

#[test]
fn a_statistic_that_shares_its_constant_with_a_weight_stays() {
    let ones = Tensor::vector(&[1f32; 4]);
    let net = Net::with(&[("ones", ones), ("zeros", Tensor::vector(&[0f32; 4]))]).call(
        "y",
        Op::new("BatchNormalization"),
        &["x", "ones", "zeros", "zeros", "ones"],
    );
    let model = run(convert(), net.model());
    assert_eq!(drawn(&model).len(), 2);
    assert_eq!(op_type(&model, "y"), "VariationalBatchNormalization");
    let statistics = [5, 6].map(|slot| model.graph.argument(named(&model, "y"), slot));
    let tensors = statistics.map(|v| model.graph.tensor(v.expect("given")).cloned());
    assert_eq!(tensors, [Some(Tensor::vector(&[0f32; 4])), Some(Tensor::vector(&[1f32; 4]))]);
}

#[test]
fn a_function_of_one_weight_is_applied_to_its_draw() {
    // Weight standardization: (w - mean(w)) * gain.
    let net = Net::with(&[("w", matrix(4, 3)), ("gain", Tensor::vector(&[1f32, 2.0, 3.0]))])
        .call("mean", Op::new("ReduceMean"), &["w"])
        .call("centred", Op::new("Sub"), &["w", "mean"])
        .call("scaled", Op::new("Mul"), &["centred", "gain"])
        .call("y", Op::new("MatMul"), &["x", "scaled"]);
    let model = run(convert(), net.model());
    assert_eq!(drawn(&model), [("w".to_owned(), vec![4, 3], 1.0)]);
    let read = |name| model.graph.argument(named(&model, name), 0);
    assert_eq!(read("mean"), read("centred"));

    let net = Net::with(&[("q", matrix(4, 1)), ("k", matrix(4, 2))])
        .call("both", Op::new("Concat").with("axis", 1), &["q", "k"])
        .call("y", Op::new("MatMul"), &["x", "both"]);
    let names: Vec<String> = drawn(&run(convert(), net.model())).into_iter().map(|p| p.0).collect();
    assert_eq!(names, ["q", "k"]);
}

#[test]
fn include_and_exclude_name_nodes_and_weights() {
    let net = || {
        Net::with(&[("w", matrix(4, 4)), ("tied", matrix(4, 4))])
            .call("first", Op::new("MatMul"), &["x", "w"])
            .call("second", Op::new("MatMul"), &["first", "tied"])
            .call("y", Op::new("MatMul"), &["second", "tied"])
            .model()
    };
    let names = |include: Option<&str>, exclude: Option<&str>| {
        let regex = |text: &str| Regex::new(text).expect("an expression");
        let pass =
            Convert { include: include.map(regex), exclude: exclude.map(regex), ..convert() };
        drawn(&run(pass, net())).into_iter().map(|p| p.0).collect::<Vec<_>>()
    };
    assert_eq!(names(None, None), ["w", "tied"]);
    assert_eq!(names(Some("^second$"), None), ["tied"]);
    assert_eq!(names(None, Some("^tied$")), ["w"]);
    assert_eq!(names(None, Some("^y$")), ["w"], "what `y` shares stays whole");
}

#[test]
fn names_of_posteriors_are_free() {
    let net = Net::with(&[("w", matrix(4, 4)), ("w.mean", matrix(4, 4))])
        .call("a", Op::new("MatMul"), &["x", "w"])
        .call("y", Op::new("MatMul"), &["a", "w.mean"]);
    let names: Vec<String> = drawn(&run(convert(), net.model())).into_iter().map(|p| p.0).collect();
    assert_eq!(names, ["w_1", "w.mean"]);
}

#[test]
fn a_weight_that_callers_could_override_is_no_input_any_more() {
    let net = Net::with(&[("w", matrix(4, 4))]).call("y", Op::new("MatMul"), &["x", "w"]);
    let mut model = net.model();
    model.graph.inputs.extend(model.graph.source("w").map(|v| v.node));
    let model = run(convert(), model);
    assert_eq!(model.graph.inputs.len(), 1);
    assert_eq!(model.graph.source("w"), None);
}
