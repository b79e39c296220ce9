//! Graphs: names become edges, and bodies are closed.

use std::collections::{HashMap, HashSet};

use super::call::{Call, Captures, constant};
use super::external::Files;
use super::tensor::decode_tensor;
use crate::proto::{GraphProto, TensorProto, ValueInfoProto};
use crate::{Error, Extras, Fact, Graph, GraphExtras, Kind, Node, Role, Value};

/// How deep bodies may lie within bodies.
const DEPTH: usize = 24;

/// Decodes a graph. In a body, `outer` takes up what it reads of the graphs around it.
pub(super) fn decode_graph(
    proto: GraphProto,
    outer: Option<&mut Captures>,
    files: &mut Files,
    depth: usize,
) -> Result<Graph, Error> {
    if depth > DEPTH {
        return Err(Error::TooDeep { limit: DEPTH });
    }
    let mut reader = Reader { outer, ..Reader::default() };
    reader.graph.name = proto.name.unwrap_or_default();
    for info in proto.value_info.into_iter().chain(proto.output.iter().cloned()) {
        // An output without a type says less than an entry of `value_info` may.
        let name = info.name.clone().unwrap_or_default();
        if info.r#type.is_some() || !reader.infos.contains_key(&name) {
            reader.infos.insert(name, info);
        }
    }
    reader.sources(proto.input, proto.initializer, files)?;
    let sparse = proto.sparse_initializer.into_iter().map(constant);
    let nodes = sparse.chain(proto.node).map(|node| Call::decode(node, files, depth));
    reader.calls(nodes.collect::<Result<_, _>>()?)?;
    reader.outputs(proto.output)?;
    let mut graph = reader.graph;
    let mut infos: Vec<ValueInfoProto> = reader.infos.into_values().collect();
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    graph.extras = GraphExtras {
        doc_string: proto.doc_string,
        metadata: proto.metadata_props,
        quantization: proto.quantization_annotation,
        infos,
    };
    graph.order()?;
    Ok(graph)
}

#[derive(Default)]
struct Reader<'a> {
    graph: Graph,
    values: HashMap<String, Value>,
    infos: HashMap<String, ValueInfoProto>,
    outer: Option<&'a mut Captures>,
}

impl Reader<'_> {
    fn sources(
        &mut self,
        inputs: Vec<ValueInfoProto>,
        initializers: Vec<TensorProto>,
        files: &mut Files,
    ) -> Result<(), Error> {
        let mut tensors = HashSet::with_capacity(initializers.len());
        for tensor in &initializers {
            tensors.insert(tensor.name.clone().unwrap_or_default());
        }
        let mut order = Vec::with_capacity(inputs.len());
        for info in inputs {
            let name = info.name.clone().unwrap_or_default();
            if info.r#type.is_some() || !self.infos.contains_key(&name) {
                self.infos.insert(name.clone(), info);
            }
            if !tensors.contains(&name) {
                let node = source(&name, Kind::Input(Role::Data));
                self.define(node)?;
            }
            order.push(name);
        }
        for mut proto in initializers {
            let name = proto.name.take().unwrap_or_default();
            let (doc_string, metadata) =
                (proto.doc_string.take(), proto.metadata_props.split_off(0));
            let tensor = decode_tensor(proto, files);
            let tensor = tensor.map_err(|error| error.at(format!("initializer `{name}`")))?;
            let mut node = source(&name, Kind::Initializer(tensor));
            node.extras = Extras { doc_string, metadata, ..node.extras };
            self.define(node)?;
        }
        let mut listed = HashSet::with_capacity(order.len());
        for name in order {
            if let Some(value) = self.values.get(&name) {
                self.graph.inputs.push(value.node);
            }
            if let Some(name) = listed.replace(name) {
                return Err(Error::DuplicateName { name, what: "inputs" });
            }
        }
        Ok(())
    }

    /// Adds a node and gives its outputs their names and what the file says of them.
    fn define(&mut self, mut node: Node) -> Result<Value, Error> {
        let names = match node.kind {
            Kind::Op(_) => node.extras.names.clone(),
            _ => vec![node.name.clone()],
        };
        for (slot, (name, fact)) in names.iter().zip(&mut node.outputs).enumerate() {
            let Some(info) = self.infos.remove(name).filter(|_| !name.is_empty()) else { continue };
            let stated = info.r#type.as_ref().map(Fact::from_type).transpose();
            let stated = stated.map_err(|error| error.at(format!("value `{name}`")))?;
            *fact = stated.unwrap_or_default();
            node.extras.infos.insert(slot, info);
        }
        if let Kind::Initializer(tensor) = &node.kind {
            node.outputs = vec![Fact::of(tensor)];
        }
        let optional = node.op().is_some();
        let id = self.graph.add(node);
        for (slot, name) in names.into_iter().enumerate() {
            if name.is_empty() && optional {
                continue;
            }
            if name.is_empty() {
                return Err(Error::Unnamed("an input or initializer"));
            }
            let value = Value { node: id, slot };
            if self.values.insert(name.clone(), value).is_some() {
                return Err(Error::DuplicateName { name, what: "values" });
            }
        }
        Ok(id.into())
    }

    fn calls(&mut self, calls: Vec<Call>) -> Result<(), Error> {
        let outputs: HashSet<&str> =
            calls.iter().flat_map(|c| &c.node.extras.names).map(String::as_str).collect();
        // Captures come before the calls, so that the order of calls stays the file's.
        for call in &calls {
            for (name, reader) in call.reads() {
                if !outputs.contains(name) {
                    self.read(name, &reader)?;
                }
            }
        }
        let mut links = Vec::with_capacity(calls.len());
        for Call { node, arguments, captures } in calls {
            let place = node.describe();
            let id = self.define(node).map_err(|error| error.at(place.as_str()))?.node;
            let captured = captures.reads.into_iter().map(|(name, _)| name);
            links.push((id, place, arguments.into_iter().chain(captured)));
        }
        for (id, place, names) in links {
            for (to, name) in names.enumerate().filter(|(_, name)| !name.is_empty()) {
                let value = self.read(&name, &place)?;
                self.graph.connect(value, id, to);
            }
        }
        Ok(())
    }

    /// The value of that name, captured if it is an outer one.
    fn read(&mut self, name: &str, reader: &str) -> Result<Value, Error> {
        if let Some(&value) = self.values.get(name) {
            return Ok(value);
        }
        let Some(outer) = &mut self.outer else {
            let (reader, value) = (reader.to_owned(), name.to_owned());
            return Err(Error::UndefinedValue { reader, value });
        };
        let index = outer.index(name, reader);
        self.define(source(name, Kind::Capture(index)))
    }

    fn outputs(&mut self, outputs: Vec<ValueInfoProto>) -> Result<(), Error> {
        let mut names = HashSet::with_capacity(outputs.len());
        for name in outputs.into_iter().map(|info| info.name.unwrap_or_default()) {
            let value = self.read(&name, &format!("output `{name}`"))?;
            let mut port = name.clone();
            // The outputs of bodies are told apart by position, not by name.
            while self.outer.is_some() && names.contains(&port) {
                port.push('_');
            }
            if !names.insert(port.clone()) {
                return Err(Error::DuplicateName { name, what: "outputs" });
            }
            self.graph.output(&port, value);
        }
        Ok(())
    }
}

fn source(name: &str, kind: Kind) -> Node {
    let outputs = vec![Fact::default()];
    Node { name: name.to_owned(), kind, outputs, extras: Extras::default() }
}
