//! The one error type of this crate.

use std::path::{Path, PathBuf};

/// What can go wrong while loading data, running engines, training or saving.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file could not be read or written; `reason` says what to do.
    #[error("{}: {reason}", path.display())]
    File {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// No ONNX Runtime library was found or could be installed; says what to do.
    #[error("ONNX Runtime: {0}")]
    OnnxRuntime(String),
    /// A setting that cannot be; says what to do.
    #[error("{0}")]
    Setting(String),
    /// An engine refused a program or failed at it.
    #[error("{engine}: {reason}")]
    Engine {
        /// The engine.
        engine: &'static str,
        /// What it said, in one line; names the node where the engine does.
        reason: String,
    },
    /// A program that cannot be run as it is.
    #[error("program: {0}")]
    Program(String),
    /// A value for an input that is missing or does not fit.
    #[error("input `{name}`: {reason}")]
    Input {
        /// The input.
        name: String,
        /// What was expected and what was found.
        reason: String,
    },
    /// An output or a value of the state that the host cannot read.
    #[error("output `{name}`: {reason}")]
    Output {
        /// The output, or the name in the state.
        name: String,
        /// Why.
        reason: String,
    },
    /// Images and labels that fit neither each other nor the model; says what to do.
    #[error("{0}")]
    Data(String),
    /// A model could not be compiled into a program.
    #[error(transparent)]
    Compile(Box<dyn std::error::Error + Send + Sync>),
    /// A training run that cannot go on; says at which step, why, and what to do.
    #[error("{0}")]
    Training(String),
    /// A graph could not be decoded, encoded or checked.
    #[error(transparent)]
    Graph(#[from] graphs::Error),
}

impl Error {
    /// An error about one file.
    pub(crate) fn file(path: &Path, reason: impl ToString) -> Error {
        Error::File { path: path.to_owned(), reason: reason.to_string() }
    }

    /// An engine's own message.
    pub(crate) fn engine(engine: &'static str, message: impl ToString) -> Error {
        Error::Engine { engine, reason: one_line(message) }
    }
}

/// A foreign message in one line of bearable length: engines write many, and may quote a
/// whole model.
pub(crate) fn one_line(message: impl ToString) -> String {
    const LONGEST: usize = 600;
    let message = message.to_string();
    let mut line = message.split_whitespace().collect::<Vec<_>>().join(" ");
    if let Some((end, _)) = line.char_indices().nth(LONGEST) {
        line.truncate(end);
        line.push_str(" ...");
    }
    line
}

/// The result type of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;
