//! What a program takes and gives, and the checks that all engines share.

use std::collections::{BTreeMap, BTreeSet};

use graphs::{DType, Dim, Fact, Graph, Kind, Model, Program, Tensor};

use super::state::{Buffer, Home};
use super::{Feed, State};
use crate::{Error, Result};

/// The inputs and outputs of a loaded program.
pub(super) struct Signature {
    /// The inputs that are read, in the order of the graph.
    pub(super) inputs: Vec<Input>,
    /// The outputs, in the order of the graph.
    pub(super) outputs: Vec<Output>,
    /// The names of all inputs, also of those that nothing reads.
    names: BTreeSet<String>,
}

pub(super) struct Input {
    pub(super) name: String,
    fact: Fact,
}

pub(super) struct Output {
    pub(super) name: String,
    /// The name in the state that the output replaces.
    pub(super) carried: Option<String>,
    pub(super) fact: Fact,
}

/// What a run leaves besides the state.
pub(super) struct Settled {
    /// The outputs that are not carried, by name.
    pub(super) returned: BTreeMap<String, Tensor>,
    /// The buffers that the carried outputs have replaced and nobody holds any more, by the
    /// name of the output: the next run may write to them.
    pub(super) replaced: Vec<(String, Buffer)>,
}

/// Where the value of an input comes from.
pub(super) enum Given<'a> {
    Feed(&'a Feed<'a>),
    Held(&'a Buffer),
}

impl Signature {
    /// The signature of `program`, and the model that the engine is to load: without
    /// the inputs that nothing reads or that are constants.
    ///
    /// # Errors
    /// A carry names no output or no input, or two carries take one output.
    pub(super) fn of(program: &Program) -> Result<(Signature, Model)> {
        let mut model = program.model.clone();
        let graph = &mut model.graph;
        let mut inputs = std::mem::take(&mut graph.inputs);
        inputs.retain(|&id| matches!(graph.node(id).kind, Kind::Input(_)));
        let names = inputs.iter().map(|&id| graph.node(id).name.clone()).collect();
        graph.inputs = inputs;
        graph.prune_inputs();
        let carries = carries(program, graph, &names)?;
        let input = |&id| Input {
            name: graph.node(id).name.clone(),
            fact: graph.fact(graphs::Value::from(id)).clone(),
        };
        let inputs = graph.inputs.iter().map(input).collect();
        let output = |port: &graphs::Port| Output {
            name: port.name.clone(),
            carried: carries.get(port.name.as_str()).map(|&input| input.to_owned()),
            fact: graph.fact(port.value).clone(),
        };
        let outputs = graph.outputs.iter().map(output).collect();
        Ok((Signature { inputs, outputs, names }, model))
    }

    /// The value of each input, in order.
    ///
    /// # Errors
    /// As [`super::Session::run`], before the engine starts.
    pub(super) fn bind<'a>(
        &self,
        home: Home,
        state: &'a State,
        feeds: &'a [Feed<'a>],
    ) -> Result<Vec<Given<'a>>> {
        state.check_home(home)?;
        let mut fed: BTreeMap<&str, &Feed> = BTreeMap::new();
        for feed in feeds {
            if !self.names.contains(feed.name()) {
                let names: Vec<&str> = self.names.iter().map(String::as_str).collect();
                let takes = names.join(", ");
                return Err(feed.error(format!("no such input; the program takes {takes}")));
            }
            if fed.insert(feed.name(), feed).is_some() {
                return Err(feed.error("it is fed twice"));
            }
            feed.check()?;
        }
        self.inputs.iter().map(|input| input.given(fed.get(input.name.as_str()), state)).collect()
    }

    /// Moves the carried values into `state` and returns the others; `values` are all
    /// outputs in order. The state changes only if everything succeeds.
    pub(super) fn settle(&self, values: Vec<Buffer>, state: &mut State) -> Result<Settled> {
        let (mut returned, mut carried) = (BTreeMap::new(), Vec::new());
        for (output, value) in self.outputs.iter().zip(values) {
            match &output.carried {
                Some(input) => carried.push((input, output, value)),
                None => _ = returned.insert(output.name.clone(), value.download(&output.name)?),
            }
        }
        let replace = |(input, output, value): (&String, &Output, Buffer)| {
            Some((output.name.clone(), state.set(input, value)?))
        };
        let replaced = carried.into_iter().filter_map(replace).collect();
        Ok(Settled { returned, replaced })
    }
}

impl Output {
    /// Whether a buffer has the type and the shape of this output, as far as that is known
    /// before the run.
    pub(super) fn holds(&self, buffer: &Buffer) -> bool {
        let (dtype, shape) = buffer.fact();
        self.fact.dtype.is_some()
            && self.fact.dtype == dtype
            && self.fact.known_shape().is_some_and(|known| known == shape)
    }
}

impl Input {
    fn given<'a>(&self, feed: Option<&&'a Feed<'a>>, state: &'a State) -> Result<Given<'a>> {
        let error = |reason| Err(Error::Input { name: self.name.clone(), reason });
        if let Some(&feed) = feed {
            return match fits(&self.fact, Some(feed.dtype()), feed.shape()) {
                true => Ok(Given::Feed(feed)),
                false => {
                    let found = Fact::new(feed.dtype(), feed.shape());
                    error(format!("expected {}, but was fed {found}", self.fact))
                }
            };
        }
        let Some(buffer) = state.buffer(&self.name) else {
            return error(format!(
                "expected {}, but it was neither fed nor is it in the state",
                self.fact
            ));
        };
        let (dtype, shape) = buffer.fact();
        if !fits(&self.fact, dtype, &shape) {
            let found = Fact { dtype, ..Fact::new(DType::F32, &shape) };
            return error(format!("expected {}, but the state holds {found}", self.fact));
        }
        Ok(Given::Held(buffer))
    }
}

/// Whether a value agrees with all that is known of an input.
fn fits(fact: &Fact, dtype: Option<DType>, shape: &[usize]) -> bool {
    let dims = |dims: &Vec<Dim>| {
        let same = |(dim, &size): (&Dim, &usize)| !matches!(dim, Dim::Known(n) if *n != size);
        dims.len() == shape.len() && dims.iter().zip(shape).all(same)
    };
    (fact.dtype.is_none() || fact.dtype == dtype) && fact.shape.as_ref().is_none_or(dims)
}

/// Which input each carried output feeds.
fn carries<'a>(
    program: &'a Program,
    graph: &Graph,
    inputs: &BTreeSet<String>,
) -> Result<BTreeMap<&'a str, &'a str>> {
    let mut carries = BTreeMap::new();
    for (output, input) in program.carries() {
        let error = |reason: &str| {
            Err(Error::Program(format!("output `{output}` is carried to `{input}`, {reason}")))
        };
        if graph.port(output).is_none() {
            return error("but there is no such output");
        }
        if !inputs.contains(input) {
            return error("but there is no such input");
        }
        if let Some(other) = carries.insert(output, input) {
            return error(&format!("and to `{other}`; give each input an output of its own"));
        }
    }
    Ok(carries)
}
