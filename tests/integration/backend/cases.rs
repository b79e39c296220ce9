//! ONNX's node tests as its package ships them: models of one operator (or of the function that
//! defines it), with inputs and the outputs that they must give.

use std::path::{Path, PathBuf};

use graphs::proto::{GraphProto, ModelProto, TensorProto, TypeProto};
use graphs::{Model, Tensor};
use prost::Message;
use runtime::install;

use crate::engines::Values;

/// The last release that ships the tests as files.
const PACKAGE: &str = "onnx==1.22.0";
const FOLDER: &str = "onnx/backend/test/data/node";
/// The environment variable that names another folder of node tests.
const OTHER: &str = "ADVBNN_NODE_TESTS";

/// One node test.
pub(super) struct NodeTest {
    pub(super) name: String,
    /// The model in it.
    pub(super) model: Model,
    /// Why no engine can be fed its inputs, or the inputs and outputs of every run.
    pub(super) runs: Result<Vec<Run>, String>,
}

/// Inputs, and the outputs that they must give.
#[derive(Clone)]
pub(super) struct Run {
    pub(super) inputs: Values,
    pub(super) outputs: Values,
}

/// The folders of all node tests, in order of their names.
pub(super) fn folders() -> Vec<PathBuf> {
    let root = match std::env::var_os(OTHER) {
        Some(other) => other.into(),
        None => install::package_folder(PACKAGE, FOLDER).expect("ONNX's node tests"),
    };
    let entries = root.read_dir().expect("a folder of node tests");
    let mut folders: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    folders.retain(|folder| folder.join("model.onnx").is_file());
    folders.sort();
    assert!(folders.len() > 1000, "{}: {} node tests only", root.display(), folders.len());
    folders
}

impl NodeTest {
    pub(super) fn read(folder: &Path) -> NodeTest {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let bytes = std::fs::read(folder.join("model.onnx")).expect("a model");
        let model = Model::read(&folder.join("model.onnx")).unwrap_or_else(|e| panic!("{e}"));
        let runs = runs(folder, &bytes);
        NodeTest { name, model, runs }
    }

    /// The domains that its model imports, but ONNX's own.
    pub(super) fn foreign(&self) -> Option<&str> {
        self.model.opsets.keys().map(String::as_str).find(|domain| !domain.is_empty())
    }
}

fn runs(folder: &Path, model: &[u8]) -> Result<Vec<Run>, String> {
    let graph = ModelProto::decode(model).expect("a model").graph.unwrap_or_default();
    let mut names = [Vec::new(), Vec::new()];
    for (names, infos) in names.iter_mut().zip([&graph.input, &graph.output]) {
        for info in infos {
            let kind = info.r#type.clone().unwrap_or_default();
            if let Some(unfit) = unfit(&kind) {
                return Err(unfit);
            }
            names.push(info.name.clone().unwrap_or_default());
        }
    }
    let [inputs, outputs] = names;
    let sets = (0..).map(|i| folder.join(format!("test_data_set_{i}")));
    sets.take_while(|set| set.is_dir())
        .map(|set| {
            let inputs = values(&set, "input", &inputs);
            Ok(Run { inputs, outputs: values(&set, "output", &outputs) })
        })
        .collect()
}

/// Why a value of that type cannot be handed to an engine.
fn unfit(kind: &TypeProto) -> Option<String> {
    let Some(tensor) = &kind.tensor_type else {
        return Some("sequences, optionals and maps are not handed to engines".to_owned());
    };
    let dtype = graphs::DType::from_code(tensor.elem_type.unwrap_or_default());
    use graphs::DType as D;
    let fed = [D::F32, D::F64, D::F16, D::Bool, D::I8, D::I16, D::I32, D::I64];
    let unsigned = [D::U8, D::U16, D::U32, D::U64];
    match dtype {
        Some(dtype) if fed.contains(&dtype) || unsigned.contains(&dtype) => None,
        Some(dtype) => Some(format!("values of {dtype} are not handed to engines")),
        None => Some("values of no type".to_owned()),
    }
}

fn values(set: &Path, kind: &str, names: &[String]) -> Values {
    let value = |(i, name): (usize, &String)| {
        let path = set.join(format!("{kind}_{i}.pb"));
        path.is_file().then(|| (name.clone(), tensor(&path)))
    };
    names.iter().enumerate().filter_map(value).collect()
}

/// The tensor in a file: an initializer without a graph.
fn tensor(path: &Path) -> Tensor {
    let bytes = std::fs::read(path).expect("a tensor's file");
    let mut proto = TensorProto::decode(bytes.as_slice()).expect("a tensor");
    proto.name = Some("value".to_owned());
    let graph = GraphProto { initializer: vec![proto], ..GraphProto::default() };
    let model = ModelProto { graph: Some(graph), ..ModelProto::default() };
    let model = Model::from_proto(model, None).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let value = model.graph.source("value").expect("the tensor");
    model.graph.tensor(value).expect("the tensor").clone()
}
