//! Finds every tensor of a message.

use super::{AttributeProto, GraphProto, ModelProto, NodeProto, SparseTensorProto, TensorProto};

/// Calls `visit` with every tensor of the model, those in attributes, bodies, functions
/// and training graphs too.
pub(crate) fn tensors_mut(model: &mut ModelProto, visit: &mut impl FnMut(&mut TensorProto)) {
    let training = model
        .training_info
        .iter_mut()
        .flat_map(|info| info.initialization.iter_mut().chain(&mut info.algorithm));
    for graph in model.graph.iter_mut().chain(training) {
        in_graph(graph, visit);
    }
    for function in &mut model.functions {
        in_nodes(&mut function.node, visit);
        in_attributes(&mut function.attribute_proto, visit);
    }
}

fn in_graph(graph: &mut GraphProto, visit: &mut impl FnMut(&mut TensorProto)) {
    graph.initializer.iter_mut().for_each(&mut *visit);
    graph.sparse_initializer.iter_mut().for_each(|tensor| in_sparse(tensor, visit));
    in_nodes(&mut graph.node, visit);
}

fn in_nodes(nodes: &mut [NodeProto], visit: &mut impl FnMut(&mut TensorProto)) {
    for node in nodes {
        in_attributes(&mut node.attribute, visit);
    }
}

fn in_attributes(attributes: &mut [AttributeProto], visit: &mut impl FnMut(&mut TensorProto)) {
    for attribute in attributes {
        attribute.t.as_deref_mut().into_iter().chain(&mut attribute.tensors).for_each(&mut *visit);
        for graph in attribute.g.as_deref_mut().into_iter().chain(&mut attribute.graphs) {
            in_graph(graph, visit);
        }
        let sparse = attribute.sparse_tensor.as_deref_mut();
        for tensor in sparse.into_iter().chain(&mut attribute.sparse_tensors) {
            in_sparse(tensor, visit);
        }
    }
}

fn in_sparse(tensor: &mut SparseTensorProto, visit: &mut impl FnMut(&mut TensorProto)) {
    tensor.values.iter_mut().chain(&mut tensor.indices).for_each(visit);
}
