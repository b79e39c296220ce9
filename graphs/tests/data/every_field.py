"""Writes every_field.binpb: a ModelProto in which every field of ONNX's schema is set.

    pip install onnx==1.23.2 && python graphs/tests/data/every_field.py

Each message below the model occurs twice for each alternative of its oneof: once with
telling values, once with zeros and empty strings, which proto2 keeps apart from unset.
"""

from collections import deque
from pathlib import Path

from google.protobuf.descriptor import FieldDescriptor
from onnx import ModelProto

VALUES = {
    FieldDescriptor.CPPTYPE_INT32: (-(2**31), 0),
    FieldDescriptor.CPPTYPE_INT64: (-(2**63), 0),
    FieldDescriptor.CPPTYPE_UINT64: (2**64 - 1, 0),
    FieldDescriptor.CPPTYPE_FLOAT: (-1.5, 0.0),
    FieldDescriptor.CPPTYPE_DOUBLE: (-0.1, 0.0),
    FieldDescriptor.CPPTYPE_ENUM: (1, 0),
}


def value(field, zero):
    if field.type == FieldDescriptor.TYPE_BYTES:
        return b"" if zero else field.name.encode() + b"\xff\x00"
    if field.type == FieldDescriptor.TYPE_STRING:
        return "" if zero else f"{field.name} ñ"
    return VALUES[field.cpp_type][zero]


def variants(descriptor):
    """The ways to fill a message: which field of its oneof, and whether with zeros."""
    alternatives = [field for oneof in descriptor.oneofs for field in oneof.fields]
    return deque((field, zero) for zero in (False, True) for field in alternatives or [None])


def fill(message, todo):
    """Fills a message in the next way that has not occurred yet; else leaves it empty."""
    ways = todo.setdefault(message.DESCRIPTOR.full_name, variants(message.DESCRIPTOR))
    if not ways:
        return
    alternative, zero = ways.popleft()
    for field in message.DESCRIPTOR.fields:
        if field.containing_oneof and field is not alternative:
            continue
        child = getattr(message, field.name)
        if field.message_type and field.is_repeated:
            fill(child.add(), todo)
            while todo[field.message_type.full_name]:
                fill(child.add(), todo)
        elif field.message_type:
            child.SetInParent()
            fill(child, todo)
        elif field.is_repeated:
            child.extend(value(field, z) for z in (zero, not zero))
        else:
            setattr(message, field.name, value(field, zero))


def model():
    todo = {}
    model = ModelProto()
    todo[model.DESCRIPTOR.full_name] = variants(model.DESCRIPTOR)
    fill(model, todo)
    left = {name: ways for name, ways in todo.items() if ways and name != "onnx.ModelProto"}
    messages = {m.full_name for m in model.DESCRIPTOR.file.message_types_by_name.values()}
    assert not left and messages <= todo.keys(), (left, messages - todo.keys())
    return model


if __name__ == "__main__":
    Path(__file__).with_suffix(".binpb").write_bytes(model().SerializeToString())
