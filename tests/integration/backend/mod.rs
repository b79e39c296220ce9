//! ONNX's own node tests: every model is decoded, upgraded, checked, encoded and run on both
//! engines; shapes are inferred and constants folded; gradients are compared with finite
//! differences.
//!
//! `cargo test --test integration backend -- --nocapture` prints the counts. The file that
//! `ADVBNN_NODE_TABLE` names gets a line for every test and check.

mod cases;
mod compare;
mod folded;
mod slopes;
mod values;
mod verdict;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use crate::engines::engines;
use cases::{NodeTest, Run, folders};
use verdict::Verdict::{self, Inapplicable};
use verdict::{Count, table};

/// A check of one node test.
type Check = fn(&NodeTest, &[Run]) -> Verdict;

const CHECKS: [(&str, Check); 5] = [
    ("values on tract", |test, runs| values::agree(engines()[0].as_ref(), test, runs)),
    ("values on ort", |test, runs| values::agree(engines()[1].as_ref(), test, runs)),
    ("shapes and constants", |test, runs| folded::agrees(engines(), test, runs)),
    ("gradient on tract", |test, runs| slopes::agree(engines()[0].as_ref(), test, runs)),
    ("gradient on ort", |test, runs| slopes::agree(engines()[1].as_ref(), test, runs)),
];

fn check(folder: &Path) -> (String, Vec<Verdict>) {
    let test = NodeTest::read(folder);
    let verdict = |(_, check): &(_, Check)| match (test.foreign(), &test.runs) {
        (Some(domain), _) => {
            Inapplicable("operators of another domain".to_owned(), domain.to_owned())
        }
        (None, Err(reason)) => Inapplicable(reason.clone(), String::new()),
        (None, Ok(runs)) => check(&test, runs),
    };
    (test.name.clone(), CHECKS.iter().map(verdict).collect())
}

/// Every folder's verdicts, by as many threads as the machine has.
fn verdicts(folders: &[PathBuf]) -> Vec<(String, Vec<Verdict>)> {
    let next = AtomicUsize::new(0);
    let take = || folders.get(next.fetch_add(1, Ordering::Relaxed));
    let work = || std::iter::from_fn(take).map(|folder| check(folder)).collect::<Vec<_>>();
    let count = thread::available_parallelism().map_or(1, usize::from);
    let mut all: Vec<_> = thread::scope(|scope| {
        let workers: Vec<_> = (0..count).map(|_| scope.spawn(work)).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("no panic")).collect()
    });
    all.sort_by(|(a, _), (b, _)| a.cmp(b));
    all
}

#[test]
fn every_node_test_passes_where_it_applies() {
    let verdicts = verdicts(&folders());
    let names = CHECKS.map(|(name, _)| name);
    if let Some(path) = std::env::var_os("ADVBNN_NODE_TABLE") {
        std::fs::write(path, table(&verdicts, &names)).expect("a table");
    }
    println!("{} node tests", verdicts.len());
    let mut failures = Vec::new();
    for (i, name) in names.iter().enumerate() {
        let mut count = Count::default();
        for (test, verdicts) in &verdicts {
            count.add(test, verdicts[i].clone());
        }
        println!("{name}: {count}");
        failures.extend(count.failures().iter().map(|failure| format!("{name}: {failure}")));
    }
    assert!(failures.is_empty(), "{} failures:\n{}", failures.len(), failures.join("\n"));
}
