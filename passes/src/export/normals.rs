//! Standard normal numbers inside a graph, made of standard operators.
//!
//! One node chain draws the noise of the whole model as one vector, which is then
//! split: fewer nodes than a chain per tensor, and no two tensors share a number.

use graphs::{Attribute, DType, Graph, Op, Tensor, Value};

use crate::normal::normal_like;
use crate::variational::Posterior;

/// Where an exported graph takes its noise from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Noise {
    /// From a random operator: new at every run.
    Random,
    /// From an int64 input `seed` by a counter-based generator: the same seed gives
    /// the same numbers on every engine.
    Seed,
    /// From inputs `NAME.noise`, one per posterior and noise layer.
    Input,
}

/// The least uniform number, so that its logarithm is finite: half of what a float32 near 1 can
/// be told apart by.
const LEAST: f32 = 1.0 / (1 << 25) as f32;

/// Builds calls without inferring shapes: exports keep the batch size free.
pub(super) struct Builder<'g> {
    pub(super) graph: &'g mut Graph,
    pub(super) scope: &'static str,
}

impl Builder<'_> {
    /// The name of a new constant: a file that was exported before has some like it.
    fn fresh(&self, kind: &str) -> String {
        let names = (self.graph.len()..).map(|i| format!("{}/{kind}_{i}", self.scope));
        let mut free = names.filter(|name| self.graph.source(name).is_none());
        free.next().unwrap_or_default()
    }

    pub(super) fn op(&mut self, op: Op, arguments: &[Value]) -> Value {
        self.many(op, arguments, 1).into()
    }

    pub(super) fn many(&mut self, op: Op, arguments: &[Value], outputs: usize) -> graphs::NodeId {
        let arguments: Vec<_> = arguments.iter().copied().map(Some).collect();
        // tract takes a random operator for shape-like only if the node's name ends
        // with the operator's, so the number stands in front.
        let name = format!("{}/{}_{}", self.scope, self.graph.len(), op.op_type);
        self.graph.op(&name, op, &arguments, vec![Default::default(); outputs])
    }

    pub(super) fn apply(&mut self, op: &str, arguments: &[Value]) -> Value {
        self.op(Op::new(op), arguments)
    }

    pub(super) fn constant(&mut self, tensor: Tensor) -> Value {
        let name = self.fresh("constant");
        self.graph.initializer(&name, tensor)
    }

    pub(super) fn cast(&mut self, x: Value, to: DType) -> Value {
        self.op(Op::new("Cast").with("to", i64::from(to.code())), &[x])
    }

    fn word(&mut self, value: u32) -> Value {
        self.constant(Tensor::scalar(value))
    }

    /// A bijection of 32-bit words whose every output bit depends on every input bit
    /// (the two-multiplication hash of the search by C. Wellons, "hash prospector").
    fn mix(&mut self, mut x: Value) -> Value {
        for (shift, factor) in [(16, Some(0x7feb_352d)), (15, Some(0x846c_a68b)), (16, None)] {
            let shift = self.word(shift);
            let right = Op::new("BitShift").with("direction", "RIGHT");
            let high = self.op(right, &[x, shift]);
            x = self.apply("BitwiseXor", &[x, high]);
            if let Some(factor) = factor {
                let factor = self.word(factor);
                x = self.apply("Mul", &[x, factor]);
            }
        }
        x
    }

    /// Hashes `counter` under a key: two rounds, the key entering before each.
    fn keyed(&mut self, counter: Value, [first, second]: [Value; 2]) -> Value {
        let x = self.apply("BitwiseXor", &[counter, first]);
        let x = self.mix(x);
        let x = self.apply("BitwiseXor", &[x, second]);
        self.mix(x)
    }

    /// Two key words from the seed (int64), the draw (int64) and a constant that tells
    /// streams apart.
    fn key(&mut self, seed: Value, draw: Value, stream: u32) -> [Value; 2] {
        let low = self.cast(seed, DType::U32);
        let mask = self.constant(Tensor::scalar(-1i64 << 32));
        let two32 = self.constant(Tensor::scalar(1i64 << 32));
        let high = self.apply("BitwiseAnd", &[seed, mask]);
        // Exact, since the low half is zero: no engine's rounding matters.
        let high = self.apply("Div", &[high, two32]);
        let high = self.cast(high, DType::U32);
        let draw = self.cast(draw, DType::U32);
        let stream = self.word(stream);
        let a = self.keyed(low, [stream, high]);
        let b = self.keyed(draw, [a, stream]);
        let c = self.mix(b);
        [b, c]
    }

    /// `count` standard normal numbers, float32 `[count]`, that `seed` and `draw` decide.
    pub(super) fn seeded(&mut self, seed: Value, draw: Value, count: usize) -> Value {
        let half = count.div_ceil(2);
        let [zero, end, one] = [0, half as i64, 1].map(|n| self.constant(Tensor::scalar(n)));
        let counter = self.apply("Range", &[zero, end, one]);
        let both = self.normals([seed, draw], counter, 0, 0);
        let [start, end, axis] = [0, count as i64, 0].map(|n| self.constant(Tensor::vector(&[n])));
        self.apply("Slice", &[both, start, end, axis])
    }

    /// The same for every image, of shape `[N, rest]` for an `x` of `[N, ...]`, the numbers of an
    /// image depending on its place in the batch. `layer` (1, 2, ...) tells streams apart.
    pub(super) fn seeded_like(
        &mut self,
        [seed, draw]: [Value; 2],
        x: Value,
        rest: &[usize],
        layer: u32,
    ) -> Value {
        let count = rest.iter().product::<usize>();
        let half = count.div_ceil(2) as i64;
        let (first, zero) = (Op::new("Shape").with("start", 0).with("end", 1), 0i64);
        let images = self.op(first, &[x]);
        let scalar = self.constant(Tensor::vector::<i64>(&[]));
        let images = self.apply("Reshape", &[images, scalar]);
        let [zero, one, width] = [zero, 1, half].map(|n| self.constant(Tensor::scalar(n)));
        let image = self.apply("Range", &[zero, images, one]);
        let column = self.constant(Tensor::vector(&[-1i64, 1]));
        let image = self.apply("Reshape", &[image, column]);
        let start = self.apply("Mul", &[image, width]);
        let places = self.apply("Range", &[zero, width, one]);
        let counter = self.apply("Add", &[start, places]);
        let both = self.normals([seed, draw], counter, layer, 1);
        let [start, end, axis] = [0, count as i64, 1].map(|n| self.constant(Tensor::vector(&[n])));
        let row = self.apply("Slice", &[both, start, end, axis]);
        let shape: Vec<i64> = [-1].into_iter().chain(crate::signed(rest)).collect();
        let shape = self.constant(Tensor::vector(&shape));
        self.apply("Reshape", &[row, shape])
    }

    /// Two standard normal numbers for every counter (int64), joined along `axis`, by Box and
    /// Muller's transform of hashed counters.
    fn normals(
        &mut self,
        [seed, draw]: [Value; 2],
        counter: Value,
        layer: u32,
        axis: i64,
    ) -> Value {
        let counter = self.cast(counter, DType::U32);
        let mut uniform = |stream: u32, offset: f32| {
            // An odd factor keeps the streams of all layers apart.
            let stream = stream.wrapping_add(layer.wrapping_mul(0xc2b2_ae35));
            let key = self.key(seed, draw, stream);
            let word = self.keyed(counter, key);
            let eight = self.word(8);
            let right = Op::new("BitShift").with("direction", "RIGHT");
            // 24 bits, what a float32 holds exactly.
            let bits = self.op(right, &[word, eight]);
            let bits = self.cast(bits, DType::F32);
            let scale = self.constant(Tensor::scalar(1.0f32 / (1 << 24) as f32));
            let unit = self.apply("Mul", &[bits, scale]);
            let offset = self.constant(Tensor::scalar(offset));
            self.apply("Add", &[unit, offset])
        };
        // In (0, 1], so that the logarithm is finite.
        let u = uniform(0x9e37_79b9, 1.0 / (1 << 24) as f32);
        let v = uniform(0x85eb_ca6b, 0.0);
        self.box_muller(u, v, axis)
    }

    /// The first number of `x`, `[1]`.
    pub(super) fn first(&mut self, x: Value) -> Value {
        let flat = self.constant(Tensor::vector(&[-1i64]));
        let flat = self.apply("Reshape", &[x, flat]);
        let [start, end] = [0i64, 1].map(|n| self.constant(Tensor::vector(&[n])));
        self.apply("Slice", &[flat, start, end])
    }

    /// One number of a data input, bool `[1]`, to make operands of random operators of: optimizers
    /// fold those whose operand is constant. Only the shape of an operand counts: let it be small.
    pub(super) fn pixel(&mut self, data: Value) -> Value {
        let first = self.first(data);
        self.cast(first, DType::Bool)
    }

    /// Uniform numbers from `low` to 1, float32, of a shape (int64), new at every run.
    pub(super) fn uniform(&mut self, pixel: Value, shape: Value, low: f32) -> Value {
        let operand = self.apply("Expand", &[pixel, shape]);
        let uniform = Op::new("RandomUniformLike")
            .with("dtype", i64::from(DType::F32.code()))
            .with("low", low);
        self.op(uniform, &[operand])
    }

    /// `count` standard normal numbers, new at every run.
    ///
    /// Box and Muller's transform is done here: ONNX Runtime draws normal numbers on one thread,
    /// each for the price of two uniform ones, and OpenVINO's own transform takes log(0).
    pub(super) fn random(&mut self, data: Value, count: usize) -> Value {
        let half = count.div_ceil(2) as i64;
        let pixel = self.pixel(data);
        let shape = self.constant(Tensor::vector(&[2 * half]));
        let uniform = self.uniform(pixel, shape, LEAST);
        let halves = self.constant(Tensor::vector(&[half, half]));
        let halves = self.many(Op::new("Split").with("axis", 0), &[uniform, halves], 2);
        let [u, v] = [0, 1].map(|slot| Value { node: halves, slot });
        let both = self.box_muller(u, v, 0);
        if count.is_multiple_of(2) {
            return both;
        }
        let [start, end] = [0, count as i64].map(|n| self.constant(Tensor::vector(&[n])));
        self.apply("Slice", &[both, start, end])
    }

    /// Two standard normal numbers for each pair of uniform ones, `u` in (0, 1], joined along
    /// `axis`.
    fn box_muller(&mut self, u: Value, v: Value, axis: i64) -> Value {
        let log = self.apply("Log", &[u]);
        let minus_two = self.constant(Tensor::scalar(-2.0f32));
        let square = self.apply("Mul", &[log, minus_two]);
        let radius = self.apply("Sqrt", &[square]);
        let turn = self.constant(Tensor::scalar(std::f32::consts::TAU));
        let angle = self.apply("Mul", &[v, turn]);
        let [cos, sin] = ["Cos", "Sin"].map(|op| {
            let direction = self.apply(op, &[angle]);
            self.apply("Mul", &[radius, direction])
        });
        self.op(Op::new("Concat").with("axis", axis), &[cos, sin])
    }

    /// Standard normal numbers of the shape of `x`, new at every run; `x` comes from the images, so
    /// nothing folds them.
    pub(super) fn random_like(&mut self, x: Value) -> Value {
        let name = self.fresh("normal");
        normal_like(self.graph, &name, x)
    }

    /// Cuts `[count]` numbers into one tensor per posterior.
    pub(super) fn split(&mut self, normals: Value, shapes: &[Vec<usize>]) -> Vec<Value> {
        let sizes: Vec<i64> = shapes.iter().map(|s| s.iter().product::<usize>() as i64).collect();
        let parts = match sizes.as_slice() {
            [_] => normals.node,
            _ => {
                let lengths = self.constant(Tensor::vector(&sizes));
                let split = Op::new("Split").with("axis", Attribute::Int(0));
                self.many(split, &[normals, lengths], sizes.len())
            }
        };
        let cut = |(slot, shape): (usize, &Vec<usize>)| {
            let part = if sizes.len() == 1 { normals } else { Value { node: parts, slot } };
            let shape = self.constant(Tensor::vector(&crate::signed(shape)));
            self.apply("Reshape", &[part, shape])
        };
        shapes.iter().enumerate().map(cut).collect()
    }
}

/// The shape of every posterior.
pub(super) fn shapes(graph: &Graph, posteriors: &[Posterior]) -> Vec<Vec<usize>> {
    let shape = |p: &Posterior| graph.tensor(p.mean).map_or(vec![], |t| t.shape().to_vec());
    posteriors.iter().map(shape).collect()
}
