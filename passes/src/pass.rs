//! What a pass is, and a pipeline of them.

use graphs::Model;

use crate::{Error, Hoist, Inline, Result, Upgrade};

/// A rewrite of a model.
///
/// A pass only adds nodes and rewires; removal of what became dead is left to the
/// sweep that [`Pipeline::run`] makes after it. It leaves alone what it is not about,
/// optional arguments and subgraphs included.
pub trait Pass {
    /// The name for messages.
    fn name(&self) -> &'static str;

    /// Rewrites the model.
    ///
    /// # Errors
    /// When the model does not fit the pass; the model may be half rewritten then.
    fn run(&self, model: &mut Model) -> Result<()>;
}

/// Passes in order. After each one the dead nodes are swept and every invariant is
/// checked, so that an error names the pass that broke the graph.
#[derive(Default)]
pub struct Pipeline<'p>(Vec<Box<dyn Pass + 'p>>);

impl<'p> Pipeline<'p> {
    /// A pipeline without passes.
    pub fn new() -> Pipeline<'p> {
        Pipeline::default()
    }

    /// What every command does with a file first: constants become initializers, operators
    /// those of opset 18, and calls of model-local functions what they stand for.
    pub fn opening() -> Pipeline<'p> {
        Pipeline::new().then(Hoist).then(Upgrade).then(Inline)
    }

    /// The pipeline with one more pass at its end.
    pub fn then(mut self, pass: impl Pass + 'p) -> Pipeline<'p> {
        self.0.push(Box::new(pass));
        self
    }

    /// Runs every pass.
    ///
    /// # Errors
    /// The first error of a pass, or [`Error::Broken`].
    pub fn run(&self, model: &mut Model) -> Result<()> {
        for pass in &self.0 {
            pass.run(model)?;
            model.graph.sweep();
            let broken = |source| Error::Broken { pass: pass.name().to_owned(), source };
            model.graph.check().map_err(broken)?;
        }
        Ok(())
    }
}
