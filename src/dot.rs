//! A graph in Graphviz's language.

use std::fmt::Write as _;

use anyhow::Result;
use graphs::{Graph, Kind};

/// The whole graph, constants and ports included.
pub(crate) fn dot(graph: &Graph) -> Result<String> {
    let mut text = String::from("digraph model {\n  node [shape=box, fontname=\"sans-serif\"];\n");
    for id in graph.order()? {
        let node = graph.node(id);
        let (label, style) = match &node.kind {
            Kind::Op(op) => (format!("{}\n{}", op.op_type, node.name), ""),
            Kind::Initializer(tensor) => (format!("{}\n{tensor:?}", node.name), ", style=dotted"),
            Kind::Input(_) | Kind::Capture(_) => {
                (format!("{}\n{}", node.name, graph.fact(id.into())), ", shape=ellipse")
            }
        };
        writeln!(text, "  n{} [label={}{style}];", id.index(), quoted(&label))?;
    }
    for (value, consumer, _) in graph.edges() {
        writeln!(text, "  n{} -> n{};", value.node.index(), consumer.index())?;
    }
    for (i, port) in graph.outputs.iter().enumerate() {
        writeln!(text, "  o{i} [label={}, shape=ellipse];", quoted(&port.name))?;
        writeln!(text, "  n{} -> o{i};", port.value.node.index())?;
    }
    text.push_str("}\n");
    Ok(text)
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n"))
}
