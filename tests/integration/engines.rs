//! Both engines, and programs loaded in them. ONNX Runtime is fetched if it is not there, so that
//! no test is ever left out.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use graphs::{Model, Program, Tensor};
use runtime::engine::{self, Choice, Engine, Feed, Session, Settings, State};
use runtime::install::{self, Provider};

/// Tensors by name.
pub(crate) type Values = BTreeMap<String, Tensor>;

/// tract and ONNX Runtime on the CPU; tests run in parallel, so each with one thread.
pub(crate) fn engines() -> &'static [Box<dyn Engine>; 2] {
    static ENGINES: LazyLock<[Box<dyn Engine>; 2]> = LazyLock::new(|| {
        if install::find(Provider::Cpu).is_err() {
            install::install(Provider::Cpu, &mut |_| {}).expect("ONNX Runtime is installed");
        }
        [Choice::Tract, Choice::OnnxRuntime].map(|engine| {
            let settings = Settings { engine, threads: Some(1), ..Settings::default() };
            engine::open(&settings).expect("the engine opens")
        })
    });
    &ENGINES
}

/// ONNX Runtime alone.
pub(crate) fn onnxruntime() -> &'static dyn Engine {
    engines()[1].as_ref()
}

/// A loaded program and its state.
pub(crate) struct Runner {
    session: Box<dyn Session>,
    pub(crate) state: State,
}

impl Runner {
    pub(crate) fn new(engine: &dyn Engine, program: &Program) -> runtime::Result<Runner> {
        Ok(Runner { session: engine.load(program)?, state: engine.state() })
    }

    /// A model that carries nothing.
    pub(crate) fn of_model(engine: &dyn Engine, model: &Model) -> runtime::Result<Runner> {
        Runner::new(engine, &Program::new(model.clone(), &[]))
    }

    pub(crate) fn put(&mut self, values: &Values) {
        for (name, tensor) in values {
            self.state.put(name, tensor).expect("a value of the state");
        }
    }

    pub(crate) fn held(&self, name: &str) -> Tensor {
        let tensor = self.state.get(name).expect("a readable state");
        tensor.unwrap_or_else(|| panic!("`{name}` in the state"))
    }

    pub(crate) fn run(&mut self, feeds: &Values) -> runtime::Result<Values> {
        run(self.session.as_mut(), &mut self.state, feeds)
    }
}

/// Runs once with `feeds`.
pub(crate) fn run(
    session: &mut dyn Session,
    state: &mut State,
    feeds: &Values,
) -> runtime::Result<Values> {
    let feeds: Vec<Feed> = feeds.iter().map(|(name, value)| Feed::tensor(name, value)).collect();
    session.run(state, &feeds)
}

/// Asserts that two tensors agree: floats within `tolerance` of the greatest, all else exactly.
#[track_caller]
pub(crate) fn assert_close(a: &Tensor, b: &Tensor, tolerance: f32, what: &str) {
    if let Some(difference) = difference(a, b, tolerance) {
        panic!("{what}: {difference}");
    }
}

/// What tells `a` from `b`, if something does.
pub(crate) fn difference(a: &Tensor, b: &Tensor, tolerance: f32) -> Option<String> {
    if (a.dtype(), a.shape()) != (b.dtype(), b.shape()) {
        return Some(format!("{a:?} against {b:?}"));
    }
    if !a.dtype().is_float() {
        return (a != b).then(|| format!("{a:?}: values differ"));
    }
    let (a, b) = (a.floats().expect("floats"), b.floats().expect("floats"));
    let scale = b.iter().fold(0f32, |most, value| most.max(value.abs()));
    let mut pairs = a.iter().zip(b.iter()).enumerate();
    // False for NaN.
    let near = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance * scale;
    let apart = pairs.find(|(_, pair)| !near(*pair));
    apart.map(|(i, (a, b))| format!("element {i}: {a} against {b} (greatest {scale})"))
}
