//! Points where a careless rule would divide by zero, other precisions, and Dropout, whose
//! gradient has to keep what the mask of the same run has kept.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor, Value};
use passes::ops::{Case, case};
use passes::{Lower, Pass, Tape, gradients};

use crate::differences::{Point, Trial};
use crate::engines::{Runner, Values, assert_close, engines, onnxruntime};
use crate::models::{doubles, uniform};

/// Products of rows that hold no zero, one and two.
fn products() -> (Graph, Vec<Value>, Vec<(Value, Point)>) {
    let shape = [4, 5];
    let value = uniform("x", 1, &shape, 0.5, 1.5);
    let mut graph = Graph::new("products");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &shape));
    let mut less = vec![0f32; 20];
    for place in [6, 12, 14, 15] {
        less[place] = value.floats().expect("floats")[place];
    }
    let mut tape = Tape::new(&mut graph, "products");
    let less = tape.constant(Tensor::new(&shape, less).expect("as many values"));
    let factors = tape.apply("Sub", &[x, less]).expect("a difference");
    let axes = tape.ints(&[1]);
    let y = tape.apply("ReduceProd", &[factors, axes]).expect("a product");
    let point = Point { name: "x".to_owned(), value, reach: 1.0 / 32.0 };
    (graph, vec![y], vec![(x, point)])
}

#[test]
fn zeros_in_a_product_do_no_harm() {
    let (graph, outputs, targets) = products();
    let first = Trial::new(graph.clone(), &outputs, &targets).expect("a gradient");
    let second = Trial::second(graph, &outputs, &targets).expect("a second gradient");
    for trial in [first, second] {
        for engine in engines() {
            let (error, _) = trial.error(engine.as_ref()).expect("a run");
            assert!(error < 2e-4, "{} on {}", error, engine.name());
        }
    }
}

/// A call at `x`, and the gradient of the sum of its first output.
fn at(case: Case, x: &Tensor) -> Model {
    let mut graph = Graph::new("corner");
    let input = graph.input("x", Role::Data, Fact::of(x));
    let mut tape = Tape::new(&mut graph, "corner");
    let y: Value = tape.call(case.op, &[Some(input)], 1).expect("a legal call").into();
    let axes: Vec<usize> = (0..tape.shape(y).expect("a shape").len()).collect();
    let loss = tape.reduce_sum(y, &axes, false).expect("a sum");
    let slopes = gradients(&mut tape, loss, &[input]).expect("a gradient");
    graph.output("gradient", slopes[0]);
    let mut model = Model::new(graph);
    Lower.run(&mut model).expect("a model to lower");
    model
}

#[test]
fn nothing_has_a_finite_gradient() {
    let pool = |p: i64| {
        let pool = case("LpPool").with("kernel_shape", vec![2i64, 2]);
        pool.with("strides", vec![2i64, 2]).with("p", p)
    };
    let calls = [
        case("ReduceL1"),
        case("ReduceL2"),
        case("ReduceProd"),
        case("LpNormalization"),
        case("LpNormalization").with("p", 1i64),
        case("MeanVarianceNormalization"),
        case("LRN").with("size", 3i64),
        case("GlobalLpPool"),
        case("GlobalLpPool").with("p", 3i64),
        pool(2),
        pool(3),
    ];
    let x = Tensor::full(&[1, 2, 4, 4], 0f32).expect("zeros");
    for call in calls {
        let model = at(call.clone(), &x);
        for engine in engines() {
            let mut runner = Runner::of_model(engine.as_ref(), &model).expect("a session");
            let found = runner.run(&Values::from([("x".into(), x.clone())])).expect("a run");
            let finite = doubles(&found["gradient"]).iter().all(|v| v.is_finite());
            assert!(finite, "{call:?} on {}", engine.name());
        }
    }
}

/// The gradient of `softplus(relu(x) sigmoid(x) + x / norm(x))`, computed as `dtype`.
fn computed_as(dtype: DType, x: &Tensor) -> Model {
    let mut graph = Graph::new("precision");
    let input = graph.input("x", Role::Data, Fact::of(x));
    let mut tape = Tape::new(&mut graph, "precision");
    let x = tape.cast(input, dtype).expect("a cast");
    let mut apply = |op: &str, x: &[Value]| tape.apply(op, x).expect("a legal call");
    let (relu, gate) = (apply("Relu", &[x]), apply("Sigmoid", &[x]));
    let y = apply("Mul", &[relu, gate]);
    let unit = apply("LpNormalization", &[x]);
    let y = apply("Add", &[y, unit]);
    let y = apply("Softplus", &[y]);
    let y = tape.cast(y, DType::F32).expect("a cast");
    let loss = tape.reduce_sum(y, &[0, 1], false).expect("a sum");
    let slopes = gradients(&mut tape, loss, &[input]).expect("a gradient");
    graph.output("gradient", slopes[0]);
    let mut model = Model::new(graph);
    Lower.run(&mut model).expect("a model to lower");
    model
}

#[test]
fn gradients_pass_through_every_precision() {
    let x = uniform("x", 1, &[3, 5], -1.0, 1.0);
    let feeds = Values::from([("x".into(), x.clone())]);
    // tract has no Sigmoid of float64.
    let run = |dtype| {
        let mut runner = Runner::of_model(onnxruntime(), &computed_as(dtype, &x));
        let found = runner.as_mut().expect("a session").run(&feeds).expect("a run");
        found["gradient"].clone()
    };
    let expected = run(DType::F32);
    for (dtype, tolerance) in [(DType::F64, 1e-6), (DType::F16, 5e-3)] {
        assert_close(&run(dtype), &expected, tolerance, &dtype.to_string());
    }
}

fn flag(value: bool) -> Tensor {
    Tensor::from_bytes(DType::Bool, vec![], vec![u8::from(value)].into()).expect("a flag")
}

const RATIO: f32 = 0.25;
const COUNT: usize = 4000;

/// Dropout of `x` and the gradient of the sum of the outputs, weighted by `w`. The mode is a
/// constant, or an input.
fn dropout(outputs: usize, constant: bool) -> Model {
    let fact = Fact::new(DType::F32, &[COUNT]);
    let mut graph = Graph::new("dropout");
    let x = graph.input("x", Role::Data, fact.clone());
    let w = graph.input("w", Role::Data, fact);
    let mode = if constant {
        graph.initializer("mode", flag(true))
    } else {
        graph.input("mode", Role::Data, Fact::new(DType::Bool, &[]))
    };
    let mut tape = Tape::new(&mut graph, "dropout");
    let ratio = tape.scalar(RATIO);
    let call = tape.call(Op::new("Dropout"), &[Some(x), Some(ratio), Some(mode)], outputs);
    let y: Value = call.expect("a legal call").into();
    let product = tape.apply("Mul", &[y, w]).expect("a product");
    let loss = tape.reduce_sum(product, &[0], false).expect("a sum");
    let slopes = gradients(&mut tape, loss, &[x]).expect("a gradient");
    graph.output("y", y);
    graph.output("gradient", slopes[0]);
    let mut model = Model::new(graph);
    Lower.run(&mut model).expect("a model to lower");
    model.graph.prune_inputs();
    model
}

#[test]
fn dropout_passes_back_what_it_has_passed_on() {
    let [x, w] = ["x", "w"].map(|name| uniform(name, 1, &[COUNT], 0.5, 1.5));
    let scale = 1.0 / (1.0 - f64::from(RATIO));
    for (outputs, constant, training) in
        [(1, true, true), (2, true, true), (1, false, true), (2, false, false)]
    {
        let model = dropout(outputs, constant);
        let mut feeds = Values::from([("x".into(), x.clone()), ("w".into(), w.clone())]);
        if !constant {
            feeds.insert("mode".into(), flag(training));
        }
        for engine in engines() {
            let mut runner = Runner::of_model(engine.as_ref(), &model).expect("a session");
            let (first, again) = (runner.run(&feeds), runner.run(&feeds));
            let (found, again) = (first.expect("a run"), again.expect("a run"));
            let mut kept = 0;
            let rows = doubles(&found["y"]).into_iter().zip(doubles(&found["gradient"]));
            for ((y, slope), (x, w)) in rows.zip(doubles(&x).into_iter().zip(doubles(&w))) {
                let factor = match (training, y != 0.0) {
                    (true, true) => scale,
                    (true, false) => 0.0,
                    (false, _) => 1.0,
                };
                kept += usize::from(y != 0.0);
                assert!((y - factor * x).abs() < 1e-5 && (slope - factor * w).abs() < 1e-5);
            }
            let share = kept as f64 / COUNT as f64;
            let expected = if training { 1.0 - f64::from(RATIO) } else { 1.0 };
            assert!((share - expected).abs() < 0.04, "{share} on {}", engine.name());
            assert_eq!(found["y"] == again["y"], !training, "{}", engine.name());
        }
    }
}
