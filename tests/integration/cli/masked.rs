//! Models whose gradients mislead: an evaluation has to say so.

use graphs::{DType, Dim, Fact, Graph, Model, Op, Role, Tensor, Value};

use super::{Place, write_idx};

/// What stands between the image and the classes.
enum Mask {
    /// Nothing: an honest linear classifier.
    None,
    /// Logits so large that float32 knows no doubt, and so no gradient.
    Scale,
    /// Pixels rounded to quarters, which has the gradient 0.
    Quantise,
}

/// Writes a model that names the brightest of the rows 0, 2 and 4 of 8x8 pixels.
fn write_model(place: &Place, name: &str, mask: Mask) {
    let mut graph = Graph::new("rows");
    let mut image = Fact::new(DType::F32, &[1, 1, 8, 8]);
    image.shape.as_mut().expect("a shape")[0] = Dim::Named("N".into());
    let mut x = graph.input("input", Role::Data, image);
    let constant =
        |graph: &mut Graph, name: &str, value: f32| graph.initializer(name, Tensor::scalar(value));
    let op = |graph: &mut Graph, op: Op, arguments: &[Value]| -> Value {
        let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
        graph.op("", op, &arguments, vec![Fact::default()]).into()
    };
    if let Mask::Quantise = mask {
        let levels = constant(&mut graph, "levels", 4.0);
        x = op(&mut graph, Op::new("Mul"), &[x, levels]);
        x = op(&mut graph, Op::new("Floor"), &[x]);
        x = op(&mut graph, Op::new("Div"), &[x, levels]);
    }
    let weight = (0..64 * 3).map(|i| f32::from(u8::from(i / 3 / 8 == 2 * (i % 3)))).collect();
    let weight = graph.initializer("weight", Tensor::new(&[64, 3], weight).expect("192 numbers"));
    let flat = op(&mut graph, Op::new("Flatten"), &[x]);
    let mut logits = op(&mut graph, Op::new("MatMul"), &[flat, weight]);
    if let Mask::Scale = mask {
        let scale = constant(&mut graph, "scale", 1e4);
        logits = op(&mut graph, Op::new("Mul"), &[logits, scale]);
    }
    graph.output("logits", logits);
    Model::new(graph).write(&place.path(name)).expect("written");
}

/// The verdict of every check of a quick evaluation, and the accuracies that Square and PGD
/// leave.
fn evaluated(mask: Mask) -> (Vec<(String, String)>, f64, f64) {
    let place = Place::new();
    write_model(&place, "net.onnx", mask);
    write_idx(&place.path("data"), "t10k", 30, 8);
    let report =
        place.json("evaluate net.onnx --data data --engine tract --budget quick --eps 0.45 --json");
    assert_eq!(report["clean"]["accuracy"], 100.0);
    let text = |value: &serde_json::Value| value.as_str().expect("a text").to_owned();
    let checks = report["checks"].as_array().expect("a list").iter();
    let verdicts = checks.map(|check| (text(&check["check"]), text(&check["verdict"]))).collect();
    let left = |attack: &str| {
        let rows = report["probes"]["rows"].as_array().expect("a list").iter();
        let of = rows.filter(|row| row["attack"] == attack && row["eps"] == 0.45);
        of.filter_map(|row| row["accuracy"].as_f64()).fold(100.0, f64::min)
    };
    (verdicts, left("square"), left("pgd"))
}

const TELLING: [&str; 3] = [
    "the gradient is nowhere zero",
    "no accuracy is left at radius 0.5",
    "attacks without its gradient are weaker",
];

#[test]
fn an_honest_model_passes() {
    let (verdicts, _, pgd) = evaluated(Mask::None);
    assert_eq!(pgd, 0.0);
    assert!(verdicts.iter().all(|(_, verdict)| verdict != "WARN"), "{verdicts:?}");
    for check in TELLING {
        assert!(verdicts.contains(&(check.to_owned(), "PASS".to_owned())), "{verdicts:?}");
    }
}

#[test]
fn masked_gradients_end_in_warnings_and_square_sees_through_them() {
    for mask in [Mask::Scale, Mask::Quantise] {
        let (verdicts, square, pgd) = evaluated(mask);
        assert!(pgd > 90.0 && square < 20.0, "PGD leaves {pgd} %, Square {square} %");
        for check in TELLING {
            assert!(verdicts.contains(&(check.to_owned(), "WARN".to_owned())), "{verdicts:?}");
        }
    }
}
