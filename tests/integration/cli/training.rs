//! Training runs: the same seed, interruptions, what a run folder holds.

use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::{ADVBNN, Place, write_idx};

const EPOCHS: usize = 40;

/// The flags of one training of a second or so, into the folder `run`.
fn train(run: &str, seed: u64) -> String {
    format!(
        "train bayes.onnx --data data -o {run} --engine tract --threads 1 --batch 8 --steps 2 \
         --random-start --epochs {EPOCHS} --schedule cosine --lr 0.003 --alpha 0.02 --seed {seed}"
    )
}

fn place() -> Place {
    let place = Place::with_models();
    // 5 batches of 8 and one of 3.
    write_idx(&place.path("data"), "train", 43, 8);
    place
}

#[test]
fn the_seed_alone_decides_the_weights() {
    let place = place();
    for (run, seed) in [("a", 1), ("b", 1), ("c", 2)] {
        place.succeeds(&format!("{} --limit 19", train(run, seed)));
    }
    let [a, b, c] = ["a", "b", "c"].map(|run| place.checkpoint(&format!("{run}/last.safetensors")));
    assert!(a == b, "two runs of one seed differ");
    assert!(a != c, "two seeds give the same weights");
}

#[test]
fn a_killed_run_goes_on_to_the_bit() {
    let place = place();
    place.succeeds(&train("whole", 3));

    let mut child = Command::new(ADVBNN)
        .args(train("killed", 3).split_whitespace())
        .current_dir(&place.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let checkpoint = place.path("killed/last.safetensors");
    let patience = Instant::now() + Duration::from_secs(120);
    while !checkpoint.exists() {
        assert!(Instant::now() < patience, "no checkpoint appears");
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killed");
    child.wait().expect("gone");
    assert!(!place.path("killed/model.onnx").exists(), "the run ended before it was killed");

    place.succeeds(&format!("{} --resume", train("killed", 3)));
    for file in ["last.safetensors", "best.safetensors"] {
        let of = |run: &str| place.checkpoint(&format!("{run}/{file}"));
        assert!(of("whole") == of("killed"), "{file} differs");
    }
    let model = |run: &str| std::fs::read(place.path(run).join("model.onnx")).expect("a model");
    assert_eq!(model("whole"), model("killed"));
    let lines = std::fs::read_to_string(place.path("killed/metrics.jsonl")).expect("a file");
    let epochs: Vec<u64> = lines
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).expect("JSON"))
        .filter(|line| line["span"] == "epoch")
        .filter_map(|line| line["epoch"].as_u64())
        .collect();
    assert_eq!(epochs, (1..=EPOCHS as u64).collect::<Vec<_>>());
}

#[test]
fn a_run_folder_is_complete_and_never_overwritten() {
    let place = place();
    let short = format!("{} --limit 8", train("run", 0)).replace("--epochs 40", "--epochs 2");
    let printed = place.succeeds(&short);
    assert!(printed.contains("trained 2 steps"), "{printed}");
    for name in ["config.toml", "metrics.jsonl", "last.safetensors", "best.safetensors"] {
        assert!(place.path("run").join(name).exists(), "{name}");
    }
    assert_eq!(std::fs::read_dir(place.path("run/tensorboard")).expect("a folder").count(), 1);
    assert_eq!(place.json("inspect run --json")["converted"], true);

    place.fails(1, &short, &["run", "already holds a run", "--resume"]);
    let other = format!("{} --resume", short.replace("--lr 0.003", "--lr 0.1"));
    place.fails(1, &other, &["learning rate", "same settings"]);
    let fewer = format!("{} --resume", short.replace("--limit 8", "--limit 7"));
    place.fails(1, &fewer, &["8 images", "same data and limit"]);
    for (right, wrong, part) in
        [("--lr 0.003", "--lr=-1", "learning rate"), ("--alpha 0.02", "--alpha=-1", "alpha")]
    {
        place.fails(2, &format!("{} --resume", short.replace(right, wrong)), &[part]);
    }
    let nothing = short.replace("-o run", "-o typo");
    let nothing = nothing.replace("--data data", "--data no");
    place.fails(1, &format!("{nothing} --resume"), &["typo", "no run to resume"]);
    assert!(!place.path("typo").exists());
    place.succeeds("convert net.onnx -o other.onnx --init-s 0.03");
    let other = format!("{} --resume", short.replace("bayes.onnx", "other.onnx"));
    place.fails(1, &other, &["model", "other weights", "another folder"]);
}

#[test]
fn a_model_trained_as_rse_stays_random_wherever_it_goes() {
    let place = place();
    write_idx(&place.path("data"), "t10k", 12, 8);
    let run = "train net.onnx --data data -o run --defense rse --engine tract --batch 8 --epochs 2";
    place.succeeds(&format!("{run} --noise 1,0.5"));
    let operators = &place.json("inspect run --json")["operators"];
    assert_eq!(operators["GaussianNoise"], 3, "{operators}");
    let evaluate = "evaluate run --data data --engine tract --json --samples 3";
    let report = place.json(&format!("{evaluate} --eps 0.1 --attack pgd:steps=2,eot=2"));
    assert_eq!((&report["samples"], &report["attacks"][0]["draws"]), (&3.into(), &2.into()));
    place.succeeds("export run -o seeded.onnx --noise seed");
    place.succeeds("export run -o mean.onnx --mode mean");
    place.fails(1, "export run -o frozen.onnx --mode frozen", &["run", "every image", "mean"]);
    place.fails(2, &format!("{run} --noise 1,0.4 --resume"), &["noise", "[1.0, 0.4]"]);
    place.fails(2, &format!("{run} --noise 1"), &["--noise 1", "0.2,0.1"]);
    let bayes = run.replace("net.onnx", "bayes.onnx").replace("-o run", "-o other");
    place.fails(1, &bayes, &["bayes.onnx", "plain model"]);
}

#[test]
fn options_of_training_end_in_the_run_folder_and_survive_a_resume() {
    let place = place();
    let run = "train net.onnx --data data -o run --defense adv --fast --eps 0.05 --engine tract \
         --batch 8 --lr 0.003 --label-smoothing 0.1 --ema 0.9 --holdout 12 --holdout-steps 3";
    place.succeeds(&format!("{run} --epochs 2"));
    place.succeeds(&format!("{run} --epochs 3 --resume"));
    let config = std::fs::read_to_string(place.path("run/config.toml")).expect("a file");
    for line in ["label_smoothing = 0.1", "ema = 0.9", "images = 12", "step_size = 0.0625"] {
        assert!(config.contains(line), "{line}: {config}");
    }
    let lines = std::fs::read_to_string(place.path("run/metrics.jsonl")).expect("a file");
    let last: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert_eq!((&last["epoch"], &last["span"]), (&3.into(), &"epoch".into()));
    for field in ["holdout_robust", "holdout_accuracy"] {
        assert!(last[field].is_number(), "{field}: {last}");
    }
    // model.onnx has the averages of the best epoch.
    let best: std::collections::BTreeMap<_, _> =
        place.checkpoint("run/best.safetensors").into_iter().collect();
    let model = graphs::Model::read(&place.path("run/model.onnx")).expect("a model");
    let mut compared = 0;
    for (name, average) in best.iter().filter_map(|(n, t)| Some((n.strip_suffix(".ema")?, t))) {
        let value = model.graph.source(name).expect("a weight of the model");
        assert_eq!(model.graph.tensor(value), Some(average), "{name}");
        assert_ne!(best[name], *average, "{name}");
        compared += 1;
    }
    assert!(compared > 10);

    for (other, parts) in [
        (run.replace("--ema 0.9", "--ema 0.8"), ["ema", "0.9"]),
        (run.replace("--holdout 12", "--holdout 11"), ["holdout", "12"]),
    ] {
        place.fails(1, &format!("{other} --epochs 3 --resume"), &parts);
    }
    let smoothed = run.replace("--label-smoothing 0.1", "");
    place.fails(2, &format!("{smoothed} --epochs 3 --resume"), &["label-smoothing", "0.1"]);
}

#[test]
fn a_trades_run_reports_its_divergence_and_a_posterior_its_spread() {
    let place = place();
    let run = "train bayes.onnx --data data -o run --loss trades --trades-beta 2 --steps 2 \
         --eps 0.1 --step-size 0.05 --engine tract --batch 8 --lr 0.003 --alpha 0.1 --kl-warmup 1.5";
    place.succeeds(&format!("{run} --epochs 2"));
    let lines = std::fs::read_to_string(place.path("run/metrics.jsonl")).expect("a file");
    let last: serde_json::Value =
        serde_json::from_str(lines.lines().last().expect("a line")).expect("JSON");
    assert!(last["divergence"].as_f64().is_some_and(|divergence| divergence > 0.0), "{last}");
    let spread = &last["noise_to_mean"];
    let quantiles =
        ["p5", "p25", "p50", "p75", "p95"].map(|p| spread[p].as_f64().expect("a number"));
    assert!(quantiles.is_sorted() && quantiles[0] > 0.0, "{spread}");
    place.fails(
        2,
        &format!("{run} --epochs 3 --resume --trades-beta 3").replace("--trades-beta 2 ", ""),
        &["trades-beta", "2.0"],
    );
    place.fails(
        1,
        &format!("{run} --epochs 3 --resume").replace("--kl-warmup 1.5", ""),
        &["kl warmup", "1.5"],
    );
}
