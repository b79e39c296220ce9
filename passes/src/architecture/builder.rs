//! The layers that architectures are made of.

use graphs::{DType, Dim, Fact, Graph, Model, Op, Role, Tensor, Value, element_count};

use super::random::SplitMix;
use crate::Result;

/// Feature maps `[N, C, H, W]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Features {
    pub(super) value: Value,
    /// Channels, height and width.
    pub(super) shape: [usize; 3],
}

/// A square window that slides over feature maps.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub(super) kernel: usize,
    pub(super) stride: usize,
    pub(super) pad: usize,
}

impl Window {
    pub(super) const fn new(kernel: usize, stride: usize, pad: usize) -> Window {
        Window { kernel, stride, pad }
    }

    fn slide(self, size: usize) -> usize {
        (size + 2 * self.pad).saturating_sub(self.kernel) / self.stride + 1
    }

    fn attributes(self, op: &str) -> Op {
        let list = |value: usize, count: usize| vec![value as i64; count];
        Op::new(op)
            .with("kernel_shape", list(self.kernel, 2))
            .with("strides", list(self.stride, 2))
            .with("pads", list(self.pad, 4))
    }
}

/// Builds a network layer by layer; weights are named as PyTorch names them.
#[derive(Debug)]
pub(super) struct Builder {
    graph: Graph,
    random: SplitMix,
    width: f32,
}

impl Builder {
    /// An empty network, and the images that it is given, `[N, C, H, W]`.
    pub(super) fn new(name: &str, shape: [usize; 3], width: f32, seed: u64) -> (Builder, Features) {
        let mut graph = Graph::new(name);
        let value = graph.input("input", Role::Data, fact(&shape));
        (Builder { graph, random: SplitMix(seed), width }, Features { value, shape })
    }

    /// The model with these logits.
    pub(super) fn finish(mut self, logits: Value) -> Model {
        self.graph.output("logits", logits);
        Model::new(self.graph)
    }

    /// That many channels, scaled by the width.
    pub(super) fn channels(&self, count: usize) -> usize {
        ((count as f32 * self.width).round() as usize).max(1)
    }

    fn layer(&mut self, name: &str, op: Op, arguments: &[Value], shape: &[usize]) -> Value {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        self.graph.op(name, op, &arguments, vec![fact(shape)]).into()
    }

    /// A parameter, uniform in `[low, high)`.
    fn uniform(&mut self, name: String, shape: &[usize], low: f32, high: f32) -> Result<Value> {
        let count = element_count(shape).unwrap_or(usize::MAX);
        let tensor = Tensor::new(shape, self.random.uniform(count, low, high))?;
        Ok(self.graph.initializer(&name, tensor))
    }

    fn constant(&mut self, name: String, count: usize, value: f32) -> Result<Value> {
        let tensor = Tensor::full(&[count], value)?;
        Ok(self.graph.initializer(&name, tensor))
    }

    /// A weight of shape `[outputs, ...]` and, if wanted, its bias `[outputs]`.
    fn weights(&mut self, name: &str, shape: &[usize], bias: bool) -> Result<Vec<Value>> {
        let fan_in: usize = shape.iter().skip(1).product();
        let bound = 1.0 / (fan_in as f32).sqrt();
        let mut weights = vec![self.uniform(format!("{name}.weight"), shape, -bound, bound)?];
        if bias {
            let outputs: Vec<usize> = shape.iter().copied().take(1).collect();
            weights.push(self.uniform(format!("{name}.bias"), &outputs, -bound, bound)?);
        }
        Ok(weights)
    }

    pub(super) fn conv(
        &mut self,
        name: &str,
        x: Features,
        channels: usize,
        window: Window,
        bias: bool,
    ) -> Result<Features> {
        let [inputs, height, width] = x.shape;
        let kernel = [channels, inputs, window.kernel, window.kernel];
        let mut arguments = vec![x.value];
        arguments.extend(self.weights(name, &kernel, bias)?);
        let shape = [channels, window.slide(height), window.slide(width)];
        let value = self.layer(name, window.attributes("Conv"), &arguments, &shape);
        Ok(Features { value, shape })
    }

    /// BatchNormalization with PyTorch's epsilon and momentum.
    pub(super) fn batch_norm(&mut self, name: &str, x: Features) -> Result<Features> {
        let [channels, ..] = x.shape;
        let gamma = self.uniform(format!("{name}.weight"), &[channels], 0.0, 1.0)?;
        let beta = self.constant(format!("{name}.bias"), channels, 0.0)?;
        let mean = self.constant(format!("{name}.running_mean"), channels, 0.0)?;
        let var = self.constant(format!("{name}.running_var"), channels, 1.0)?;
        let op = Op::new("BatchNormalization").with("epsilon", 1e-5).with("momentum", 0.9);
        let value = self.layer(name, op, &[x.value, gamma, beta, mean, var], &x.shape);
        Ok(Features { value, ..x })
    }

    pub(super) fn relu(&mut self, name: &str, x: Features) -> Features {
        Features { value: self.layer(name, Op::new("Relu"), &[x.value], &x.shape), ..x }
    }

    pub(super) fn add(&mut self, name: &str, x: Features, y: Features) -> Features {
        let value = self.layer(name, Op::new("Add"), &[x.value, y.value], &x.shape);
        Features { value, ..x }
    }

    pub(super) fn max_pool(&mut self, name: &str, x: Features, window: Window) -> Features {
        let [channels, height, width] = x.shape;
        let shape = [channels, window.slide(height), window.slide(width)];
        let value = self.layer(name, window.attributes("MaxPool"), &[x.value], &shape);
        Features { value, shape }
    }

    /// The average over what is left of the image, and one Linear layer: the logits
    /// `[N, classes]`.
    pub(super) fn classify(&mut self, name: &str, x: Features, classes: usize) -> Result<Value> {
        let [channels, ..] = x.shape;
        let pooled = Op::new("GlobalAveragePool");
        let pooled = self.layer("avgpool", pooled, &[x.value], &[channels, 1, 1]);
        let flat = self.layer("flatten", Op::new("Flatten"), &[pooled], &[channels]);
        let mut arguments = vec![flat];
        arguments.extend(self.weights(name, &[classes, channels], true)?);
        let op = Op::new("Gemm").with("transB", 1);
        Ok(self.layer(name, op, &arguments, &[classes]))
    }
}

/// float32 `[N, shape...]`.
fn fact(shape: &[usize]) -> Fact {
    let batch = std::iter::once(Dim::Named("N".to_owned()));
    let shape = batch.chain(shape.iter().map(|&n| Dim::Known(n))).collect();
    Fact { dtype: Some(DType::F32), shape: Some(shape) }
}
