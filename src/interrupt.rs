//! Ctrl-C: a training saves and ends; everything else ends at once, for it leaves files whole.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result};

use crate::print;

/// Whether somebody looks at [`ASKED`].
static WATCHED: AtomicBool = AtomicBool::new(false);
/// Whether Ctrl-C was pressed while somebody did.
static ASKED: AtomicBool = AtomicBool::new(false);

/// While there is one, the first Ctrl-C asks the run to save and end; a second one ends the
/// program at once, as the first does without.
pub(crate) struct Watch(());

impl Watch {
    /// # Errors
    /// When the system does not let Ctrl-C be watched.
    pub(crate) fn start() -> Result<Watch> {
        static HANDLER: OnceLock<()> = OnceLock::new();
        if HANDLER.get().is_none() {
            ctrlc::set_handler(pressed).context("Ctrl-C cannot be watched")?;
            HANDLER.get_or_init(|| ());
        }
        WATCHED.store(true, Ordering::SeqCst);
        Ok(Watch(()))
    }

    /// Becomes true when the run is to end.
    pub(crate) fn flag(&self) -> &'static AtomicBool {
        &ASKED
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        WATCHED.store(false, Ordering::SeqCst);
    }
}

/// Whether Ctrl-C was pressed during a training of this process.
pub(crate) fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

fn pressed() {
    if !WATCHED.load(Ordering::SeqCst) || ASKED.swap(true, Ordering::SeqCst) {
        // What a shell says of a program that SIGINT ended.
        std::process::exit(130);
    }
    print::remark("stopping after this step; press Ctrl-C again to stop at once");
}
