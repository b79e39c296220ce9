//! The command line as its users meet it: exit codes, messages, files, JSON.
#![allow(clippy::expect_used)]

mod attacks;
mod external;
mod images;
mod inspected;
mod masked;
mod misuse;
mod models;
mod printed;
mod providers;
mod regression;
mod reproduced;
mod ruled_out;
mod saving;
mod sizes;
mod training;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use assert_cmd::Command;
use graphs::Tensor;
use tempfile::TempDir;

/// The program under test.
const ADVBNN: &str = env!("CARGO_BIN_EXE_advbnn");

/// Small enough to train in a second, with every kind of layer.
const NETWORK: &str = "new small-cnn -o net.onnx --input 1x8x8 --classes 3 --width 0.1";

/// A folder of its own to run `advbnn` in.
struct Place(TempDir);

impl Place {
    /// An empty folder.
    fn new() -> Place {
        Place(tempfile::tempdir().expect("a folder"))
    }

    /// With `net.onnx`, and `bayes.onnx` converted from it.
    fn with_models() -> Place {
        let place = Place::new();
        place.succeeds(NETWORK);
        place.succeeds("convert net.onnx -o bayes.onnx --init-s 0.02");
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// `advbnn` with these arguments, split at spaces, about to run in the folder.
    fn advbnn(&self, arguments: &str) -> Command {
        let mut command = Command::new(ADVBNN);
        command.current_dir(&self.0).args(arguments.split_whitespace());
        command.env_remove("RUST_LOG").env_remove("ORT_DYLIB_PATH");
        command
    }

    /// Runs and returns what was printed.
    fn succeeds(&self, arguments: &str) -> String {
        let output = self.advbnn(arguments).output().expect("it runs");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(0), "advbnn {arguments}: {errors}");
        String::from_utf8(output.stdout).expect("UTF-8")
    }

    /// The same, as the one JSON value that it must be.
    fn json(&self, arguments: &str) -> serde_json::Value {
        let printed = self.succeeds(arguments);
        serde_json::from_str(&printed).unwrap_or_else(|e| panic!("{arguments}: {e}: {printed}"))
    }

    /// Runs what must fail with exit code `code` and one line that has all of `parts`;
    /// no file may come of it, and none may change.
    fn fails(&self, code: i32, arguments: &str, parts: &[&str]) {
        let before = self.files();
        let output = self.advbnn(arguments).output().expect("it runs");
        let line = error_line(&output, code, arguments);
        for part in parts {
            assert!(line.contains(part), "advbnn {arguments}: `{line}` lacks `{part}`");
        }
        let after = self.files();
        let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&after), names(&before), "advbnn {arguments} left files behind");
        let changed = after.iter().find(|(path, content)| before.get(*path) != Some(content));
        assert_eq!(changed.map(|(path, _)| path), None, "advbnn {arguments} changed a file");
    }

    /// Every file below the folder, by its path in it, and what it holds.
    fn files(&self) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        let mut folders = vec![self.0.path().to_owned()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(folder).expect("a folder") {
                let path = entry.expect("an entry").path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let name = path.strip_prefix(self.0.path()).expect("inside").to_owned();
                    found.insert(name, fs::read(&path).expect("a file"));
                }
            }
        }
        found
    }

    /// The trained tensors of a checkpoint of the folder.
    fn checkpoint(&self, name: &str) -> Vec<(String, Tensor)> {
        let read = runtime::checkpoint::read::<serde_json::Value>(&self.path(name));
        read.expect("a checkpoint").0.into_iter().collect()
    }
}

/// The one line on standard error of a command that failed with `code`.
fn error_line(output: &Output, code: i32, what: &str) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("panicked"), "{what}: {errors}");
    assert_eq!(output.status.code(), Some(code), "{what}: {errors}");
    assert!(errors.starts_with("error: "), "{what}: {errors}");
    assert_eq!(errors.trim_end().lines().count(), 1, "{what}: {errors}");
    errors.trim_end().to_owned()
}

/// Writes the two IDX files of one split, `train` or `t10k`: `count` images of
/// `side` x `side` pixels, whose bright row tells the label, 0 to 2.
fn write_idx(folder: &Path, split: &str, count: u32, side: u32) {
    fs::create_dir_all(folder).expect("a folder");
    let labels: Vec<u8> = (0..count).map(|i| (i % 3) as u8).collect();
    let pixel = |i: u32, y: u32, x: u32| match y == 2 * (i % 3) {
        true => 200 + (i * 7 + x) % 50,
        false => (i * 31 + y * 17 + x * 7) % 60,
    };
    let pixels = (0..count * side * side)
        .map(|at| pixel(at / (side * side), at / side % side, at % side) as u8)
        .collect();
    for (kind, dimensions, content) in
        [("images", vec![count, side, side], pixels), ("labels", vec![count], labels)]
    {
        let mut file = vec![0, 0, 8, dimensions.len() as u8];
        file.extend(dimensions.iter().flat_map(|dimension| dimension.to_be_bytes()));
        file.extend::<Vec<u8>>(content);
        fs::write(folder.join(format!("{split}-{kind}")), file).expect("written");
    }
}
