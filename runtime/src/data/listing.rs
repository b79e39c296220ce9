//! What lies at a data path: its files with their first bytes, and its folders.

use std::fs::{self, File};
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use flate2::read::MultiGzDecoder;

use super::Split;
use crate::{Error, Result};

/// Bytes of a file's content that formats are recognised by.
const HEAD: u64 = 16;

/// Words of file names that tell the split: no letter stands beside them.
const SPLIT_NAMES: &[(&str, Split)] = &[
    ("train", Split::Train),
    ("training", Split::Train),
    ("data_batch", Split::Train),
    ("t10k", Split::Test),
    ("test", Split::Test),
    ("testing", Split::Test),
];

/// The visible content of a folder, sorted by name; or one file.
pub(super) struct Listing {
    pub(super) root: PathBuf,
    pub(super) files: Vec<DataFile>,
    pub(super) folders: Vec<PathBuf>,
}

/// A regular file.
pub(super) struct DataFile {
    pub(super) path: PathBuf,
    /// Bytes on disk.
    pub(super) length: u64,
    /// The first bytes, decompressed.
    pub(super) head: Vec<u8>,
    gzip: bool,
}

impl Listing {
    /// Lists `root`, but for broken links. Neither devices nor pipes are opened, and nothing
    /// below its folders is.
    pub(super) fn read(root: &Path) -> Result<Listing> {
        let mut listing = Listing { root: root.to_owned(), files: Vec::new(), folders: Vec::new() };
        let kind = fs::metadata(root).map_err(|error| Error::file(root, error))?;
        let paths = if kind.is_dir() { entries(root)? } else { vec![root.to_owned()] };
        for path in paths {
            let Ok(kind) = fs::metadata(&path) else { continue };
            if kind.is_dir() {
                listing.folders.push(path);
            } else if kind.is_file() {
                listing.files.push(DataFile::read(path, kind.len())?);
            }
        }
        let plain: Vec<PathBuf> = listing.files.iter().map(|file| file.path.clone()).collect();
        let unpacked = |file: &DataFile| {
            file.path.extension().is_some_and(|extension| extension == "gz")
                && plain.contains(&file.path.with_extension(""))
        };
        listing.files.retain(|file| !unpacked(file));
        Ok(listing)
    }

    /// The files of `split` among those that `matches` chooses.
    pub(super) fn of_split(
        &self,
        split: Split,
        matches: impl Fn(&DataFile) -> bool,
    ) -> Vec<&DataFile> {
        let of_split = |file: &&DataFile| file.split().is_none_or(|of_file| of_file == split);
        self.files.iter().filter(|file| matches(file)).filter(of_split).collect()
    }

    /// The one file of `split` among those that `matches` chooses; `what` names it in errors.
    pub(super) fn one(
        &self,
        split: Split,
        what: &str,
        matches: impl Fn(&DataFile) -> bool,
    ) -> Result<&DataFile> {
        match self.of_split(split, matches)[..] {
            [file] => Ok(file),
            [] => Err(Error::file(&self.root, format!("no {what} of the {split} split here"))),
            [first, second, ..] => {
                let [first, second] = [first, second].map(|file| file.path.display());
                let reason =
                    format!("two files are {what} of the {split} split: {first}, {second}");
                Err(Error::file(&self.root, reason))
            }
        }
    }
}

impl DataFile {
    fn read(path: PathBuf, length: u64) -> Result<DataFile> {
        let mut file = DataFile { path, length, head: Vec::new(), gzip: false };
        let mut head = Vec::new();
        let opened = file.open()?;
        opened.take(HEAD).read_to_end(&mut head).map_err(|error| Error::file(&file.path, error))?;
        file.gzip = head.starts_with(&[0x1f, 0x8b]);
        if file.gzip {
            head.clear();
            // A corrupt archive is no known format: what could be read is enough to say so.
            let _ = file.open()?.take(HEAD).read_to_end(&mut head);
        }
        file.head = head;
        Ok(file)
    }

    /// A reader of the content, decompressed.
    pub(super) fn open(&self) -> Result<Box<dyn Read>> {
        let file = File::open(&self.path).map_err(|error| Error::file(&self.path, error))?;
        Ok(if self.gzip {
            Box::new(MultiGzDecoder::new(BufReader::new(file)))
        } else {
            Box::new(file)
        })
    }

    /// The split that the name tells.
    fn split(&self) -> Option<Split> {
        let name = self.path.file_name()?.to_string_lossy().to_lowercase();
        SPLIT_NAMES.iter().find(|(word, _)| has_word(&name, word)).map(|&(_, split)| split)
    }
}

/// Whether `word` stands somewhere in `name` with no letter before or behind it.
fn has_word(name: &str, word: &str) -> bool {
    let letter = |c: Option<char>| c.is_some_and(char::is_alphabetic);
    name.match_indices(word).any(|(at, _)| {
        let before = name.get(..at).and_then(|text| text.chars().next_back());
        let behind = name.get(at + word.len()..).and_then(|text| text.chars().next());
        !letter(before) && !letter(behind)
    })
}

/// The entries of a folder that are not hidden, sorted.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = |error| Error::file(folder, error);
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if !entry.file_name().as_encoded_bytes().starts_with(b".") {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_words_tell_the_split() {
        let split = |name: &str| {
            let path = PathBuf::from(name);
            DataFile { path, length: 0, head: Vec::new(), gzip: false }.split()
        };
        let train = ["train.npz", "x_train.npz", "Train-00000-of-00001.parquet", "train2017.npz"];
        for name in train.into_iter().chain(["data_batch_1.bin", "train_X.bin", "training.npz"]) {
            assert_eq!(split(name), Some(Split::Train), "{name}");
        }
        for name in ["t10k-images-idx3-ubyte.gz", "test_batch.bin", "latest-test.npz", "TEST.npz"] {
            assert_eq!(split(name), Some(Split::Test), "{name}");
        }
        for name in ["latest.npz", "strain.parquet", "trainer.npz", "attested.npz", "mnist.npz"] {
            assert_eq!(split(name), None, "{name}");
        }
    }
}
