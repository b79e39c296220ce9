//! Convolutions of few windows as products for the whole batch.

use graphs::Model;

use crate::ops;
use crate::pass::Pass;
use crate::{Platform, Result, Tape};

/// Rewrites every Conv that the platform multiplies too slowly, an image at a time, as products
/// for the batch (minimal filtering or im2col). All facts must be known (see [`crate::Fold`]).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Batched(pub(crate) Platform);

impl Pass for Batched {
    fn name(&self) -> &'static str {
        "batched"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        let live = graph.ancestors(graph.outputs.iter().map(|port| port.value));
        let order = graph.op_order()?;
        let mut tape = Tape::new(graph, "");
        for id in order.into_iter().filter(|&id| live.contains(id)) {
            let (uses, name) = (tape.graph.uses(id.into()), tape.graph.node(id).name.clone());
            tape.set_prefix(&name);
            if let Some(y) = ops::narrow_conv(&mut tape, id, self.0)? {
                tape.graph.redirect(uses, y);
            }
        }
        Ok(())
    }
}
