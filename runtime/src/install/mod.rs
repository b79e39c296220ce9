//! Finding, or fetching, the ONNX Runtime library that the `ort` engine loads.
//!
//! A library is searched in this order: the file named by `ORT_DYLIB_PATH`, the
//! per-user cache that [`install`] fills, the packages of the Python on `PATH`.

mod find;
mod names;
mod pip;
mod wheel;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::{Error, Result};
use find::Places;

/// Which execution provider of ONNX Runtime runs the programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    /// The built-in CPU kernels; every library has them.
    Cpu,
    /// Intel's OpenVINO, on the CPU.
    OpenVino,
    /// NVIDIA GPUs, through CUDA and cuDNN.
    Cuda,
}

impl Provider {
    /// All providers, the most widely available first.
    pub const ALL: [Provider; 3] = [Provider::Cpu, Provider::OpenVino, Provider::Cuda];

    /// The command that installs a library with this provider.
    pub fn install_command(self) -> String {
        format!("advbnn runtime install {self}")
    }
}

impl fmt::Display for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Provider::Cpu => "cpu",
            Provider::OpenVino => "openvino",
            Provider::Cuda => "cuda",
        })
    }
}

impl FromStr for Provider {
    type Err = Error;

    fn from_str(text: &str) -> Result<Provider> {
        Provider::ALL.into_iter().find(|provider| provider.to_string() == text).ok_or_else(|| {
            Error::OnnxRuntime(format!("no provider '{text}'; use cpu, openvino or cuda"))
        })
    }
}

/// Where a [`Library`] was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// Named by the environment variable `ORT_DYLIB_PATH`.
    Environment,
    /// Fetched by [`install`].
    Cache,
    /// Part of an installed Python package.
    Python,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Source::Environment => "ORT_DYLIB_PATH",
            Source::Cache => "cache",
            Source::Python => "python",
        })
    }
}

/// An ONNX Runtime library on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Library {
    /// The library file, absolute.
    pub path: PathBuf,
    /// `1.31.1`, or `1.31` where only loading it tells.
    pub version: String,
    /// What it can run on; [`Provider::Cpu`] always.
    pub providers: Vec<Provider>,
    /// How it was found.
    pub source: Source,
}

impl Library {
    /// The oldest minor version whose C API the engine can use: 1.24.
    pub const OLDEST_MINOR: u32 = 24;

    /// Whether the library is new enough to be loaded.
    pub fn is_usable(&self) -> bool {
        let mut parts = self.version.split('.').map(str::parse::<u32>);
        matches!((parts.next(), parts.next()), (Some(Ok(1)), Some(Ok(minor))) if minor >= Self::OLDEST_MINOR)
    }

    /// Loads the CUDA and cuDNN libraries that were installed with this one, so that
    /// the CUDA provider finds them without `LD_LIBRARY_PATH`. Where none were, it is
    /// left to the system's loader to find them.
    ///
    /// # Errors
    /// One of the libraries is there but cannot be loaded.
    pub fn preload_cuda(&self) -> Result<()> {
        let cuda = names::folder_of(&self.path, "cudart");
        let cudnn = names::folder_of(&self.path, "cudnn");
        ort::ep::cuda::preload_dylibs(cuda.as_deref(), cudnn.as_deref()).map_err(|error| {
            let command = Provider::Cuda.install_command();
            Error::OnnxRuntime(format!("{error}; `{command}` installs the CUDA libraries"))
        })
    }
}

/// What is, and what is not, on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inventory {
    /// Every library found, in the order of search; old ones too.
    pub libraries: Vec<Library>,
    /// The providers that no usable library has; see [`Provider::install_command`].
    pub missing: Vec<Provider>,
}

/// Everything found on this machine.
///
/// # Errors
/// `ORT_DYLIB_PATH` names something that is not an ONNX Runtime library, or the
/// cache folder cannot be read.
pub fn list() -> Result<Inventory> {
    let libraries = Places::from_environment()?.libraries()?;
    let has = |provider| libraries.iter().any(|l| l.is_usable() && l.providers.contains(&provider));
    let missing = Provider::ALL.into_iter().filter(|provider| !has(*provider)).collect();
    Ok(Inventory { libraries, missing })
}

/// The first usable library that has `provider`.
///
/// # Errors
/// There is none; or `ORT_DYLIB_PATH` is set to a library that cannot be used: another
/// one is then never taken in its place.
pub fn find(provider: Provider) -> Result<Library> {
    Places::from_environment()?.find(provider)
}

/// Fetches the library with `provider` from PyPI into the per-user cache, and returns
/// it; at once if it is there already. `progress` is told each step as it begins.
///
/// # Errors
/// No `python3` or no `pip`; the download failed; a wheel is damaged, holds unsafe paths
/// or lacks the library; the disk is full. The cache then is as it was before.
pub fn install(provider: Provider, progress: &mut dyn FnMut(&str)) -> Result<Library> {
    let packages = pip::packages(provider);
    let whole = |folder: &Path| match find::library_in(folder, Source::Cache) {
        Some(_) => Ok(()),
        None => {
            let packages = packages.join(", ");
            Err(Error::OnnxRuntime(format!("{packages}: no ONNX Runtime library inside")))
        }
    };
    let target = find::cache_folder()?.join(pip::folder_name(packages));
    fetch(&target, packages, &wheel::library, &whole, progress)?;
    let damaged = || {
        Error::file(
            &target,
            "the installed library is incomplete; delete this folder and install again",
        )
    };
    find::library_in(&target, Source::Cache)
        .filter(|library| library.providers.contains(&provider))
        .ok_or_else(damaged)
}

/// Fetches a wheel (`name==version`) from PyPI into the per-user cache, and returns where
/// the files of one of its folders lie; at once if they are there already.
///
/// # Errors
/// As [`install`]; or the wheel has no such folder.
pub fn package_folder(package: &'static str, folder: &str) -> Result<PathBuf> {
    let packages = [package];
    let place = |path: &str| {
        let rest = path.strip_prefix(folder)?.strip_prefix('/')?;
        Some(rest.to_owned()).filter(|rest| !rest.is_empty())
    };
    let whole = |unpacked: &Path| match unpacked.read_dir().is_ok_and(|mut f| f.next().is_some()) {
        true => Ok(()),
        false => Err(Error::OnnxRuntime(format!("{package}: no folder {folder} inside"))),
    };
    let name = format!("{}-{}", pip::folder_name(&packages), folder.replace('/', "-"));
    let target = find::cache_folder()?.with_file_name("packages").join(name);
    fetch(&target, &packages, &place, &whole, &mut |_| {})?;
    Ok(target)
}

/// Fills `target` with the files of `packages` that `place` gives a place in it, if it is
/// not there yet. It is built beside its final place and renamed there when `whole` finds
/// nothing amiss, so that a half-done install never bears the final name.
fn fetch(
    target: &Path,
    packages: &[&str],
    place: &dyn Fn(&str) -> Option<String>,
    whole: &dyn Fn(&Path) -> Result<()>,
    progress: &mut dyn FnMut(&str),
) -> Result<()> {
    if target.is_dir() {
        return Ok(());
    }
    let cache = target.parent().unwrap_or(target);
    std::fs::create_dir_all(cache).map_err(|error| Error::file(cache, error))?;
    let work = tempfile::Builder::new()
        .prefix(find::UNFINISHED)
        .tempdir_in(cache)
        .map_err(|error| Error::file(cache, error))?;
    let unpacked = work.path().join("unpacked");
    std::fs::create_dir(&unpacked).map_err(|error| Error::file(&unpacked, error))?;
    for package in packages {
        progress(&format!("downloading {package}"));
        let wheel = pip::download(package, work.path())?;
        progress(&format!("unpacking {package}"));
        wheel::unpack(&wheel, &unpacked, place)?;
        std::fs::remove_file(&wheel).map_err(|error| Error::file(&wheel, error))?;
    }
    whole(&unpacked)?;
    match std::fs::rename(&unpacked, target) {
        Err(error) if !target.is_dir() => Err(Error::file(target, error)),
        // Another process was first: its copy is as good as ours.
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn provider_names_round_trip() {
        for provider in Provider::ALL {
            assert_eq!(provider.to_string().parse::<Provider>().unwrap(), provider);
        }
        assert!("OpenCL".parse::<Provider>().unwrap_err().to_string().contains("'OpenCL'"));
    }

    #[test]
    fn the_oldest_usable_version_is_1_24() {
        let library = |version: &str| Library {
            path: "x".into(),
            version: version.into(),
            providers: vec![Provider::Cpu],
            source: Source::Cache,
        };
        for good in ["1.24.0", "1.24", "1.31.1"] {
            assert!(library(good).is_usable(), "{good}");
        }
        for bad in ["1.23.2", "2.30.0", "0.24", "1", "", "unknown"] {
            assert!(!library(bad).is_usable(), "{bad}");
        }
    }
}
