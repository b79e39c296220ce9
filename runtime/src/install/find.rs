//! The places where an ONNX Runtime library may be.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use directories::ProjectDirs;

use super::names::{is_library, providers_beside, version_in_name};
use super::pip::PYTHON;
use super::{Library, Provider, Source};
use crate::{Error, Result};

/// How the name of a folder begins that an install is still filling.
pub(super) const UNFINISHED: &str = ".unfinished-";

/// Where libraries are searched.
pub(super) struct Places {
    /// The value of `ORT_DYLIB_PATH`.
    pub(super) named: Option<PathBuf>,
    /// The folder that holds one folder for each install.
    pub(super) cache: PathBuf,
    /// The folders from which Python imports packages.
    pub(super) python: Vec<PathBuf>,
}

impl Places {
    pub(super) fn from_environment() -> Result<Places> {
        let named = env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty());
        Ok(Places {
            named: named.map(PathBuf::from),
            cache: cache_folder()?,
            python: python_folders(),
        })
    }

    /// Every library, in the order of search.
    pub(super) fn libraries(&self) -> Result<Vec<Library>> {
        let mut libraries: Vec<Library> = self.named()?.into_iter().collect();
        for folder in installed(&self.cache)? {
            libraries.extend(library_in(&folder, Source::Cache));
        }
        for folder in &self.python {
            libraries.extend(library_in(&folder.join("onnxruntime/capi"), Source::Python));
        }
        Ok(libraries)
    }

    /// The first usable library with `provider`; the named one or none if one is named.
    pub(super) fn find(&self, provider: Provider) -> Result<Library> {
        let install = provider.install_command();
        if let Some(library) = self.named()? {
            let lack = if !library.is_usable() {
                format!("is version {}, and 1.{} is needed", library.version, Library::OLDEST_MINOR)
            } else if !library.providers.contains(&provider) {
                format!("has no {provider} provider")
            } else {
                return Ok(library);
            };
            return Err(Error::file(
                &library.path,
                format!(
                    "this library, named by ORT_DYLIB_PATH, {lack}; unset it and run `{install}`"
                ),
            ));
        }
        let fits = |library: &Library| library.is_usable() && library.providers.contains(&provider);
        self.libraries()?.into_iter().find(fits).ok_or_else(|| {
            Error::OnnxRuntime(format!("no library with the {provider} provider; run `{install}`"))
        })
    }

    /// The library that `ORT_DYLIB_PATH` names, if it is set.
    fn named(&self) -> Result<Option<Library>> {
        let Some(named) = &self.named else { return Ok(None) };
        let bad = |reason: String| {
            Error::file(named, format!("ORT_DYLIB_PATH: {reason}; correct or unset it"))
        };
        let path = named.canonicalize().map_err(|error| bad(error.to_string()))?;
        let minor = ort::util::probe(&path)
            .ok_or_else(|| bad("this is no ONNX Runtime library that can be loaded".to_owned()))?;
        let version = version_in_name(&path).unwrap_or_else(|| format!("1.{minor}"));
        let providers = providers_beside(&path);
        Ok(Some(Library { path, version, providers, source: Source::Environment }))
    }
}

/// `$ADVBNN_CACHE/onnxruntime`, or the same in the user's cache folder.
pub(super) fn cache_folder() -> Result<PathBuf> {
    let named = env::var_os("ADVBNN_CACHE").filter(|path| !path.is_empty()).map(PathBuf::from);
    let folder = match named {
        Some(folder) => {
            std::path::absolute(&folder).map_err(|error| Error::file(&folder, error))?
        }
        None => ProjectDirs::from("", "", "advbnn")
            .map(|folders| folders.cache_dir().to_owned())
            .ok_or_else(|| Error::OnnxRuntime("no home folder; set ADVBNN_CACHE".to_owned()))?,
    };
    Ok(folder.join("onnxruntime"))
}

/// Where the Python on `PATH`, if any, looks for packages. The relative entries are left
/// out: a library in the working folder is not one that the user installed.
fn python_folders() -> Vec<PathBuf> {
    let output =
        Command::new(PYTHON).args(["-c", "import sys\nfor p in sys.path: print(p)"]).output();
    let Ok(output) = output else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(PathBuf::from).filter(|folder| folder.is_absolute()).collect()
}

/// The finished installs of `cache`, sorted by name; none if the folder is not there.
fn installed(cache: &Path) -> Result<Vec<PathBuf>> {
    if !cache.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error| Error::file(cache, error);
    let mut folders = Vec::new();
    for entry in fs::read_dir(cache).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().to_string_lossy().starts_with(UNFINISHED) {
            folders.push(entry.path());
        }
    }
    folders.sort();
    Ok(folders)
}

/// The ONNX Runtime library directly in `folder`. Only one whose name lacks the version
/// is loaded, to ask for it.
pub(super) fn library_in(folder: &Path, source: Source) -> Option<Library> {
    let mut files: Vec<PathBuf> = fs::read_dir(folder).ok()?.flatten().map(|f| f.path()).collect();
    files.retain(|path| is_library(path, "onnxruntime"));
    files.sort();
    // The name with the version sorts after the plain one, which may be a link to it.
    let path = files.pop()?;
    let version = version_in_name(&path)
        .or_else(|| ort::util::probe(&path).map(|minor| format!("1.{minor}")))?;
    let providers = providers_beside(&path);
    Some(Library { path, version, providers, source })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    fn place(folder: &Path, files: &[&str]) {
        for file in files {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, b"").unwrap();
        }
    }

    fn places(root: &Path) -> Places {
        Places { named: None, cache: root.join("cache"), python: vec![root.join("site")] }
    }

    #[test]
    fn the_cache_comes_before_python_and_an_unfinished_install_is_not_seen() {
        let root = tempfile::tempdir().unwrap();
        let cached = "cache/onnxruntime-1.31.1/libonnxruntime.so.1.31.1";
        let unfinished = format!("cache/{UNFINISHED}a/libonnxruntime.so.1.31.1");
        place(root.path(), &[&unfinished, "site/onnxruntime/capi/libonnxruntime.so.1.30.0"]);
        let places = places(root.path());
        assert_eq!(places.find(Provider::Cpu).unwrap().source, Source::Python);
        place(root.path(), &[cached]);
        let library = places.find(Provider::Cpu).unwrap();
        assert_eq!(library.path, root.path().join(cached));
        assert_eq!((library.version.as_str(), library.source), ("1.31.1", Source::Cache));
        assert_eq!(places.libraries().unwrap().len(), 2);
    }

    #[test]
    fn an_old_library_is_listed_but_not_taken() {
        let root = tempfile::tempdir().unwrap();
        place(root.path(), &["site/onnxruntime/capi/libonnxruntime.so.1.19.2"]);
        assert_eq!(places(root.path()).libraries().unwrap().len(), 1);
        let error = places(root.path()).find(Provider::Cpu).unwrap_err().to_string();
        assert!(error.contains("advbnn runtime install cpu"), "{error}");
    }

    #[test]
    fn a_provider_is_told_by_its_plugin() {
        let root = tempfile::tempdir().unwrap();
        let plugin = "cache/a/libonnxruntime_providers_openvino.so";
        place(root.path(), &["cache/a/libonnxruntime.so.1.24.1", plugin]);
        let library = places(root.path()).find(Provider::OpenVino).unwrap();
        assert_eq!(library.providers, [Provider::Cpu, Provider::OpenVino]);
        assert!(places(root.path()).find(Provider::Cuda).is_err());
    }

    #[test]
    fn a_bad_ort_dylib_path_is_an_error_and_nothing_else_is_taken() {
        let root = tempfile::tempdir().unwrap();
        place(root.path(), &["cache/a/libonnxruntime.so.1.31.1", "other.so"]);
        for name in ["missing.so", "other.so"] {
            let named = Some(root.path().join(name));
            let places = Places { named, ..places(root.path()) };
            let error = places.find(Provider::Cpu).unwrap_err().to_string();
            assert!(error.contains(name) && error.contains("ORT_DYLIB_PATH"), "{error}");
            assert!(places.libraries().is_err());
        }
    }
}
