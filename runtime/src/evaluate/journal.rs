//! What an evaluation has found so far, so that one that was broken off goes on.
//!
//! A line of JSON says what is evaluated; each further line holds what was seen of one range
//! of images under one attack, and a last one says that all is done. A last line that was cut
//! off is as good as none.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::examples::Pictured;
use super::measure::Seen;
use crate::{Error, Result, write_whole};

/// Where an evaluation notes what it has found.
#[derive(Clone, Copy, Debug)]
pub struct Notes<'e> {
    /// The file.
    pub path: &'e Path,
    /// What the figures depend on beside the data, the model and the settings.
    pub about: &'e str,
    /// Whether to go on with what is there, rather than anew; what was stopped and is not
    /// gone on with is an error.
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

/// The first line.
#[derive(Serialize, Deserialize)]
struct Head {
    evaluation: String,
}

/// The last line.
#[derive(Serialize, Deserialize)]
struct End {
    finished: bool,
}

/// A line after the first.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    Range(Range),
    End(End),
}

/// What a file holds.
struct Content {
    evaluation: String,
    found: BTreeMap<String, Range>,
    finished: bool,
}

impl Journal {
    /// Starts a journal of `evaluation`, a text that names everything the figures depend
    /// on; with `resume`, goes on with the one that is there.
    ///
    /// # Errors
    /// When the file cannot be read or written, is damaged, is of another evaluation, without
    /// `resume` is of one that was stopped, or with it is not there.
    pub(super) fn open(path: &Path, evaluation: &str, resume: bool) -> Result<Journal> {
        let found = match read(path)? {
            Some(before) if resume && before.evaluation == evaluation => before.found,
            Some(_) if resume => {
                let reason = "`--resume` goes on with the same evaluation only, and this is one of \
                              another model, data or settings; give the same flags, or choose \
                              another folder";
                return Err(Error::file(path, reason));
            }
            Some(before) if !before.finished && !before.found.is_empty() => {
                let reason = "holds an evaluation that was stopped; go on with it (`--resume`), or \
                              choose another folder";
                return Err(Error::file(path, reason));
            }
            None if resume => return Err(nothing(path)),
            _ => BTreeMap::new(),
        };
        write_whole(path, |file| {
            append(file, &Head { evaluation: evaluation.to_owned() })?;
            found.values().try_for_each(|range| append(file, range))
        })?;
        let file = OpenOptions::new().append(true).open(path).map_err(|e| Error::file(path, e))?;
        Ok(Journal { path: path.to_owned(), file, found })
    }

    /// The range of that key, if it is finished.
    ///
    /// # Errors
    /// When it is not one of so many images.
    pub(super) fn get(&self, key: &str, images: usize) -> Result<Option<&Range>> {
        let Some(range) = self.found.get(key) else { return Ok(None) };
        if range.seen.len() != images {
            let seen = range.seen.len();
            let reason = format!("damaged: `{key}` has {seen} images; choose another folder");
            return Err(Error::file(&self.path, reason));
        }
        Ok(Some(range))
    }

    /// Notes a finished range.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn put(&mut self, range: &Range) -> Result<()> {
        self.append(range)
    }

    /// Notes that everything is done.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn finish(&mut self) -> Result<()> {
        self.append(&End { finished: true })
    }

    fn append(&mut self, line: &impl Serialize) -> Result<()> {
        append(&mut self.file, line).map_err(|error| Error::file(&self.path, error))
    }
}

fn append(file: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_string(line).map_err(io::Error::other)?;
    text.push('\n');
    file.write_all(text.as_bytes()).and_then(|()| file.flush())
}

/// Refuses to go on where nothing is, before anything else is read.
///
/// # Errors
/// When there is no file at `path`.
pub fn check_resumable(path: &Path) -> Result<()> {
    match path.try_exists() {
        Ok(false) => Err(nothing(path)),
        // What cannot be read is told when it is.
        Ok(true) | Err(_) => Ok(()),
    }
}

fn nothing(path: &Path) -> Error {
    let reason =
        "there is no evaluation to resume; leave `--resume` away, or give the folder of one";
    Error::file(path, reason)
}

/// What `path` holds; `None` where there is no file, or one without a whole line.
///
/// # Errors
/// When it cannot be read, or a line that was not cut off says nothing.
fn read(path: &Path) -> Result<Option<Content>> {
    let bytes = match std::fs::read(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        read => read.map_err(|error| Error::file(path, error))?,
    };
    let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let mut lines =
        (1..).zip(bytes.get(..whole).unwrap_or_default().split_inclusive(|b| *b == b'\n'));
    let damaged = |line: usize, error: serde_json::Error| {
        Error::file(path, format!("line {line} is damaged ({error}); choose another folder"))
    };
    let Some((number, head)) = lines.next() else { return Ok(None) };
    let Head { evaluation } = serde_json::from_slice(head).map_err(|e| damaged(number, e))?;
    let mut content = Content { evaluation, found: BTreeMap::new(), finished: false };
    for (number, line) in lines {
        match serde_json::from_slice(line).map_err(|error| damaged(number, error))? {
            Line::Range(range) if !range.pictures.iter().all(Pictured::is_whole) => {
                let reason = "is damaged (a picture has not as many pixels as its shape says); \
                              choose another folder";
                return Err(Error::file(path, format!("line {number} {reason}")));
            }
            Line::Range(range) => _ = content.found.insert(range.key.clone(), range),
            Line::End(End { finished }) => content.finished = finished,
        }
    }
    Ok(Some(content))
}

#[cfg(test)]
mod tests;
