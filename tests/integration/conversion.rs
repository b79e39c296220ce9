//! Converted networks of every kind of layer, on both engines.

use std::collections::BTreeSet;

use graphs::{Attribute, DType, Fact, Graph, Model, Op, Role, Tensor, Value, names};
use passes::export::{Mode, Noise, SEED, export};
use passes::{Convert, InitStd, Layer, Pipeline};

use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::{PRIOR, initial_state, noise, posteriors, uniform, update_feeds};

const BATCH: usize = 2;
const CLASSES: usize = 3;

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
fn difference() -> Model {
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

fn converted(model: &Model, init: InitStd) -> Model {
    let mut model = model.clone();
    let convert = Convert {
        layers: BTreeSet::from(Layer::ALL),
        include: None,
        exclude: None,
        init,
        prior: PRIOR,
        bias: true,
    };
    Pipeline::new().then(convert).run(&mut model).expect("a model to convert");
    model
}

fn images(model: &Model) -> Tensor {
    let x = model.graph.source("input").expect("the input");
    let mut shape = model.graph.fact(x).known_shape().expect("a known shape");
    shape[0] = BATCH;
    uniform("images", 1, &shape, -1.0, 1.0)
}

fn probabilities(model: &Model, engine: usize, feeds: &Values) -> Tensor {
    let engine = engines()[engine].as_ref();
    let mut runner = Runner::of_model(engine, model).unwrap_or_else(|e| panic!("{e}"));
    runner.run(feeds).expect("a run").remove(names::PROBABILITIES).expect("probabilities")
}

/// Every network, and how many posteriors it has.
fn all() -> Vec<(&'static str, Model, usize)> {
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

fn stochastic(noise: Noise) -> Mode {
    Mode::Stochastic { noise, samples: 1, functions: false }
}

#[test]
fn means_give_what_the_original_gives() {
    for (name, model, count) in all() {
        let bayes = converted(&model, InitStd::Moped(0.01));
        assert_eq!(posteriors(&bayes).len(), count, "{name}");
        let feeds = Values::from([("input".to_owned(), images(&model))]);
        let original = export(&model, &Mode::Mean, graphs::OPSET).expect("an export");
        let expected = probabilities(&original, 1, &feeds);
        let mean = export(&bayes, &Mode::Mean, graphs::OPSET).expect("an export");
        for engine in 0..2 {
            let found = probabilities(&mean, engine, &feeds);
            assert_close(&found, &expected, 1e-6, &format!("{name} on engine {engine}"));
        }
    }
}

#[test]
fn a_draw_is_the_same_given_frozen_and_on_each_engine() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Constant(0.2));
        let given = export(&bayes, &stochastic(Noise::Input), graphs::OPSET).expect("an export");
        let draws = noise(&given, 5);
        let plain = Values::from([("input".to_owned(), images(&model))]);
        let mut feeds = plain.clone();
        feeds.extend(draws.clone());
        let [tract, ort] = [0, 1].map(|engine| probabilities(&given, engine, &feeds));
        assert_close(&tract, &ort, 1e-5, name);
        let draws = draws.into_iter().map(|(key, value)| {
            (key.strip_suffix(".noise").expect("a noise input").to_owned(), value)
        });
        let frozen = export(&bayes, &Mode::Frozen(draws.collect()), graphs::OPSET);
        let found = probabilities(&frozen.expect("an export"), 1, &plain);
        assert_close(&found, &ort, 1e-5, &format!("{name}, frozen"));
        let mean = export(&bayes, &Mode::Mean, graphs::OPSET).expect("an export");
        let mean = probabilities(&mean, 1, &plain);
        assert_eq!(mean == ort, name == "difference", "{name}: noise shows");
    }
}

#[test]
fn seeds_and_random_noise_run_everywhere() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Constant(0.2));
        let mut feeds = Values::from([("input".to_owned(), images(&model))]);
        let random = export(&bayes, &stochastic(Noise::Random), graphs::OPSET).expect("an export");
        for engine in 0..2 {
            let [one, two] = [(); 2].map(|()| probabilities(&random, engine, &feeds));
            assert_eq!(one.shape(), [BATCH, CLASSES], "{name}");
            assert!(one.floats().expect("floats").iter().all(|p| p.is_finite()), "{name}");
            assert_eq!(two.shape(), [BATCH, CLASSES], "{name}");
        }
        let seeded = export(&bayes, &stochastic(Noise::Seed), graphs::OPSET).expect("an export");
        feeds.insert(SEED.to_owned(), Tensor::scalar(11i64));
        let [tract, ort] = [0, 1].map(|engine| probabilities(&seeded, engine, &feeds));
        assert_close(&tract, &ort, 1e-5, name);
    }
}

#[test]
fn one_draw_serves_all_that_share_a_weight() {
    let bayes = converted(&difference(), InitStd::Constant(0.5));
    let feeds = Values::from([("input".to_owned(), images(&bayes))]);
    // The variational form itself, through its functions, at the batch size of the file.
    let mut runner = Runner::of_model(onnxruntime(), &bayes).expect("a session");
    let x = uniform("images", 1, &[1, 4], -1.0, 1.0);
    let found = runner.run(&Values::from([("input".to_owned(), x)])).expect("a run");
    let zeros = Tensor::full(&[1, CLASSES], 0f32).expect("zeros");
    let near = |a: &Tensor| a.floats().expect("floats").iter().all(|v| v.abs() < 1e-5);
    assert!(near(&found["logits"]), "{:?} is not {zeros:?}", found["logits"].floats());
    let random = export(&bayes, &stochastic(Noise::Random), graphs::OPSET).expect("an export");
    let even = Tensor::full(&[BATCH, CLASSES], 1.0 / CLASSES as f32).expect("even");
    for engine in 0..2 {
        assert_close(&probabilities(&random, engine, &feeds), &even, 1e-5, "even odds");
    }
}

#[test]
fn training_moves_every_posterior_behind_its_views() {
    for (name, model, count) in all() {
        // Noise cancels in one; the other computes in float64.
        if ["difference", "types"].contains(&name) {
            continue;
        }
        let bayes = converted(&model, InitStd::Constant(0.1));
        let training = passes::Training::published(passes::Defense::Bnn);
        let program = passes::update(&bayes, BATCH, &training).expect("an update program");
        let mut feeds = update_feeds(&program, 1, BATCH, [0.01, 1.0, 1.0]);
        feeds.insert(names::IMAGES.into(), images(&model));
        let initial = initial_state(&bayes, &[&program]);
        // tract 0.23.9 cannot plan the weight gradient of a grouped convolution over three axes.
        let first = usize::from(name == "dimensions");
        for engine in &engines()[first..] {
            let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
            runner.put(&initial);
            runner.run(&feeds).expect("a run");
            for posterior in posteriors(&bayes) {
                for moved in ["mean", "log_std"].map(|part| format!("{}.{part}", posterior.name)) {
                    let what = format!("{name}: {moved} on {}", engine.name());
                    assert_ne!(runner.held(&moved), initial[&moved], "{what}");
                }
            }
        }
        let states = program.model.graph.inputs.iter();
        let means = states.filter(|&&id| program.model.graph.node(id).name.ends_with(".mean"));
        assert_eq!(means.count(), count, "{name}: each posterior once");
    }
}

#[test]
fn the_form_of_a_file_runs_as_it_is() {
    for (name, model, _) in all() {
        let bayes = converted(&model, InitStd::Moped(1e-6));
        let x = images(&model);
        let shape = [&[1], &x.shape()[1..]].concat();
        let x = uniform("images", 1, &shape, -1.0, 1.0);
        let feeds = Values::from([("input".to_owned(), x)]);
        let run = |model: &Model| {
            let mut runner = Runner::of_model(onnxruntime(), model).expect("a session");
            runner.run(&feeds).expect("a run").remove("logits").expect("logits")
        };
        assert_close(&run(&bayes), &run(&model), 1e-3, name);
        let ops = bayes.graph.ids().filter_map(|id| bayes.graph.node(id).op());
        let made: Vec<&Op> = ops.filter(|op| op.domain == passes::DOMAIN).collect();
        let slots = |op: &&Op| matches!(op.attributes.get("variational"), Some(Attribute::Ints(_)));
        assert!(!made.is_empty() && made.iter().all(slots), "{name}");
    }
}
