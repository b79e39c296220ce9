//! What replaces an operator that some engine lacks gives the same.

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor, names};
use passes::export::{Mode, Noise, Target, export};
use passes::{InitStd, Lower, Pass, Platform};

use crate::engines::{Runner, Values, assert_close, engines};
use crate::models::{convert, initial_state, noise, uniform};

#[test]
fn the_logarithm_of_a_vanishing_probability_is_finite() {
    let mut graph = Graph::new("extreme");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[2, 3]));
    let fact = vec![Fact::new(DType::F32, &[2, 3])];
    let y = graph.op("log", Op::new("LogSoftmax"), &[Some(x)], fact);
    graph.output("y", y.into());
    let mut model = Model::new(graph);
    Lower.run(&mut model).expect("a model to lower");
    let x = Tensor::new(&[2, 3], vec![1000f32, 0.0, -1000.0, 3e30, 3e30, 0.0]).expect("six");
    let two = -std::f32::consts::LN_2;
    let expected = Tensor::new(&[2, 3], vec![0f32, -1000.0, -2000.0, two, two, -3e30]);
    for engine in engines() {
        let mut runner = Runner::of_model(engine.as_ref(), &model).expect("a session");
        let found = runner.run(&Values::from([("x".into(), x.clone())])).expect("a run");
        assert_eq!(found["y"], *expected.as_ref().expect("six"), "{}", engine.name());
    }
}

/// tract sums too few terms, or refuses the graph, where a product reads an Expand.
#[test]
fn products_take_what_is_expanded_as_often_as_it_is() {
    type Step = (Op, &'static [i64], &'static [usize]);
    let expand = |to, shape| -> Step { (Op::new("Expand"), to, shape) };
    let reshape = |to, shape| -> Step { (Op::new("Reshape"), to, shape) };
    let transpose: Step = (Op::new("Transpose").with("perm", vec![1, 0]), &[], &[4, 3]);
    let cases: [(&[usize], Vec<Step>, &str); 6] = [
        (&[4, 1], vec![expand(&[4, 3], &[4, 3])], "MatMul"),
        (&[4, 1], vec![expand(&[4, 3], &[4, 3])], "Gemm"),
        (&[1, 3], vec![expand(&[4, 3], &[4, 3])], "MatMul"),
        (&[3, 1], vec![expand(&[3, 4], &[3, 4]), transpose], "MatMul"),
        (
            &[4, 1],
            vec![
                reshape(&[1, 4, 1], &[1, 4, 1]),
                expand(&[1, 4, 3], &[1, 4, 3]),
                reshape(&[4, 3], &[4, 3]),
            ],
            "MatMul",
        ),
        (&[1], vec![expand(&[4, 3], &[4, 3])], "Gemm"),
    ];
    for (shape, steps, product) in cases {
        let what = format!("{shape:?}, {} steps, {product}", steps.len());
        let mut graph = Graph::new("expanded");
        let x = graph.input("x", Role::Data, Fact::new(DType::F32, shape));
        let (mut value, mut last) = (x, shape);
        for (i, (op, to, next)) in steps.into_iter().enumerate() {
            let mut arguments = vec![Some(value)];
            if !to.is_empty() {
                arguments.push(Some(graph.initializer(&format!("to{i}"), Tensor::vector(to))));
            }
            let fact = vec![Fact::new(DType::F32, next)];
            (value, last) = (graph.op(&format!("step{i}"), op, &arguments, fact).into(), next);
        }
        let weights = uniform("w", 1, &[last[1], 5], -1.0, 1.0);
        let w = graph.initializer("w", weights.clone());
        let fact = vec![Fact::new(DType::F32, &[last[0], 5])];
        let y = graph.op("product", Op::new(product), &[Some(value), Some(w)], fact);
        graph.output("y", y.into());
        let mut model = Model::new(graph);
        Lower.run(&mut model).expect("a model to lower");
        let feeds = Values::from([("x".into(), uniform("x", 2, shape, -1.0, 1.0))]);
        let [tract, ort] = engines().each_ref().map(|engine| {
            let mut runner = Runner::of_model(engine.as_ref(), &model).expect("a session");
            runner.run(&feeds).expect("a run").remove("y").expect("an output")
        });
        assert_close(&tract, &ort, 1e-6, &what);
        let sum: f32 = ort.floats().expect("floats").iter().map(|y| y.abs()).sum();
        assert!(sum > 0.1, "{what}");
    }
}

#[test]
fn repetitions_beyond_all_use_are_refused_before_memory_is_taken_for_them() {
    let mut graph = Graph::new("huge");
    let x = graph.input("x", Role::Data, Fact::new(DType::F32, &[4, 1]));
    let to = graph.initializer("to", Tensor::vector(&[4i64, 1 << 40]));
    let fact = |shape: &[usize]| vec![Fact::new(DType::F32, shape)];
    let many = graph.op("many", Op::new("Expand"), &[Some(x), Some(to)], fact(&[4, 1 << 40]));
    let few = graph.initializer("few", uniform("few", 1, &[2, 4], -1.0, 1.0));
    let operands = [Some(few), Some(many.into())];
    let y = graph.op("product", Op::new("MatMul"), &operands, fact(&[2, 1 << 40]));
    graph.output("y", y.into());
    let error = Lower.run(&mut Model::new(graph)).expect_err("too many").to_string();
    assert!(error.contains("`many`") && error.contains("too many"), "{error}");
}

/// A classifier with BatchNormalization where no convolution can take it up (behind the input,
/// and behind a convolution that something else reads too), and where one can, with and without
/// a bias.
fn normalized() -> Model {
    let mut graph = Graph::new("normalized");
    let fact = |shape: &[usize]| vec![Fact::new(DType::F32, shape)];
    let shape = [1, 4, 6, 6];
    let input = graph.input("input", Role::Data, Fact::new(DType::F32, &shape));
    let weight = |graph: &mut Graph, name: &str, shape: &[usize], low, high| {
        Some(graph.initializer(name, uniform(name, 1, shape, low, high)))
    };
    let norm = |graph: &mut Graph, name: &str, x| {
        let mut arguments = vec![Some(x)];
        for (suffix, low, high) in
            [("scale", 0.5, 1.5), ("shift", -1.0, 1.0), ("mean", -1.0, 1.0), ("var", 0.5, 2.0)]
        {
            arguments.push(weight(graph, &format!("{name}.{suffix}"), &[4], low, high));
        }
        let op = Op::new("BatchNormalization").with("epsilon", 0.01);
        graph.op(name, op, &arguments, fact(&shape)).into()
    };
    let conv = |graph: &mut Graph, name: &str, x, bias: bool| {
        let mut arguments = vec![Some(x)];
        arguments.push(weight(graph, &format!("{name}.weight"), &[4, 4, 3, 3], -0.3, 0.3));
        if bias {
            arguments.push(weight(graph, &format!("{name}.bias"), &[4], -0.3, 0.3));
        }
        let op = Op::new("Conv").with("pads", vec![1i64; 4]);
        graph.op(name, op, &arguments, fact(&shape)).into()
    };
    let x = norm(&mut graph, "first", input);
    let x = conv(&mut graph, "plain", x, false);
    let x = norm(&mut graph, "second", x);
    let x = conv(&mut graph, "biased", x, true);
    let x = norm(&mut graph, "third", x);
    let shared = conv(&mut graph, "shared", x, true);
    let y = norm(&mut graph, "fourth", shared);
    let x = graph.op("add", Op::new("Add"), &[Some(shared), Some(y)], fact(&shape)).into();
    let x = graph.op("pool", Op::new("GlobalAveragePool"), &[Some(x)], fact(&[1, 4, 1, 1])).into();
    let x = graph.op("logits", Op::new("Flatten"), &[Some(x)], fact(&[1, 4])).into();
    graph.output("logits", x);
    Model::new(graph)
}

#[test]
fn normalization_in_an_export_gives_what_the_program_gives() {
    let model = convert(normalized(), InitStd::Constant(0.2));
    let mode = Mode::Stochastic { noise: Noise::Input, samples: 1, functions: false };
    let exported = export(&model, &mode, graphs::OPSET).expect("an export");
    let left = exported.graph.ids().filter_map(|id| exported.graph.node(id).op());
    assert_eq!(left.filter(|op| op.is("BatchNormalization")).count(), 0);
    let program = passes::predict(&model, 2).expect("a program");
    let images = uniform("input", 1, &[2, 4, 6, 6], 0.0, 1.0);
    for engine in engines() {
        let mut runner = Runner::new(engine.as_ref(), &program).expect("a session");
        runner.put(&initial_state(&model, &[&program]));
        let mut feeds = noise(&program.model, 1);
        feeds.insert(names::IMAGES.into(), images.clone());
        let expected = runner.run(&feeds).expect("a run");
        let mut runner = Runner::of_model(engine.as_ref(), &exported).expect("a session");
        let images = feeds.remove(names::IMAGES).expect("the images");
        feeds.insert("input".into(), images);
        let found = runner.run(&feeds).expect("a run");
        let name = names::PROBABILITIES;
        assert_close(&found[name], &expected[name], 1e-5, engine.name());
    }
}

#[test]
fn weights_in_the_form_for_openvino_are_the_means_where_nothing_is_random() {
    let model = convert(normalized(), InitStd::Constant(1e-9));
    let mode = Mode::Stochastic { noise: Noise::Random, samples: 1, functions: false };
    let target = Target { opset: graphs::OPSET, platform: Platform::OpenVino };
    let drawn = export(&model, &mode, target).expect("an export");
    let mean = export(&model, &Mode::Mean, graphs::OPSET).expect("an export");
    let images = uniform("input", 1, &[2, 4, 6, 6], 0.0, 1.0);
    let feeds = Values::from([("input".to_owned(), images)]);
    for engine in engines() {
        let [found, expected] = [&drawn, &mean].map(|model| {
            let mut runner = Runner::of_model(engine.as_ref(), model).expect("a session");
            runner.run(&feeds).expect("a run").remove(names::PROBABILITIES).expect("probabilities")
        });
        assert_close(&found, &expected, 1e-5, engine.name());
    }
}
