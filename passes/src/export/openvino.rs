//! Random weights in the form that OpenVINO runs fastest.
//!
//! Behind ONNX Runtime it takes neither a loop nor a random operator that draws uniform numbers, and
//! one thread would draw them; it has no vector code for Log, Sin and Cos. But it runs a chain of
//! arithmetic on a matrix in one pass over memory. So only a few random keys are drawn, a hash made
//! of arithmetic mixes them with the place of every weight, and arithmetic makes normal quantiles
//! of that.

use std::array;
use std::collections::HashMap;

use graphs::{DType, Fact, Graph, Op, Tensor, Value};

use super::normals::Builder;
use crate::variational::Posterior;
use crate::{Error, Result};

/// Rounds of the hash. After 4, moments, correlations at 50 lags, pairs, low bits and singular values
/// could not be told from those of random numbers in any of ten shapes; two more are for safety.
const ROUNDS: usize = 6;

/// What a round multiplies a square by.
const FACTOR: f32 = 509.0;

/// The halves of a number: 12 bits each.
const HALF: f32 = 4096.0;

/// The most rows or columns that float32 can number in [0, 1).
const MOST: usize = 1 << 24;

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

/// A fresh draw of every posterior's weight; they are of these shapes.
///
/// # Errors
/// When a posterior is too large to number its elements.
pub(super) fn draw(
    graph: &mut Graph,
    data: Value,
    posteriors: &[Posterior],
    shapes: &[Vec<usize>],
) -> Result<Vec<Value>> {
    let builder = Builder { graph, scope: "noise" };
    let mut chain = Chain { builder, numbers: HashMap::new(), places: HashMap::new() };
    let keys = chain.keys(data, posteriors.len());
    let drawn = posteriors.iter().zip(shapes).zip(keys);
    drawn.map(|((posterior, shape), keys)| chain.weight(posterior, shape, keys)).collect()
}

/// Builds what draws, and knows the constants that it has built.
struct Chain<'g> {
    builder: Builder<'g>,
    /// By their bits.
    numbers: HashMap<u32, Value>,
    /// Of rows or columns, by shape.
    places: HashMap<[usize; 2], Value>,
}

impl Chain<'_> {
    /// Uniform numbers of [0, 1), `[1]` each, new at every run: some for each of `count` tensors.
    fn keys(&mut self, data: Value, count: usize) -> Vec<[Value; ROUNDS]> {
        let zero = self.zero(data);
        let builder = &mut self.builder;
        let pixel = builder.pixel(data);
        let length = builder.constant(Tensor::vector(&[(ROUNDS * count) as i64]));
        let uniform = builder.uniform(pixel, length, 0.0);
        let keys = builder.apply("Add", &[uniform, zero]);
        let ones = builder.constant(Tensor::vector(&vec![1i64; ROUNDS * count]));
        let node = builder.many(Op::new("Split").with("axis", 0), &[keys, ones], ROUNDS * count);
        let key = |slot| Value { node, slot };
        (0..count).map(|tensor| array::from_fn(|i| key(ROUNDS * tensor + i))).collect()
    }

    /// 0, float32 `[1]`, made of `data` so that no optimizer knows it: what is computed from random
    /// numbers and constants alone OpenVINO computes once, while it compiles.
    fn zero(&mut self, data: Value) -> Value {
        let first = self.builder.first(data);
        let first = self.builder.cast(first, DType::F32);
        let size = self.builder.apply("Abs", &[first]);
        let zero = self.number(0.0);
        self.builder.apply("Min", &[size, zero])
    }

    /// A draw of one weight. All is done on a matrix, for the sake of long rows, which gets its
    /// shape last.
    fn weight(
        &mut self,
        posterior: &Posterior,
        shape: &[usize],
        keys: [Value; ROUNDS],
    ) -> Result<Value> {
        let matrix = match shape.split_first() {
            Some((&rows, rest)) if !rest.is_empty() => [rows, rest.iter().product()],
            _ => [1, shape.iter().product()],
        };
        if matrix.iter().any(|&count| count > MOST) {
            let reason = format!("`{}` is too large for --provider openvino", posterior.name);
            return Err(Error::Model(reason));
        }
        let normal = self.normal(keys, matrix)?;
        let builder = &mut self.builder;
        let [axes, matrix_axes] =
            [shape, &matrix].map(|shape| builder.constant(Tensor::vector(&crate::signed(shape))));
        let std = builder.apply("Exp", &[posterior.log_std]);
        let [mean, std] =
            [posterior.mean, std].map(|value| builder.apply("Reshape", &[value, matrix_axes]));
        let deviation = builder.apply("Mul", &[std, normal]);
        let weight = builder.apply("Add", &[mean, deviation]);
        builder.graph.node_mut(weight.node).outputs = vec![Fact::new(DType::F32, &matrix)];
        let weight = builder.apply("Reshape", &[weight, axes]);
        builder.graph.node_mut(weight.node).outputs = vec![Fact::new(DType::F32, shape)];
        Ok(weight)
    }

    /// Standard normal numbers `[rows, columns]`.
    fn normal(&mut self, keys: [Value; ROUNDS], [rows, columns]: [usize; 2]) -> Result<Value> {
        let (mut left, mut right) = (self.places([rows, 1])?, self.places([1, columns])?);
        for key in keys {
            let sum = self.builder.apply("Add", &[right, key]);
            let square = self.builder.apply("Mul", &[sum, sum]);
            let product = self.times(square, FACTOR);
            let mixed = self.builder.apply("Add", &[product, left]);
            let whole = self.builder.apply("Floor", &[mixed]);
            (left, right) = (right, self.builder.apply("Sub", &[mixed, whole]));
        }
        let high = self.times(right, HALF);
        let high = self.builder.apply("Floor", &[high]);
        let word = self.builder.apply("Add", &[high, left]);
        // The middles of 2^24 intervals of (-1, 1).
        let uniform = self.affine(word, [2.0 / HALF, 1.0 / (1 << 24) as f32 - 1.0]);
        Ok(self.quantile(uniform))
    }

    /// 0 to 1 in equal steps, 1 left out.
    fn places(&mut self, shape: [usize; 2]) -> Result<Value> {
        if let Some(&places) = self.places.get(&shape) {
            return Ok(places);
        }
        let count = shape.iter().product::<usize>();
        let step = 1.0 / count.next_power_of_two() as f32;
        let numbers = (0..count).map(|i| i as f32 * step).collect();
        let places = self.builder.constant(Tensor::new(&shape, numbers)?);
        self.places.insert(shape, places);
        Ok(places)
    }

    /// Standard normal numbers of uniform ones of (-1, 1).
    fn quantile(&mut self, uniform: Value) -> Value {
        let square = self.builder.apply("Mul", &[uniform, uniform]);
        let w = self.affine(square, [-1.0, 1.0 + MARGIN]);
        let v = (0..4).fold(w, |x, _| self.builder.apply("Sqrt", &[x]));
        let [square, inverse, first, second, root, last] = FIT;
        let x = self.affine(v, square);
        let x = self.builder.apply("Mul", &[x, x]);
        let x = self.affine(x, inverse);
        let mut x = self.builder.apply("Reciprocal", &[x]);
        for numbers in [first, second] {
            x = self.affine(x, numbers);
            x = self.builder.apply("Mul", &[x, v]);
        }
        let x = self.affine(x, root);
        let x = self.builder.apply("Sqrt", &[x]);
        let x = self.affine(x, last);
        self.builder.apply("Mul", &[x, uniform])
    }

    fn affine(&mut self, x: Value, [factor, offset]: [f32; 2]) -> Value {
        let product = self.times(x, factor);
        let offset = self.number(offset);
        self.builder.apply("Add", &[product, offset])
    }

    fn times(&mut self, x: Value, factor: f32) -> Value {
        let factor = self.number(factor);
        self.builder.apply("Mul", &[x, factor])
    }

    /// A scalar.
    fn number(&mut self, number: f32) -> Value {
        let builder = &mut self.builder;
        let make = || builder.constant(Tensor::scalar(number));
        *self.numbers.entry(number.to_bits()).or_insert_with(make)
    }
}
