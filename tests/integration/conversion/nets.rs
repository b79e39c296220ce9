//! Small classifiers with every kind of layer, their weights where exporters leave them.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor, Value};

use super::CLASSES;
use crate::models::uniform;

/// A classifier under construction.
struct Net {
    graph: Graph,
}

impl Net {
    fn new(shape: &[usize]) -> (Net, Value) {
        let mut graph = Graph::new("net");
        let shape = [&[1], shape].concat();
        let x = graph.input("input", Role::Data, Fact::new(DType::F32, &shape));
        (Net { graph }, x)
    }

    /// A weight of numbers within 0.4 of 0.
    fn weight(&mut self, name: &str, shape: &[usize]) -> Value {
        self.graph.initializer(name, uniform(name, 3, shape, -0.4, 0.4))
    }

    fn constant(&mut self, name: &str, tensor: Tensor) -> Value {
        self.graph.initializer(name, tensor)
    }

    fn ints(&mut self, name: &str, values: &[i64]) -> Value {
        self.constant(name, Tensor::vector(values))
    }

    fn op(&mut self, name: &str, op: Op, arguments: &[Value]) -> Value {
        let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
        self.graph.op(name, op, &arguments, vec![Fact::default()]).into()
    }

    fn finish(mut self, logits: Value) -> Model {
        self.graph.node_mut(logits.node).outputs = vec![Fact::new(DType::F32, &[1, CLASSES])];
        self.graph.output("logits", logits);
        Model::new(self.graph)
    }
}

fn perm(order: &[i64]) -> Op {
    Op::new("Transpose").with("perm", order.to_vec())
}

/// Depthwise behind a Reshape, grouped, transposed and grouped; a Gemm whose weight stands first.
fn convolutions() -> Model {
    let (mut net, x) = Net::new(&[4, 6, 6]);
    let flat = net.weight("depthwise.weight", &[4, 9]);
    let shape = net.ints("shape", &[4, 1, 3, 3]);
    let kernel = net.op("view", Op::new("Reshape"), &[flat, shape]);
    let x = net.op("depthwise", Op::new("Conv").with("group", 4), &[x, kernel]);
    let (weight, bias) = (net.weight("grouped.weight", &[6, 2, 1, 1]), net.weight("bias", &[6]));
    let x = net.op("grouped", Op::new("Conv").with("group", 2), &[x, weight, bias]);
    let weight = net.weight("up.weight", &[6, 2, 2, 2]);
    let up = Op::new("ConvTranspose").with("group", 3).with("strides", vec![2i64, 2]);
    let x = net.op("up", up, &[x, weight]);
    let x = net.op("pool", Op::new("GlobalAveragePool"), &[x]);
    let x = net.op("flat", Op::new("Flatten"), &[x]);
    let weight = net.weight("head.weight", &[CLASSES, 6]);
    let x = net.op("head", Op::new("Gemm").with("transB", 1), &[weight, x]);
    let logits = net.op("logits", perm(&[1, 0]), &[x]);
    net.finish(logits)
}

/// Convolutions over one and three dimensions.
fn dimensions() -> Model {
    let (mut net, x) = Net::new(&[2, 4, 4, 4]);
    let (weight, bias) = (net.weight("c3.weight", &[4, 1, 2, 2, 2]), net.weight("c3.bias", &[4]));
    let x = net.op("c3", Op::new("Conv").with("group", 2), &[x, weight, bias]);
    let shape = net.ints("shape", &[0, 4, -1]);
    let x = net.op("line", Op::new("Reshape"), &[x, shape]);
    let weight = net.weight("c1.weight", &[5, 4, 3]);
    let x = net.op("c1", Op::new("Conv").with("pads", vec![1i64, 1]), &[x, weight]);
    let x = net.op("pool", Op::new("GlobalAveragePool"), &[x]);
    let x = net.op("flat", Op::new("Flatten"), &[x]);
    let weight = net.weight("head.weight", &[5, CLASSES]);
    let logits = net.op("head", Op::new("MatMul"), &[x, weight]);
    net.finish(logits)
}

/// Self-attention whose q, k and v are one product, as exporters leave it.
pub(crate) fn attention() -> Model {
    let (mut net, x) = Net::new(&[5, 8]);
    let normalize = |net: &mut Net, name: &str, x| {
        let scale = net.constant(&format!("{name}.weight"), uniform(name, 1, &[8], 0.5, 1.5));
        let bias = net.weight(&format!("{name}.bias"), &[8]);
        net.op(name, Op::new("LayerNormalization").with("axis", -1), &[x, scale, bias])
    };
    let token = net.weight("position", &[1, 5, 8]);
    let x = net.op("embed", Op::new("Add"), &[x, token]);
    let x = normalize(&mut net, "norm1", x);
    let (weight, bias) =
        (net.weight("in_proj.weight", &[24, 8]), net.weight("in_proj.bias", &[24]));
    let turned = net.op("turn", perm(&[1, 0]), &[weight]);
    let product = net.op("in_proj", Op::new("MatMul"), &[x, turned]);
    let sum = net.op("in_proj_bias", Op::new("Add"), &[bias, product]);
    let parts = net.ints("parts", &[8, 8, 8]);
    let split = Op::new("Split").with("axis", -1);
    let facts = vec![Fact::default(); 3];
    let split = net.graph.op("split", split, &[Some(sum), Some(parts)], facts);
    let [q, k, v] = [0, 1, 2].map(|slot| Value { node: split, slot });
    let k = net.op("k", perm(&[0, 2, 1]), &[k]);
    let scores = net.op("scores", Op::new("MatMul"), &[q, k]);
    let weights = net.op("weights", Op::new("Softmax").with("axis", -1), &[scores]);
    let x = net.op("mix", Op::new("MatMul"), &[weights, v]);
    let weight = net.weight("out_proj.weight", &[8, 8]);
    let same = net.op("same", Op::new("Identity"), &[weight]);
    let x = net.op("out_proj", Op::new("MatMul"), &[x, same]);
    let x = normalize(&mut net, "norm2", x);
    let axis = net.ints("axis", &[1]);
    let x = net.op("mean", Op::new("ReduceMean").with("keepdims", 0), &[x, axis]);
    let (weight, bias) = (net.weight("head.weight", &[3, 8]), net.weight("head.bias", &[3]));
    let logits = net.op("head", Op::new("Gemm").with("transB", 1), &[x, weight, bias]);
    net.finish(logits)
}

/// One weight for three layers, each of which sees it in its own way.
fn shared() -> Model {
    let (mut net, x) = Net::new(&[4]);
    let weight = net.weight("tied", &[4, 4]);
    let y = net.op("first", Op::new("MatMul"), &[x, weight]);
    let y = net.op("relu", Op::new("Tanh"), &[y]);
    let turned = net.op("turn", perm(&[1, 0]), &[weight]);
    let y = net.op("second", Op::new("MatMul"), &[y, turned]);
    let image = net.ints("image", &[0, 4, 1, 1]);
    let y = net.op("image", Op::new("Reshape"), &[y, image]);
    let shape = net.ints("shape", &[4, 4, 1, 1]);
    let kernel = net.op("kernel", Op::new("Reshape"), &[weight, shape]);
    let y = net.op("third", Op::new("Conv"), &[y, kernel]);
    let y = net.op("flat", Op::new("Flatten"), &[y]);
    let weight = net.weight("head", &[4, CLASSES]);
    let logits = net.op("logits", Op::new("MatMul"), &[y, weight]);
    net.finish(logits)
}

/// A difference that is zero if and only if both products see the same draw.
pub(super) fn difference() -> Model {
    let (mut net, x) = Net::new(&[4]);
    let weight = net.weight("tied", &[CLASSES, 4]);
    let turned = net.op("turn", perm(&[1, 0]), &[weight]);
    let a = net.op("a", Op::new("MatMul"), &[x, turned]);
    let b = net.op("b", Op::new("Gemm").with("transB", 1), &[x, weight]);
    let logits = net.op("logits", Op::new("Sub"), &[a, b]);
    net.finish(logits)
}

/// Weights as quantizers leave them: int8 per channel and per tensor, an int32 bias.
fn quantized() -> Model {
    let (mut net, x) = Net::new(&[2, 5, 5]);
    let bytes: Vec<i8> = (0..3 * 2 * 3 * 3).map(|i| (i * 37 % 200 - 100) as i8).collect();
    let weight = Tensor::new(&[3, 2, 3, 3], bytes).expect("a kernel");
    let weight = net.constant("conv.weight_quantized", weight);
    let scale = net.constant("scales", Tensor::vector(&[0.01f32, 0.02, 0.005]));
    let zero = net.constant("zeros", Tensor::vector(&[0i8, 3, -4]));
    let decode = || Op::new("DequantizeLinear");
    let weight = net.op("decode", decode().with("axis", 0), &[weight, scale, zero]);
    let bias = net.constant("conv.bias_quantized", Tensor::vector(&[1000i32, -2000, 10]));
    let scale = net.constant("bias_scale", Tensor::scalar(1e-4f32));
    let bias = net.op("decode_bias", decode(), &[bias, scale]);
    let x = net.op("conv", Op::new("Conv"), &[x, weight, bias]);
    let x = net.op("pool", Op::new("GlobalAveragePool"), &[x]);
    let bytes = Tensor::new(&[CLASSES, 3], (1..=9).map(|i| i * 28).map(|i| i as u8).collect());
    let weight = net.constant("head_quantized", bytes.expect("a matrix"));
    let scale = net.constant("head_scale", Tensor::scalar(0.01f32));
    let zero = net.constant("head_zero", Tensor::scalar(128u8));
    let weight = net.op("decode_head", decode(), &[weight, scale, zero]);
    let weight = net.op("turn", perm(&[1, 0]), &[weight]);
    let axes = net.ints("axes", &[2, 3]);
    let weight = net.op("kernel", Op::new("Unsqueeze"), &[weight, axes]);
    let x = net.op("head", Op::new("Conv"), &[x, weight]);
    let logits = net.op("flat", Op::new("Flatten"), &[x]);
    net.finish(logits)
}

fn cast(to: DType) -> Op {
    Op::new("Cast").with("to", i64::from(to.code()))
}

/// Weights held as float16 and float64, and one layer that computes in float64.
fn types() -> Model {
    let (mut net, x) = Net::new(&[4]);
    // From 0.25 up, in steps of 1/64 of that.
    let halves: Vec<u8> = (0..20).flat_map(|i: u16| (0x3400 + 16 * i).to_le_bytes()).collect();
    let weight = Tensor::from_bytes(DType::F16, vec![5, 4], halves.into());
    let weight = net.constant("half", weight.expect("a matrix"));
    let turned = net.op("turn", perm(&[1, 0]), &[weight]);
    let wide = net.op("wide", cast(DType::F32), &[turned]);
    let x = net.op("first", Op::new("MatMul"), &[x, wide]);
    let doubles: Vec<f64> = (0..15).map(|i| f64::from(i % 7) / 8.0 - 0.5).collect();
    let weight = net.constant("double", Tensor::new(&[5, CLASSES], doubles).expect("a matrix"));
    let x = net.op("double_x", cast(DType::F64), &[x]);
    let x = net.op("second", Op::new("MatMul"), &[x, weight]);
    let logits = net.op("logits", cast(DType::F32), &[x]);
    net.finish(logits)
}

fn einsum() -> Model {
    let (mut net, x) = Net::new(&[4, 5]);
    let weight = net.weight("mixing", &[4, 5, CLASSES]);
    let equation = |text: &str| Op::new("Einsum").with("equation", text);
    let x = net.op("mix", equation("nab,abc->nc"), &[x, weight]);
    let weight = net.weight("head", &[CLASSES, CLASSES]);
    let logits = net.op("head", equation("dc,nc->nd"), &[weight, x]);
    net.finish(logits)
}

/// Normalizations that keep no statistics, one of them spelled out.
fn normalizations() -> Model {
    let (mut net, x) = Net::new(&[4, 3, 3]);
    let around_one = |net: &mut Net, name: &str, shape: &[usize]| {
        net.constant(name, uniform(name, 2, shape, 0.5, 1.5))
    };
    let (scale, bias) = (around_one(&mut net, "in.scale", &[4]), net.weight("in.bias", &[4]));
    let x = net.op("in", Op::new("InstanceNormalization"), &[x, scale, bias]);
    let (scale, bias) = (around_one(&mut net, "gn.scale", &[2]), net.weight("gn.bias", &[2]));
    let x = net.op("gn", Op::new("GroupNormalization").with("num_groups", 2), &[x, scale, bias]);
    let axes = net.ints("axes", &[1]);
    let squares = net.op("squares", Op::new("Mul"), &[x, x]);
    let mean = net.op("ms", Op::new("ReduceMean"), &[squares, axes]);
    let root = net.op("root", Op::new("Sqrt"), &[mean]);
    let x = net.op("normal", Op::new("Div"), &[x, root]);
    let scale = around_one(&mut net, "rms.scale", &[4, 1, 1]);
    let x = net.op("rms", Op::new("Mul"), &[x, scale]);
    let x = net.op("flat", Op::new("Flatten"), &[x]);
    let weight = net.weight("head", &[CLASSES, 36]);
    let logits = net.op("logits", Op::new("Gemm").with("transB", 1), &[x, weight]);
    net.finish(logits)
}

/// Every network, and how many posteriors it has.
pub(super) fn all() -> Vec<(&'static str, Model, usize)> {
    vec![
        ("convolutions", convolutions(), 5),
        ("dimensions", dimensions(), 4),
        ("attention", attention(), 9),
        ("shared", shared(), 2),
        ("difference", difference(), 1),
        ("quantized", quantized(), 3),
        ("types", types(), 2),
        ("einsum", einsum(), 2),
        ("normalizations", normalizations(), 6),
    ]
}
