//! What the user reads: results on standard output, remarks on standard error.

use std::fmt::Display;
use std::io::{ErrorKind, Write};

use anyhow::{Result, bail};

/// Prints a line of the result. A reader that has gone away (`advbnn inspect x | head`)
/// is no error; a full disk is.
pub fn line(text: impl Display) -> Result<()> {
    let mut out = std::io::stdout().lock();
    match writeln!(out, "{text}").and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            bail!("standard output cannot be written: {error}")
        }
        _ => Ok(()),
    }
}

/// Prints a remark. That nobody reads it must not stop the work.
pub fn remark(text: impl Display) {
    _ = writeln!(std::io::stderr().lock(), "{text}");
}
