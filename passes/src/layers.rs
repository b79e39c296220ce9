//! Where a network keeps its weights: which argument of which operator is a
//! parameter, and of which kind of layer.

use std::fmt;
use std::str::FromStr;

use graphs::{Graph, Model, NodeId, Op, Value};

use crate::sources::Sources;
use crate::{Error, Result, affine, variational};

/// The kinds of layers that can be made variational.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// Conv and ConvTranspose.
    Conv,
    /// Gemm, MatMul and Einsum, with the Add of their bias.
    Linear,
    /// BatchNormalization.
    BatchNorm,
    /// Scale and bias of the normalizations that keep no statistics: of layers, groups,
    /// instances, and by the root mean square.
    LayerNorm,
}

impl Layer {
    /// Every kind.
    pub const ALL: [Layer; 4] = [Layer::Conv, Layer::Linear, Layer::BatchNorm, Layer::LayerNorm];
    /// The kinds that the published code makes variational.
    pub const DEFAULT: [Layer; 3] = [Layer::Conv, Layer::Linear, Layer::BatchNorm];
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Conv => "conv",
            Layer::Linear => "linear",
            Layer::BatchNorm => "batchnorm",
            Layer::LayerNorm => "layernorm",
        })
    }
}

impl FromStr for Layer {
    type Err = Error;

    fn from_str(text: &str) -> Result<Layer> {
        let found = Layer::ALL.into_iter().find(|layer| layer.to_string() == text);
        found.ok_or_else(|| {
            Error::Model(format!("no layer kind `{text}`; use conv, linear, batchnorm, layernorm"))
        })
    }
}

/// One parameter of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weight {
    /// The node that reads it.
    pub node: NodeId,
    /// Which of its arguments it is.
    pub slot: usize,
    /// The stored tensor behind that argument, or the float value that is computed from
    /// an integer one; in a converted model perhaps the sample of a posterior.
    pub value: Value,
    /// The kind of layer.
    pub layer: Layer,
    /// True for a bias or the beta of a normalization.
    pub bias: bool,
}

/// Every float weight that depends on nothing but constants, in the order of the nodes.
/// An argument put together from several tensors counts once for each.
///
/// # Errors
/// When the graph has a cycle.
pub fn weights(model: &Model) -> Result<Vec<Weight>> {
    let sources = Sources::of(&model.graph)?;
    Ok(arguments(&model.graph, &sources)?
        .into_iter()
        .flat_map(|(place, origins)| {
            let weight = move |value| Weight { value, ..place };
            origins.unwrap_or_default().into_iter().map(weight)
        })
        .collect())
}

/// An argument that is a parameter of a layer, and what stands behind it or why nothing
/// is found there. The weight's value is the argument itself.
pub(crate) type Argument = (Weight, std::result::Result<Vec<Value>, String>);

/// Every argument that is a constant parameter of a layer, in the order of the nodes.
pub(crate) fn arguments(graph: &Graph, sources: &Sources) -> Result<Vec<Argument>> {
    let mut found = Vec::new();
    for id in graph.op_order()? {
        let Some(op) = graph.node(id).op().filter(|op| op.in_onnx_domain()) else { continue };
        let site = Site { graph, sources, id, op };
        for (slot, layer, bias) in site.parameters() {
            let value = graph.argument(id, slot).filter(|&v| sources.is_constant(v));
            let Some(value) = value else { continue };
            let origins = sources.origins(value);
            // A table of positions is added too, and one number is but a factor.
            let fits = |v: &Value| match op.op_type.as_str() {
                "Add" => vectors(graph, *v).is_some_and(|axes| axes <= 1),
                "Mul" => vectors(graph, *v) == Some(1),
                _ => true,
            };
            if !origins.iter().flatten().all(fits) {
                continue;
            }
            found.push((Weight { node: id, slot, value, layer, bias }, origins));
        }
    }
    Ok(found)
}

/// How many axes of a constant are longer than 1; `None` for a scalar or if it is not known.
fn vectors(graph: &Graph, value: Value) -> Option<usize> {
    let shape = match graph.tensor(value) {
        Some(tensor) => tensor.shape().to_vec(),
        None => graph.fact(value).known_shape()?,
    };
    (!shape.is_empty()).then(|| shape.iter().filter(|&&size| size > 1).count())
}

/// A node whose parameters are looked for.
struct Site<'a> {
    graph: &'a Graph,
    sources: &'a Sources<'a>,
    id: NodeId,
    op: &'a Op,
}

impl Site<'_> {
    /// The parameter slots of a node: (argument, layer, is a bias).
    fn parameters(&self) -> Vec<(usize, Layer, bool)> {
        let products = |slots| self.products(slots).into_iter().map(|s| (s, Layer::Linear, false));
        match self.op.op_type.as_str() {
            "Conv" | "ConvTranspose" => vec![(1, Layer::Conv, false), (2, Layer::Conv, true)],
            "Gemm" => products(2).chain([(2, Layer::Linear, true)]).collect(),
            "MatMul" => products(2).collect(),
            "Einsum" => products(self.op.arity).collect(),
            "BatchNormalization" => vec![(1, Layer::BatchNorm, false), (2, Layer::BatchNorm, true)],
            "InstanceNormalization" if affine::is_rescaled(self.graph, self.id) => Vec::new(),
            "LayerNormalization"
            | "GroupNormalization"
            | "InstanceNormalization"
            | "RMSNormalization" => {
                vec![(1, Layer::LayerNorm, false), (2, Layer::LayerNorm, true)]
            }
            "Mul" => {
                let scales = |slot: &usize| affine::scales(self.graph, self.id, 1 - slot);
                let slot = (0..2).find(scales);
                slot.map(|slot| (slot, Layer::LayerNorm, false)).into_iter().collect()
            }
            "Add" => {
                let bias = |slot: usize| {
                    if affine::shifts(self.graph, self.id, 1 - slot) {
                        return Some((slot, Layer::LayerNorm, true));
                    }
                    let (product, layer) = affine::biased_product(self.graph, self.id, 1 - slot)?;
                    self.has_weight(product).then_some((slot, layer, true))
                };
                bias(0).or_else(|| bias(1)).into_iter().collect()
            }
            _ => Vec::new(),
        }
    }

    /// The constant factors of a product; the last factor where all are constant, for a
    /// table of positions goes in front of the weights that map it.
    fn products(&self, slots: usize) -> Vec<usize> {
        let constant = |&i: &usize| {
            self.graph.argument(self.id, i).is_some_and(|v| self.sources.is_constant(v))
        };
        let found: Vec<usize> = (0..slots).filter(constant).collect();
        match found.as_slice() {
            [.., last] if found.len() == slots => vec![*last],
            _ => found,
        }
    }

    /// True for a product that multiplies by a weight.
    fn has_weight(&self, product: NodeId) -> bool {
        let constant = |v: Value| self.sources.is_constant(v);
        variational::is_variational(self.graph, product)
            || self.graph.arguments(product).into_iter().take(2).flatten().any(constant)
    }
}
