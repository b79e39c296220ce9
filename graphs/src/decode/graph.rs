//! Graphs: names become edges, and bodies are closed.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::call::{Call, Captures, constant};
use super::external::Files;
use super::tensor::decode_tensor;
use crate::proto::{GraphProto, TensorProto, ValueInfoProto};
use crate::{Error, Extras, Fact, Form, Graph, GraphExtras, Kind, Node, NodeExtras, Role, Value};

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
    let count = proto.input.len() + proto.initializer.len() + proto.node.len();
    let mut reader = Reader { outer, values: HashMap::with_capacity(count), ..Reader::default() };
    let empty_name = proto.name.as_deref() == Some("");
    reader.graph.name = proto.name.unwrap_or_default();
    let mut info_order = Vec::with_capacity(proto.value_info.len());
    let mut infos = Vec::new();
    for info in proto.value_info {
        let name = info.name.clone().unwrap_or_default();
        info_order.push(name.clone());
        infos.extend(reader.infos.insert(name, info));
    }
    reader.sources(proto.input, proto.initializer, files)?;
    for info in &proto.output {
        reader.ports.insert(info.name.clone().unwrap_or_default(), info.clone());
    }
    let mut calls = Vec::with_capacity(proto.sparse_initializer.len() + proto.node.len());
    for (place, sparse) in proto.sparse_initializer.into_iter().enumerate() {
        let mut call = Call::decode(constant(sparse), files, depth)?;
        call.node.extras.form = Some(Arc::new(Form::Sparse));
        call.node.extras.place = Some(place);
        calls.push(call);
    }
    for (place, node) in proto.node.into_iter().enumerate() {
        let mut call = Call::decode(node, files, depth)?;
        call.node.extras.place = Some(place);
        calls.push(call);
    }
    reader.calls(calls)?;
    reader.outputs(proto.output)?;
    let Reader { mut graph, infos: left, ports: outputs, .. } = reader;
    infos.extend(left.into_values());
    infos.sort_by(|a, b| a.name.cmp(&b.name));
    graph.extras = GraphExtras {
        empty_name,
        doc_string: proto.doc_string,
        metadata: proto.metadata_props,
        quantization: proto.quantization_annotation,
        info_order,
        infos,
        outputs: outputs.into_values().collect(),
    };
    graph.order()?;
    Ok(graph)
}

#[derive(Default)]
struct Reader<'a> {
    graph: Graph,
    values: HashMap<String, Value>,
    /// What the file says of values, by name, until their nodes have taken it.
    infos: HashMap<String, ValueInfoProto>,
    /// The same, where it says that they are inputs or outputs.
    ports: HashMap<String, ValueInfoProto>,
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
            self.ports.insert(name.clone(), info);
            if !tensors.contains(&name) {
                let node = source(&name, Kind::Input(Role::Data));
                self.define(node)?;
            }
            order.push(name);
        }
        for (place, mut proto) in initializers.into_iter().enumerate() {
            let name = proto.name.take().unwrap_or_default();
            let (doc_string, metadata) =
                (proto.doc_string.take(), proto.metadata_props.split_off(0));
            let tensor = decode_tensor(proto, files);
            let (tensor, form) =
                tensor.map_err(|error| error.at(format!("initializer `{name}`")))?;
            let mut node = source(&name, Kind::Initializer(tensor));
            let form = Some(Arc::new(Form::Tensor(form)));
            node.extras =
                Extras { doc_string, metadata, form, place: Some(place), ..Extras::default() }
                    .into();
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
        for (slot, name) in names.iter().enumerate() {
            if name.is_empty() {
                continue;
            }
            // What an input or output says of its type may be less than what the other
            // entry of that name says.
            let port = self.ports.remove(name);
            let entries = [port.as_ref(), self.infos.get(name)];
            if let Some(r#type) = entries.into_iter().flatten().find_map(|e| e.r#type.as_ref()) {
                let fact = Fact::from_type(r#type).map_err(|error| {
                    let error = error.at(format!("value `{name}`"));
                    if node.op().is_some() { error.at(node.describe()) } else { error }
                })?;
                if let Some(output) = node.outputs.get_mut(slot) {
                    *output = fact;
                }
            }
            if let Some(info) = port.or_else(|| self.infos.remove(name)) {
                node.extras.infos.insert(slot, info);
            }
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
            match self.values.entry(name) {
                Entry::Vacant(entry) => _ = entry.insert(Value { node: id, slot }),
                Entry::Occupied(entry) => {
                    let name = entry.key().clone();
                    let error = Error::DuplicateName { name, what: "values" };
                    let place = self.graph.node(id).describe();
                    return Err(if optional { error.at(place) } else { error });
                }
            }
        }
        Ok(id.into())
    }

    fn calls(&mut self, calls: Vec<Call>) -> Result<(), Error> {
        if self.outer.is_some() {
            self.capture(&calls)?;
        }
        let mut links = Vec::with_capacity(calls.len());
        for Call { node, arguments, captures } in calls {
            let id = self.define(node)?.node;
            let own = arguments.into_iter().map(|name| (name, None));
            let captured = captures.reads.into_iter().map(|(name, reader)| (name, Some(reader)));
            links.push((id, own.chain(captured)));
        }
        for (id, names) in links {
            for (to, (name, reader)) in names.enumerate().filter(|(_, (name, _))| !name.is_empty())
            {
                let describe = |graph: &Graph| reader.unwrap_or_else(|| graph.node(id).describe());
                let value = self.read(&name, describe)?;
                self.graph.connect(value, id, to);
            }
        }
        Ok(())
    }

    /// Captures what calls read and none of them gives: before they come, so that their
    /// order stays the file's.
    fn capture(&mut self, calls: &[Call]) -> Result<(), Error> {
        let outputs: HashSet<&str> =
            calls.iter().flat_map(|c| &c.node.extras.names).map(String::as_str).collect();
        for (name, reader) in calls.iter().flat_map(Call::reads) {
            if !outputs.contains(name) {
                self.read(name, |_| reader)?;
            }
        }
        Ok(())
    }

    /// The value of that name, captured if it is an outer one; `reader` says who reads it.
    fn read(&mut self, name: &str, reader: impl FnOnce(&Graph) -> String) -> Result<Value, Error> {
        if let Some(&value) = self.values.get(name) {
            return Ok(value);
        }
        let reader = reader(&self.graph);
        let Some(outer) = &mut self.outer else {
            return Err(Error::UndefinedValue { reader, value: name.to_owned() });
        };
        let index = outer.index(name, &reader);
        self.define(source(name, Kind::Capture(index)))
    }

    fn outputs(&mut self, outputs: Vec<ValueInfoProto>) -> Result<(), Error> {
        let mut names = HashSet::with_capacity(outputs.len());
        for name in outputs.into_iter().map(|info| info.name.unwrap_or_default()) {
            let value = self.read(&name, |_| format!("output `{name}`"))?;
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
    Node { name: name.to_owned(), kind, outputs, extras: NodeExtras::default() }
}
