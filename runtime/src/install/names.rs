//! What the names of library files tell: version, providers, the CUDA libraries.

use std::fs;
use std::path::{Path, PathBuf};

use super::Provider;

/// The folder of the library `name`: that of ONNX Runtime, where `install` puts it, or
/// that of NVIDIA's package in the same Python.
pub(super) fn folder_of(onnxruntime: &Path, name: &str) -> Option<PathBuf> {
    let beside = onnxruntime.parent()?;
    let nvidia = beside.ancestors().nth(2).map(|packages| packages.join("nvidia"));
    let packaged = ["cu13/lib", "cudnn/lib"].map(|lib| nvidia.as_ref().map(|dir| dir.join(lib)));
    std::iter::once(Some(beside.to_owned())).chain(packaged).flatten().find(|folder| {
        let files = fs::read_dir(folder).into_iter().flatten().flatten();
        files.map(|file| file.path()).any(|path| is_library(&path, name))
    })
}

/// The providers whose plugins lie beside the library.
pub(super) fn providers_beside(library: &Path) -> Vec<Provider> {
    let folder = library.parent().unwrap_or(Path::new(""));
    let files = || fs::read_dir(folder).into_iter().flatten().flatten().map(|file| file.path());
    let has = |provider: &Provider| {
        let plugin = format!("onnxruntime_providers_{provider}");
        *provider == Provider::Cpu || files().any(|path| is_library(&path, &plugin))
    };
    Provider::ALL.into_iter().filter(has).collect()
}

/// Whether the file is called `libNAME.so`, `libNAME.so.1.2.3`, `libNAME.1.2.3.dylib`,
/// `NAME.dll` or the like.
pub(super) fn is_library(path: &Path, name: &str) -> bool {
    let file = path.file_name().unwrap_or_default().to_string_lossy();
    let rest = file.strip_prefix("lib").unwrap_or(&file).strip_prefix(name);
    rest.is_some_and(|rest| {
        let mut parts = rest.split('.');
        let extension = ["so", "dylib", "dll"];
        let known = |part: &str| extension.contains(&part) || part.parse::<u32>().is_ok();
        parts.next() == Some("")
            && rest.split('.').any(|part| extension.contains(&part))
            && parts.all(known)
    })
}

/// `1.31.1` in `libonnxruntime.so.1.31.1` or `libonnxruntime.1.31.1.dylib`.
pub(super) fn version_in_name(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let numbers: Vec<&str> = name.split('.').filter(|part| part.parse::<u32>().is_ok()).collect();
    (numbers.len() >= 2).then(|| numbers.join("."))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_of_libraries_on_every_system() {
        for name in ["libonnxruntime.so", "libonnxruntime.so.1.31.1", "libonnxruntime.1.31.1.dylib"]
        {
            assert!(is_library(Path::new(name), "onnxruntime"), "{name}");
        }
        assert!(is_library(Path::new("onnxruntime.dll"), "onnxruntime"));
        for name in
            ["libonnxruntime_providers_shared.so", "libonnxruntime.txt", "libonnxruntime.so.bak"]
        {
            assert!(!is_library(Path::new(name), "onnxruntime"), "{name}");
        }
        let version = version_in_name(Path::new("libonnxruntime.1.31.1.dylib"));
        assert_eq!(version.as_deref(), Some("1.31.1"));
        assert_eq!(version_in_name(Path::new("libonnxruntime.so.1")), None);
    }

    #[test]
    fn cuda_libraries_are_found_beside_or_in_nvidias_packages() {
        let root = tempfile::tempdir().unwrap();
        let library = root.path().join("site/onnxruntime/capi/libonnxruntime.so.1.31.1");
        assert_eq!(folder_of(&library, "cudart"), None);
        for folder in ["onnxruntime/capi", "nvidia/cu13/lib"] {
            fs::create_dir_all(root.path().join("site").join(folder)).unwrap();
        }
        fs::write(root.path().join("site/nvidia/cu13/lib/libcudart.so.13"), b"").unwrap();
        assert_eq!(folder_of(&library, "cudart"), Some(root.path().join("site/nvidia/cu13/lib")));
        fs::write(library.with_file_name("libcudart.so.13"), b"").unwrap();
        assert_eq!(folder_of(&library, "cudart").as_deref(), library.parent());
    }
}
