//! Experiments of the paper, on a few images.

use std::fs;

use super::{Place, write_idx};

/// A place with 12 images to train on and 6 to attack.
fn place() -> Place {
    let place = Place::new();
    write_idx(&place.path("data"), "train", 12, 28);
    write_idx(&place.path("data"), "t10k", 6, 28);
    place
}

fn line(experiment: &str) -> String {
    format!(
        "reproduce {experiment} --preset fashion --data data -o out --limit 12 --epochs 1 \
         --images 9 --samples 2 --engine tract"
    )
}

/// What the affinities of `out/fig3.csv` say of the paper's two groups.
fn verdict(place: &Place) -> &'static str {
    let table = fs::read_to_string(place.path("out/fig3.csv")).expect("a table");
    assert_eq!(table.lines().count(), 26);
    let rows: Vec<Vec<&str>> = table.lines().skip(1).map(|row| row.split(',').collect()).collect();
    let groups = [["none", "bnn"].as_slice(), &["adv", "rse", "adv-bnn"]];
    let mean = |name: &str, group: &[&str]| {
        let pair = |row: &&Vec<&str>| {
            let other = if row[0] == name { row[1] } else { row[0] };
            (row[0] == name || row[1] == name) && other != name && group.contains(&other)
        };
        let found = rows.iter().filter(pair).filter_map(|row| row[2].parse::<f64>().ok());
        let found: Vec<f64> = found.collect();
        (!found.is_empty()).then(|| found.iter().sum::<f64>() / found.len() as f64)
    };
    let mut nearer = Vec::new();
    for (own, other) in [(groups[0], groups[1]), (groups[1], groups[0])] {
        for name in own {
            nearer.push(mean(name, own).zip(mean(name, other)).map(|(own, other)| own > other));
        }
    }
    match nearer.into_iter().collect::<Option<Vec<bool>>>() {
        None => "that the paper saw are there cannot be told",
        Some(nearer) if nearer.iter().all(|nearer| *nearer) => "that the paper saw are there:",
        Some(_) => "that the paper saw are not there:",
    }
}

#[test]
fn figure_3_is_reproduced_and_the_models_are_not_made_again() {
    let place = place();
    let line = line("fig3");
    let page = place.succeeds(&line);
    assert!(page.contains("| attacked | none | adv | bnn | adv-bnn | rse |"), "{page}");
    assert!(page.contains(verdict(&place)), "{page}");
    assert!(page.contains("PGD-20 of one draw, 6 images"), "{page}");
    for name in ["fig3.json", "fig3.svg", "fig3.png", "fig3.md", "fig3.sh"] {
        assert!(place.path("out").join(name).exists(), "{name}");
    }
    let results = fs::read_to_string(place.path("out/fig3.json")).expect("results");
    let results: serde_json::Value = serde_json::from_str(&results).expect("JSON");
    for (key, expected) in [("engine", "tract"), ("provider", "cpu"), ("precision", "f32")] {
        assert_eq!(results[key], expected, "{results}");
    }
    let run = place.path("out/runs/adv-bnn/model.onnx");
    let made = || fs::metadata(&run).and_then(|file| file.modified()).expect("a model");
    let before = made();
    assert!(place.succeeds(&line).contains("The two groups") || verdict(&place).contains("cannot"));
    assert_eq!(made(), before);
    place.fails(1, &line.replace("--epochs 1", "--epochs 2"), &["made by", "--epochs 1"]);
    // Another network in the place of the one that the models came from.
    place.succeeds("new small-cnn -o out/network.onnx --input 1x28x28 --width 0.5 --seed 5");
    place.fails(1, &line, &["was made from another out/network.onnx", "another folder"]);
}

#[test]
fn files_of_others_are_not_written_over() {
    let place = place();
    let line = line("table1");
    fs::create_dir(place.path("out")).expect("a folder");
    place.succeeds("new small-cnn -o out/network.onnx --input 1x28x28 --width 0.1");
    place.fails(1, &line, &["out/network.onnx: something else is there", "another folder"]);
    fs::rename(place.path("out/network.onnx"), place.path("out/adv-bnn.onnx")).expect("renamed");
    let onto = format!("{line} --pretrained out/adv-bnn.onnx");
    place.fails(1, &onto, &["out/adv-bnn.onnx: something else is there", "another folder"]);
}

#[test]
fn table_1_is_reproduced() {
    let place = place();
    let page = place.succeeds(&line("table1"));
    assert!(page.contains("accuracy in percent on 6 images"), "{page}");
    let rows = page.lines().filter(|line| line.starts_with("| ")).count();
    assert_eq!(rows, 11, "{page}");
    assert!(
        page.contains("Not the preset's: every training took --epochs 1; training saw"),
        "{page}"
    );
    let table = fs::read_to_string(place.path("out/table1.csv")).expect("a table");
    // Five defences, two attacks, five radii.
    assert_eq!(table.lines().count(), 51, "{table}");
    let results = fs::read_to_string(place.path("out/table1/adv/results.json")).expect("results");
    let results: serde_json::Value = serde_json::from_str(&results).expect("JSON");
    for key in ["engine", "engine_version", "provider", "precision", "advbnn_version"] {
        assert!(results[key].is_string(), "{key}: {results}");
    }
}

#[test]
fn the_tradeoff_is_reproduced_and_shares_what_is_trained_as_the_preset_says() {
    let place = place();
    let line = line("tradeoff").replace("--samples 2", "--samples 1");
    let page = place.succeeds(&line);
    assert!(page.contains("accuracy in percent on 6 images, by training radius"), "{page}");
    let rows = page.lines().filter(|line| line.starts_with("| adv")).count();
    assert_eq!(rows, 9, "{page}");
    assert!(page.contains("\n| adv-bnn | 0.15 | 2 | "), "{page}");
    let table = fs::read_to_string(place.path("out/tradeoff.csv")).expect("a table");
    assert_eq!(table.lines().count(), 10, "{table}");
    for name in ["tradeoff.json", "tradeoff.svg", "tradeoff.png", "tradeoff.md", "tradeoff.sh"] {
        assert!(place.path("out").join(name).exists(), "{name}");
    }
    for name in ["adv", "adv-bnn", "adv-eps-x0.75", "adv-bnn-eps-x1.5-alpha-x0.1"] {
        assert!(place.path("out/runs").join(name).join("model.onnx").exists(), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_evaluation_ends_at_once_and_goes_on_with_the_same_flags_only() {
    use std::process::{Command, Stdio};
    use std::thread::sleep;
    use std::time::{Duration, Instant};

    let place = place();
    let line = line("fig4");
    let mut child = Command::new(super::ADVBNN)
        .args(line.split_whitespace())
        .current_dir(&place.0)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("it runs");
    let notes = place.path("out/fig4/steps-adv-bnn/progress.jsonl");
    let start = Instant::now();
    while !notes.exists() {
        assert!(start.elapsed() < Duration::from_secs(300), "no evaluation begins");
        sleep(Duration::from_millis(5));
    }
    let process = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &process]).status().expect("kill").success());
    let asked = Instant::now();
    let code = child.wait().expect("it ends").code();
    assert!(asked.elapsed() < Duration::from_secs(10), "it went on for {:?}", asked.elapsed());
    assert_eq!(code, Some(130));
    let evaluation = "out/fig4/steps-adv-bnn/results.json";
    assert!(!place.path(evaluation).exists());
    let other = line.replace("--samples 2", "--samples 3");
    place.fails(1, &other, &[evaluation, "was begun by", "--samples 2", "another folder"]);
}
