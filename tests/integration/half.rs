//! Models of half precision: what is exported and differentiated is float32 at its ends.

use graphs::{DType, Fact, Graph, Kind, Model, Op, Role, Tensor, Value, names};
use half::f16;
use passes::export::{Mode, Noise, export};
use passes::{InitStd, Tape, loss_gradient};

use crate::engines::{Runner, Values, assert_close, onnxruntime};
use crate::models::{cnn, convert, doubles, images, labels};

const BATCH: usize = 3;
/// What rounding to 11 bits in every layer leaves of them.
const TOLERANCE: f32 = 1e-2;

fn halves(tensor: &Tensor) -> Tensor {
    let values = tensor.floats().expect("floats").iter().map(|&v| f16::from_f32(v)).collect();
    Tensor::new(tensor.shape(), values).expect("as many values")
}

/// The small network, all of it float16.
fn half_cnn() -> Model {
    let mut model = cnn();
    let ids: Vec<_> = model.graph.ids().collect();
    for id in ids {
        let node = model.graph.node_mut(id);
        for fact in node.outputs.iter_mut().filter(|fact| fact.dtype == Some(DType::F32)) {
            fact.dtype = Some(DType::F16);
        }
        if let Kind::Initializer(tensor) = &mut node.kind
            && tensor.dtype() == DType::F32
        {
            *tensor = halves(tensor);
        }
    }
    model
}

fn run(model: &Model, more: &[(&str, Tensor)]) -> Values {
    let mut feeds = Values::from([("input".to_owned(), halves(&images(1, BATCH)))]);
    feeds.extend(more.iter().map(|(name, tensor)| ((*name).to_owned(), tensor.clone())));
    let mut runner = Runner::of_model(onnxruntime(), model).expect("a session");
    runner.run(&feeds).expect("a run")
}

#[test]
fn probabilities_are_float32() {
    let single = export(&convert(cnn(), InitStd::Moped(0.1)), &Mode::Mean, 18).expect("an export");
    let mut runner = Runner::of_model(onnxruntime(), &single).expect("a session");
    let feeds = Values::from([("input".to_owned(), images(1, BATCH))]);
    let expected = runner.run(&feeds).expect("a run").remove(names::PROBABILITIES).expect("p");

    let converted = convert(half_cnn(), InitStd::Constant(1e-4));
    let stochastic = |samples| Mode::Stochastic { noise: Noise::Seed, samples, functions: false };
    for mode in [Mode::Mean, stochastic(1), stochastic(4)] {
        let model = export(&converted, &mode, 18).expect("an export");
        let seed = [("seed", Tensor::scalar(3i64))];
        let seed = if mode == Mode::Mean { &[][..] } else { &seed[..] };
        assert_close(&run(&model, seed)[names::PROBABILITIES], &expected, TOLERANCE, "halves");
    }
}

#[test]
fn the_loss_is_float32_and_gradients_are_of_the_type_of_their_source() {
    let wanted = ["input".to_owned()];
    let gradient = |model: &Model| loss_gradient(model, Some(BATCH), &wanted).expect("a gradient");
    let found = run(&gradient(&half_cnn()), &[(names::LABELS, labels(BATCH))]);
    let mut runner = Runner::of_model(onnxruntime(), &gradient(&cnn())).expect("a session");
    let feeds = [("input", images(1, BATCH)), (names::LABELS, labels(BATCH))];
    let feeds = feeds.map(|(name, tensor)| (name.to_owned(), tensor));
    let expected = runner.run(&Values::from(feeds)).expect("a run");
    assert_close(&found[names::LOSS], &expected[names::LOSS], TOLERANCE, "loss");

    let slope = &found["input.grad"];
    assert_eq!((slope.dtype(), slope.shape()[0]), (DType::F16, BATCH));
    let [found, expected] = [slope, &expected["input.grad"]].map(doubles);
    let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
    let rest: Vec<f64> = found.iter().zip(&expected).map(|(a, b)| a - b).collect();
    assert!(norm(&rest) < 0.05 * norm(&expected), "{} of {}", norm(&rest), norm(&expected));
    assert_eq!(found.len(), BATCH * 2 * 8 * 8);
}

/// A product with tokens that stand before the images, as in attention.
#[derive(Clone, Copy, Debug)]
struct Tokens {
    perm: [usize; 3],
    /// Whether they stand behind the weight.
    right: bool,
    /// What stands between the Transpose and the product.
    between: Option<&'static str>,
}

impl Tokens {
    fn net(self, dtype: DType) -> Model {
        let mut graph = Graph::new("tokens");
        let x = graph.input("input", Role::Data, Fact::new(dtype, &[2, 4, 6]));
        let tape = &mut Tape::new(&mut graph, "net");
        let mut tokens = tape.transpose(x, &self.perm).expect("three axes");
        let shape = tape.shape(tokens).expect("known");
        tokens = match self.between {
            Some("Cast") => {
                let wide = tape.cast(tokens, DType::F32).expect("floats");
                tape.cast(wide, dtype).expect("floats")
            }
            Some("Reshape") => {
                let more = tape.reshape(tokens, &[1, shape[0], shape[1], shape[2]]);
                tape.reshape(more.expect("as many"), &shape).expect("as many")
            }
            Some("Mul") => {
                let half = tape.number(0.5, tokens).expect("a float");
                tape.apply("Mul", &[tokens, half]).expect("a product")
            }
            Some(op) => tape.apply(op, &[tokens]).expect("one argument"),
            None => tokens,
        };
        let shape = if self.right { [5, shape[1]] } else { [shape[2], 5] };
        let weight = (0..shape.iter().product()).map(|i| (i * 7 % 11) as f32 / 8.0 - 0.5).collect();
        let weight = Tensor::new(&shape, weight).expect("as many values");
        let weight = if dtype == DType::F16 { halves(&weight) } else { weight };
        let w = tape.graph.initializer("w", weight);
        let pair = if self.right { [w, tokens] } else { [tokens, w] };
        let mut y = tape.apply("MatMul", &pair).expect("of one size");
        // Logits of the images, wherever those have come to.
        let images = self.perm.iter().position(|axis| *axis == 0).expect("an axis");
        let rest: Vec<usize> = (0..3).filter(|axis| *axis != images).collect();
        let order = [images, rest[0], rest[1]];
        y = tape.transpose(y, &order).expect("three axes");
        let axes = tape.ints(&[1]);
        let mean = Op::new("ReduceMean").with("keepdims", 0i64);
        y = tape.op(mean, &[y, axes]).expect("an axis");
        graph.output("logits", y);
        Model::new(graph)
    }

    /// What is made of it in float16 loads, and is what is made of it in float32.
    fn check(self, make: &dyn Fn(Model) -> Model, outputs: &[&str]) {
        let tokens = (0..48).map(|i| (i * 5 % 13) as f32 / 8.0).collect();
        let tokens = Tensor::new(&[2, 4, 6], tokens).expect("48 values");
        let run = |model: &Model, input: Tensor| {
            let mut feeds = Values::from([("input".to_owned(), input)]);
            if model.graph.source(names::LABELS).is_some() {
                feeds.insert(names::LABELS.to_owned(), labels(2));
            }
            let mut runner = Runner::of_model(onnxruntime(), model).expect("a session");
            runner.run(&feeds).expect("a run")
        };
        let single = run(&make(self.net(DType::F32)), tokens.clone());
        let half = run(&make(self.net(DType::F16)), halves(&tokens));
        for &output in outputs {
            let found = doubles(&half[output]).iter().map(|&v| v as f32).collect();
            let found = Tensor::new(single[output].shape(), found).expect("as many values");
            assert_close(&found, &single[output], TOLERANCE, &format!("{output} of {self:?}"));
        }
    }
}

/// ONNX Runtime merges such a product with the Transpose, and for float16 would crash when it
/// loads that.
#[test]
fn products_of_transposed_tokens_load() {
    let mean = |net| {
        let converted = convert(net, InitStd::Moped(0.1));
        export(&converted, &Mode::Mean, 18).expect("an export")
    };
    // The network of an ensemble is the body of a Scan.
    let ensemble = |net| {
        let converted = convert(net, InitStd::Constant(1e-4));
        let mode = Mode::Stochastic { noise: Noise::Random, samples: 3, functions: false };
        export(&converted, &mode, 18).expect("an export")
    };
    let wanted = ["input".to_owned(), "w".to_owned()];
    let gradient = |net: Model| loss_gradient(&net, Some(2), &wanted).expect("a gradient");
    let plain = Tokens { perm: [1, 0, 2], right: false, between: None };
    let others = ["Cast", "Identity", "Reshape", "Mul"];
    let others = others.map(|between| Tokens { between: Some(between), ..plain });
    let turned = Tokens { perm: [1, 2, 0], right: true, between: None };
    for tokens in [plain, turned].into_iter().chain(others) {
        tokens.check(&mean, &[names::PROBABILITIES]);
        tokens.check(&ensemble, &[names::PROBABILITIES]);
        tokens.check(&gradient, &["input.grad", "w.grad"]);
    }
}

/// Tokens that float32 images are cast to, or a part of which is, in a file that states no
/// types and no names between its ends.
fn silent(dtype: DType, part: bool) -> Model {
    let mut graph = Graph::new("silent");
    let x = graph.input("input", Role::Data, Fact::new(DType::F32, &[2, 4, 6]));
    let weight = (0..30).map(|i| (i * 7 % 11) as f32 / 8.0 - 0.5).collect();
    let w = graph.initializer("w", Tensor::new(&[6, 5], weight).expect("30 values"));
    let tape = &mut Tape::new(&mut graph, "net");
    let [mut tokens, w] = [x, w].map(|value| tape.cast(value, dtype).expect("floats"));
    if part {
        let halves = Op::new("Split").with("axis", 1i64).with("num_outputs", 2i64);
        let node = tape.call(halves, &[Some(tokens)], 2).expect("an even axis");
        tokens = Value { node, slot: 1 };
    }
    tokens = tape.transpose(tokens, &[1, 0, 2]).expect("three axes");
    let mut y = tape.apply("MatMul", &[tokens, w]).expect("of one size");
    y = tape.transpose(y, &[1, 0, 2]).expect("three axes");
    let axes = tape.ints(&[1]);
    let mean = Op::new("ReduceMean").with("keepdims", 0i64);
    y = tape.op(mean, &[y, axes]).expect("an axis");
    y = tape.cast(y, DType::F32).expect("floats");
    let ids: Vec<_> = graph.ids().filter(|id| *id != y.node).collect();
    for node in ids {
        if graph.node(node).op().is_some() {
            graph.node_mut(node).outputs.fill(Fact::default());
            graph.node_mut(node).name.clear();
        }
    }
    graph.output("logits", y);
    Model::new(graph)
}

#[test]
fn products_of_transposed_tokens_load_where_the_file_states_no_types() {
    for part in [false, true] {
        let run = |dtype| {
            let model = export(&silent(dtype, part), &Mode::Mean, 18).expect("an export");
            let mut runner = Runner::of_model(onnxruntime(), &model).expect("a session");
            let tokens = (0..48).map(|i| (i * 5 % 13) as f32 / 8.0).collect();
            let tokens = Tensor::new(&[2, 4, 6], tokens).expect("48 values");
            let feeds = Values::from([("input".to_owned(), tokens)]);
            runner.run(&feeds).expect("a run").remove(names::PROBABILITIES).expect("p")
        };
        let [half, single] = [DType::F16, DType::F32].map(run);
        assert_close(&half, &single, TOLERANCE, &format!("part {part}"));
    }
}
