//! Test cases of operator rows: a call and its arguments.

use graphs::{Attribute, DType, Element, Op, Tensor};

/// How a test fills an argument.
#[derive(Clone, Debug)]
pub enum Argument {
    /// Not given.
    Absent,
    /// Random float32 in `[low, high]`, which a gradient is taken for. The range has to
    /// keep away from kinks; for maxima see [`Argument::Distinct`].
    Random {
        /// Dimensions.
        shape: Vec<usize>,
        /// Least value.
        low: f32,
        /// Greatest value.
        high: f32,
    },
    /// A random permutation of evenly spaced float32 values in [-1, 1] without 0: no two
    /// are equal and none is near a kink at 0, so finite differences hold for max and abs.
    Distinct {
        /// Dimensions.
        shape: Vec<usize>,
    },
    /// A constant that no gradient is taken for.
    Constant(Tensor),
}

/// One call of an operator that tests run.
#[derive(Clone, Debug)]
pub struct Case {
    /// The operator with its attributes.
    pub op: Op,
    /// Its arguments.
    pub arguments: Vec<Argument>,
    /// The number of outputs.
    pub outputs: usize,
    /// Why tract cannot run the call, if it cannot.
    pub tract_lacks: Option<&'static str>,
}

/// A case of an operator without arguments yet.
pub fn case(op_type: &str) -> Case {
    Case { op: Op::new(op_type), arguments: Vec::new(), outputs: 1, tract_lacks: None }
}

impl Case {
    /// With an attribute.
    pub fn with(mut self, name: &str, value: impl Into<Attribute>) -> Case {
        self.op = self.op.with(name, value);
        self
    }

    /// With one more argument, random in [-1, 1].
    pub fn x(self, shape: &[usize]) -> Case {
        self.within(shape, -1.0, 1.0)
    }

    /// With one more argument, random in `[low, high]`.
    pub fn within(mut self, shape: &[usize], low: f32, high: f32) -> Case {
        self.arguments.push(Argument::Random { shape: shape.to_vec(), low, high });
        self
    }

    /// With one more argument whose values all differ and keep away from 0.
    pub fn distinct(mut self, shape: &[usize]) -> Case {
        self.arguments.push(Argument::Distinct { shape: shape.to_vec() });
        self
    }

    /// With one more constant vector.
    pub fn ints(self, values: &[i64]) -> Case {
        self.constant(Tensor::vector(values))
    }

    /// With one more constant scalar.
    pub fn scalar<T: Element>(self, value: T) -> Case {
        self.constant(Tensor::scalar(value))
    }

    /// With one more constant.
    pub fn constant(mut self, tensor: Tensor) -> Case {
        self.arguments.push(Argument::Constant(tensor));
        self
    }

    /// With one more bool constant: true, false, true, ...
    pub fn flags(self, shape: &[usize]) -> Case {
        let count = shape.iter().product();
        let bytes: Vec<u8> = [1, 0].into_iter().cycle().take(count).collect();
        match Tensor::from_bytes(DType::Bool, shape.to_vec(), bytes.into()) {
            Ok(tensor) => self.constant(tensor),
            Err(_) => self.absent(),
        }
    }

    /// With one more argument that is not given.
    pub fn absent(mut self) -> Case {
        self.arguments.push(Argument::Absent);
        self
    }

    /// With a reason why tract cannot run the call, so that only ONNX Runtime does.
    pub fn tract_lacks(mut self, reason: &'static str) -> Case {
        self.tract_lacks = Some(reason);
        self
    }

    /// With that many outputs.
    pub fn outputs(mut self, count: usize) -> Case {
        self.outputs = count;
        self
    }
}
