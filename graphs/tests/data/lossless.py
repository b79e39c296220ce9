"""Writes lossless.onnx: a valid model with everything that a round trip has to keep, in
unusual but lawful forms, and lossless.bin, which one of its tensors lies in.

    pip install onnx==1.23.2 && python graphs/tests/data/lossless.py
"""

import hashlib
import struct
from pathlib import Path

from onnx import AttributeProto, ModelProto, TensorProto, helper

HERE = Path(__file__).parent
BITS = {
    "FLOAT": 32, "UINT8": 8, "INT8": 8, "UINT16": 16, "INT16": 16, "INT32": 32, "INT64": 64,
    "BOOL": 8, "FLOAT16": 16, "DOUBLE": 64, "UINT32": 32, "UINT64": 64, "COMPLEX64": 64,
    "COMPLEX128": 128, "BFLOAT16": 16, "FLOAT8E4M3FN": 8, "FLOAT8E4M3FNUZ": 8, "FLOAT8E5M2": 8,
    "FLOAT8E5M2FNUZ": 8, "UINT4": 4, "INT4": 4, "FLOAT4E2M1": 4, "FLOAT8E8M0": 8, "UINT2": 2,
    "INT2": 2, "FLOAT6E2M3": 6, "FLOAT6E3M2": 6,
}  # fmt: skip
FIELDS = {
    "float_data": ["FLOAT", "COMPLEX64"],
    "double_data": ["DOUBLE", "COMPLEX128"],
    "int64_data": ["INT64"],
    "uint64_data": ["UINT64", "UINT32"],
}
NAN = struct.unpack("<f", b"\x01\x00\xa0\x7f")[0]


def note(message, text):
    """Documentation and metadata, not in alphabetical order."""
    message.doc_string = f"doc of {text} ñ"
    for key, value in [("z", text), ("a", ""), ("m", "ñ")]:
        message.metadata_props.add(key=key, value=value)
    return message


def tensors():
    """Four elements of every type, raw and typed."""
    for code, (name, bits) in enumerate(BITS.items()):
        data_type = TensorProto.DataType.Value(name)
        size = 4 * bits // 8
        raw = TensorProto(name=f"raw.{name}", data_type=data_type, dims=[2, 2])
        raw.raw_data = bytes((code + i) % 2 for i in range(size))
        typed = TensorProto(name=f"typed.{name}", data_type=data_type, dims=[4])
        field = next((f for f, names in FIELDS.items() if name in names), "int32_data")
        count = 4 * (2 if name.startswith("COMPLEX") else 1) if bits >= 8 else size
        signed = name in ("INT8", "INT16", "INT32", "INT64", "FLOAT", "DOUBLE")
        getattr(typed, field).extend((-i if signed else i % 2) for i in range(count))
        yield from (raw, note(typed, name))
    yield TensorProto(name="strings", data_type=TensorProto.STRING, dims=[2], string_data=[b"", b"\xff\xfe"])
    yield TensorProto(name="empty.raw", data_type=TensorProto.FLOAT, dims=[0, 3], raw_data=b"")
    yield TensorProto(name="empty.typed", data_type=TensorProto.FLOAT, dims=[3, 0])
    yield TensorProto(name="nan", data_type=TensorProto.FLOAT, dims=[], raw_data=b"\x01\x00\xa0\x7f")
    explicit = TensorProto(name="explicit", data_type=TensorProto.FLOAT, float_data=[-0.0])
    explicit.data_location = TensorProto.DEFAULT
    yield explicit
    data = bytes(range(64))
    (HERE / "lossless.bin").write_bytes(data)
    external = TensorProto(name="external", data_type=TensorProto.FLOAT, dims=[2])
    external.data_location = TensorProto.EXTERNAL
    entries = {"location": "lossless.bin", "offset": "16", "length": "8",
               "checksum": hashlib.sha1(data).hexdigest()}  # fmt: skip
    for key, value in entries.items():
        external.external_data.add(key=key, value=value)
    yield external


def sparse(name):
    values = TensorProto(name=name, data_type=TensorProto.FLOAT, dims=[2], float_data=[1, 2])
    indices = TensorProto(name=f"{name}.indices", data_type=TensorProto.INT64, dims=[2], int64_data=[0, 3])
    return helper.make_sparse_tensor(values, indices, [2, 2])


def floats(name, *dims):
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, dims or None)


def types():
    """Inputs of every kind of type, with denotations."""
    tensor = helper.make_tensor_type_proto(TensorProto.FLOAT, [2, "n", None])
    tensor.denotation = "IMAGE"
    tensor.tensor_type.shape.dim[0].denotation = "DATA_BATCH"
    tensor.tensor_type.shape.dim[2].denotation = "DATA_CHANNEL"
    sequence = helper.make_sequence_type_proto(tensor)
    yield "dense", tensor
    yield "sequence", sequence
    yield "optional", helper.make_optional_type_proto(sequence)
    yield "map", helper.make_map_type_proto(TensorProto.STRING, tensor)
    yield "sparse", helper.make_sparse_tensor_type_proto(TensorProto.FLOAT, [2, 2])
    yield "scalar", helper.make_tensor_type_proto(TensorProto.FLOAT, [])


def attributes():
    """Every type of attribute, in no order, with values that are zero, empty or NaN."""
    tensor = TensorProto(name="named", data_type=TensorProto.FLOAT16, dims=[2], int32_data=[15360, 0])
    values = [
        ("zulu", AttributeProto.INT, "i", 0), ("float", AttributeProto.FLOAT, "f", NAN),
        ("bytes", AttributeProto.STRING, "s", b"\xff\x00"), ("none", AttributeProto.STRING, "s", b""),
        ("no_ints", AttributeProto.INTS, "ints", []), ("ints", AttributeProto.INTS, "ints", [-1, 0]),
        ("no_floats", AttributeProto.FLOATS, "floats", []), ("floats", AttributeProto.FLOATS, "floats", [NAN, -0.0]),
        ("no_strings", AttributeProto.STRINGS, "strings", []), ("strings", AttributeProto.STRINGS, "strings", [b"\xfe", b""]),
        ("tensor", AttributeProto.TENSOR, "t", note(tensor, "tensor")),
        ("tensors", AttributeProto.TENSORS, "tensors", [tensor, tensor]),
        ("sparse", AttributeProto.SPARSE_TENSOR, "sparse_tensor", sparse("s")),
        ("sparses", AttributeProto.SPARSE_TENSORS, "sparse_tensors", [sparse("t")]),
        ("type", AttributeProto.TYPE_PROTO, "tp", dict(types())["map"]),
        ("types", AttributeProto.TYPE_PROTOS, "type_protos", [kind for _, kind in types()]),
        ("graphs", AttributeProto.GRAPHS, "graphs", [body("one"), body("two")]),
        ("alpha", AttributeProto.INT, "i", -(2**63)),
    ]  # fmt: skip
    for name, kind, field, value in values:
        attribute = AttributeProto(name=name, type=kind, doc_string=f"doc of {name}")
        if isinstance(value, list):
            getattr(attribute, field).extend(value)
        elif hasattr(value, "CopyFrom"):
            getattr(attribute, field).CopyFrom(value)
        else:
            setattr(attribute, field, value)
        yield attribute


def body(name):
    """A body that reads a value of the graph around it and one of its own."""
    own = TensorProto(name=f"{name}.w", data_type=TensorProto.FLOAT, dims=[2], float_data=[1, 2])
    nodes = [
        note(helper.make_node("Mul", ["later", f"{name}.w"], [f"{name}.h"], name=f"{name}.mul"), name),
        helper.make_node("LeakyRelu", [f"{name}.h"], [f"{name}.y"], alpha=0.5, domain=""),
    ]
    nodes[1].domain = ""
    infos = [floats(f"{name}.h", 2)]
    outputs = [helper.make_empty_tensor_value_info(f"{name}.y")]
    return note(helper.make_graph(nodes, "", [], outputs, [own], value_info=infos), name)


def nodes():
    devices = helper.make_node("Relu", ["dense"], ["zebra"], name="relu")
    device = devices.device_configurations.add(configuration_id="two", pipeline_stage=0)
    spec = device.sharding_spec.add(tensor_name="dense", device=[0, 1])
    spec.index_to_device_group_map.add(key=0, value=[0, 1])
    spec.sharded_dim.add(axis=0).simple_sharding.add(dim_value=2, num_shards=2)
    everything = helper.make_node("Everything", ["dense"], ["every"], domain="custom", overload="v2")
    everything.attribute.extend(attributes())
    clip = note(helper.make_node("Clip", ["zebra", "", "scalar", ""], ["apple"], name=""), "clip")
    clip.name, clip.domain, clip.overload = "", "", ""
    dropout = helper.make_node("Dropout", ["apple", "", ""], ["later", ""], name="twice", seed=0)
    branch = helper.make_node("If", ["condition"], ["either"], name="twice")
    for name in ("then_branch", "else_branch"):
        branch.attribute.add(name=name, type=AttributeProto.GRAPH, doc_string=name).g.CopyFrom(body(name))
    call = helper.make_node("Scale", ["either"], ["scaled"], domain="local", overload="half", slope=0.5)
    add = helper.make_node("Add", ["scaled", "sparse.w"], ["y"], name="last")
    return [devices, everything, clip, dropout, branch, call, add]


def function():
    inner = helper.make_node("LeakyRelu", ["x"], ["h"], name="inner")
    inner.attribute.add(name="alpha", type=AttributeProto.FLOAT, ref_attr_name="slope", doc_string="ref")
    default = helper.make_attribute("gain", 2.0)
    function = helper.make_function(
        "local", "Scale", ["x"], ["y"], [inner, helper.make_node("Neg", ["h"], ["y"])],
        [helper.make_opsetid("later", 3), helper.make_opsetid("", 24)], ["slope"], [default],
        overload="half", value_info=[floats("h", 2)],
    )  # fmt: skip
    return note(function, "function")


def model():
    inputs = [note(helper.make_value_info(name, kind), name) for name, kind in types()]
    inputs += [helper.make_tensor_value_info("condition", TensorProto.BOOL, []), floats("nan")]
    outputs = [note(floats("y", 2, None), "y"), floats("dense", 2, "n", None), floats("later")]
    infos = [floats("scaled"), note(floats("apple", "n"), "apple"), floats("nobody", 3), floats("every"), floats("y", 2, None)]
    graph = helper.make_graph(nodes(), "graph", inputs, outputs, list(tensors()),
                              value_info=infos, sparse_initializer=[sparse("sparse.w")])  # fmt: skip
    for name in ("zebra", "nobody"):
        graph.quantization_annotation.add(tensor_name=name).quant_parameter_tensor_names.add(key="SCALE_TENSOR", value="scalar")
    opsets = [helper.make_opsetid(*o) for o in [("unused", 7), ("local", 1), ("", 24), ("custom", 2)]]
    model = helper.make_model(note(graph, "graph"), opset_imports=opsets, functions=[function()],
                              producer_name="producer ñ", producer_version="")  # fmt: skip
    model.ir_version, model.domain, model.model_version = 14, "org.example", 0
    training = model.training_info.add(initialization=body("start"), algorithm=body("step"))
    training.initialization_binding.add(key="explicit", value="start.y")
    training.update_binding.add(key="nan", value="step.y")
    model.configuration.add(name="two", num_devices=2, device=["a", "b"])
    return note(model, "model")


if __name__ == "__main__":
    (HERE / "lossless.onnx").write_bytes(model().SerializeToString())
