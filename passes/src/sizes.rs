//! Sizes that a file leaves open besides the batch: sequences, images of any height.

use std::collections::BTreeSet;
use std::str::FromStr;

use graphs::{Attribute, Dim, Graph, Kind, Model, NodeId};

use crate::pass::Pass;
use crate::{Error, Result};

/// Gives open dimensions of the inputs a size.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FixSizes(Vec<Size>);

/// `NAME=SIZE`, or `INPUT:AXIS=SIZE` for a dimension without a name.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Size {
    dimension: String,
    size: usize,
}

/// Far more than an axis of any tensor that fits into memory beside another one.
const MOST: usize = i32::MAX as usize;

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Size, String> {
        let wrong = || format!("`{text}`: write NAME=SIZE, as in sequence=128");
        let (dimension, size) = text.rsplit_once('=').ok_or_else(wrong)?;
        if dimension.is_empty() || size.is_empty() || !size.bytes().all(|b| b.is_ascii_digit()) {
            return Err(wrong());
        }
        match size.parse() {
            Ok(size) if (1..=MOST).contains(&size) => {
                Ok(Size { dimension: dimension.to_owned(), size })
            }
            _ => Err(format!("`{text}`: SIZE is 1 to {MOST}")),
        }
    }
}

impl FixSizes {
    /// From texts `NAME=SIZE`, where NAME is that of a dimension, or `INPUT:AXIS`.
    ///
    /// # Errors
    /// The text that is none.
    pub fn parse(texts: &[String]) -> std::result::Result<FixSizes, String> {
        texts.iter().map(|text| text.parse()).collect::<std::result::Result<_, _>>().map(FixSizes)
    }
}

impl Pass for FixSizes {
    fn name(&self) -> &'static str {
        "fix-sizes"
    }

    fn run(&self, model: &mut Model) -> Result<()> {
        let graph = &mut model.graph;
        for Size { dimension, size } in &self.0 {
            let open = open(graph);
            if !open.iter().any(|(name, place, _)| [name, place].contains(&dimension)) {
                let names: BTreeSet<&str> = open.iter().map(|(name, ..)| name.as_str()).collect();
                let names = Vec::from_iter(names).join(", ");
                return Err(Error::Model(match names.as_str() {
                    "" => format!("no dimension `{dimension}`: all sizes of the inputs are fixed"),
                    names => format!("no input has a dimension `{dimension}`; open are: {names}"),
                }));
            }
            for (name, place, (id, axis)) in open {
                if [name, place].contains(dimension) {
                    fix(graph, id, |i, _| i == axis, *size);
                }
            }
            fix_stated(graph, dimension, *size);
        }
        Ok(())
    }
}

/// The open dimensions of the inputs: the name (`INPUT:AXIS` for one without), the place
/// `INPUT:AXIS`, input and axis.
fn open(graph: &Graph) -> Vec<(String, String, (NodeId, usize))> {
    let mut found = Vec::new();
    for &id in graph.inputs.iter().filter(|id| matches!(graph.node(**id).kind, Kind::Input(_))) {
        let shape = graph.fact(id.into()).shape.as_deref().unwrap_or_default();
        for (axis, dim) in shape.iter().enumerate() {
            let place = format!("{}:{axis}", graph.node(id).name);
            match dim {
                Dim::Known(_) => {}
                Dim::Named(name) => found.push((name.clone(), place, (id, axis))),
                Dim::Unknown => found.push((place.clone(), place, (id, axis))),
            }
        }
    }
    found
}

/// Fixes what else a file says of a dimension, in bodies too: its name is one for the whole file.
fn fix_stated(graph: &mut Graph, dimension: &str, size: usize) {
    let named = |dim: &Dim| matches!(dim, Dim::Named(name) if name == dimension);
    for id in graph.ids().collect::<Vec<NodeId>>() {
        fix(graph, id, |_, dim| named(dim), size);
        let Kind::Op(op) = &mut graph.node_mut(id).kind else { continue };
        for attribute in op.attributes.values_mut() {
            if let Attribute::Graph(body) = attribute {
                fix_stated(body, dimension, size);
            }
        }
    }
}

/// Gives the dimensions of a node's outputs that `which` chooses, by axis and dimension, a
/// size.
fn fix(graph: &mut Graph, id: NodeId, which: impl Fn(usize, &Dim) -> bool, size: usize) {
    for dims in graph.node_mut(id).outputs.iter_mut().filter_map(|fact| fact.shape.as_mut()) {
        for (axis, dim) in dims.iter_mut().enumerate() {
            if which(axis, dim) {
                *dim = Dim::Known(size);
            }
        }
    }
}

/// Refuses an input of which more than the batch is open: programs have static shapes.
pub(crate) fn refuse_open(graph: &Graph) -> Result<()> {
    match open(graph).into_iter().find(|(_, _, (_, axis))| *axis > 0) {
        Some((name, _, (id, _))) => {
            let reason = format!(
                "its shape {} leaves `{name}` open; give it a size: `advbnn convert --dim {name}=SIZE`",
                graph.fact(id.into())
            );
            Err(Error::Node { node: graph.node(id).describe(), reason })
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use graphs::{DType, Fact, Op, Role};

    use super::*;

    fn model() -> Model {
        let mut graph = Graph::new("test");
        let named = |name: &str| Dim::Named(name.to_owned());
        let fact = |dims: &[Dim]| Fact { dtype: Some(DType::I64), shape: Some(dims.to_vec()) };
        let ids = graph.input("ids", Role::Data, fact(&[named("N"), named("sequence")]));
        graph.input("mask", Role::Data, fact(&[named("N"), named("sequence"), Dim::Unknown]));
        let y = graph.op("y", Op::new("Neg"), &[Some(ids)], vec![graph.fact(ids).clone()]);
        graph.output("y", y.into());
        Model::new(graph)
    }

    fn fixed(texts: &[&str]) -> Result<Vec<String>> {
        let texts: Vec<String> = texts.iter().map(|&text| text.to_owned()).collect();
        let mut model = model();
        FixSizes::parse(&texts).expect("sizes").run(&mut model)?;
        let graph = &model.graph;
        Ok(graph.ids().map(|id| graph.fact(id.into()).to_string()).collect())
    }

    #[test]
    fn a_dimension_gets_its_size_wherever_it_stands() {
        let all = fixed(&["sequence=5", "mask:2=7"]).expect("there");
        assert_eq!(all, ["int64[N,5]", "int64[N,5,7]", "int64[N,5]"]);
        let one = fixed(&["ids:1=5"]).expect("there");
        assert_eq!(one, ["int64[N,5]", "int64[N,sequence,?]", "int64[N,sequence]"]);
        let error = fixed(&["length=5"]).expect_err("none").to_string();
        assert!(error.contains("`length`; open are: N, mask:2, sequence"), "{error}");
        for text in ["sequence", "sequence=", "=5", "sequence=-1"] {
            let error = FixSizes::parse(&[text.to_owned()]).expect_err("no size");
            assert!(error.contains("write NAME=SIZE"), "{text}: {error}");
        }
        for size in ["0", "2147483648", "1000000000000000000", "99999999999999999999"] {
            let error = FixSizes::parse(&[format!("sequence={size}")]).expect_err("no size");
            assert!(error.contains("SIZE is 1 to 2147483647"), "{size}: {error}");
        }
    }

    #[test]
    fn bodies_say_the_size_too() {
        let mut body = Graph::new("branch");
        let shape = vec![Dim::Named("N".to_owned()), Dim::Named("sequence".to_owned())];
        let fact = Fact { dtype: Some(DType::I64), shape: Some(shape) };
        let y = body.op("inner", Op::new("Neg"), &[], vec![fact]);
        body.output("y", y.into());
        let mut model = model();
        let op = Op::new("If").with("then_branch", Attribute::Graph(Box::new(body)));
        let id = model.graph.op("if", op, &[], vec![Fact::default()]);
        FixSizes::parse(&["sequence=5".to_owned()])
            .expect("a size")
            .run(&mut model)
            .expect("there");
        let branch = &model.graph.node(id).op().expect("a call").attributes["then_branch"];
        let Attribute::Graph(body) = branch else { panic!("no body") };
        assert_eq!(body.fact(body.outputs[0].value).to_string(), "int64[N,5]");
    }

    #[test]
    fn an_open_dimension_is_refused_by_its_name() {
        let mut model = model();
        let error = refuse_open(&model.graph).expect_err("open").to_string();
        assert!(error.contains("input `ids`") && error.contains("--dim sequence=SIZE"), "{error}");
        let sizes = ["sequence=5".to_owned(), "mask:2=7".to_owned()];
        FixSizes::parse(&sizes).expect("sizes").run(&mut model).expect("there");
        refuse_open(&model.graph).expect("only the batch is open");
    }
}
