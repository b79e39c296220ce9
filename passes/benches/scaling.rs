//! Time by the length of a chain of nodes: it has to grow linearly.
//!
//!     cargo bench -p advbnn-passes --bench scaling
//!
//! Every fourth node reads a weight. One line a length: the milliseconds of the processor
//! that decoding, checking, differentiating (by the input and by one weight) and encoding
//! take, and the whole time per node in relation to that of the first length.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use bytes::Bytes;
use cpu_time::ThreadTime;
use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};

/// As in the program.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() {
    println!("nodes\tdecode\tcheck\tdifferentiate\tencode\ttime per node");
    let mut first = None;
    for nodes in [1_000, 10_000, 100_000] {
        let [decode, check, differentiate, encode] = least(&chain(nodes));
        let whole = (decode + check + differentiate + encode) / nodes as f64;
        let ratio = whole / *first.get_or_insert(whole);
        println!(
            "{nodes}\t{:.1}\t{:.1}\t{:.1}\t{:.1}\t{ratio:.2}",
            decode * 1e3,
            check * 1e3,
            differentiate * 1e3,
            encode * 1e3
        );
    }
}

/// A file with a chain of that many operators from `[1, 8]` to `[1, 8]`.
fn chain(nodes: usize) -> Bytes {
    let mut graph = Graph::new("chain");
    let fact = Fact::new(DType::F32, &[1, 8]);
    let mut value = graph.input("x", Role::Data, fact.clone());
    for i in 0..nodes {
        let call = |op| Op::new(op);
        let (op, weight) = match i % 4 {
            0 => {
                (call("Mul"), Some(graph.initializer(&format!("w{i}"), Tensor::vector(&[1f32; 8]))))
            }
            1 => (call("Relu"), None),
            2 => (call("Tanh"), None),
            _ => (call("Neg"), None),
        };
        let arguments: Vec<_> =
            [Some(value), weight].into_iter().take_while(Option::is_some).collect();
        value = graph.op(&format!("node{i}"), op, &arguments, vec![fact.clone()]).into();
    }
    graph.output("y", value);
    Model::new(graph).to_bytes().unwrap().into()
}

/// The seconds of the processor for the four steps: the least of some runs.
fn least(file: &Bytes) -> [f64; 4] {
    let runs: Vec<[f64; 4]> = (0..5).map(|_| run(file)).collect();
    std::array::from_fn(|step| runs.iter().map(|run| run[step]).fold(f64::INFINITY, f64::min))
}

fn run(file: &Bytes) -> [f64; 4] {
    let (decode, model) = timed(|| Model::decode(file.clone(), None).unwrap());
    let (check, ()) = timed(|| model.graph.check().unwrap());
    let wrt = ["x".to_owned(), "w0".to_owned()];
    let (differentiate, gradient) = timed(|| passes::loss_gradient(&model, None, &wrt).unwrap());
    let (encode, bytes) = timed(|| gradient.to_bytes().unwrap());
    assert!(bytes.len() > file.len());
    [decode, check, differentiate, encode]
}

fn timed<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let start = ThreadTime::now();
    let result = work();
    (start.elapsed().as_secs_f64(), result)
}
