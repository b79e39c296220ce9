//! Builds graphs: inserts a node and infers its outputs, so that no value is ever
//! without type and shape.

use graphs::{DType, Element, Fact, Graph, NodeId, Op, Tensor, Value, element_count};

use crate::naming::Names;
use crate::ops::{self, Call, Forms};
use crate::{Error, Result, repeated};

/// Appends nodes to a graph.
#[derive(Debug)]
pub struct Tape<'g> {
    /// The graph that grows.
    pub graph: &'g mut Graph,
    /// Which forms of gradients it takes; by default whichever is quick on most engines.
    pub forms: Forms,
    /// Goes in front of the names of new nodes.
    prefix: String,
    /// The names of inputs and constants, once one was needed.
    taken: Option<Names>,
}

impl<'g> Tape<'g> {
    /// A tape on `graph`; new nodes are named `prefix/Operator_index`.
    pub fn new(graph: &'g mut Graph, prefix: &str) -> Tape<'g> {
        Tape { graph, forms: Forms::default(), prefix: prefix.to_owned(), taken: None }
    }

    /// Names new nodes `prefix/Operator_index` from now on.
    pub(crate) fn set_prefix(&mut self, prefix: &str) {
        prefix.clone_into(&mut self.prefix);
    }

    fn name(&mut self, kind: &str) -> String {
        let graph = &*self.graph;
        let taken = self.taken.get_or_insert_with(|| Names::of_sources(graph));
        // Node indices are reused only after a sweep, so search on for a free name.
        (graph.len()..)
            .map(|i| format!("{}/{kind}_{i}", self.prefix))
            .find(|name| taken.take(name))
            .unwrap_or_default()
    }

    /// Inserts a call with `outputs` outputs; `None` is an absent optional argument.
    ///
    /// # Errors
    /// When the operator has no row or its shape rule refuses the arguments.
    pub fn call(&mut self, op: Op, arguments: &[Option<Value>], outputs: usize) -> Result<NodeId> {
        let name = format!("{}/{}_{}", self.prefix, op.op_type, self.graph.len());
        let call = Call::new(self.graph, &name, &op, arguments.to_vec());
        let mut facts = ops::infer(&call)?;
        facts.truncate(outputs);
        Ok(self.graph.op(&name, op, arguments, facts))
    }

    /// Inserts a call with one output.
    ///
    /// # Errors
    /// As [`Tape::call`].
    pub fn op(&mut self, op: Op, arguments: &[Value]) -> Result<Value> {
        let arguments: Vec<Option<Value>> = arguments.iter().copied().map(Some).collect();
        Ok(self.call(op, &arguments, 1)?.into())
    }

    /// Inserts a call of an operator without attributes. Arithmetic on what [`Tape::expand`]
    /// made takes what that was made of, wherever the result is the same.
    ///
    /// # Errors
    /// As [`Tape::call`].
    pub fn apply(&mut self, op_type: &str, arguments: &[Value]) -> Result<Value> {
        if repeated::is_arithmetic(op_type) {
            return self.arithmetic(op_type, arguments);
        }
        self.op(Op::new(op_type), arguments)
    }

    /// A constant.
    pub fn constant(&mut self, tensor: Tensor) -> Value {
        let name = self.name("constant");
        self.graph.initializer(&name, tensor)
    }

    /// A scalar constant of shape `[]`.
    pub fn scalar<T: Element>(&mut self, value: T) -> Value {
        self.constant(Tensor::scalar(value))
    }

    /// A scalar constant of the same float type as `like`.
    ///
    /// # Errors
    /// When `like` is not of a float type.
    pub fn number(&mut self, value: f64, like: Value) -> Result<Value> {
        let dtype = self.graph.fact(like).dtype;
        let found = || format!("expected a value of a float type, found {dtype:?}");
        let tensor = dtype.and_then(|dtype| number(dtype, value));
        tensor.map(|tensor| self.constant(tensor)).ok_or_else(|| self.error(like, found()))
    }

    /// An int64 vector constant.
    pub fn ints(&mut self, values: &[i64]) -> Value {
        self.constant(Tensor::vector(values))
    }

    /// The dimensions of a value.
    ///
    /// # Errors
    /// When they are not all known.
    pub fn shape(&self, value: Value) -> Result<Vec<usize>> {
        let fact = self.graph.fact(value);
        fact.known_shape()
            .ok_or_else(|| self.error(value, format!("its shape {fact} is not known")))
    }

    /// The element type of a value.
    ///
    /// # Errors
    /// When it is not known.
    pub fn dtype(&self, value: Value) -> Result<DType> {
        let dtype = self.graph.fact(value).dtype;
        dtype.ok_or_else(|| self.error(value, "its element type is not known"))
    }

    /// An error about the node behind `value`.
    pub fn error(&self, value: Value, reason: impl ToString) -> Error {
        let node = self.graph.get(value.node).map_or_else(String::new, |n| n.describe());
        Error::Node { node, reason: reason.to_string() }
    }

    /// `x` under another shape of as many elements; `x` itself if it has it already.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshape(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        if self.shape(x)? == shape {
            return Ok(x);
        }
        let count = element_count(&self.shape(x)?);
        if let Some(number) = self.number_behind(x).filter(|_| count == element_count(shape)) {
            // Expand takes no axis away.
            let longer = self.shape(number)?.len() > shape.len();
            let number = if longer { self.reshape(number, &[])? } else { number };
            return self.expand(number, shape);
        }
        // Without `allowzero` a 0 would stand for the size that `x` has there.
        let keep_zero = i64::from(shape.contains(&0));
        let shape = self.ints(&signed(shape));
        self.op(Op::new("Reshape").with("allowzero", keep_zero), &[x, shape])
    }

    /// `x` with its axes permuted.
    ///
    /// # Errors
    /// When `order` is no permutation of the axes.
    pub fn transpose(&mut self, x: Value, order: &[usize]) -> Result<Value> {
        self.op(Op::new("Transpose").with("perm", signed(order)), &[x])
    }

    /// The sum over `axes`, kept as size 1 when `keep` is true; `x` itself when there
    /// is no axis.
    ///
    /// # Errors
    /// When an axis is out of range.
    pub fn reduce_sum(&mut self, x: Value, axes: &[usize], keep: bool) -> Result<Value> {
        if axes.is_empty() {
            return Ok(x);
        }
        let axes = self.ints(&signed(axes));
        self.op(Op::new("ReduceSum").with("keepdims", i64::from(keep)), &[x, axes])
    }

    /// `x` broadcast to `shape`; `x` itself if it has it already.
    ///
    /// # Errors
    /// When the shapes do not broadcast.
    pub fn expand(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        if self.shape(x)? == shape {
            return Ok(x);
        }
        let x = self.number_behind(x).unwrap_or(x);
        let shape = self.ints(&signed(shape));
        self.apply("Expand", &[x, shape])
    }

    /// `x[starts..ends]` along `axes`, every `steps`-th element.
    ///
    /// # Errors
    /// When an axis is out of range.
    pub fn slice(
        &mut self,
        x: Value,
        axes: &[i64],
        starts: &[i64],
        ends: &[i64],
        steps: &[i64],
    ) -> Result<Value> {
        let [starts, ends] = [self.ints(starts), self.ints(ends)];
        let [axes, steps] = [self.ints(axes), self.ints(steps)];
        self.apply("Slice", &[x, starts, ends, axes, steps])
    }

    /// `x` with that many zeros before and after every axis; `x` itself if there are none.
    ///
    /// # Errors
    /// When there is not one number for every axis.
    pub fn pad(&mut self, x: Value, before: &[usize], after: &[usize]) -> Result<Value> {
        if before.iter().chain(after).all(|&n| n == 0) {
            return Ok(x);
        }
        let pads = self.ints(&signed(&[before, after].concat()));
        self.apply("Pad", &[x, pads])
    }

    /// `x` as another element type.
    ///
    /// # Errors
    /// When `x` has no type.
    pub fn cast(&mut self, x: Value, to: DType) -> Result<Value> {
        if self.dtype(x)? == to {
            return Ok(x);
        }
        self.op(Op::new("Cast").with("to", i64::from(to.code())), &[x])
    }

    /// `x * factor + offset` with one factor and one offset `[C]` for each channel, axis 1:
    /// a depthwise convolution, which is quick on every engine (tract takes a
    /// multiplication by `[1, C, 1, 1]` at a third of its speed).
    ///
    /// # Errors
    /// When the vectors are not as long as axis 1 of `x`.
    pub fn scale_channels(
        &mut self,
        x: Value,
        factor: Value,
        offset: Option<Value>,
    ) -> Result<Value> {
        let (rank, channels) = (self.shape(x)?.len(), self.shape(factor)?);
        if !(3..=5).contains(&rank) {
            let mut shape = channels;
            shape.resize(rank.saturating_sub(1), 1);
            let factor = self.reshape(factor, &shape)?;
            let scaled = self.apply("Mul", &[x, factor])?;
            let Some(offset) = offset else { return Ok(scaled) };
            let offset = self.reshape(offset, &shape)?;
            return self.apply("Add", &[scaled, offset]);
        }
        let mut kernel = channels.clone();
        kernel.resize(rank, 1);
        let factor = self.reshape(factor, &kernel)?;
        let group = channels.first().copied().unwrap_or(1) as i64;
        let arguments: Vec<Value> = [x, factor].into_iter().chain(offset).collect();
        self.op(Op::new("Conv").with("group", group), &arguments)
    }

    /// Zeros of the type and shape of `like`.
    ///
    /// # Errors
    /// When type or shape of `like` is not known.
    pub fn zeros_like(&mut self, like: Value) -> Result<Value> {
        let shape = self.shape(like)?;
        let zero = self.number(0.0, like)?;
        self.expand(zero, &shape)
    }

    /// Sums `x` over the axes along which `shape` was broadcast to its own shape.
    ///
    /// # Errors
    /// When `shape` does not broadcast to the shape of `x`.
    pub fn sum_to(&mut self, x: Value, shape: &[usize]) -> Result<Value> {
        let from = self.shape(x)?;
        if from == shape {
            return Ok(x);
        }
        let Some(lead) = from.len().checked_sub(shape.len()) else {
            return Err(self.error(x, format!("{from:?} does not reduce to {shape:?}")));
        };
        let stretched = |i: usize| {
            let old = i.checked_sub(lead).and_then(|j| shape.get(j));
            old.is_none_or(|&n| n == 1 && from.get(i) != Some(&1))
        };
        let axes: Vec<usize> = (0..from.len()).filter(|&i| stretched(i)).collect();
        let sum = self.reduce_sum(x, &axes, true)?;
        self.reshape(sum, shape)
    }

    /// What is known of `value`.
    pub fn fact(&self, value: Value) -> &Fact {
        self.graph.fact(value)
    }
}

/// A scalar of a float type that is computed with; `None` for another type.
pub(crate) fn number(dtype: DType, value: f64) -> Option<Tensor> {
    Some(match dtype {
        DType::F32 => Tensor::scalar(value as f32),
        DType::F64 => Tensor::scalar(value),
        DType::F16 => Tensor::scalar(half::f16::from_f64(value)),
        DType::BF16 => Tensor::scalar(half::bf16::from_f64(value)),
        _ => return None,
    })
}

/// Sizes as ONNX writes them.
pub fn signed(sizes: &[usize]) -> Vec<i64> {
    sizes.iter().map(|&n| n as i64).collect()
}
