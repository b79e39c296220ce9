//! Disks that are full: the old file stays, and no part of a new one.
#![cfg(unix)]

use std::fs;
use std::process::{Command, Output};

use super::{ADVBNN, Place, error_line, write_idx};

/// Runs `advbnn` so that no file can grow beyond 4 KiB, which writing then reports as
/// it does a full disk.
fn run_without_space(place: &Place, arguments: &str) -> Output {
    let script = format!("trap '' XFSZ; ulimit -f 8; exec \"$0\" {arguments}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(ADVBNN).current_dir(&place.0);
    shell.env_remove("RUST_LOG").output().expect("a shell")
}

#[test]
fn models_are_written_whole_or_not_at_all() {
    let place = Place::with_models();
    fs::write(place.path("old.onnx"), b"as it was").expect("written");
    let before = place.files();
    for command in [
        "new small-cnn -o old.onnx",
        "convert net.onnx -o old.onnx",
        "gradient net.onnx -o old.onnx",
        "export bayes.onnx -o old.onnx",
        "convert net.onnx -o new.onnx",
    ] {
        let output = run_without_space(&place, command);
        let line = error_line(&output, 1, command);
        assert!(line.contains(".onnx") && line.contains("File too large"), "{line}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "", "{command} claims success");
        assert_eq!(place.files(), before, "{command}");
        assert_eq!(fs::read(place.path("old.onnx")).expect("a file"), b"as it was");
    }
}

#[test]
fn checkpoints_are_written_whole_or_not_at_all() {
    let place = Place::with_models();
    write_idx(&place.path("data"), "train", 12, 8);
    let train = "train bayes.onnx --data data -o run --engine tract --threads 1 --steps 1 -q";
    let output = run_without_space(&place, train);
    let line = error_line(&output, 1, train);
    assert!(line.contains("run/best.safetensors: cannot be written"), "{line}");
    let left = place.files();
    let partial = |name: &str| name.ends_with("safetensors") || name.contains("partial");
    assert!(!left.keys().any(|path| partial(&path.to_string_lossy())), "{:?}", left.keys());
}

#[test]
fn standard_output_that_takes_nothing_is_no_crash() {
    let place = Place::with_models();
    let inspect = |sink: &str| {
        let script = format!("\"$0\" inspect net.onnx {sink}");
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", &script]).arg(ADVBNN).current_dir(&place.0);
        shell.output().expect("a shell")
    };
    let errors = inspect("| true").stderr;
    assert_eq!(String::from_utf8_lossy(&errors), "", "a reader that stops is no error");
    if cfg!(target_os = "linux") {
        error_line(&inspect("> /dev/full"), 1, "inspect");
    }
}
