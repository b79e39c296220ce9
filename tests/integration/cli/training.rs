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
}
