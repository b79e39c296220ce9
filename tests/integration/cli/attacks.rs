//! How strong the attacks are, on the quickstart's classifier and on models that mask their
//! gradients, and what `evaluate` and `transfer` say of it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use graphs::{Fact, Graph, Kind, Model, Op, Role, Tensor, Value};
use serde_json::Value as Json;

use super::{Place, write_idx};

fn assets() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("assets")
}

fn op(graph: &mut Graph, op: &str, arguments: &[Value]) -> Value {
    let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
    graph.op("", Op::new(op), &arguments, vec![Fact::default()]).into()
}

/// A place with the quickstart's classifier as `net.onnx`, and two that mask its gradient:
/// `steep.onnx`, whose logits are so large that float32 knows no doubt, and `coarse.onnx`, which
/// rounds its pixels to quarters.
fn place() -> Place {
    let place = Place::new();
    let net = Model::read(&assets().join("fashion-cnn.onnx")).expect("a model");
    net.write(&place.path("net.onnx")).expect("written");

    let mut steep = net.clone();
    let graph = &mut steep.graph;
    let scale = graph.initializer("mask.scale", Tensor::scalar(1e4f32));
    let logits = graph.outputs[0].value;
    graph.outputs[0].value = op(graph, "Mul", &[logits, scale]);
    steep.write(&place.path("steep.onnx")).expect("written");

    let mut coarse = net;
    let graph = &mut coarse.graph;
    let data = |id: &&graphs::NodeId| matches!(graph.node(**id).kind, Kind::Input(Role::Data));
    let images: Value = (*graph.inputs.iter().find(data).expect("an input")).into();
    let uses = graph.uses(images);
    let levels = graph.initializer("mask.levels", Tensor::scalar(4f32));
    let large = op(graph, "Mul", &[images, levels]);
    let round = op(graph, "Round", &[large]);
    let coarse_images = op(graph, "Div", &[round, levels]);
    graph.redirect(uses, coarse_images);
    coarse.write(&place.path("coarse.onnx")).expect("written");
    place
}

/// What `evaluate` says of 60 images at radius `eps` under `attacks`.
fn evaluate(place: &Place, model: &str, eps: &str, attacks: &[&str], more: &str) -> Json {
    let data = assets().join("fashion-mnist");
    let attacks: Vec<String> = attacks.iter().map(|spec| format!("--attack {spec}")).collect();
    let limit = if more.contains("--limit") { "" } else { "--limit 60" };
    place.json(&format!(
        "evaluate {model} --data {} {limit} --batch 30 --eps {eps} --engine tract --json {} {more}",
        data.display(),
        attacks.join(" ")
    ))
}

/// The accuracy under each attack, by its spec.
fn accuracies(report: &Json) -> BTreeMap<String, f64> {
    let rows = report["attacks"].as_array().expect("a list").iter();
    let row = |row: &Json| {
        let spec = row["spec"].as_str().expect("a spec").to_owned();
        (spec, row["accuracy"].as_f64().expect("a number"))
    };
    rows.map(row).collect()
}

#[test]
fn stronger_attacks_leave_less_of_an_undefended_network() {
    let place = place();
    let specs = [
        "noise",
        "fgsm",
        "pgd:steps=10",
        "pgd:steps=10,eot=5",
        "pgd:steps=10,momentum=0.25",
        "pgd:steps=10,restarts=3",
        "pgd:steps=40",
        "apgd-ce:steps=40",
        "apgd-dlr:steps=10",
        "apgd-t:steps=5,targets=3",
        "square:queries=150",
    ];
    let report = evaluate(&place, "net.onnx", "0.03", &specs, "");
    let left = accuracies(&report);
    let clean = report["clean"]["accuracy"].as_f64().expect("a number");
    assert!(clean > 70.0 && left["noise"] > clean - 10.0, "{left:?}");
    assert!(left["fgsm"] < left["noise"] - 20.0, "{left:?}");
    assert!(left["pgd:steps=10"] <= left["fgsm"], "{left:?}");
    assert_eq!(left["pgd:steps=10"], left["pgd:steps=10,eot=5"], "no noise, no draws");
    assert!(left["apgd-ce:steps=40"] <= left["pgd:steps=40"], "{left:?}");
    assert!(left["pgd:steps=10,restarts=3"] <= left["pgd:steps=10"], "{left:?}");
    for other in ["apgd-dlr:steps=10", "apgd-t:steps=5,targets=3", "pgd:steps=10,momentum=0.25"] {
        assert!(left[other] <= left["fgsm"], "{other}: {left:?}");
    }
    assert!(left["square:queries=150"] < left["noise"] - 10.0, "{left:?}");
    let worst = &report["worst"][0];
    assert_eq!((&worst["norm"], &worst["attacks"]), (&"linf".into(), &11.into()));
    let least = left.values().copied().fold(100.0, f64::min);
    assert!(worst["accuracy"].as_f64().expect("a number") <= least);
}

#[test]
fn the_worst_case_of_a_cumulative_evaluation_is_that_of_a_full_one() {
    let place = place();
    let specs = ["fgsm", "apgd-ce:steps=5", "square:queries=50"];
    let full = evaluate(&place, "net.onnx", "0.02", &specs, "");
    let quick = evaluate(&place, "net.onnx", "0.02", &specs, "--cumulative");
    assert_eq!(full["worst"], quick["worst"]);
    let last = quick["attacks"].as_array().expect("a list").last().expect("an attack");
    assert_eq!(last["accuracy"], quick["worst"][0]["accuracy"]);
    assert!(full["attacks"][2]["accuracy"].as_f64() > last["accuracy"].as_f64());
}

#[test]
fn masked_gradients_defeat_pgd_and_neither_square_nor_transfer() {
    let place = place();
    for model in ["steep.onnx", "coarse.onnx"] {
        let specs = ["pgd", "apgd-ce:steps=20", "square:queries=400", "transfer:from=net.onnx"];
        let left = accuracies(&evaluate(&place, model, "0.15", &specs, ""));
        assert!(left["pgd"] > 50.0, "{model}: {left:?}");
        assert!(left["square:queries=400"] < 10.0, "{model}: {left:?}");
        assert!(left["transfer:from=net.onnx"] < 10.0, "{model}: {left:?}");
    }
    // The difference of logits ratio does not change with the scale of the logits.
    let left = accuracies(&evaluate(&place, "steep.onnx", "0.15", &["apgd-dlr:steps=20"], ""));
    assert!(left["apgd-dlr:steps=20"] < 10.0, "{left:?}");
}

#[test]
fn l2_attacks_have_a_radius_of_their_own() {
    let place = place();
    let specs =
        ["fgsm:norm=l2", "pgd:norm=l2,steps=40", "apgd-ce:norm=l2,steps=40", "noise:norm=l2"];
    let report = evaluate(&place, "net.onnx", "0.5,1.5", &specs, "");
    let rows = report["attacks"].as_array().expect("a list");
    let left = |spec: &str, eps: f64| {
        let row = rows.iter().find(|row| row["spec"] == spec && row["eps"] == eps);
        row.expect("a row")["accuracy"].as_f64().expect("a number")
    };
    for eps in [0.5, 1.5] {
        let [fgsm, pgd, apgd, noise] = specs.map(|spec| left(spec, eps));
        assert!(apgd <= pgd && pgd <= fgsm && fgsm < noise, "{apgd} {pgd} {fgsm} {noise}");
    }
    assert!(left("pgd:norm=l2,steps=40", 1.5) < left("pgd:norm=l2,steps=40", 0.5));
    assert_eq!(report["worst"][1]["norm"], "l2");
    let budget = "--budget quick --limit 20";
    let checked = evaluate(&place, "net.onnx", "1.5", &["pgd:norm=l2,steps=10"], budget);
    let rows = checked["probes"]["rows"].as_array().expect("a list");
    assert!(rows.len() > 5 && rows.iter().all(|row| row["norm"] == "l2"), "{rows:?}");
    let checks = checked["checks"].as_array().expect("a list");
    let passed = checks.iter().filter(|check| check["verdict"] == "PASS");
    assert!(passed.count() > 5, "{checks:?}");
    place.fails(
        2,
        &format!(
            "evaluate net.onnx --data {} --eps 1.5 --attack pgd",
            assets().join("fashion-mnist").display()
        ),
        &["--eps 1.5", "pgd", "0 to 1"],
    );
}

#[test]
fn every_attack_runs_on_a_random_network_and_repeats_itself() {
    let place = place();
    place.succeeds("convert net.onnx -o bayes.onnx --init-s 0.03");
    let specs = [
        "pgd:steps=3,eot=2,restarts=2",
        "apgd-ce:steps=3,eot=2",
        "apgd-t:steps=2,eot=2,targets=2",
        "square:queries=9,eot=2",
        "fixed-noise:steps=3,eot=2",
        "mean-weight:steps=3",
        "transfer:from=net.onnx,steps=3",
    ];
    let run = || evaluate(&place, "bayes.onnx", "0.03", &specs, "--samples 4 --limit 20");
    let report = run();
    assert_eq!(report, run());
    let draws: Vec<u64> = report["attacks"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|row| row["draws"].as_u64())
        .collect();
    assert_eq!(draws, [2, 2, 2, 2, 2, 1, 1]);
    let worst = report["worst"][0]["accuracy"].as_f64();
    assert!(accuracies(&report).values().all(|accuracy| worst <= Some(*accuracy)));
}

#[test]
fn transfer_prints_and_writes_the_documented_matrix() {
    let place = place();
    place.succeeds("new small-cnn -o other.onnx --input 1x28x28 --classes 10 --width 0.25");
    let data = assets().join("fashion-mnist");
    let arguments = format!(
        "transfer net.onnx steep.onnx other.onnx --data {} --eps 0.06 --limit 60 --engine tract",
        data.display()
    );
    let report = place.json(&format!("{arguments} -o matrix --json"));
    assert_eq!(report["models"], serde_json::json!(["net.onnx", "steep.onnx", "other.onnx"]));
    assert_eq!((&report["eps"], &report["images"]), (&0.06.into(), &60.into()));
    let number = |matrix: &str, i: usize, j: usize| report[matrix][i][j].as_f64();
    // Steep is net with larger logits: what fools one fools the other.
    assert_eq!(number("accuracy", 0, 1), number("accuracy", 0, 0));
    assert_eq!(number("affinity", 0, 0), Some(1.0));
    assert!(number("affinity", 2, 0) < Some(0.5), "an untrained network knows no weak spot");
    let written = std::fs::read_to_string(place.path("matrix/transfer.json")).expect("a file");
    assert_eq!(serde_json::from_str::<Json>(&written).expect("JSON"), report);
    let csv = std::fs::read_to_string(place.path("matrix/affinity.csv")).expect("a file");
    assert_eq!(csv.lines().next(), Some("source,\"net.onnx\",\"steep.onnx\",\"other.onnx\""));
    assert_eq!(csv.lines().count(), 4);
    let table = place.succeeds(&arguments);
    assert!(table.contains("attacked on steep.onnx") && table.contains("affinity"), "{table}");
    place.fails(2, &arguments.replace("0.06", "0"), &["--eps 0", "above 0"]);
    let circle = format!("{arguments} --attack transfer:from=net.onnx");
    place.fails(2, &circle, &["transfer:from=net.onnx", "pgd"]);
}

#[test]
fn a_normalization_is_put_in_front_of_the_model_alone() {
    let place = place();
    let normalize = "--normalize 0.1/0.8";
    place.succeeds(&format!("convert net.onnx -o own.onnx --layers none {normalize}"));
    let specs = ["transfer:from=net.onnx,steps=5"];
    let inside = evaluate(&place, "own.onnx", "0.03", &specs, "");
    let in_front = evaluate(&place, "net.onnx", "0.03", &specs, normalize);
    assert_eq!(inside["attacks"][0]["accuracy"], in_front["attacks"][0]["accuracy"]);
    // One with a normalization of its own attacks otherwise.
    let other = evaluate(&place, "own.onnx", "0.03", &["transfer:from=own.onnx,steps=5"], "");
    assert_ne!(inside["attacks"][0]["accuracy"], other["attacks"][0]["accuracy"]);

    let data = assets().join("fashion-mnist");
    let arguments = format!(
        "evaluate net.onnx --data {} --limit 2 --engine tract --attack {} {normalize}",
        data.display(),
        specs[0]
    );
    let output = place.advbnn(&arguments).output().expect("it runs");
    let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(remarks.contains("note: --normalize is for MODEL alone"), "{remarks}");
}

#[test]
fn a_budget_is_for_models_of_two_classes_too() {
    let place = Place::new();
    place.succeeds("new small-cnn -o two.onnx --input 1x28x28 --classes 2");
    write_idx(&place.path("data"), "t10k", 2, 28);
    let flags = "evaluate two.onnx --data data --engine tract --eps 0.1";
    let report = place.json(&format!("{flags} --budget quick --json"));
    assert!(report["attacks"].as_array().expect("a list").len() > 3);
    let checks = report["checks"].as_array().expect("a list").iter();
    let other_loss = |check: &&Json| check["check"].as_str().is_some_and(|c| c.contains("loss"));
    let idle = checks.filter(other_loss).map(|check| check["verdict"].clone());
    assert_eq!(idle.collect::<Vec<Json>>(), ["NOT RUN"]);
    let output = place.advbnn(&format!("{flags} --budget quick --limit 1")).output();
    let remarks = String::from_utf8_lossy(&output.expect("it runs").stderr).into_owned();
    assert!(remarks.contains("the budget leaves out apgd-dlr: "), "{remarks}");
    // What is asked for is not left out.
    place.fails(1, &format!("{flags} --budget quick --attack apgd-dlr"), &["DLR", "three"]);
    place.fails(2, &format!("{flags} --samples 100001"), &["--samples", "100000"]);
}
