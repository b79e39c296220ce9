//! Values that the host hands to one run.

use std::borrow::Cow;

use bytemuck::CheckedBitPattern;
use bytemuck::checked::{try_cast_slice, try_pod_read_unaligned};
use graphs::{DType, Element, Fact, Tensor, element_count};

use crate::{Error, Result};

/// A value for one input, borrowed from the host for one run.
#[derive(Clone, Copy, Debug)]
pub struct Feed<'a> {
    name: &'a str,
    dtype: DType,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl<'a> Feed<'a> {
    /// `values` in row-major order for the input `name`.
    pub fn new<T: Element>(name: &'a str, shape: &'a [usize], values: &'a [T]) -> Feed<'a> {
        Feed { name, dtype: T::DTYPE, shape, bytes: bytemuck::cast_slice(values) }
    }

    /// A tensor for the input `name`.
    pub fn tensor(name: &'a str, tensor: &'a Tensor) -> Feed<'a> {
        Feed { name, dtype: tensor.dtype(), shape: tensor.shape(), bytes: tensor.bytes() }
    }

    pub(super) fn name(&self) -> &'a str {
        self.name
    }

    pub(super) fn dtype(&self) -> DType {
        self.dtype
    }

    pub(super) fn shape(&self) -> &'a [usize] {
        self.shape
    }

    /// Checks that there are as many values as the shape says.
    pub(super) fn check(&self) -> Result<()> {
        let needed = element_count(self.shape).and_then(|count| self.dtype.bytes_for(count));
        if needed == Some(self.bytes.len()) {
            return Ok(());
        }
        let fact = Fact::new(self.dtype, self.shape);
        let found = self.bytes.len();
        Err(self.error(format!("the shape {fact} does not hold the {found} bytes given")))
    }

    /// The values; borrowed unless the bytes are not aligned for `T`, which is the type
    /// of [`Feed::dtype`].
    pub(super) fn values<T: CheckedBitPattern>(&self) -> Result<Cow<'a, [T]>> {
        if let Ok(values) = try_cast_slice(self.bytes) {
            return Ok(Cow::Borrowed(values));
        }
        let values = self.bytes.chunks_exact(size_of::<T>()).map(try_pod_read_unaligned);
        let bad = |_| self.error(format!("bytes that are no value of {}", self.dtype));
        values.collect::<Result<_, _>>().map(Cow::Owned).map_err(bad)
    }

    /// An error about this feed.
    pub(super) fn error(&self, reason: impl ToString) -> Error {
        Error::Input { name: self.name.to_owned(), reason: reason.to_string() }
    }

    /// The error of an element type that no engine exchanges with the host.
    pub(super) fn unsupported(&self) -> Error {
        self.error(format!("values of type {} cannot be handed to an engine", self.dtype))
    }
}
