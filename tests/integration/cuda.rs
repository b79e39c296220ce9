//! Every call in a training program has a kernel of the CUDA provider: with fallback to the
//! CPU forbidden, a program with any other call would not load.

use std::collections::{BTreeMap, BTreeSet};

use graphs::{DType, Graph, Model, NodeId, Program};
use passes::{Architecture, AttackLoss, Defense, InitStd, Training};

use crate::models::convert;

const OPSET: u64 = 18;

/// Operator, opsets, and types of elements.
struct Kernel {
    first: u64,
    last: Option<u64>,
    types: BTreeSet<&'static str>,
}

/// `tests/data/kernels-cuda.tsv`, by operator.
fn kernels() -> BTreeMap<&'static str, Vec<Kernel>> {
    let mut kernels: BTreeMap<&str, Vec<Kernel>> = BTreeMap::new();
    let lines = include_str!("../data/kernels-cuda.tsv").lines().filter(|l| !l.starts_with('#'));
    for line in lines {
        let cells: Vec<&str> = line.split('\t').collect();
        let &[op, first, last, types] = cells.as_slice() else { panic!("`{line}`") };
        let types =
            types.split(';').filter_map(|rule| rule.split_once('=')).flat_map(|t| t.1.split(','));
        kernels.entry(op).or_default().push(Kernel {
            first: first.parse().expect("an opset"),
            last: (!last.is_empty()).then(|| last.parse().expect("an opset")),
            types: types.map(str::trim).collect(),
        });
    }
    assert!(kernels.len() > 100, "the whole table");
    kernels
}

fn type_name(dtype: DType) -> String {
    match dtype {
        DType::F32 => "float".to_owned(),
        DType::F64 => "double".to_owned(),
        other => other.to_string(),
    }
}

/// Why the provider would not run a call; `None` if it runs it.
fn refusal(graph: &Graph, id: NodeId, kernels: &BTreeMap<&str, Vec<Kernel>>) -> Option<String> {
    let op = graph.node(id).op()?;
    let name = op.op_type.as_str();
    let serves = |k: &&Kernel| k.first <= OPSET && k.last.is_none_or(|last| last >= OPSET);
    let Some(kernel) = kernels.get(name).and_then(|all| all.iter().find(serves)) else {
        return Some(format!("no kernel for {name}"));
    };
    for value in graph.arguments(id).into_iter().flatten() {
        let dtype = graph.fact(value).dtype.expect("a known type");
        // Axes, shapes and the like are read on the host.
        let parameter = dtype == DType::I64 && graph.tensor(value).is_some();
        if !parameter && !kernel.types.contains(type_name(dtype).as_str()) {
            return Some(format!("no kernel for {name} of {dtype}"));
        }
    }
    let pads = op.ints("pads").unwrap_or_default();
    let (before, after) = pads.split_at(pads.len() / 2);
    match name {
        "ConvTranspose" if before != after => Some("ConvTranspose with uneven pads".to_owned()),
        "BatchNormalization" if op.int("training_mode", 0) != 0 => {
            Some("BatchNormalization in training".to_owned())
        }
        _ => None,
    }
}

fn check(program: &Program, what: &str, kernels: &BTreeMap<&str, Vec<Kernel>>) {
    let graph = &program.model.graph;
    assert_eq!(program.model.opset(), OPSET as i64);
    let refused: BTreeSet<String> = graph
        .op_order()
        .expect("no cycle")
        .into_iter()
        .filter_map(|id| refusal(graph, id, kernels))
        .collect();
    assert!(refused.is_empty(), "{what}: {refused:?}");
}

#[test]
fn every_call_of_a_training_program_has_a_kernel() {
    let kernels = kernels();
    for architecture in Architecture::ALL {
        let size = if architecture == Architecture::ModelA { 96 } else { 32 };
        let plain = architecture.build([3, size, size], 10, 0.25, 0).expect("a network");
        let bayesian = convert(plain.clone(), InitStd::Constant(0.05));
        let each: [(&Model, Defense); 2] = [(&plain, Defense::Adv), (&bayesian, Defense::AdvBnn)];
        for (model, defense) in each {
            let name = |purpose: &str| format!("{architecture:?}, {defense}, {purpose}");
            check(&passes::predict(model, 8).expect("a program"), &name("predict"), &kernels);
            check(&passes::attack(model, 8).expect("a program"), &name("attack"), &kernels);
            for loss in [AttackLoss::CrossEntropy, AttackLoss::Dlr, AttackLoss::TargetedDlr] {
                let gradient = passes::image_gradient(model, 8, loss).expect("a program");
                check(&gradient, &name(&format!("gradient of {loss:?}")), &kernels);
            }
            let training = Training::published(defense);
            let update = passes::update(model, 8, &training).expect("a program");
            check(&update, &name("update"), &kernels);
        }
    }
}

#[test]
fn a_call_without_a_kernel_is_seen() {
    let mut graph = Graph::new("test");
    let fact = graphs::Fact::new(DType::F32, &[1, 1, 4, 4]);
    let x = graph.input("x", graphs::Role::Data, fact.clone());
    let bad = graph.op("bad", graphs::Op::new("Col2Im"), &[Some(x)], vec![fact.clone()]);
    let good = graph.op("good", graphs::Op::new("Relu"), &[Some(x)], vec![fact]);
    let kernels = kernels();
    assert_eq!(refusal(&graph, bad, &kernels).as_deref(), Some("no kernel for Col2Im"));
    assert_eq!(refusal(&graph, good, &kernels), None);
}
