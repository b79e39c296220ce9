//! Writes a message in the form of the file that it came from.
//!
//! ONNX can say one thing in several ways: attributes in any order, elements as raw
//! bytes, in a typed field or in another file, an empty field or none. What
//! [`encode`](crate::encode) makes says one thing in one way; the functions here say
//! the same in the file's way, as [`Form`](crate::Form) remembers it.

use std::collections::HashMap;

use bytes::Bytes;

use crate::DType;
use crate::proto::{AttributeProto, AttributeType, DataLocation, NodeProto, TensorProto};

/// Says `node` as the file did. Tensors stay in other files only if `external` is true.
pub(crate) fn restore_node(node: &mut NodeProto, form: &NodeProto, external: bool) {
    let empty = |text: &mut Option<String>, form: &Option<String>| {
        if text.is_none() {
            text.clone_from(form);
        }
    };
    empty(&mut node.name, &form.name);
    empty(&mut node.op_type, &form.op_type);
    empty(&mut node.domain, &form.domain);
    empty(&mut node.overload, &form.overload);
    let named = form.attribute.iter().enumerate().map(|(i, a)| (a.name(), (i, a)));
    let forms: HashMap<&str, (usize, &AttributeProto)> = named.collect();
    for attribute in &mut node.attribute {
        if let Some((_, form)) = forms.get(attribute.name()) {
            restore_attribute(attribute, form, external);
        }
    }
    node.attribute.sort_by_key(|a| forms.get(a.name()).map_or(usize::MAX, |(place, _)| *place));
}

/// An attribute keeps all of the file's message while the value is the same, and its
/// text in any case. Tensors and bodies are not in the form.
fn restore_attribute(attribute: &mut AttributeProto, form: &AttributeProto, external: bool) {
    if let (Some(tensor), Some(form)) = (&mut attribute.t, &form.t) {
        restore_tensor(tensor, form, external);
    }
    match same(attribute, form) {
        Some(true) => {
            let (t, g) = (attribute.t.take(), attribute.g.take());
            *attribute = AttributeProto { t, g, ..form.clone() };
        }
        Some(false) => attribute.doc_string.clone_from(&form.doc_string),
        None => {}
    }
}

/// Whether two attributes have the same value, to the bit; `None` for those whose
/// message is the value.
fn same(new: &AttributeProto, old: &AttributeProto) -> Option<bool> {
    let bits = |values: &[f32]| values.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    if new.ref_attr_name() != old.ref_attr_name() {
        return Some(false);
    }
    if !new.ref_attr_name().is_empty() {
        return Some(new.r#type.unwrap_or_default() == old.r#type.unwrap_or_default());
    }
    let kind = AttributeType::try_from(new.r#type.unwrap_or_default()).ok()?;
    let same = match kind {
        AttributeType::Float => new.f().to_bits() == old.f().to_bits(),
        AttributeType::Int => new.i() == old.i(),
        AttributeType::String => new.s() == old.s(),
        AttributeType::Tensor | AttributeType::Graph => true,
        AttributeType::Floats => bits(&new.floats) == bits(&old.floats),
        AttributeType::Ints => new.ints == old.ints,
        AttributeType::Strings => new.strings == old.strings,
        _ => return None,
    };
    let untyped = old.r#type.unwrap_or_default() == AttributeType::Undefined as i32;
    Some(same && (untyped || old.r#type == new.r#type))
}

/// Stores the elements of `tensor`, which has them raw, where the file did. Elements in
/// another file stay there only if they are the very bytes that were read from it.
pub(crate) fn restore_tensor(tensor: &mut TensorProto, form: &TensorProto, external: bool) {
    let TensorProto { dims, data_type, name, raw_data, string_data, .. } = std::mem::take(tensor);
    *tensor = form.clone();
    tensor.dims = dims;
    tensor.name = name.or(tensor.name.take());
    let same_type = data_type.unwrap_or_default() == form.data_type.unwrap_or_default();
    if !same_type {
        tensor.data_type = data_type;
    }
    tensor.string_data = string_data;
    let Some(raw) = raw_data else { return };
    if form.data_location() == DataLocation::External {
        let read = form.raw_data.as_ref();
        if external && same_type && read.is_some_and(|r| r.as_ptr_range() == raw.as_ptr_range()) {
            tensor.raw_data = None;
        } else {
            inline(tensor, raw);
        }
    } else if form.raw_data.is_some() {
        tensor.raw_data = Some(raw);
    } else {
        store_typed(tensor, &raw);
    }
}

/// Moves the elements of a tensor into its message.
pub(crate) fn inline(tensor: &mut TensorProto, raw: Bytes) {
    tensor.data_location = None;
    tensor.external_data = vec![];
    tensor.raw_data = Some(raw);
}

/// Stores elements in the field that the schema assigns to their type.
fn store_typed(tensor: &mut TensorProto, raw: &Bytes) {
    fn widen<T: bytemuck::Pod, U: From<T>>(raw: &Bytes) -> Vec<U> {
        bytemuck::pod_collect_to_vec::<u8, T>(raw).into_iter().map(U::from).collect()
    }
    match DType::from_code(tensor.data_type.unwrap_or_default()) {
        Some(DType::F32 | DType::C64) => tensor.float_data = bytemuck::pod_collect_to_vec(raw),
        Some(DType::F64 | DType::C128) => tensor.double_data = bytemuck::pod_collect_to_vec(raw),
        Some(DType::I64) => tensor.int64_data = bytemuck::pod_collect_to_vec(raw),
        Some(DType::U64) => tensor.uint64_data = bytemuck::pod_collect_to_vec(raw),
        Some(DType::U32) => tensor.uint64_data = widen::<u32, u64>(raw),
        Some(DType::I32) => tensor.int32_data = bytemuck::pod_collect_to_vec(raw),
        Some(DType::I16) => tensor.int32_data = widen::<i16, i32>(raw),
        Some(DType::I8) => tensor.int32_data = widen::<i8, i32>(raw),
        Some(DType::U16 | DType::F16 | DType::BF16) => tensor.int32_data = widen::<u16, i32>(raw),
        _ => tensor.int32_data = widen::<u8, i32>(raw),
    }
}
