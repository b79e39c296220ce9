//! What every engine must do alike.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use std::sync::LazyLock;

use bytes::Bytes;
use graphs::{DType, Fact, Graph, Model, Op, Program, Role, Tensor, Value};

use super::*;

/// Makes sure that there is an ONNX Runtime, once.
pub(super) fn install_onnxruntime() {
    static INSTALLED: LazyLock<()> = LazyLock::new(|| {
        if install::find(Provider::Cpu).is_err() {
            install::install(Provider::Cpu, &mut |_| {}).expect("ONNX Runtime is installed");
        }
    });
    *INSTALLED
}

/// Every engine of the CPU, with two threads.
pub(crate) fn engines() -> Vec<Box<dyn Engine>> {
    install_onnxruntime();
    let open = |engine| {
        let engine = open(&Settings { engine, threads: Some(2), ..Settings::default() }).unwrap();
        assert_eq!((engine.threads(), engine.provider()), (2, Provider::Cpu));
        engine
    };
    vec![open(Choice::Tract), open(Choice::OnnxRuntime)]
}

fn input(graph: &mut Graph, name: &str, role: Role, dtype: DType, shape: &[usize]) -> Value {
    graph.input(name, role, Fact::new(dtype, shape))
}

fn op(graph: &mut Graph, name: &str, op: Op, arguments: &[Value]) -> Value {
    let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
    graph.op(name, op, &arguments, vec![Fact::default()]).into()
}

/// w <- w - rate * gradient; returns the step.
pub(super) fn descent() -> Program {
    let mut graph = Graph::new("descent");
    let w = input(&mut graph, "w", Role::State, DType::F32, &[2]);
    let gradient = input(&mut graph, "gradient", Role::Data, DType::F32, &[2]);
    let rate = input(&mut graph, "rate", Role::Scalar, DType::F32, &[]);
    let step = op(&mut graph, "scale", Op::new("Mul"), &[gradient, rate]);
    let next = op(&mut graph, "move", Op::new("Sub"), &[w, step]);
    graph.output("w.next", next);
    graph.output("step", step);
    Program::new(Model::new(graph), &[("w.next".to_owned(), "w".to_owned())])
}

/// y = w + w
fn twice() -> Program {
    let mut graph = Graph::new("twice");
    let w = input(&mut graph, "w", Role::State, DType::F32, &[2]);
    let y = op(&mut graph, "add", Op::new("Add"), &[w, w]);
    graph.output("y", y);
    Program::new(Model::new(graph), &[])
}

/// y = Identity(x), for one element type.
fn echo(dtype: DType) -> Program {
    let mut graph = Graph::new("echo");
    let x = input(&mut graph, "x", Role::Data, dtype, &[2]);
    let y = op(&mut graph, "echo", Op::new("Identity"), &[x]);
    graph.output("y", y);
    Program::new(Model::new(graph), &[])
}

fn floats(state: &State, name: &str) -> Vec<f32> {
    state.get(name).unwrap().unwrap().values::<f32>().unwrap().into_owned()
}

#[test]
fn carried_values_stay_in_the_state_that_programs_share() {
    for engine in engines() {
        let mut update = engine.load(&descent()).unwrap();
        let mut predict = engine.load(&twice()).unwrap();
        let mut state = engine.state();
        state.put("w", &Tensor::vector(&[1f32, 2.0])).unwrap();
        state.put("rate", &Tensor::scalar(0.5f32)).unwrap();
        for _ in 0..3 {
            let feed = Feed::new("gradient", &[2], &[2f32, -2.0]);
            let returned = update.run(&mut state, &[feed]).unwrap();
            assert_eq!(returned.keys().collect::<Vec<_>>(), ["step"]);
            assert_eq!(*returned["step"].values::<f32>().unwrap(), [1.0, -1.0]);
        }
        assert_eq!(floats(&state, "w"), [-2.0, 5.0]);
        let returned = predict.run(&mut state, &[]).unwrap();
        assert_eq!(*returned["y"].values::<f32>().unwrap(), [-4.0, 10.0]);
        assert_eq!(state.names().collect::<Vec<_>>(), ["rate", "w"]);
        assert!(state.remove("rate") && !state.remove("rate") && !state.contains("rate"));
        assert_eq!(state.get("rate").unwrap(), None);
    }
}

#[test]
fn a_feed_goes_before_the_state() {
    for engine in engines() {
        let mut update = engine.load(&descent()).unwrap();
        let mut state = engine.state();
        for (name, value) in [("w", 1f32), ("gradient", 1.0)] {
            state.put(name, &Tensor::full(&[2], value).unwrap()).unwrap();
        }
        state.put("rate", &Tensor::scalar(0f32)).unwrap();
        let rate = Tensor::scalar(2f32);
        update.run(&mut state, &[Feed::tensor("rate", &rate)]).unwrap();
        assert_eq!(floats(&state, "w"), [-1.0, -1.0]);
        assert_eq!(floats(&state, "rate"), [0.0]);
    }
}

#[test]
fn wrong_and_missing_inputs_are_errors_that_name_them_and_leave_the_state() {
    for engine in engines() {
        let mut update = engine.load(&descent()).unwrap();
        let mut state = engine.state();
        state.put("w", &Tensor::vector(&[1f32, 2.0])).unwrap();
        state.put("rate", &Tensor::vector(&[1f32])).unwrap();
        let (two, rate) = ([1f32; 2], Feed::new("rate", &[], &[1f32]));
        let gradient = Feed::new("gradient", &[2], &two);
        let mut refused = |feeds: &[Feed], parts: &[&str]| {
            let error = update.run(&mut state, feeds).unwrap_err().to_string();
            assert!(parts.iter().all(|part| error.contains(part)), "{}: {error}", engine.name());
            assert_eq!(floats(&state, "w"), [1.0, 2.0]);
        };
        refused(&[rate], &["`gradient`", "float32[2]", "neither fed"]);
        refused(&[gradient], &["`rate`", "float32[]", "the state holds float32[1]"]);
        let long = Feed::new("gradient", &[2, 1], &two);
        refused(&[rate, long], &["`gradient`", "float32[2]", "was fed float32[2,1]"]);
        let typed = Feed::new("gradient", &[2], &[1i64, 2]);
        refused(&[rate, typed], &["`gradient`", "float32[2]", "was fed int64[2]"]);
        let short = Feed::new("gradient", &[2], &[1f32]);
        refused(&[rate, short], &["`gradient`", "float32[2]", "4 bytes"]);
        let named = Feed::new("gradiend", &[2], &two);
        refused(&[rate, named], &["`gradiend`", "gradient, rate, w"]);
        refused(&[rate, gradient, gradient], &["`gradient`", "twice"]);
        update.run(&mut state, &[rate, gradient]).unwrap();
        assert_eq!(floats(&state, "w"), [0.0, 1.0]);
    }
}

#[test]
fn labels_are_int64() {
    let mut graph = Graph::new("pick");
    let table = graph.initializer("table", Tensor::vector(&[10f32, 20.0, 30.0]));
    let labels = input(&mut graph, "labels", Role::Label, DType::I64, &[4]);
    let picked = op(&mut graph, "pick", Op::new("Gather"), &[table, labels]);
    let shape = op(&mut graph, "shape", Op::new("Shape"), &[picked]);
    graph.output("picked", picked);
    graph.output("shape", shape);
    let program = Program::new(Model::new(graph), &[]);
    for engine in engines() {
        let mut session = engine.load(&program).unwrap();
        let feed = Feed::new("labels", &[4], &[2i64, 0, 1, 2]);
        let returned = session.run(&mut engine.state(), &[feed]).unwrap();
        assert_eq!(*returned["picked"].values::<f32>().unwrap(), [30.0, 10.0, 20.0, 30.0]);
        assert_eq!(returned["shape"], Tensor::vector(&[4i64]));
    }
}

#[test]
fn every_element_type_goes_in_and_out_unchanged_also_from_unaligned_bytes() {
    use DType::*;
    for engine in engines() {
        for dtype in [F32, F64, F16, I8, I16, I32, I64, U8, U16, U32, U64, Bool] {
            let mut session = engine.load(&echo(dtype)).unwrap();
            let mut state = engine.state();
            let size = dtype.bytes_for(2).unwrap();
            let bytes: Vec<u8> = (0..=size).map(|i| u8::from(i % 3 == 0)).collect();
            let bytes = Bytes::from(bytes).slice(1..);
            let x = Tensor::from_bytes(dtype, vec![2], bytes).unwrap();
            let returned = session.run(&mut state, &[Feed::tensor("x", &x)]).unwrap();
            assert_eq!(returned["y"], x, "{} {dtype}", engine.name());
            state.put("x", &x).unwrap();
            assert_eq!(session.run(&mut state, &[]).unwrap()["y"], x);
            assert_eq!(state.get("x").unwrap(), Some(x));
        }
        let invalid = Tensor::from_bytes(Bool, vec![2], Bytes::from_static(&[0, 2])).unwrap();
        assert!(engine.state().put("x", &invalid).is_err());
        let strings = Tensor::from_strings(vec![1], vec![Bytes::new()]).unwrap();
        assert!(engine.state().put("x", &strings).is_err());
    }
}

#[test]
fn an_input_that_nothing_reads_may_be_fed_or_not() {
    let mut graph = Graph::new("unread");
    input(&mut graph, "unread", Role::Noise, DType::F32, &[3]);
    let x = input(&mut graph, "x", Role::Data, DType::F32, &[1]);
    let y = op(&mut graph, "negate", Op::new("Neg"), &[x]);
    graph.output("y", y);
    let program = Program::new(Model::new(graph), &[]);
    for engine in engines() {
        let mut session = engine.load(&program).unwrap();
        let x = Feed::new("x", &[1], &[1f32]);
        for feeds in [vec![x], vec![Feed::new("unread", &[3], &[0f32; 3]), x]] {
            let returned = session.run(&mut engine.state(), &feeds).unwrap();
            assert_eq!(returned["y"], Tensor::vector(&[-1f32]));
        }
    }
}

#[test]
fn refused_programs_name_the_node_in_one_line() {
    let program = |operator: Op| {
        let mut graph = Graph::new("refused");
        let x = input(&mut graph, "x", Role::Data, DType::F32, &[2, 3]);
        let y = op(&mut graph, "culprit", operator, &[x, x]);
        graph.output("y", y);
        Program::new(Model::new(graph), &[])
    };
    for engine in engines() {
        for operator in [Op::new("MatMul"), Op::new("NoSuchOperator")] {
            let error = engine.load(&program(operator)).err().unwrap().to_string();
            assert!(error.contains("culprit") && !error.contains('\n'), "{error}");
        }
    }
}

#[test]
fn a_failure_inside_the_engine_leaves_session_and_state_usable() {
    let mut graph = Graph::new("pick");
    let table = input(&mut graph, "table", Role::State, DType::F32, &[3]);
    let index = input(&mut graph, "index", Role::Label, DType::I64, &[1]);
    let picked = op(&mut graph, "pick", Op::new("Gather"), &[table, index]);
    let next = op(&mut graph, "grow", Op::new("Add"), &[table, picked]);
    graph.output("next", next);
    let program = Program::new(Model::new(graph), &[("next".into(), "table".into())]);
    for engine in engines() {
        let mut session = engine.load(&program).unwrap();
        let mut state = engine.state();
        state.put("table", &Tensor::vector(&[1f32, 2.0, 3.0])).unwrap();
        let outside = Feed::new("index", &[1], &[7i64]);
        let error = session.run(&mut state, &[outside]).unwrap_err().to_string();
        assert!(error.contains("pick") && !error.contains('\n'), "{error}");
        session.run(&mut state, &[Feed::new("index", &[1], &[1i64])]).unwrap();
        assert_eq!(floats(&state, "table"), [3.0, 4.0, 5.0]);
    }
}

#[test]
fn carries_that_cannot_be_are_refused() {
    let carry = |output: &str, input: &str| (output.to_owned(), input.to_owned());
    let bad = [
        vec![carry("nothing", "w")],
        vec![carry("step", "nowhere")],
        vec![carry("step", "w"), carry("step", "gradient")],
    ];
    for engine in engines() {
        for carries in &bad {
            let program = Program::new(descent().model, carries);
            assert!(matches!(engine.load(&program), Err(Error::Program(_))), "{carries:?}");
        }
    }
}

#[test]
fn a_state_belongs_to_its_engine() {
    let engines = engines();
    let mut session = engines[0].load(&twice()).unwrap();
    let error = session.run(&mut engines[1].state(), &[]).unwrap_err().to_string();
    assert!(error.contains("tract") && error.contains("ort"), "{error}");
}

#[test]
fn choices_and_settings() {
    for choice in Choice::ALL {
        assert_eq!(choice.to_string().parse::<Choice>().unwrap(), choice);
    }
    assert!("onnx".parse::<Choice>().is_err());
    let tract = Settings { engine: Choice::Tract, ..Settings::default() };
    let refused =
        [Settings { threads: Some(0), ..tract }, Settings { provider: Provider::Cuda, ..tract }];
    for settings in refused {
        assert!(matches!(open(&settings), Err(Error::Setting(_))), "{settings:?}");
    }
    install_onnxruntime();
    assert_eq!(open(&Settings::default()).unwrap().name(), "ort");
    let cuda = Settings { provider: Provider::Cuda, ..Settings::default() };
    if install::find(Provider::Cuda).is_err() {
        let error = open(&cuda).err().unwrap().to_string();
        assert!(error.contains("no cuda provider"), "{error}");
    }
    let engine = open(&tract).unwrap();
    let threads = std::thread::available_parallelism().unwrap().get();
    assert_eq!((engine.name(), engine.threads()), ("tract", threads));
    let manifest = include_str!("../../Cargo.toml");
    assert!(manifest.contains(&format!("tract-onnx = {{ version = \"={}\"", engine.version())));
}
