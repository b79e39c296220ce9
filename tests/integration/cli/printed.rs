//! What commands print, and the models that they write.

use std::fs;

use graphs::{DType, Fact, Graph, Model, Op, Role, Tensor};

use super::{Place, write_idx};

#[test]
fn inspect_prints_the_documented_object() {
    let place = Place::new();
    place.succeeds("new small-cnn -o net.onnx --input 1x28x28 --classes 10 --width 0.25");
    let summary = place.json("inspect net.onnx --json");
    assert_eq!(summary["nodes"], 15);
    // Conv 80 + 1,168 + 4,640, BatchNormalization 16 + 32 + 64, Gemm 330.
    assert_eq!(summary["parameters"], 6330);
    assert_eq!(summary["opset"], 18);
    assert_eq!(summary["operators"]["Conv"], 3);
    assert_eq!(summary["variational"], 7);
    assert_eq!(summary["differentiable"], true);
    assert_eq!(summary["obstacles"], serde_json::json!([]));

    place.succeeds("convert net.onnx -o bayes.onnx");
    let summary = place.json("inspect bayes.onnx --json");
    assert_eq!(summary["parameters"], 2 * 6330);
    assert_eq!(summary["operators"]["VariationalConv"], 3);
    assert_eq!((&summary["variational"], &summary["converted"]), (&7.into(), &true.into()));
}

#[test]
fn fresh_weights_follow_the_seed() {
    let place = Place::new();
    for (name, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        place.succeeds(&format!("new small-cnn -o {name}.onnx --width 0.1 --seed {seed}"));
    }
    let file = |name| fs::read(place.path(name)).expect("a file");
    assert_eq!(file("a.onnx"), file("b.onnx"));
    assert_ne!(file("a.onnx"), file("c.onnx"));
}

#[test]
fn converting_no_layers_copies_the_model() {
    let place = Place::with_models();
    place.succeeds("convert net.onnx -o copy.onnx --layers none");
    let file = |name| fs::read(place.path(name)).expect("a file");
    assert_eq!(file("copy.onnx"), file("net.onnx"));
}

#[test]
fn convert_takes_the_layers_that_are_asked_for() {
    let place = Place::with_models();
    let variational = |flags: &str| {
        place.succeeds(&format!("convert net.onnx -o some.onnx {flags}"));
        place.json("inspect some.onnx --json")["operators"].clone()
    };
    let operators = variational("--layers linear");
    assert_eq!((&operators["VariationalGemm"], &operators["Conv"]), (&1.into(), &3.into()));
    let operators = variational("--include features.0");
    assert_eq!((&operators["VariationalConv"], &operators["Conv"]), (&1.into(), &2.into()));
}

#[test]
fn evaluate_prints_the_documented_object_and_the_same_one_again() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "t10k", 7, 8);
    let arguments = "evaluate bayes.onnx --data data --engine tract --json -o results --samples 3 \
                     --batch 4 --eps 0.1,0.3 --attack pgd:steps=2,eot=2 --attack noise --seed 5";
    let report = place.json(arguments);
    assert_eq!(report["model"], "bayes.onnx");
    assert_eq!((&report["images"], &report["samples"]), (&7.into(), &3.into()));
    let percent = |value: &serde_json::Value| {
        let accuracy = value["accuracy"].as_f64().expect("a number");
        assert!((accuracy / 100.0 * 7.0 - (accuracy / 100.0 * 7.0).round()).abs() < 1e-9);
        assert!((0.0..=100.0).contains(&accuracy));
    };
    percent(&report["clean"]);
    let attacks = report["attacks"].as_array().expect("a list");
    let run = |i: usize| {
        let attack = &attacks[i];
        percent(attack);
        let name = attack["attack"].as_str().expect("a name").to_owned();
        let number = |key: &str| attack[key].as_f64().expect("a number");
        (name, number("eps"), number("steps"), number("draws"))
    };
    assert_eq!(attacks.len(), 4);
    assert_eq!(run(0), ("pgd".to_owned(), 0.1, 2.0, 2.0));
    assert_eq!(run(1), ("pgd".to_owned(), 0.3, 2.0, 2.0));
    assert_eq!(run(3), ("noise".to_owned(), 0.3, 0.0, 1.0));
    let saved = fs::read(place.path("results/results.json")).expect("a file");
    assert_eq!(serde_json::from_slice::<serde_json::Value>(&saved).expect("JSON"), report);
    assert_eq!(place.json(arguments), report);
}

#[test]
fn a_fresh_network_runs_on_the_embedded_engine() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "t10k", 6, 8);
    let report = place.json("evaluate net.onnx --data data --engine tract --eps 0.1 --json");
    assert_eq!((&report["samples"], &report["attacks"][0]["draws"]), (&1.into(), &1.into()));
}

#[test]
fn predict_names_the_classes() {
    let place = Place::with_models();
    image::GrayImage::new(8, 8).save(place.path("black.png")).expect("written");
    fs::write(place.path("names.txt"), "cat\ndog\nowl\n").expect("written");
    let found = place
        .json("predict bayes.onnx black.png black.png --labels names.txt --json --engine tract");
    assert_eq!(found.as_array().map(Vec::len), Some(2));
    let first = &found[0];
    assert_eq!(first["image"], "black.png");
    assert!(["cat", "dog", "owl"].contains(&first["label"].as_str().expect("a name")));
    let all: Vec<f64> = first["probabilities"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|p| p.as_f64())
        .collect();
    assert_eq!(all.len(), 3);
    assert!((all.iter().sum::<f64>() - 1.0).abs() < 1e-5);
    let number = |key: &str| first[key].as_f64().expect("a number");
    assert_eq!(number("probability"), all.iter().copied().fold(0.0, f64::max));
    assert!((0.0..=3f64.ln() + 1e-5).contains(&number("predictive_entropy")));
    assert!(number("mutual_information") <= number("predictive_entropy"));
}

#[test]
fn gradient_and_export_have_the_documented_inputs_and_outputs() {
    let place = Place::with_models();
    let ports = |command: &str| {
        place.succeeds(command);
        let graph = Model::read(&place.path("out.onnx")).expect("a model").graph;
        let inputs: Vec<_> = graph.inputs.iter().map(|&id| graph.node(id).name.clone()).collect();
        let outputs: Vec<_> = graph.outputs.iter().map(|port| port.name.clone()).collect();
        (inputs.join(" "), outputs.join(" "))
    };
    let ports_are = |command: &str, inputs: &str, outputs: &str| {
        assert_eq!(ports(command), (inputs.to_owned(), outputs.to_owned()), "{command}");
    };
    let wrt = "gradient net.onnx -o out.onnx --wrt input,classifier.bias --batch 2";
    ports_are(wrt, "input labels", "logits loss input.grad classifier.bias.grad");
    ports_are("gradient net.onnx -o out.onnx", "input labels", "logits loss input.grad");
    let export = "export bayes.onnx -o out.onnx";
    let ensemble = "probabilities predictive_entropy mutual_information";
    ports_are(export, "input", "probabilities");
    ports_are(&format!("{export} --mode mean"), "input", "probabilities");
    ports_are(&format!("{export} --mode frozen"), "input", "probabilities");
    ports_are(&format!("{export} --samples 4"), "input", ensemble);
    ports_are(&format!("{export} --samples 4 --noise seed"), "input seed", ensemble);
}

#[test]
fn quiet_leaves_out_remarks_on_models_too() {
    let place = Place::new();
    // Two images of six pixels, mixed so that no other number of them would do.
    let mut graph = Graph::new("mixed");
    let x = graph.input("input", Role::Data, Fact::new(DType::F32, &[2, 6]));
    let weight = (0..16).map(|i| i as f32 / 16.0).collect();
    let [mix, weight, back] = [
        ("mix", Tensor::vector(&[3i64, 4])),
        ("weight", Tensor::new(&[4, 4], weight).expect("16 values")),
        ("back", Tensor::vector(&[2i64, 6])),
    ]
    .map(|(name, tensor)| graph.initializer(name, tensor));
    let mut logits = x;
    for (op, other, shape) in
        [("Reshape", mix, [3, 4]), ("MatMul", weight, [3, 4]), ("Reshape", back, [2, 6])]
    {
        let facts = vec![Fact::new(DType::F32, &shape)];
        logits = graph.op("", Op::new(op), &[Some(logits), Some(other)], facts).into();
    }
    graph.output("logits", logits);
    Model::new(graph).write(&place.path("fixed.onnx")).expect("written");
    for line in ["convert fixed.onnx -o bayes.onnx", "export fixed.onnx -o mean.onnx --mode mean"] {
        let remarks = |line: &str| {
            let output = place.advbnn(line).output().expect("it runs");
            let remarks = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.code(), Some(0), "{line}: {remarks}");
            remarks
        };
        let told = remarks(line);
        assert!(told.contains("fixed.onnx: the batch size stays"), "{line}: {told}");
        assert_eq!(remarks(&format!("{line} --quiet")), "");
    }
}
