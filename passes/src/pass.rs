//! What a pass is, and a pipeline of them.

use graphs::{Model, NodeSet};

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

/// Removes the nodes that no output depends on.
#[derive(Clone, Copy, Debug)]
pub struct Sweep;

impl Pass for Sweep {
    fn name(&self) -> &'static str {
        "sweep"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        model.graph.sweep();
        Ok(())
    }
}

/// Passes in order. After each one what it left dead is swept and every invariant is
/// checked, so that an error names the pass that broke the graph. What nobody read
/// before stays, for files may hold it.
#[derive(Default)]
pub struct Pipeline<'p>(Vec<Box<dyn Pass + 'p>>);

impl<'p> Pipeline<'p> {
    /// A pipeline without passes.
    pub fn new() -> Pipeline<'p> {
        Pipeline::default()
    }

    /// What every command does with a file first: what nobody reads goes, constants become
    /// initializers, operators those of opset 18, and calls of model-local functions what
    /// they stand for.
    pub fn opening() -> Pipeline<'p> {
        Pipeline::new().then(Sweep).then(Hoist).then(Upgrade).then(Inline)
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
            let live = model.graph.live();
            let idle: NodeSet = model.graph.ids().filter(|&id| !live.contains(id)).collect();
            pass.run(model)?;
            model.graph.sweep_but(&idle);
            let broken = |source| Error::Broken { pass: pass.name().to_owned(), source };
            model.graph.check().map_err(broken)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use std::path::{Path, PathBuf};

    use graphs::proto::ModelProto;
    use graphs::{Kind, NodeId, Op};
    use prost::Message;

    use super::*;

    /// Turns every Relu into an Abs.
    struct Replace;

    impl Pass for Replace {
        fn name(&self) -> &'static str {
            "replace"
        }

        fn run(&self, model: &mut Model) -> Result<()> {
            let ids: Vec<NodeId> = model.graph.ids().collect();
            for id in ids {
                let node = model.graph.node_mut(id);
                if node.op().is_some_and(|op| op.is("Relu")) {
                    node.kind = Kind::Op(Op { arity: 1, ..Op::new("Abs") });
                }
            }
            Ok(())
        }
    }

    /// A model with every field of ONNX's schema, among them constants that nobody reads.
    fn path() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../graphs/tests/data/lossless.onnx")
    }

    #[test]
    fn what_a_pass_is_not_about_is_written_byte_for_byte() {
        let mut model = Model::read(&path()).unwrap();
        Pipeline::new().then(Replace).run(&mut model).unwrap();
        let mut expected = ModelProto::decode(&*std::fs::read(path()).unwrap()).unwrap();
        let nodes = &mut expected.graph.as_mut().unwrap().node;
        let relu = nodes.iter_mut().find(|node| node.op_type() == "Relu").unwrap();
        relu.op_type = Some("Abs".into());
        assert!(model.encode().unwrap().encode_to_vec() == expected.encode_to_vec());
    }

    #[test]
    fn what_a_pass_leaves_dead_goes_and_what_was_dead_before_stays() {
        let mut graph = graphs::Graph::new("test");
        let x = graph.input("x", graphs::Role::Data, graphs::Fact::default());
        let call = |graph: &mut graphs::Graph, op: &str, x| {
            graph.op(op, Op::new(op), &[Some(x)], vec![graphs::Fact::default()])
        };
        let idle = call(&mut graph, "Neg", x);
        let old = call(&mut graph, "Exp", x);
        graph.output("y", old.into());
        let mut model = Model::new(graph);

        struct Rewire;
        impl Pass for Rewire {
            fn name(&self) -> &'static str {
                "rewire"
            }
            fn run(&self, model: &mut Model) -> Result<()> {
                let x = model.graph.source("x").unwrap();
                let port = model.graph.outputs.first_mut().unwrap();
                port.value = x;
                Ok(())
            }
        }
        Pipeline::new().then(Rewire).run(&mut model).unwrap();
        assert!(model.graph.get(idle).is_some() && model.graph.get(old).is_none());
        Pipeline::new().then(Sweep).run(&mut model).unwrap();
        assert!(model.graph.get(idle).is_none());
    }
}
