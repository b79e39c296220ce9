//! The element types that programs take and give.

/// Evaluates `$body` with the type alias `$T` standing for the Rust type of `$dtype`;
/// `None` for an element type that no engine exchanges with the host.
macro_rules! with_element {
    ($dtype:expr, $T:ident => $body:expr) => {
        with_element!(@match $dtype, $T, $body;
            F32 f32, F64 f64, F16 half::f16, I8 i8, I16 i16, I32 i32, I64 i64,
            U8 u8, U16 u16, U32 u32, U64 u64, Bool bool)
    };
    (@match $dtype:expr, $T:ident, $body:expr; $($variant:ident $rust:ty),*) => {
        match $dtype {
            $(graphs::DType::$variant => {
                type $T = $rust;
                Some($body)
            })*
            _ => None,
        }
    };
}
pub(super) use with_element;
