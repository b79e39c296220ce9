//! The small networks that tests train and export, and random numbers to feed them.

use std::collections::BTreeSet;

use graphs::{DType, Fact, Graph, Kind, Model, Op, Program, Role, Tensor, names};
use passes::{Architecture, Convert, InitStd, Layer, Pass, Posterior};
use runtime::noise::{Key, fill_normal, fill_uniform, hash_name};

use crate::engines::Values;

pub(crate) const PRIOR: f32 = 0.1;
pub(crate) const CLASSES: usize = 3;
/// What [`linear`] takes of an image.
pub(crate) const PIXELS: usize = 6;
/// `[C, H, W]`
pub(crate) const IMAGE: [usize; 3] = [2, 8, 8];

/// logits = x w + b, by a Gemm.
pub(crate) fn linear(batch: usize, gemm: Op) -> Model {
    let mut graph = Graph::new("linear");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[batch, PIXELS]));
    let w = graph.initializer("w", uniform("w", 1, &[PIXELS, CLASSES], -1.0, 1.0));
    let b = graph.initializer("b", uniform("b", 1, &[CLASSES], -1.0, 1.0));
    let fact = vec![Fact::new(DType::F32, &[batch, CLASSES])];
    let y = graph.op("gemm", gemm, &[Some(x), Some(w), Some(b)], fact);
    graph.output("logits", y.into());
    Model::new(graph)
}

/// Three convolutions with BatchNormalization, and a Gemm: about 1,100 weights.
pub(crate) fn cnn() -> Model {
    Architecture::SmallCnn.build(IMAGE, CLASSES, 0.1, 7).expect("a network")
}

/// All weights and biases of `model` made random.
pub(crate) fn convert(mut model: Model, init: InitStd) -> Model {
    let pass = Convert {
        layers: BTreeSet::from(Layer::ALL),
        include: None,
        exclude: None,
        init,
        prior: PRIOR,
        bias: true,
    };
    pass.run(&mut model).expect("a model to convert");
    model
}

/// [`cnn`] with the standard deviation `std` everywhere.
pub(crate) fn bayesian_cnn(std: f32) -> Model {
    convert(cnn(), InitStd::Constant(std))
}

pub(crate) fn posteriors(model: &Model) -> Vec<Posterior> {
    passes::posteriors(&model.graph).expect("posteriors")
}

/// Uniform in `[low, high)`, always the same for the same name and seed.
pub(crate) fn uniform(name: &str, seed: u64, shape: &[usize], low: f32, high: f32) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    fill_uniform(Key::new(seed, 0, hash_name(name)), &mut values);
    let (middle, half) = ((low + high) / 2.0, (high - low) / 2.0);
    let values = values.iter().map(|v| middle + half * v).collect();
    Tensor::new(shape, values).expect("as many values as elements")
}

/// Standard normal, always the same for the same name and seed.
pub(crate) fn normal(name: &str, seed: u64, shape: &[usize]) -> Tensor {
    let mut values = vec![0.0; shape.iter().product()];
    fill_normal(Key::new(seed, 0, hash_name(name)), &mut values);
    Tensor::new(shape, values).expect("as many values as elements")
}

/// Images in [0, 1] for [`cnn`].
pub(crate) fn images(seed: u64, count: usize) -> Tensor {
    let [channels, height, width] = IMAGE;
    uniform("images", seed, &[count, channels, height, width], 0.0, 1.0)
}

/// 0, 1, 2, 0, ...
pub(crate) fn labels(count: usize) -> Tensor {
    let labels: Vec<i64> = (0..count).map(|i| (i % CLASSES) as i64).collect();
    Tensor::vector(&labels)
}

/// Numbers for every noise input of a model.
pub(crate) fn noise(model: &Model, seed: u64) -> Values {
    let graph = &model.graph;
    let noise = graph.inputs.iter().filter(|&&id| {
        let node = graph.node(id);
        matches!(node.kind, Kind::Input(Role::Noise)) || node.name.ends_with(".noise")
    });
    noise
        .map(|&id| {
            let name = graph.node(id).name.clone();
            let shape = graph.fact(id.into()).known_shape().expect("a known shape");
            let values = normal(&name, seed, &shape);
            (name, values)
        })
        .collect()
}

/// What an update program takes besides its state: noise of `seed`, images, labels, scalars.
pub(crate) fn update_feeds(
    program: &Program,
    seed: u64,
    batch: usize,
    scalars: [f32; 3],
) -> Values {
    let mut feeds = noise(&program.model, seed);
    feeds.insert(names::IMAGES.into(), images(seed, batch));
    feeds.insert(names::LABELS.into(), labels(batch));
    for (name, value) in [names::LEARNING_RATE, names::STEP, names::KL_SCALE].iter().zip(scalars) {
        feeds.insert((*name).to_owned(), Tensor::scalar(value));
    }
    let known = |name: &String| program.model.graph.source(name).is_some();
    feeds.retain(|name, _| known(name));
    feeds
}

/// The state that programs of a model begin with: the model's own, and zeros for the optimizer.
pub(crate) fn initial_state(model: &Model, programs: &[&Program]) -> Values {
    let mut state = passes::initial_state(model, programs).expect("a state");
    for program in programs {
        let graph = &program.model.graph;
        for &id in &graph.inputs {
            let name = &graph.node(id).name;
            if [names::VELOCITY, names::MOMENT1, names::MOMENT2].iter().any(|s| name.ends_with(s)) {
                let shape = graph.fact(id.into()).known_shape().expect("a known shape");
                state.insert(name.clone(), Tensor::full(&shape, 0f32).expect("zeros"));
            }
        }
    }
    state
}

/// The one number of a tensor.
pub(crate) fn number(tensor: &Tensor) -> f64 {
    f64::from(tensor.floats().expect("a float")[0])
}

/// The elements in double precision.
pub(crate) fn doubles(tensor: &Tensor) -> Vec<f64> {
    match tensor.values::<f64>() {
        Ok(values) => values.into_owned(),
        Err(_) => tensor.floats().expect("floats").iter().map(|&v| f64::from(v)).collect(),
    }
}
