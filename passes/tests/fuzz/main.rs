//! Damaged files through everything that a file goes through before it runs: decode,
//! check, shape inference. No panic, no second of thought, no memory that the file does
//! not account for.
//!
//!     cargo test -p advbnn-passes --test fuzz                             some thousands
//!     FUZZ_COUNT=1000000 cargo test -p advbnn-passes --test fuzz -- --nocapture
//!
//! Input number `n` is the same in every run. `FUZZ_FROM=n FUZZ_COUNT=1` runs one again,
//! `FUZZ_SEEDS=FOLDER` adds the files of a folder to those that are damaged.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod damage;
mod memory;
mod seeds;
mod structure;
mod wire;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use bytes::Bytes;
use cpu_time::ThreadTime;
use fastrand::Rng;
use graphs::Model;
use passes::{FixBatch, Fold, Hoist, Pass, Pipeline, Upgrade};

/// No single allocation may be larger than so many times the file and [`SLACK`].
const FACTOR: usize = 10;
/// What a file of a few hundred bytes may take besides, for tables and for the constants
/// that are computed (at most 8192 elements, as 8-byte numbers, in a growing vector).
const SLACK: usize = 256 << 10;
/// No input may take longer, in time of the processor: others may use it as well.
const PATIENCE: Duration = Duration::from_secs(1);

/// How far an input came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Reached {
    Nothing,
    Decoded,
    Inferred,
}

#[test]
fn damaged_files_are_errors_or_models() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse().expect(name));
    let (from, count): (u64, u64) =
        (number("FUZZ_FROM").unwrap_or(0), number("FUZZ_COUNT").unwrap_or(4_000));
    let seeds = seeds::all();
    let (mut reached, mut slowest, mut failures) = ([0u64; 3], Duration::ZERO, Vec::new());
    let (mut largest, mut most) = (0f64, 0f64);
    for n in from..from + count {
        let mut rng = Rng::with_seed(n);
        let file = Bytes::from(damage::damaged(&seeds, &mut rng));
        memory::begin();
        let start = ThreadTime::now();
        let outcome = catch_unwind(AssertUnwindSafe(|| run(file.clone(), n)));
        let (time, used) = (start.elapsed(), memory::end());
        let mut fail = |what: String| {
            let path = std::env::temp_dir().join(format!("advbnn-fuzz-{n}.onnx"));
            std::fs::write(&path, &file).expect("a temporary folder");
            failures.push(format!("input {n} ({} bytes, {}): {what}", file.len(), path.display()));
        };
        match outcome {
            Ok(stage) => reached[stage as usize] += 1,
            Err(_) => fail("panic".to_owned()),
        }
        if time > PATIENCE {
            fail(format!("took {time:?}"));
        }
        if used.largest > FACTOR * file.len() + SLACK {
            fail(format!("allocated {} bytes at once", used.largest));
        }
        slowest = slowest.max(time);
        let share = |bytes: usize| bytes.saturating_sub(SLACK) as f64 / file.len().max(1) as f64;
        (largest, most) = (largest.max(share(used.largest)), most.max(share(used.peak)));
        if (n + 1) % 50_000 == 0 {
            eprintln!("{} inputs, {} failures", n + 1, failures.len());
        }
    }
    let [nothing, decoded, inferred] = reached;
    println!(
        "{count} inputs: {nothing} no models, {decoded} models without shapes, {inferred} with; \
         slowest {slowest:?}; beyond {SLACK} bytes, the largest allocation was {largest:.1} and \
         the most memory {most:.1} times the file"
    );
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count < 1000 || reached.iter().all(|&n| n > count / 50), "{reached:?}");
}

fn run(file: Bytes, n: u64) -> Reached {
    let Ok(mut model) = Model::decode(file, None) else { return Reached::Nothing };
    if model.graph.check().is_err() {
        return Reached::Nothing;
    }
    // Every other input as it is, the rest on the way to a program.
    let result = match n % 2 {
        0 => Fold.run(&mut model),
        _ => Pipeline::new().then(Hoist).then(Upgrade).then(FixBatch(2)).then(Fold).run(&mut model),
    };
    if result.is_ok() { Reached::Inferred } else { Reached::Decoded }
}
