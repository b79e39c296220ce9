//! What an evaluation has found so far, so that one that was broken off goes on.
//!
//! A line of JSON says what is evaluated; each further line holds what was seen of one range
//! of images under one attack. A line that was cut off is as good as none.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use crc32c::crc32c_append;
use serde::{Deserialize, Serialize};

use super::EvalSettings;
use super::examples::Pictured;
use super::measure::Seen;
use crate::data::Dataset;
use crate::network::Running;
use crate::sessions::Purpose;
use crate::{Error, Result};

/// Where an evaluation notes what it has found.
#[derive(Clone, Copy, Debug)]
pub struct Notes<'e> {
    /// The file.
    pub path: &'e Path,
    /// What the figures depend on beside the data, the parameters and the settings.
    pub about: &'e str,
    /// Whether to go on with what is there, rather than anew.
    pub resume: bool,
}

/// A file of finished ranges.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
    found: BTreeMap<String, Range>,
}

/// What was seen of some images under one attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Range {
    /// The attack, its radius, and the images.
    pub(super) key: String,
    pub(super) seen: Vec<Seen>,
    /// Those that the report shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) pictures: Vec<Pictured>,
}

/// A text that differs where the figures would: of other parameters, images or settings.
/// Further attacks and radii may join, but for cumulative ones, which depend on one another.
///
/// # Errors
/// When a parameter cannot be read.
pub(super) fn identity(
    network: &mut Running,
    datasets: &[&Dataset],
    settings: &EvalSettings,
    about: &str,
) -> Result<String> {
    let EvalSettings { samples, batch, seed, seeds, cumulative, .. } = settings;
    let mut sum = 0;
    for dataset in datasets {
        for index in 0..dataset.len() {
            sum = crc32c_append(sum, dataset.image(index).unwrap_or_default());
        }
        let labels: Vec<u8> = dataset.labels().iter().flat_map(|l| l.to_le_bytes()).collect();
        sum = crc32c_append(sum, &labels);
    }
    let size = batch.min(&datasets.first().map_or(0, |dataset| dataset.len())).to_owned();
    sum = parameters(network, size, sum)?;
    let runs: Vec<String> = match cumulative {
        true => settings.runs().map(|(spec, eps)| format!("{} at {eps}", spec.text())).collect(),
        false => Vec::new(),
    };
    Ok(format!(
        "{about}; samples {samples}, batch {batch}, seed {seed}, seeds {seeds}, {}; {sum:08x}",
        runs.join(", ")
    ))
}

/// A sum of the parameters that the program for `batch` images reads, going on from `sum`.
///
/// # Errors
/// When a parameter cannot be read.
pub(super) fn parameters(network: &mut Running, batch: usize, mut sum: u32) -> Result<u32> {
    let Running { sessions, state, .. } = network;
    for (name, _) in sessions.get(Purpose::Predict, batch)?.state() {
        if let Some(tensor) = state.get(name)? {
            sum = crc32c_append(crc32c_append(sum, name.as_bytes()), tensor.bytes());
        }
    }
    Ok(sum)
}

#[derive(Serialize, Deserialize)]
struct Head {
    evaluation: String,
}

impl Journal {
    /// Starts a journal of `evaluation`, a text that names everything the figures depend
    /// on; with `resume`, goes on with the one that is there.
    ///
    /// # Errors
    /// When the file cannot be read or written, or is of another evaluation.
    pub(super) fn open(path: &Path, evaluation: &str, resume: bool) -> Result<Journal> {
        let failed = |error: std::io::Error| Error::file(path, error);
        let mut found = BTreeMap::new();
        if resume && path.exists() {
            found = read(path, evaluation)?;
        }
        let mut file = File::create(path).map_err(failed)?;
        append(&mut file, &Head { evaluation: evaluation.to_owned() }, path)?;
        // What a cut-off line left behind is gone when the whole ones are written again.
        for range in found.values() {
            append(&mut file, range, path)?;
        }
        drop(file);
        let file = OpenOptions::new().append(true).open(path).map_err(failed)?;
        Ok(Journal { path: path.to_owned(), file, found })
    }

    /// The range of that key, if it is finished.
    pub(super) fn get(&self, key: &str) -> Option<&Range> {
        self.found.get(key)
    }

    /// Notes a finished range.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put(&mut self, range: &Range) -> Result<()> {
        append(&mut self.file, range, &self.path)
    }
}

fn append(file: &mut File, line: &impl Serialize, path: &Path) -> Result<()> {
    let mut text = serde_json::to_string(line).map_err(|error| Error::file(path, error))?;
    text.push('\n');
    file.write_all(text.as_bytes()).and_then(|()| file.flush()).map_err(|e| Error::file(path, e))
}

fn read(path: &Path, evaluation: &str) -> Result<BTreeMap<String, Range>> {
    let file = File::open(path).map_err(|error| Error::file(path, error))?;
    let mut lines = BufReader::new(file).lines();
    let head = lines.next().and_then(Result::ok).unwrap_or_default();
    let head = serde_json::from_str::<Head>(&head).ok();
    if head.is_none_or(|head| head.evaluation != evaluation) {
        let reason = "holds an evaluation of another model, data or settings; give the same flags, \
                      or leave out --resume to start anew";
        return Err(Error::file(path, reason));
    }
    let ranges = lines.map_while(Result::ok).map_while(|line| serde_json::from_str(&line).ok());
    Ok(ranges.map(|range: Range| (range.key.clone(), range)).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::uncertainty::Tally;

    fn range(key: &str) -> Range {
        let mut tally = Tally::default();
        tally.add(&[0.3, 0.7], 2);
        let judged = tally.judge(&[1])[0];
        let seen = Seen { judged, by_samples: vec![(1, judged)], seeds: vec![true], moved: 0.1 };
        Range { key: key.to_owned(), seen: vec![seen], pictures: Vec::new() }
    }

    #[test]
    fn finished_ranges_are_found_again_and_cut_off_ones_are_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        let mut journal = Journal::open(&path, "this", false).unwrap();
        journal.put(&range("a")).unwrap();
        journal.put(&range("b")).unwrap();
        drop(journal);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, &text[..text.len() - 9]).unwrap();

        let mut journal = Journal::open(&path, "this", true).unwrap();
        assert_eq!(journal.get("a"), Some(&range("a")));
        assert_eq!(journal.get("b"), None);
        journal.put(&range("b")).unwrap();
        drop(journal);
        let journal = Journal::open(&path, "this", true).unwrap();
        assert_eq!(journal.get("b"), Some(&range("b")));
    }

    #[test]
    fn another_evaluation_is_refused_but_for_a_fresh_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("progress.jsonl");
        Journal::open(&path, "this", true).unwrap().put(&range("a")).unwrap();
        let error = Journal::open(&path, "that", true).unwrap_err().to_string();
        assert!(error.contains("progress.jsonl") && error.contains("--resume"), "{error}");
        assert_eq!(Journal::open(&path, "that", false).unwrap().get("a"), None);
    }
}
