//! Regressions from a file of numbers to a report of errors.

mod data;

use graphs::{DType, Fact, Model};

use super::{Place, write_idx};
use crate::models::doubles;
use data::{Data, FEATURES, RESIDUAL, features, write_data, write_linear};

const PRIOR: f64 = 0.5;

/// Solves a x = y for a positive definite a `[n, n]`, by elimination.
fn solve(mut a: Vec<Vec<f64>>, mut y: Vec<f64>) -> Vec<f64> {
    let n = y.len();
    for i in 0..n {
        for j in i + 1..n {
            let factor = a[j][i] / a[i][i];
            let row = a[i].clone();
            a[j].iter_mut().zip(&row).for_each(|(value, above)| *value -= factor * above);
            y[j] -= factor * y[i];
        }
    }
    for i in (0..n).rev() {
        let rest: f64 = (i + 1..n).map(|k| a[i][k] * y[k]).sum();
        y[i] = (y[i] - rest) / a[i][i];
    }
    y
}

/// For a linear model, a Gaussian residual and a Gaussian prior the best factorized posterior is
/// known: its mean is that of the exact posterior, (X'X / s^2 + I / p^2)^-1 X'y / s^2, and its
/// standard deviations are the roots of the inverse of that matrix's diagonal.
#[test]
fn the_posterior_is_that_of_bayesian_linear_regression() {
    let place = Place::new();
    let truth = [0.7, -0.9, 0.4, 0.1, -0.3, 0.6, 0.3];
    let data = Data::linear(1, 512, &truth);
    write_data(&place.path("data.npz"), &data, &Data::linear(2, 16, &truth));
    write_linear(&place.path("linear.onnx"), &[0.0; FEATURES + 1]);
    place.succeeds(&format!("convert linear.onnx -o bayes.onnx --init-s 0.05 --prior {PRIOR}"));
    place.succeeds(&format!(
        "train bayes.onnx --data data.npz -o run --defense bnn --likelihood gaussian:{RESIDUAL} \
         --epochs 250 --batch 64 --lr 0.02 --schedule cosine --engine tract --threads 1"
    ));
    let rows: Vec<Vec<f64>> = data.pixels.chunks(FEATURES).map(|r| features(r).collect()).collect();
    let (residual, prior) = (RESIDUAL.powi(-2), PRIOR.powi(-2));
    let precision: Vec<Vec<f64>> = (0..=FEATURES)
        .map(|i| {
            let of = |j: usize| residual * rows.iter().map(|row| row[i] * row[j]).sum::<f64>();
            (0..=FEATURES).map(|j| of(j) + if i == j { prior } else { 0.0 }).collect()
        })
        .collect();
    let moment = |i: usize| {
        let pairs = rows.iter().zip(&data.targets);
        residual * pairs.map(|(row, y)| row[i] * f64::from(*y)).sum::<f64>()
    };
    let expected = solve(precision.clone(), (0..=FEATURES).map(moment).collect());
    let model = Model::read(&place.path("run/model.onnx")).expect("a model");
    let held = |name: &str| {
        let of = |name: String| {
            let value = model.graph.source(&name).expect("a parameter");
            doubles(model.graph.tensor(value).expect("a constant"))
        };
        [of(format!("w.{name}")), of(format!("b.{name}"))].concat()
    };
    let (means, log_stds) = (held("mean"), held("log_std"));
    for i in 0..=FEATURES {
        let std = precision[i][i].powf(-0.5);
        let off = (means[i] - expected[i]).abs();
        assert!(off < 0.5 * std, "mean {i}: {}, {} of std {std}", means[i], expected[i]);
        let ratio = log_stds[i].exp() / std;
        assert!((0.8..1.25).contains(&ratio), "std {i}: {} times {std}", ratio);
    }
}

/// The error of a linear regression is greatest at x + eps * sign(w r), for a residual r: |r| +
/// eps * |w|_1, within [0, 1]. From a random start an attack may end at the lesser maximum of the
/// other sign, but not from all of many.
#[test]
fn attacks_on_a_linear_regression_reach_the_closed_form_optimum() {
    const EPS: f64 = 0.05;
    let place = Place::new();
    let weights = [0.7, -0.9, 0.4, 0.1, -0.3, 0.6, 0.3];
    let data = Data::linear(3, 40, &weights);
    write_data(&place.path("data.npz"), &data, &data);
    write_linear(&place.path("linear.onnx"), &weights);
    let residual = |(row, y): (&[u8], &f32)| {
        features(row).zip(weights).map(|(x, w)| x * w).sum::<f64>() - f64::from(*y)
    };
    let residuals: Vec<f64> =
        data.pixels.chunks(FEATURES).zip(&data.targets).map(residual).collect();
    let norm = |p: &dyn Fn(f64) -> f64| weights[..FEATURES].iter().map(|w| p(*w)).sum::<f64>();
    let reach = [EPS * norm(&|w| w.abs()), EPS * norm(&|w| w * w).sqrt()];
    let rmse = |reach: f64| {
        let squares: f64 = residuals.iter().map(|r| (r.abs() + reach).powi(2)).sum();
        (squares / residuals.len() as f64).sqrt()
    };
    let nll = |reach: f64| {
        0.5 * (rmse(reach) / RESIDUAL).powi(2)
            + 0.5 * (std::f64::consts::TAU * RESIDUAL * RESIDUAL).ln()
    };
    for engine in ["tract", "ort"] {
        let report = place.json(&format!(
            "evaluate linear.onnx --data data.npz --likelihood gaussian:{RESIDUAL} --eps {EPS} \
             --attack fgsm --attack pgd --attack pgd:restarts=20 --attack pgd:norm=l2 --attack noise \
             --json --engine {engine}"
        ));
        let near = |found: &serde_json::Value, expected: f64| {
            let found = found.as_f64().expect("a number");
            assert!((found - expected).abs() < 1e-5, "{found}, {expected}: {report}");
        };
        assert_eq!((&report["outputs"], &report["samples"]), (&1.into(), &1.into()));
        near(&report["clean"]["rmse"], rmse(0.0));
        near(&report["clean"]["nll"], nll(0.0));
        for (attack, reach) in [(0, reach[0]), (1, reach[0]), (2, reach[0]), (3, reach[1])] {
            near(&report["attacks"][attack]["rmse"], rmse(reach));
            near(&report["attacks"][attack]["nll"], nll(reach));
        }
        let noise = report["attacks"][4]["rmse"].as_f64().expect("a number");
        assert!(noise < rmse(reach[0]), "{report}");
        near(&report["worst"][0]["rmse"], rmse(reach[0]));
        assert_eq!(report["worst"][0]["attacks"], 4);
    }
}

/// A run of two epochs, or of what `--epochs` in `more` says.
fn train(run: &str, more: &str) -> String {
    format!(
        "train bayes.onnx --data data.npz -o {run} --alpha 0.01 --eps 0.1 --steps 4 --step-size 0.05 \
         --batch 32 --lr 0.01 --likelihood gaussian:0.1 --holdout 40 --engine tract {more}"
    )
}

#[test]
fn a_regression_is_trained_resumed_measured_and_exported() {
    let place = Place::new();
    place.succeeds("new small-cnn -o net.onnx --input 1x8x8 --classes 2 --width 0.2");
    place.succeeds("convert net.onnx -o bayes.onnx --init-s 0.02");
    write_data(&place.path("data.npz"), &Data::halves(1, 400), &Data::halves(2, 100));
    place.succeeds(&train("whole", "--epochs 12"));
    place.succeeds(&train("run", "--epochs 5"));
    place.succeeds(&train("run", "--epochs 12 --resume"));
    for file in ["last.safetensors", "best.safetensors"] {
        let of = |run: &str| place.checkpoint(&format!("{run}/{file}"));
        assert!(of("whole") == of("run"), "{file} differs");
    }
    let config = std::fs::read_to_string(place.path("run/config.toml")).expect("a file");
    for line in ["likelihood = \"gaussian:0.1\"", "loss = \"negative log-likelihood\""] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let lines = std::fs::read_to_string(place.path("run/metrics.jsonl")).expect("a file");
    let line = |line: &str| serde_json::from_str::<serde_json::Value>(line).expect("JSON");
    let epochs: Vec<serde_json::Value> = lines.lines().map(line).collect();
    let of = |epoch: usize, field: &str| epochs[epoch][field].as_f64().expect("a number");
    for field in ["train_rmse", "nll", "holdout_rmse", "holdout_robust_rmse"] {
        assert!(of(11, field) < of(0, field), "{field}: {lines}");
    }
    assert!(of(11, "holdout_rmse") < of(11, "holdout_robust_rmse"), "{lines}");
    assert!(epochs[11].get("train_accuracy").is_none(), "{lines}");

    // Training on clean images alone leaves more to the attack.
    place.succeeds(&train("bnn", "--epochs 12").replace("train ", "train --defense bnn "));
    let evaluate = "--data data.npz --eps 0.1 --attack pgd --attack pgd:eot=5 --samples 8 --engine tract --json";
    let [robust, plain] =
        ["run", "bnn"].map(|run| place.json(&format!("evaluate {run} {evaluate} -o report-{run}")));
    let rmse = |report: &serde_json::Value, attack: usize| {
        report["attacks"][attack]["spread"]["mean"].as_f64().expect("a number")
    };
    for attack in [0, 1] {
        assert!(rmse(&robust, attack) < 0.95 * rmse(&plain, attack), "{robust} {plain}");
    }
    // The targets themselves spread by 0.17.
    assert!(robust["clean"]["rmse"].as_f64().expect("a number") < 0.12, "{robust}");
    assert_eq!(robust["clean"]["spread"]["seeds"], 5);
    assert_eq!((&robust["outputs"], &robust["images"]), (&2.into(), &100.into()));
    assert_eq!(robust["likelihood"], "gaussian:0.1");
    let saved = std::fs::read_to_string(place.path("report-run/results.json")).expect("a file");
    assert_eq!(serde_json::from_str::<serde_json::Value>(&saved).expect("JSON"), robust);
    let table = place.succeeds(&format!("evaluate run {evaluate}").replace("--json", ""));
    for part in ["RMSE, 100 images", "EOT-pgd-20, 5 draws", "worst of 2", "NLL"] {
        assert!(table.contains(part), "{part}: {table}");
    }

    let printed = place.succeeds("export run -o deploy.onnx --samples 4");
    assert!(printed.contains("outputs, std"), "{printed}");
    let printed = place.succeeds("export run -o mean.onnx --mode mean");
    assert!(printed.contains("mean graph, outputs"), "{printed}");
    for (file, ports) in [("deploy.onnx", vec!["outputs", "std"]), ("mean.onnx", vec!["outputs"])] {
        let graph = Model::read(&place.path(file)).expect("a model").graph;
        let found: Vec<&str> = graph.outputs.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(found, ports);
    }
    image::GrayImage::from_pixel(8, 8, image::Luma([128]))
        .save(place.path("grey.png"))
        .expect("saved");
    let said = place.json("predict run grey.png --samples 30 --engine tract --json");
    let number = |field: &str, k: usize| said[0][field][k].as_f64().expect("a number");
    for k in [0, 1] {
        assert!((number("outputs", k) - 128.0 / 255.0).abs() < 0.2, "{said}");
        assert!((1e-4..0.1).contains(&number("std", k)), "{said}");
    }
    assert!(place.succeeds("predict run grey.png --engine tract").contains("outputs"));
    // The run knows what it is, and so does what is converted with the flag.
    place.succeeds("convert net.onnx -o noted.onnx --layers none --likelihood gaussian:0.1");
    for model in ["run", "noted.onnx"] {
        place.succeeds(&format!("gradient {model} -o gradient.onnx --batch 3"));
        let graph = Model::read(&place.path("gradient.onnx")).expect("a model").graph;
        let labels = graph.source("labels").expect("an input");
        assert_eq!(*graph.fact(labels), Fact::new(DType::F32, &[3, 2]));
    }
    place.succeeds("compile run -o programs --batch 4");
    let bench =
        "bench bayes.onnx --likelihood gaussian --batch 4 --iters 1 --steps 2 --engine tract";
    assert!(place.json(&format!("{bench} --json"))["step_s"].as_f64().is_some_and(|s| s > 0.0));
}

#[test]
fn what_is_of_classes_is_refused_in_one_line() {
    let place = Place::with_models();
    write_data(&place.path("data.npz"), &Data::halves(1, 20), &Data::halves(2, 10));
    write_idx(&place.path("classes"), "train", 6, 8);
    place.succeeds("convert bayes.onnx -o noted.onnx --layers none --likelihood gaussian");
    let train = "train bayes.onnx --data data.npz -o run --engine tract --likelihood gaussian";
    let noted = "train noted.onnx --data data.npz -o run --engine tract";
    let evaluate = "evaluate noted.onnx --data data.npz --engine tract";
    for (arguments, parts) in [
        (format!("{train}:0"), ["--likelihood", "gaussian:STD"]),
        (format!("{train} --loss trades"), ["TRADES", "gaussian"]),
        (format!("{noted} --loss trades"), ["TRADES", "gaussian"]),
        (format!("{train} --loss cross-entropy"), ["--loss", "gaussian"]),
        (format!("{noted} --loss cross-entropy"), ["--loss", "gaussian"]),
        (format!("{train}:1e25"), ["--likelihood", "1e-18"]),
        (format!("{train} --label-smoothing 0.1"), ["label smoothing", "gaussian"]),
        (format!("{noted} --label-smoothing 0.1"), ["label smoothing", "gaussian"]),
        (format!("{train} --holdout 4 --on-collapse warn"), ["--on-collapse", "gaussian"]),
        (format!("{evaluate} --likelihood poisson"), ["--likelihood", "poisson"]),
        (format!("{evaluate} --attack apgd-dlr"), ["apgd-dlr", "regression"]),
        (format!("{evaluate} --attack apgd-ce"), ["apgd-ce", "regression"]),
        (format!("{evaluate} --attack square"), ["square", "regression"]),
        (format!("{evaluate} --attack transfer:from=net.onnx"), ["transfer", "regression"]),
        (format!("{evaluate} --budget quick"), ["--budget", "regression"]),
        (format!("{evaluate} --eps 0.1 --cumulative"), ["--cumulative", "regression"]),
        (format!("{evaluate} --ood classes"), ["--ood", "regression"]),
        (
            "transfer net.onnx noted.onnx --data data.npz --eps 0.1 --engine tract".to_owned(),
            ["noted.onnx", "`transfer` is about classes"],
        ),
        (
            "predict noted.onnx a.png --labels no.txt".to_owned(),
            ["noted.onnx", "`--labels` is about classes"],
        ),
    ] {
        place.fails(2, &arguments, &parts);
    }
    // Data of the other kind, or of another number of numbers.
    for (arguments, parts) in [
        (train.to_owned(), ["2 numbers for each image", "the model gives 3"]),
        (train.replace("data.npz", "classes"), ["has only classes", ".npz"]),
        (train.replace("--likelihood gaussian", ""), ["labels are [N]", "data.npz"]),
    ] {
        place.fails(1, &arguments, &parts);
    }
}
