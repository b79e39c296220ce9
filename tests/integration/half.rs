//! Models of half precision: what is exported and differentiated is float32 at its ends.

use graphs::{DType, Fact, Graph, Kind, Model, Op, Role, Tensor, names};
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

/// A product of tokens that stand before the images, as in attention: ONNX Runtime merges it
/// with the Transpose, and for float16 would crash when it loads that.
#[test]
fn products_of_transposed_tokens_load() {
    let net = |dtype: DType| {
        let mut graph = Graph::new("tokens");
        let x = graph.input("input", Role::Data, Fact::new(dtype, &[2, 4, 6]));
        let weight = (0..30).map(|i| (i * 7 % 11) as f32 / 8.0 - 0.5).collect();
        let weight = Tensor::new(&[6, 5], weight).expect("30 values");
        let weight = if dtype == DType::F16 { halves(&weight) } else { weight };
        let w = graph.initializer("w", weight);
        let tape = &mut Tape::new(&mut graph, "net");
        let tokens = tape.transpose(x, &[1, 0, 2]).expect("three axes");
        let product = tape.apply("MatMul", &[tokens, w]).expect("of one size");
        let axes = tape.ints(&[0]);
        let mean = Op::new("ReduceMean").with("keepdims", 0i64);
        let y = tape.op(mean, &[product, axes]).expect("an axis");
        graph.output("logits", y);
        Model::new(graph)
    };
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
    let both = |make: &dyn Fn(Model) -> Model, output: &str| {
        let single = run(&make(net(DType::F32)), tokens.clone());
        let half = run(&make(net(DType::F16)), halves(&tokens));
        let found = doubles(&half[output]).iter().map(|&v| v as f32).collect();
        let found = Tensor::new(single[output].shape(), found).expect("as many values");
        assert_close(&found, &single[output], TOLERANCE, output);
    };
    let mean = |net| {
        let converted = convert(net, InitStd::Moped(0.1));
        export(&converted, &Mode::Mean, 18).expect("an export")
    };
    both(&mean, names::PROBABILITIES);
    // The network of an ensemble is the body of a Scan.
    let ensemble = |net| {
        let converted = convert(net, InitStd::Constant(1e-4));
        let mode = Mode::Stochastic { noise: Noise::Random, samples: 3, functions: false };
        export(&converted, &mode, 18).expect("an export")
    };
    both(&ensemble, names::PROBABILITIES);
    let wanted = ["input".to_owned(), "w".to_owned()];
    let gradient = |net: Model| loss_gradient(&net, Some(2), &wanted).expect("a gradient");
    both(&gradient, "input.grad");
    both(&gradient, "w.grad");
}
