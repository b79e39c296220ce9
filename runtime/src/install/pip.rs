//! Downloading pinned wheels with the `pip` of the user's Python.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::Provider;
use crate::{Error, Result};

/// The interpreter that is asked for its packages and for `pip`.
pub(super) const PYTHON: &str = if cfg!(windows) { "python" } else { "python3" };

/// The wheels that together hold a library with `provider`, at versions known to work
/// with each other. The first holds ONNX Runtime itself; the others are what its CUDA
/// provider links to.
pub(super) fn packages(provider: Provider) -> &'static [&'static str] {
    match provider {
        Provider::Cpu => &["onnxruntime==1.31.1"],
        Provider::OpenVino => &["onnxruntime-openvino==1.24.1"],
        Provider::Cuda => &[
            "onnxruntime-gpu==1.31.1",
            "nvidia-cuda-runtime==13.2.86",
            "nvidia-cuda-nvrtc==13.2.86",
            "nvidia-cublas==13.4.1.3",
            "nvidia-cufft==12.2.0.57",
            "nvidia-curand==10.4.2.66",
            "nvidia-nvjitlink==13.5.37",
            "nvidia-cudnn-cu13==9.26.0.51",
        ],
    }
}

/// The cache folder of packages, named after the first: `onnxruntime-1.31.1`.
pub(super) fn folder_name(packages: &[&str]) -> String {
    packages.first().copied().unwrap_or_default().replace("==", "-")
}

/// Downloads the wheel of `package` (`name==version`) into a folder of its own under
/// `folder`.
pub(super) fn download(package: &str, folder: &Path) -> Result<PathBuf> {
    let dest = tempfile::Builder::new()
        .tempdir_in(folder)
        .map_err(|error| Error::file(folder, error))?
        .keep();
    let output = Command::new(PYTHON)
        .args(["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest"])
        .arg(&dest)
        .arg(package)
        .env("PIP_DISABLE_PIP_VERSION_CHECK", "1")
        .env("PIP_NO_INPUT", "1")
        .output()
        .map_err(|error| {
            Error::OnnxRuntime(format!("{PYTHON} cannot be run ({error}); {}", by_hand(package)))
        })?;
    if !output.status.success() {
        let reason = last_words(&output);
        return Err(Error::OnnxRuntime(format!("pip: {reason}; {}", by_hand(package))));
    }
    let mut files = std::fs::read_dir(&dest).map_err(|error| Error::file(&dest, error))?;
    match files.next() {
        Some(Ok(file)) => Ok(file.path()),
        _ => {
            Err(Error::OnnxRuntime(format!("pip left no wheel of {package}; {}", by_hand(package))))
        }
    }
}

fn by_hand(package: &str) -> String {
    let library = match package.starts_with("onnxruntime") {
        true => format!(", or point ORT_DYLIB_PATH at the library inside the wheel of {package}"),
        false => String::new(),
    };
    format!("install Python 3 with pip{library}")
}

/// The last line in which `pip` says what went wrong.
fn last_words(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stderr);
    let lines = || text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines()
        .rfind(|line| line.starts_with("ERROR"))
        .or_else(|| lines().next_back())
        .map_or_else(|| output.status.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn every_package_is_pinned_and_names_a_folder() {
        for provider in Provider::ALL {
            assert!(packages(provider).iter().all(|package| package.contains("==")));
        }
        assert_eq!(folder_name(packages(Provider::OpenVino)), "onnxruntime-openvino-1.24.1");
    }

    #[cfg(unix)]
    #[test]
    fn the_last_error_of_pip_is_shown() {
        use std::os::unix::process::ExitStatusExt;
        let output = |stderr: &str| Output {
            status: std::process::ExitStatus::from_raw(256),
            stdout: Vec::new(),
            stderr: stderr.as_bytes().to_vec(),
        };
        assert_eq!(
            last_words(&output("WARNING: a\nERROR: no space\n[notice] b\n")),
            "ERROR: no space"
        );
        assert_eq!(last_words(&output("No module named pip\n\n")), "No module named pip");
        assert_eq!(last_words(&output("")), "exit status: 1");
    }
}
