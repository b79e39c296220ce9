//! The whole files that are damaged.

use std::path::Path;

use graphs::{DType, Fact, Graph, Model, Role};
use passes::ops::{Argument, Case, table};

/// Files of two kinds: whole models, and one call for every case of every operator.
pub(crate) struct Seeds {
    pub(crate) models: Vec<Vec<u8>>,
    pub(crate) calls: Vec<Vec<u8>>,
    /// Every operator that has a rule.
    pub(crate) operators: Vec<&'static str>,
}

pub(crate) fn all() -> Seeds {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let read = |path: &Path| std::fs::read(path).expect("a seed");
    let mut models: Vec<Vec<u8>> = ["assets/fashion-cnn.onnx", "graphs/tests/data/lossless.onnx"]
        .iter()
        .map(|path| read(&root.join(path)))
        .collect();
    let small = Model::decode(models[0].clone().into(), None).expect("a network");
    models.push(bytes(&passes::loss_gradient(&small, Some(2), &[]).expect("differentiable")));
    if let Some(folder) = std::env::var_os("FUZZ_SEEDS") {
        let entries = std::fs::read_dir(folder).expect("FUZZ_SEEDS");
        models.extend(entries.map(|entry| read(&entry.expect("an entry").path())));
    }
    let calls = table().iter().flat_map(|def| (def.cases)()).map(call).collect();
    Seeds { models, calls, operators: table().iter().map(|def| def.op).collect() }
}

fn bytes(model: &Model) -> Vec<u8> {
    model.to_bytes().expect("a whole model")
}

fn call(case: Case) -> Vec<u8> {
    let mut graph = Graph::new("call");
    let mut arguments = Vec::new();
    for (i, argument) in case.arguments.iter().enumerate() {
        let name = format!("x{i}");
        arguments.push(match argument {
            Argument::Absent => None,
            Argument::Random { shape, .. } | Argument::Distinct { shape } => {
                Some(graph.input(&name, Role::Data, Fact::new(DType::F32, shape)))
            }
            Argument::Constant(tensor) => Some(graph.initializer(&name, tensor.clone())),
        });
    }
    let facts = vec![Fact::default(); case.outputs];
    let node = graph.op("call", case.op, &arguments, facts);
    graph.output("y", node.into());
    bytes(&Model::new(graph))
}
