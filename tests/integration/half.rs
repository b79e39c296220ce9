//! Models of half precision: what is exported and differentiated is float32 at its ends.

use graphs::{DType, Kind, Model, Tensor, names};
use half::f16;
use passes::export::{Mode, Noise, export};
use passes::{InitStd, loss_gradient};

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
