//! Every variational node reaches the KL of the update program.

use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, Value, names};
use passes::{Defense, KlScope, Optimizer, Training};

use crate::engines::{Runner, Values, engines};
use crate::models::{
    PRIOR, bayesian_cnn, convert, doubles, initial_state, number, posteriors, uniform, update_feeds,
};

const BATCH: usize = 2;

/// KL(N(m, exp(s)^2) || N(0, prior^2)), summed.
fn closed_form(means: &[f64], log_stds: &[f64]) -> f64 {
    let prior = f64::from(PRIOR);
    let element = |(m, s): (&f64, &f64)| {
        prior.ln() - s + ((2.0 * s).exp() + m * m) / (2.0 * prior * prior) - 0.5
    };
    means.iter().zip(log_stds).map(element).sum()
}

fn tensor(model: &Model, value: Value) -> Tensor {
    model.graph.tensor(value).expect("a constant").clone()
}

/// The KL of each posterior of a model, by name.
fn expected(model: &Model) -> Vec<(String, f64)> {
    let part = |p: &passes::Posterior| {
        let [mean, log_std] = [p.mean, p.log_std].map(|v| doubles(&tensor(model, v)));
        (p.name.clone(), closed_form(&mean, &log_std))
    };
    posteriors(model).iter().map(part).collect()
}

/// The update program of a model, which moves nothing.
struct Update<'m> {
    model: &'m Model,
    program: Program,
    feeds: Values,
}

impl Update<'_> {
    fn new(model: &Model, kl_scope: KlScope) -> Update<'_> {
        let optimizer = Optimizer::Sgd { momentum: 0.0, weight_decay: 0.0 };
        let training = Training { optimizer, kl_scope, ..Training::published(Defense::AdvBnn) };
        let program = passes::update(model, BATCH, &training).expect("an update program");
        let mut feeds = update_feeds(&program, 1, BATCH, [0.0, 1.0, 1.0]);
        let shape =
            |name| program.model.graph.fact(program.model.graph.source(name)?).known_shape();
        let shape = shape(names::IMAGES).expect("images");
        feeds.insert(names::IMAGES.into(), uniform("images", 1, &shape, 0.0, 1.0));
        Update { model, program, feeds }
    }

    /// The KL with some of the state changed, on each engine.
    fn kl(&self, changes: &Values) -> [f64; 2] {
        engines().each_ref().map(|engine| {
            let mut runner = Runner::new(engine.as_ref(), &self.program).expect("a session");
            let initial = initial_state(self.model, &[&self.program]);
            runner.put(&initial);
            runner.put(changes);
            number(&runner.run(&self.feeds).expect("a run")[names::KL])
        })
    }
}

fn assert_near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs(), "{what}: {found}, {expected}");
}

/// A network whose linear layers are MatMul and Add.
fn matmul_model() -> Model {
    let mut graph = Graph::new("linear");
    let mut x = graph.input("input", Role::Data, Fact::new(DType::F32, &[1, 4]));
    for (i, (rows, columns)) in [(4, 5), (5, 3)].into_iter().enumerate() {
        let weight = uniform("weight", i as u64, &[rows, columns], -0.3, 0.3);
        let weight = graph.initializer(&format!("w{i}"), weight);
        let bias = uniform("bias", i as u64, &[columns], -0.3, 0.3);
        let bias = graph.initializer(&format!("b{i}"), bias);
        let fact = || vec![Fact::new(DType::F32, &[1, columns])];
        let op = |op: &str| format!("{op}{i}");
        let product = graph.op(&op("m"), Op::new("MatMul"), &[Some(x), Some(weight)], fact());
        let sum = [Some(bias), Some(product.into())];
        x = graph.op(&op("a"), Op::new("Add"), &sum, fact()).into();
    }
    graph.output("logits", x);
    convert(Model::new(graph), passes::InitStd::Moped(0.2))
}

#[test]
fn the_kl_is_the_closed_form_over_all_posteriors() {
    for (model, count) in [(bayesian_cnn(0.07), 14), (matmul_model(), 4)] {
        let parts = expected(&model);
        assert_eq!(parts.len(), count);
        let total: f64 = parts.iter().map(|(_, kl)| kl).sum();
        for found in Update::new(&model, KlScope::All).kl(&Values::new()) {
            assert_near(found, total, 1e-5, "KL");
        }
    }
}

#[test]
fn every_posterior_moves_the_kl() {
    let model = bayesian_cnn(0.07);
    let update = Update::new(&model, KlScope::All);
    let before = update.kl(&Values::new());
    for posterior in posteriors(&model) {
        for (moved, other, log_std) in
            [(posterior.mean, posterior.log_std, false), (posterior.log_std, posterior.mean, true)]
        {
            let [old, other] = [moved, other].map(|v| tensor(&model, v));
            let values = old.floats().expect("floats").iter().map(|v| v + 1.5).collect();
            let new = Tensor::new(old.shape(), values).expect("the same shape");
            let name = &model.graph.node(moved.node).name;
            let after = update.kl(&Values::from([(name.clone(), new.clone())]));
            let [old, new, other] = [&old, &new, &other].map(doubles);
            let [old, new] = [&old, &new].map(|values| match log_std {
                true => closed_form(&other, values),
                false => closed_form(values, &other),
            });
            assert!((new - old).abs() > 0.5, "{name}: a change that shows");
            for (after, before) in after.iter().zip(before) {
                assert_near(after - before, new - old, 1e-2, name);
            }
        }
    }
}

#[test]
fn the_last_layer_alone_may_count() {
    for (model, last) in [
        (bayesian_cnn(0.07), ["classifier.weight", "classifier.bias"]),
        (matmul_model(), ["w1", "b1"]),
    ] {
        let parts = expected(&model);
        let last = parts.iter().filter(|(name, _)| last.contains(&name.as_str()));
        let last: Vec<f64> = last.map(|(_, kl)| *kl).collect();
        assert_eq!(last.len(), 2);
        for found in Update::new(&model, KlScope::LastLayer).kl(&Values::new()) {
            assert_near(found, last.iter().sum(), 1e-5, "KL of the last layer");
        }
    }
}
