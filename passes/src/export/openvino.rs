//! Forms of exported graphs that OpenVINO runs fastest.
//!
//! It has no vector code for Log, Sin and Cos, but runs a chain of arithmetic in one pass over
//! memory, and takes the mean and the standard deviation of the weights into the same pass.

use graphs::{DType, Graph, Op, Tensor, Value};

use super::normals::Builder;
use crate::Result;

/// The normal quantile of (1 + u) / 2 is u G(w) with w = 1 - u^2, where G is smooth in
/// v = w^(1/16): r(v) = 1 / (c (a v + b)^2 + d), G = g sqrt(e (q (p r + o) v + n) v + f) + h, with
/// these numbers in the order of use. Fitted to the least largest error of the quantile over
/// w from 2^-22, which a uniform float32 does not get below: 5.1e-5 at up to 5.2 standard
/// deviations.
const FIT: [[f32; 2]; 6] = [
    [-0.641_675_7, 0.633_039_8],
    [7.378_154, 0.435_910_37],
    [6.877_081_3, -0.166_811_08],
    [-0.012_428_269, -0.970_527_1],
    [-6.424_907, -0.358_060_8],
    [-3.311_287_7, 10.090_118],
];

/// Keeps w positive where rounding takes u^2 above 1.
const MARGIN: f32 = 1.0 / (1 << 22) as f32;

/// The range of the uniform numbers of source `i`. OpenVINO takes random operators with the same
/// attributes for one operator, so no two ranges are the same; the chain undoes them.
fn range(i: usize) -> f32 {
    1.0 + i as f32 / 1024.0
}

impl Builder<'_> {
    /// Standard normal numbers of a shape, new at every run, of source `i`, which nothing else may
    /// have; `pixel` as of [`Builder::pixel`], `zero` as of [`Builder::zero`].
    pub(super) fn chained(
        &mut self,
        [pixel, zero]: [Value; 2],
        i: usize,
        shape: &[usize],
    ) -> Value {
        let range = range(i);
        let axes = self.constant(Tensor::vector(&crate::signed(shape)));
        let uniform = self.uniform(pixel, axes, [-range, range]);
        let normal = self.quantile(uniform, zero, range);
        // A pixel has an axis, which a scalar has not.
        if shape.is_empty() { self.apply("Reshape", &[normal, axes]) } else { normal }
    }

    /// The same in the shape of `x`.
    pub(super) fn chained_like(&mut self, x: Value, i: usize) -> Value {
        let (range, zero) = (range(i), self.zero(x));
        let uniform = self.uniform_like(x, [-range, range]);
        self.quantile(uniform, zero, range)
    }

    /// 0, float32 `[1]`, made of `data` so that no optimizer knows it. What is computed from random
    /// numbers and constants alone OpenVINO computes once, while it compiles.
    pub(super) fn zero(&mut self, data: Value) -> Value {
        let first = self.first(data);
        let first = self.cast(first, DType::F32);
        let size = self.apply("Abs", &[first]);
        let zero = self.constant(Tensor::scalar(0f32));
        self.apply("Min", &[size, zero])
    }

    fn affine(&mut self, x: Value, [factor, offset]: [f32; 2]) -> Value {
        let [factor, offset] = [factor, offset].map(|n| self.constant(Tensor::scalar(n)));
        let product = self.apply("Mul", &[x, factor]);
        self.apply("Add", &[product, offset])
    }

    /// Standard normal numbers of uniform ones from -`range` to `range`.
    fn quantile(&mut self, uniform: Value, zero: Value, range: f32) -> Value {
        let uniform = self.apply("Add", &[uniform, zero]);
        let square = self.apply("Mul", &[uniform, uniform]);
        let w = self.affine(square, [-1.0 / (range * range), 1.0 + MARGIN]);
        let v = (0..4).fold(w, |x, _| self.apply("Sqrt", &[x]));
        let [square, inverse, first, second, root, last] = FIT;
        let x = self.affine(v, square);
        let x = self.apply("Mul", &[x, x]);
        let x = self.affine(x, inverse);
        let mut x = self.apply("Reciprocal", &[x]);
        for numbers in [first, second] {
            x = self.affine(x, numbers);
            x = self.apply("Mul", &[x, v]);
        }
        let x = self.affine(x, root);
        let x = self.apply("Sqrt", &[x]);
        let x = self.affine(x, last.map(|number| number / range));
        self.apply("Mul", &[x, uniform])
    }
}

/// Takes the random biases of convolutions out of them, as differences. OpenVINO has no convolution
/// with such a bias; where it adds one in the body of a loop it leaves the layout of the
/// convolution, there and back for every layer, and where it subtracts one it does not.
///
/// # Errors
/// When the graph has a cycle.
pub(super) fn subtract_biases(graph: &mut Graph) -> Result<()> {
    for id in graph.op_order()? {
        let Some(op) = graph.node(id).op().filter(|op| op.is("Conv")).cloned() else { continue };
        let outputs = graph.node(id).outputs.clone();
        // Shapes of what was added to the graph are not known.
        let spatial = op.ints("kernel_shape").map(<[i64]>::len).or_else(|| {
            let shape = graph.fact(graph.argument(id, 0)?).shape.as_ref()?;
            shape.len().checked_sub(2)
        });
        let (Some(bias), Some(spatial)) = (graph.argument(id, 2), spatial) else { continue };
        if graph.tensor(bias).is_some() {
            continue;
        }
        let uses = graph.uses(id.into());
        let (x, weight) = (graph.argument(id, 0), graph.argument(id, 1));
        let builder = &mut Builder { graph, scope: "bias" };
        let ones = std::iter::repeat_n(1i64, spatial);
        let shape: Vec<i64> = [1, -1].into_iter().chain(ones).collect();
        let shape = builder.constant(Tensor::vector(&shape));
        let negative = builder.apply("Neg", &[bias]);
        let negative = builder.apply("Reshape", &[negative, shape]);
        let arguments: Vec<Value> = [x, weight].into_iter().flatten().collect();
        let product = builder.op(op, &arguments);
        let sum = builder.op(Op::new("Sub"), &[product, negative]);
        for value in [product, sum] {
            graph.node_mut(value.node).outputs = outputs.clone();
        }
        graph.redirect(uses, sum);
    }
    Ok(())
}
