//! What an ensemble sums over its draws, and what it returns.

use graphs::{DType, Dim, Fact, Op, Tensor, Value, names};

use super::normals::Builder;
use super::{MUTUAL_INFORMATION, PREDICTIVE_ENTROPY, STD};
use crate::{Likelihood, Result};

/// Two sums over draws of outputs `[N, width]`, of which the first is `[N, width]`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sums {
    likelihood: Likelihood,
    width: usize,
}

impl Sums {
    /// Of classes the means of probabilities and of their entropies `[N]`; of numbers their means
    /// and the sums of squared distances from the mean `[N, width]`.
    pub(super) fn new(likelihood: Likelihood, width: usize) -> Sums {
        Sums { likelihood, width }
    }

    /// The names and shapes of the sums.
    pub(super) fn states(self) -> [(&'static str, Vec<Dim>); 2] {
        let wide = vec![Dim::Unknown, Dim::Known(self.width)];
        match self.likelihood {
            Likelihood::Categorical => [("mean", wide), ("mean_entropy", vec![Dim::Unknown])],
            Likelihood::Gaussian { .. } => [("mean", wide.clone()), ("squares", wide)],
        }
    }

    /// Zeros, for as many images as `images` has.
    pub(super) fn start(self, builder: &mut Builder, images: Value) -> [Value; 2] {
        let count = builder.op(Op::new("Shape").with("start", 0).with("end", 1), &[images]);
        let width = builder.constant(Tensor::vector(&[self.width as i64]));
        let wide = builder.op(Op::new("Concat").with("axis", 0), &[count, width]);
        let second = match self.likelihood {
            Likelihood::Categorical => count,
            Likelihood::Gaussian { .. } => wide,
        };
        [wide, second].map(|shape| {
            let zero = Tensor::vector(&[0f32]);
            builder.op(Op::new("ConstantOfShape").with("value", zero), &[shape])
        })
    }

    /// How much each draw counts when it comes, `[samples, 1]`: in a mean of all, or in one of the
    /// draws so far.
    ///
    /// # Errors
    /// When there are too many.
    pub(super) fn shares(self, samples: usize) -> Result<Tensor> {
        let share = |draw: usize| match self.likelihood {
            Likelihood::Categorical => 1.0 / samples as f32,
            Likelihood::Gaussian { .. } => 1.0 / (draw + 1) as f32,
        };
        Ok(Tensor::new(&[samples, 1], (0..samples).map(share).collect::<Vec<f32>>())?)
    }

    /// The sums after one more draw of `outputs`.
    pub(super) fn next(
        self,
        builder: &mut Builder,
        [mean, second]: [Value; 2],
        outputs: Value,
        share: Value,
    ) -> [Value; 2] {
        match self.likelihood {
            Likelihood::Categorical => {
                let entropy = entropy(builder, outputs);
                [(mean, outputs), (second, entropy)].map(|(sum, value)| {
                    let part = builder.apply("Mul", &[value, share]);
                    builder.apply("Add", &[sum, part])
                })
            }
            // Welford 1962: nothing cancels where draws hardly differ.
            Likelihood::Gaussian { .. } => {
                let before = builder.apply("Sub", &[outputs, mean]);
                let part = builder.apply("Mul", &[before, share]);
                let next = builder.apply("Add", &[mean, part]);
                let after = builder.apply("Sub", &[outputs, next]);
                let square = builder.apply("Mul", &[before, after]);
                [next, builder.apply("Add", &[second, square])]
            }
        }
    }

    /// Makes the outputs of the sums over `samples` draws. Rounding must make neither information
    /// nor variance negative.
    pub(super) fn finish(self, builder: &mut Builder, [mean, second]: [Value; 2], samples: usize) {
        let batch = Dim::Named("N".to_owned());
        let wide = vec![batch.clone(), Dim::Known(self.width)];
        let outputs = match self.likelihood {
            Likelihood::Categorical => {
                let predictive = entropy(builder, mean);
                let information = builder.apply("Sub", &[predictive, second]);
                let information = builder.apply("Relu", &[information]);
                vec![
                    (names::PROBABILITIES, mean, wide),
                    (PREDICTIVE_ENTROPY, predictive, vec![batch.clone()]),
                    (MUTUAL_INFORMATION, information, vec![batch]),
                ]
            }
            Likelihood::Gaussian { .. } => {
                let share = builder.constant(Tensor::scalar(1.0 / samples as f32));
                let variance = builder.apply("Mul", &[second, share]);
                let variance = builder.apply("Relu", &[variance]);
                let std = builder.apply("Sqrt", &[variance]);
                vec![(names::OUTPUTS, mean, wide.clone()), (STD, std, wide)]
            }
        };
        for (name, value, shape) in outputs {
            if let Some(fact) = builder.graph.node_mut(value.node).outputs.get_mut(value.slot) {
                *fact = Fact { dtype: Some(DType::F32), shape: Some(shape) };
            }
            builder.graph.output(name, value);
        }
    }
}

/// The entropy of each row of `[N, classes]`, `[N]`, in nats; 0 log 0 is 0.
fn entropy(builder: &mut Builder, probabilities: Value) -> Value {
    // The least normal float32 keeps the logarithm finite; its product with 0 is 0.
    let least = builder.constant(Tensor::scalar(f32::MIN_POSITIVE));
    let positive = builder.apply("Max", &[probabilities, least]);
    let log = builder.apply("Log", &[positive]);
    let products = builder.apply("Mul", &[probabilities, log]);
    let axis = builder.constant(Tensor::vector(&[1i64]));
    let sum = builder.op(Op::new("ReduceSum").with("keepdims", 0), &[products, axis]);
    builder.apply("Neg", &[sum])
}
