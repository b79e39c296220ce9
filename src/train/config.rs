//! `config.toml` of a run folder: every setting, resolved.

use std::num::NonZeroUsize;
use std::path::Path;

use anyhow::{Context, Result};
use runtime::engine::Engine;
use runtime::train::{self, Settings};
use serde::{Deserialize, Serialize};

use crate::machinery::Machinery;
use crate::settings::Shown;
use crate::{misuse, print};

#[derive(Debug, Serialize)]
pub(crate) struct Config<'a> {
    pub(crate) model: &'a Path,
    pub(crate) data: &'a Path,
    pub(crate) split: String,
    pub(crate) limit: Option<NonZeroUsize>,
    pub(crate) normalize: Option<&'a str>,
    /// Of this program.
    pub(crate) version: &'static str,
    pub(crate) engine: EngineTable,
    pub(crate) recipe: Shown,
    pub(crate) training: &'a Settings,
}

/// What computes the run.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct EngineTable {
    name: String,
    version: String,
    provider: String,
    /// Runs of version 0.1.0 and before do not tell.
    #[serde(default)]
    precision: Option<String>,
    threads: usize,
}

/// What is looked at of the settings of a run that goes on.
#[derive(Deserialize)]
struct Old {
    recipe: Shown,
    normalize: Option<String>,
    engine: EngineTable,
}

impl EngineTable {
    pub(crate) fn of(engine: &dyn Engine) -> EngineTable {
        let Machinery { engine: name, engine_version, provider, precision, .. } =
            Machinery::of(engine);
        let (version, precision) = (engine_version, Some(precision));
        EngineTable { name, version, provider, precision, threads: engine.threads() }
    }

    fn shown(&self) -> String {
        let EngineTable { name, version, provider, precision, .. } = self;
        let precision = precision.as_ref().map(|precision| format!(" in {precision}"));
        format!("{name} {version} on {provider}{}", precision.unwrap_or_default())
    }
}

impl Config<'_> {
    /// The content of the file.
    ///
    /// # Errors
    /// When a value is none of TOML.
    pub(crate) fn text(&self) -> Result<String> {
        Ok(toml::to_string(self)?)
    }

    /// Checks that the run in the folder can go on with this recipe; another
    /// engine may take it over, which is remarked on. [`train::train`] checks the rest.
    ///
    /// # Errors
    /// When the run was made by another recipe.
    pub(super) fn check_continues(&self, folder: &Path, quiet: bool) -> Result<()> {
        let path = folder.join(train::CONFIG);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let old: Old = toml::from_str(&text).with_context(|| path.display().to_string())?;
        self.recipe.check_continues(&old.recipe)?;
        if old.normalize.as_deref() != self.normalize {
            let (old, new) = (old.normalize.as_deref(), self.normalize);
            let [old, new] = [old, new].map(|given| given.unwrap_or("none"));
            return Err(misuse(format!(
                "--normalize: the run to resume has {old}, but {new} is asked for; give the same settings, or start a run in another folder"
            )));
        }
        let (old, new) = (old.engine.shown(), self.engine.shown());
        if old != new && !quiet {
            print::remark(format_args!("note: the run was on {old} before, and goes on on {new}"));
        }
        Ok(())
    }
}
