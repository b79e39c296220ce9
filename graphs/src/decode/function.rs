//! Model-local functions.

use std::collections::HashMap;

use super::external::Files;
use super::graph::decode_graph;
use crate::proto::{FunctionProto, GraphProto, ValueInfoProto};
use crate::{Error, Graph};

/// The body of a function as a graph: its inputs and outputs are the function's.
///
/// # Errors
/// When the body is not a valid graph; the error names the function.
pub fn decode_function(function: &FunctionProto) -> Result<Graph, Error> {
    let mut infos: HashMap<&str, &ValueInfoProto> = HashMap::new();
    for info in &function.value_info {
        infos.insert(info.name.as_deref().unwrap_or_default(), info);
    }
    let named = |name: &String| match infos.get(name.as_str()) {
        Some(&info) => info.clone(),
        None => ValueInfoProto { name: Some(name.clone()), ..ValueInfoProto::default() },
    };
    let body = GraphProto {
        name: function.name.clone(),
        input: function.input.iter().map(named).collect(),
        output: function.output.iter().map(named).collect(),
        node: function.node.clone(),
        value_info: function.value_info.clone(),
        doc_string: function.doc_string.clone(),
        metadata_props: function.metadata_props.clone(),
        ..GraphProto::default()
    };
    decode_graph(body, None, &mut Files::default(), 0).map_err(|error| {
        let domain = function.domain.as_deref().unwrap_or_default();
        let name = function.name.as_deref().unwrap_or_default();
        error.at(format!("function `{domain}::{name}`"))
    })
}
