//! Element types and dense tensors.

use std::borrow::Cow;
use std::fmt;

use bytemuck::Pod;
use bytes::Bytes;

use crate::Error;

/// Declares [`DType`] from one table: variant, ONNX code, bits per element, name.
macro_rules! dtypes {
    ($($variant:ident = $code:literal, $bits:literal, $name:literal;)*) => {
        /// An ONNX element type, `TensorProto.DataType` of IR version 14.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[allow(missing_docs)]
        pub enum DType { $($variant,)* }

        impl DType {
            /// Every element type.
            pub const ALL: &'static [DType] = &[$(DType::$variant,)*];

            /// The number that ONNX files use for this type.
            pub fn code(self) -> i32 {
                match self { $(DType::$variant => $code,)* }
            }

            /// The type with that number, if the schema has one.
            pub fn from_code(code: i32) -> Option<DType> {
                match code { $($code => Some(DType::$variant),)* _ => None }
            }

            /// Bits of one element in raw storage; 0 for strings, which have no fixed size.
            pub fn bits(self) -> usize {
                match self { $(DType::$variant => $bits,)* }
            }
        }

        impl fmt::Display for DType {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(DType::$variant => $name,)* })
            }
        }
    };
}

dtypes! {
    F32 = 1, 32, "float32";
    U8 = 2, 8, "uint8";
    I8 = 3, 8, "int8";
    U16 = 4, 16, "uint16";
    I16 = 5, 16, "int16";
    I32 = 6, 32, "int32";
    I64 = 7, 64, "int64";
    String = 8, 0, "string";
    Bool = 9, 8, "bool";
    F16 = 10, 16, "float16";
    F64 = 11, 64, "float64";
    U32 = 12, 32, "uint32";
    U64 = 13, 64, "uint64";
    C64 = 14, 64, "complex64";
    C128 = 15, 128, "complex128";
    BF16 = 16, 16, "bfloat16";
    F8E4M3FN = 17, 8, "float8e4m3fn";
    F8E4M3FNUZ = 18, 8, "float8e4m3fnuz";
    F8E5M2 = 19, 8, "float8e5m2";
    F8E5M2FNUZ = 20, 8, "float8e5m2fnuz";
    U4 = 21, 4, "uint4";
    I4 = 22, 4, "int4";
    F4E2M1 = 23, 4, "float4e2m1";
    F8E8M0 = 24, 8, "float8e8m0";
    U2 = 25, 2, "uint2";
    I2 = 26, 2, "int2";
    F6E2M3 = 27, 6, "float6e2m3";
    F6E3M2 = 28, 6, "float6e3m2";
}

impl DType {
    /// True for the types that gradients flow through.
    pub fn is_float(self) -> bool {
        matches!(self, DType::F32 | DType::F64 | DType::F16 | DType::BF16)
    }

    /// Bytes that `elements` take in raw storage (sub-byte types are packed), or
    /// `None` on overflow or for strings.
    pub fn bytes_for(self, elements: usize) -> Option<usize> {
        match self.bits() {
            0 => None,
            bits => Some(elements.checked_mul(bits)?.div_ceil(8)),
        }
    }
}

/// A Rust type that is one of ONNX's element types.
pub trait Element: Pod + PartialEq + fmt::Debug + Send + Sync {
    /// The element type that this Rust type stores.
    const DTYPE: DType;
}

macro_rules! elements {
    ($($rust:ty => $dtype:ident),*) => {
        $(impl Element for $rust { const DTYPE: DType = DType::$dtype; })*
    };
}
elements!(f32 => F32, f64 => F64, i8 => I8, i16 => I16, i32 => I32, i64 => I64,
          u8 => U8, u16 => U16, u32 => U32, u64 => U64, half::f16 => F16, half::bf16 => BF16);

/// A dense tensor in row-major order. Cloning shares the bytes.
#[derive(Clone, PartialEq)]
pub struct Tensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Data,
}

#[derive(Clone, PartialEq)]
enum Data {
    /// Little-endian raw bytes, as ONNX's `raw_data`.
    Raw(Bytes),
    Strings(Vec<Bytes>),
}

/// The bytes of values, which are not copied.
pub(crate) fn into_bytes<T: Element>(values: Vec<T>) -> Bytes {
    struct Owner<T>(Vec<T>);
    impl<T: Element> AsRef<[u8]> for Owner<T> {
        fn as_ref(&self) -> &[u8] {
            bytemuck::cast_slice(&self.0)
        }
    }
    Bytes::from_owner(Owner(values))
}

/// The number of elements of `shape`, or `None` on overflow.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d))
}

impl Tensor {
    /// A tensor over raw little-endian bytes.
    ///
    /// # Errors
    /// When the bytes are not exactly as many as dtype and shape need.
    pub fn from_bytes(dtype: DType, shape: Vec<usize>, data: Bytes) -> Result<Tensor, Error> {
        let needed = element_count(&shape).and_then(|n| dtype.bytes_for(n));
        if needed != Some(data.len()) {
            return Err(Error::TensorLength { dtype, shape, expected: needed, found: data.len() });
        }
        Ok(Tensor { dtype, shape, data: Data::Raw(data) })
    }

    /// A tensor of strings (bytes that need not be UTF-8).
    ///
    /// # Errors
    /// When the strings are not exactly as many as the shape needs.
    pub fn from_strings(shape: Vec<usize>, strings: Vec<Bytes>) -> Result<Tensor, Error> {
        let expected = element_count(&shape);
        if expected != Some(strings.len()) {
            let found = strings.len();
            return Err(Error::TensorLength { dtype: DType::String, shape, expected, found });
        }
        Ok(Tensor { dtype: DType::String, shape, data: Data::Strings(strings) })
    }

    /// A tensor that takes over `values`.
    ///
    /// # Errors
    /// When the values are not exactly as many as the shape needs.
    pub fn new<T: Element>(shape: &[usize], values: Vec<T>) -> Result<Tensor, Error> {
        Tensor::from_bytes(T::DTYPE, shape.to_vec(), into_bytes(values))
    }

    /// A scalar, shape `[]`.
    pub fn scalar<T: Element>(value: T) -> Tensor {
        let data = Bytes::copy_from_slice(bytemuck::bytes_of(&value));
        Tensor { dtype: T::DTYPE, shape: vec![], data: Data::Raw(data) }
    }

    /// A vector, shape `[values.len()]`.
    pub fn vector<T: Element>(values: &[T]) -> Tensor {
        let data = Bytes::copy_from_slice(bytemuck::cast_slice(values));
        Tensor { dtype: T::DTYPE, shape: vec![values.len()], data: Data::Raw(data) }
    }

    /// `value` at every element.
    ///
    /// # Errors
    /// When the shape has more elements than memory can address.
    pub fn full<T: Element>(shape: &[usize], value: T) -> Result<Tensor, Error> {
        let count = element_count(shape).filter(|n| n.checked_mul(size_of::<T>()).is_some());
        let Some(count) = count else {
            let (dtype, shape) = (T::DTYPE, shape.to_vec());
            return Err(Error::TensorLength { dtype, shape, expected: None, found: 0 });
        };
        Tensor::new(shape, vec![value; count])
    }

    /// The element type.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The dimensions, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The number of elements.
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// True when some dimension is zero.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The raw little-endian bytes; empty for strings.
    pub fn bytes(&self) -> &Bytes {
        static NONE: Bytes = Bytes::new();
        match &self.data {
            Data::Raw(bytes) => bytes,
            Data::Strings(_) => &NONE,
        }
    }

    /// The strings of a string tensor; empty for every other type.
    pub fn strings(&self) -> &[Bytes] {
        match &self.data {
            Data::Raw(_) => &[],
            Data::Strings(strings) => strings,
        }
    }

    /// The elements, borrowed when the bytes are aligned.
    ///
    /// # Errors
    /// When the tensor has another element type.
    pub fn values<T: Element>(&self) -> Result<Cow<'_, [T]>, Error> {
        if self.dtype != T::DTYPE {
            return Err(Error::TensorType { expected: T::DTYPE, found: self.dtype });
        }
        let bytes = self.bytes();
        Ok(match bytemuck::try_cast_slice(bytes) {
            Ok(values) => Cow::Borrowed(values),
            Err(_) => Cow::Owned(bytemuck::pod_collect_to_vec(bytes)),
        })
    }

    /// The elements as `i64`, from any integer or bool type: what shapes, axes and
    /// pads are read with.
    ///
    /// # Errors
    /// When the tensor is not of an integer type, or a value does not fit.
    pub fn integers(&self) -> Result<Vec<i64>, Error> {
        fn widen<T: Element + Into<i64>>(tensor: &Tensor) -> Result<Vec<i64>, Error> {
            Ok(tensor.values::<T>()?.iter().map(|&v| v.into()).collect())
        }
        match self.dtype {
            DType::I64 => Ok(self.values::<i64>()?.into_owned()),
            DType::I32 => widen::<i32>(self),
            DType::I16 => widen::<i16>(self),
            DType::I8 => widen::<i8>(self),
            DType::U8 => widen::<u8>(self),
            DType::U16 => widen::<u16>(self),
            DType::U32 => widen::<u32>(self),
            DType::Bool => Ok(self.bytes().iter().map(|&b| i64::from(b != 0)).collect()),
            found => Err(Error::TensorType { expected: DType::I64, found }),
        }
    }

    /// The elements as `f32`, from any of the float types that gradients flow through.
    ///
    /// # Errors
    /// When the tensor is not of such a type.
    pub fn floats(&self) -> Result<Cow<'_, [f32]>, Error> {
        Ok(match self.dtype {
            DType::F32 => self.values::<f32>()?,
            DType::F64 => self.values::<f64>()?.iter().map(|&v| v as f32).collect(),
            DType::F16 => self.values::<half::f16>()?.iter().map(|v| v.to_f32()).collect(),
            DType::BF16 => self.values::<half::bf16>()?.iter().map(|v| v.to_f32()).collect(),
            found => return Err(Error::TensorType { expected: DType::F32, found }),
        })
    }

    /// The same bytes under another shape of as many elements.
    ///
    /// # Errors
    /// When the number of elements differs.
    pub fn reshaped(&self, shape: &[usize]) -> Result<Tensor, Error> {
        if element_count(shape) != Some(self.len()) {
            return Err(Error::TensorLength {
                dtype: self.dtype,
                shape: shape.to_vec(),
                expected: element_count(shape),
                found: self.len(),
            });
        }
        Ok(Tensor { shape: shape.to_vec(), ..self.clone() })
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{:?}", self.dtype, self.shape)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::expect_used)]
    use super::*;

    #[test]
    fn codes_and_types_are_a_bijection() {
        for &dtype in DType::ALL {
            assert_eq!(DType::from_code(dtype.code()), Some(dtype));
        }
        assert_eq!(DType::from_code(0), None);
    }

    #[test]
    fn wrong_lengths_and_overflows_are_errors() {
        assert!(Tensor::new(&[2, 3], vec![0f32; 5]).is_err());
        assert!(Tensor::full(&[usize::MAX, 2], 0f32).is_err());
        assert!(Tensor::from_bytes(DType::F32, vec![usize::MAX, 8], Bytes::new()).is_err());
    }

    #[test]
    fn unaligned_bytes_are_read() {
        let bytes = Bytes::from(vec![9, 0, 0, 128, 63]).slice(1..);
        let tensor = Tensor::from_bytes(DType::F32, vec![1], bytes).expect("four bytes");
        assert_eq!(*tensor.values::<f32>().expect("float32"), [1.0]);
    }

    #[test]
    fn sub_byte_types_are_packed() {
        assert_eq!(DType::I4.bytes_for(3), Some(2));
        assert_eq!(DType::U2.bytes_for(5), Some(2));
        assert_eq!(DType::F6E2M3.bytes_for(4), Some(3));
    }
}
