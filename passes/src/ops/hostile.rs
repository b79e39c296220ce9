//! Attributes come from files: they may be refused, but nothing panics.
#![allow(clippy::unwrap_used)]

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};
use proptest::prelude::*;

use super::Call;
use crate::{Lower, Pass, Tape, gradients};

fn number() -> impl Strategy<Value = i64> {
    let odd = vec![i64::MIN, -1, 0, 1 << 30, 1 << 31, 1 << 62, i64::MAX];
    prop_oneof![20 => 1..5i64, 1 => prop::sample::select(odd)]
}

fn list(count: usize) -> impl Strategy<Value = Vec<i64>> {
    prop::collection::vec(number(), count)
}

fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![9 => 1..9usize, 1 => Just(1 << 30)], 4)
}

fn small() -> impl Strategy<Value = i64> {
    let odd = vec![i64::MIN, -1 << 40, 1 << 30, 1 << 62, i64::MAX];
    prop_oneof![30 => -4..5i64, 1 => prop::sample::select(odd)]
}

/// Operators that read sizes, indices and attributes from files.
const MOVEMENTS: &[&str] = &[
    "CenterCropPad",
    "Col2Im",
    "Concat",
    "CumSum",
    "DepthToSpace",
    "Einsum",
    "Expand",
    "Gather",
    "GatherElements",
    "GatherND",
    "OneHot",
    "Pad",
    "Resize",
    "ReverseSequence",
    "ScatterElements",
    "ScatterND",
    "Slice",
    "SpaceToDepth",
    "Split",
    "Squeeze",
    "Tile",
    "TopK",
    "Trilu",
    "Unsqueeze",
];

proptest! {
    #[test]
    fn no_window_panics(
        name in prop::sample::select(vec!["Conv", "ConvTranspose", "MaxPool", "AveragePool"]),
        lists in prop::collection::vec(list(2), 5),
        pads in list(4),
        group in number(),
        flags in prop::array::uniform2(0..2i64),
        auto in prop::sample::select(vec!["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"]),
        given in prop::array::uniform5(any::<bool>()),
        shape in sizes(),
    ) {
        let kernel: Vec<usize> =
            lists[0].iter().map(|&n| usize::try_from(n).unwrap_or(1)).collect();
        let mut op = Op::new(name).with("kernel_shape", &lists[0][..]).with("auto_pad", auto);
        op = op.with("group", group).with("ceil_mode", flags[0]);
        op = op.with("count_include_pad", flags[1]);
        let names = ["strides", "dilations", "output_padding", "output_shape"];
        for ((name, list), given) in names.iter().zip(&lists[1..]).zip(given) {
            op = if given { op.with(name, &list[..]) } else { op };
        }
        op = if given[4] { op.with("pads", pads) } else { op };
        let mut graph = Graph::new("any");
        let fact = |shape: &[usize]| Fact::new(DType::F32, shape);
        let mut arguments = vec![graph.input("x", Role::Data, fact(&shape))];
        if name.starts_with("Conv") {
            let weight = [&[shape[1]; 2], &kernel[..]].concat();
            arguments.push(graph.input("w", Role::Data, fact(&weight)));
        }
        let mut tape = Tape::new(&mut graph, "any");
        if let Ok(y) = tape.op(op, &arguments)
            && let Ok(loss) = tape.reduce_sum(y, &[0, 1, 2, 3], false)
        {
            _ = gradients(&mut tape, loss, &arguments);
        }
    }

    #[test]
    fn no_movement_panics(
        name in prop::sample::select(MOVEMENTS.to_vec()),
        shape in prop::collection::vec(prop_oneof![9 => 0..6usize, 1 => Just(1 << 30)], 0..5),
        lists in prop::collection::vec(prop::collection::vec(small(), 0..5), 4),
        scales in prop::collection::vec(prop_oneof![0.0..3f32, Just(f32::NAN), Just(1e30)], 0..5),
        equation in "[ab]{0,2}(\\.\\.\\.)?[ab]?,?[bc]{0,2}(->)?[abc]{0,2}",
        text in prop::sample::select(vec!["reflect", "edge", "wrap", "linear", "cubic", "mul", "max"]),
        numbers in prop::collection::vec(small(), 6),
        [floats, constant] in prop::array::uniform2(any::<bool>()),
    ) {
        let mut op = Op::new(name).with("mode", text).with("equation", equation.as_str());
        op = op.with("reduction", text).with("antialias", numbers[5]);
        let names = ["axis", "batch_dims", "blocksize", "num_outputs", "exclusive", "upper"];
        for (name, number) in names.into_iter().zip(&numbers) {
            op = op.with(name, *number);
        }
        let mut graph = Graph::new("any");
        let x = match graphs::element_count(&shape) {
            Some(count @ ..1000) if constant => {
                let tensor = Tensor::new(&shape, (0..count as i64).collect());
                graph.initializer("x", tensor.unwrap())
            }
            _ => graph.input("x", Role::Data, Fact::new(DType::F32, &shape)),
        };
        let mut arguments = vec![Some(x)];
        for (i, list) in lists.iter().enumerate() {
            let tensor = match i {
                1 if floats => Tensor::vector(&scales),
                _ => Tensor::vector(list),
            };
            arguments.push(Some(graph.initializer(&format!("c{i}"), tensor)));
        }
        for count in 1..=arguments.len() {
            let mut graph = graph.clone();
            if let Some(eval) = super::row(&op, "any").unwrap().eval {
                _ = eval(&Call::new(&graph, "any", &op, arguments[..count].to_vec()));
            }
            let mut tape = Tape::new(&mut graph, "any");
            let Ok(y) = tape.call(op.clone(), &arguments[..count], 1) else { continue };
            let rank = tape.shape(y.into()).unwrap_or_default().len();
            let Ok(loss) = tape.reduce_sum(y.into(), &(0..rank).collect::<Vec<_>>(), false) else {
                continue;
            };
            if let Ok(slopes) = gradients(&mut tape, loss, &[x]) {
                graph.output("slope", slopes[0]);
                _ = Lower.run(&mut Model::new(graph));
            }
        }
    }
}
