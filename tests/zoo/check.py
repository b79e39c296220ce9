"""Takes one exported model through `advbnn`, and compares with PyTorch's truth."""
import json
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from architectures import CLASSES, FAMILIES, SHAPES_ALONE, another_truth, build, ends

# What float32 alone costs a gradient, with no unit near a kink.
ROUNDING = 1e-4
# The number of the last image that is tried where the first lies beside a kink.
LAST_IMAGE = 5


class Failed(Exception):
    """Why a model does not pass, in one line."""


@dataclass
class Tools:
    """The programs to run, and a folder for their files."""
    advbnn: Path
    runner: Path
    folder: Path

    def run(self, *arguments):
        """Standard output and seconds of one command."""
        start = time.monotonic()
        done = subprocess.run([str(a) for a in arguments], capture_output=True, text=True)
        if done.returncode:
            lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
            raise Failed(f"{arguments[1] if arguments[0] == self.advbnn else 'tract'}: {lines[0 if 'error' in lines[0].lower() else -1][:300]}")
        return done.stdout, time.monotonic() - start


def error(found, truth):
    """Relative error in the Euclidean norm."""
    truth = truth.astype(np.float64)
    return float(np.linalg.norm(found.astype(np.float64) - truth) / np.linalg.norm(truth))


def session(path):
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return lambda **feeds: dict(zip(names, session.run(None, feeds)))


def constants(path):
    """Every float constant of an ONNX file by name."""
    import onnx

    graph = onnx.load(str(path)).graph
    found = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant":
            found.update({node.output[0]: a.t for a in node.attribute if a.name == "value"})
    floats = {name: tensor for name, tensor in found.items() if tensor.data_type == onnx.TensorProto.FLOAT}
    return {name: onnx.numpy_helper.to_array(tensor) for name, tensor in floats.items()}


def find_weights(name, path):
    """Where the file keeps PyTorch's weights: {name: (constant, from its gradient to the weight's)}.

    By value, since exporters rename: the same, transposed, or scaled per output channel by a
    BatchNormalization that the exporter folded into it.
    """
    held, found = constants(path), {}
    for key, value in ends(build(name)).items():
        weight = value.detach().numpy()
        likely = sorted(held, key=lambda constant: constant != key)
        for constant in (constant for constant in likely if held[constant].size == weight.size):
            if back := _back(held[constant], weight):
                found[key] = (constant, back)
                break
    return found


def _back(constant, weight):
    """What turns the gradient of a constant into that of the weight it was made of."""
    if constant.shape == weight.shape and np.array_equal(constant, weight):
        return lambda gradient: gradient
    if constant.ndim == 2 and constant.T.shape == weight.shape and np.array_equal(constant.T, weight):
        return lambda gradient: gradient.T
    if constant.shape == weight.shape and weight.ndim > 2:
        axes = tuple(range(1, weight.ndim))
        exact = weight.astype(np.float64)
        scale = (constant * exact).sum(axes, keepdims=True) / (exact**2).sum(axes, keepdims=True)
        if np.allclose(constant, exact * scale, rtol=1e-5, atol=1e-8):
            return lambda gradient: gradient * scale
    return None


def check(name, exporter, model, truth, tools):
    """The record of one model; raises Failed with the record so far as its second argument."""
    record = {"name": name, "exporter": exporter}
    try:
        _check(record, name, model, truth, tools)
    except Failed as reason:
        record["reason"] = str(reason)
    return record


def _check(record, name, model, truth, tools):
    truth = dict(np.load(truth))
    small = name not in SHAPES_ALONE
    summary = json.loads(tools.run(tools.advbnn, "inspect", model, "--json")[0])
    record |= {key: summary[key] for key in ("nodes", "parameters", "variational")}
    converted, gradient = tools.folder / "converted.onnx", tools.folder / "gradient.onnx"
    record["convert_s"] = tools.run(tools.advbnn, "convert", model, "-o", converted, "--init-s", 1e-4)[1]
    weights = find_weights(name, model) if small else {}
    targets = ",".join(["input", *(constant for constant, _ in weights.values())])
    command = [tools.advbnn, "gradient", model, "-o", gradient, "--wrt", targets]
    record["gradient_s"] = tools.run(*command)[1]
    if not summary["differentiable"]:
        raise Failed(f"inspect: {summary['obstacles'][0]}")
    if small:
        _compare(record, name, gradient, truth, weights, tools)
    gradient.unlink()
    _batch(record, converted, truth, small, tools)


def _compare(record, name, gradient, truth, weights, tools):
    """Gradients on ONNX Runtime, and on tract for the families, against PyTorch's."""
    engines = {"dx": session(gradient)} | ({"tract_dx": on_tract(gradient, tools)} if name in FAMILIES else {})
    tolerance = record["tolerance"] = max(ROUNDING, 20 * float(truth["noise"]))
    record |= {"weights": len(weights), **_errors(engines, truth, weights)}
    for what, run in engines.items():
        _judge(record, what, run, truth)
    if not (record["dw"] or 0) <= tolerance and "dx" not in record["kinks"]:
        raise Failed(f"dw is off by {record['dw']:.1e}, more than {tolerance:.1e}")
    if record["kinks"]:
        _elsewhere(record, name, engines, weights)


def _errors(engines, truth, weights):
    """The errors at one batch of images."""
    errors = {}
    for what, run in engines.items():
        found = run(input=truth["x"], labels=truth["y"])
        errors[what] = error(found["input.grad"], truth["dx"])
        if what == "dx":
            each = [error(back(found[f"{c}.grad"]), truth["d:" + key]) for key, (c, back) in weights.items()]
            errors["dw"] = max(each, default=None)
    return errors


def _elsewhere(record, name, engines, weights):
    """Where the first image lies beside a kink, another has to pass with nothing allowed for kinks.

    So PyTorch's own error counts for nothing here: it is large where PyTorch meets a kink.
    Deep networks have so many units that some other image may lie beside one as well; a
    wrong gradient is wrong at every image. All that were tried are recorded.
    """
    tried = record["elsewhere"] = []
    for number in range(2, LAST_IMAGE + 1):
        truth = another_truth(name, number)
        errors = _errors(engines, truth, weights)
        tried.append({"image": number, "noise": float(truth["noise"]), **errors})
        if all(value is None or value <= ROUNDING for value in errors.values()):
            return
    raise Failed(f"the first image lies beside a kink, and images 2 to {LAST_IMAGE} are off by more than {ROUNDING}")


def on_tract(model, tools):
    """A model on tract, as `session`."""
    from safetensors.numpy import load_file, save_file

    inputs, outputs = tools.folder / "inputs.safetensors", tools.folder / "outputs.safetensors"

    def run(**feeds):
        save_file(feeds, inputs)
        tools.run(tools.runner, model, inputs, outputs, "--engine", "tract")
        return load_file(outputs)

    return run


def _judge(record, what, run, truth):
    """Refuses an error above the tolerance, unless it comes from a kink beside the image.

    An activation within a rounding error of zero has one derivative in one order of
    summation and the other in another. Then an image a rounding error away has the true
    gradient; a wrong gradient stays wrong there. Each image of the batch is judged alone.
    """
    kinks = record.setdefault("kinks", [])
    if record[what] <= record["tolerance"]:
        return
    moves = np.random.default_rng(0)
    wrong = set(range(len(truth["x"])))
    for size in (0, 1e-7, 1e-7, 1e-7, 2e-7, 2e-7, 3e-7, 1e-6):
        image = truth["x"] + size * moves.standard_normal(truth["x"].shape).astype(np.float32)
        found = run(input=image.astype(np.float32), labels=truth["y"])["input.grad"]
        wrong = {i for i in wrong if not error(found[i], truth["dx"][i]) <= record["tolerance"]}
        if not wrong:
            kinks.append(what)
            return
    raise Failed(f"{what} is off by {record[what]:.1e}, more than {record['tolerance']:.1e}")


def _batch(record, converted, truth, small, tools):
    """Exports; the mean export at batch 4 against two runs at 2, and against PyTorch."""
    stochastic, mean = tools.folder / "stochastic.onnx", tools.folder / "mean.onnx"
    tools.run(tools.advbnn, "export", converted, "-o", stochastic)
    tools.run(tools.advbnn, "export", converted, "-o", mean, "--mode", "mean")
    if not small:
        return _shapes(mean)
    draw = session(stochastic)(input=truth["x"])["probabilities"]
    stochastic.unlink()
    if draw.shape != (2, CLASSES) or not np.allclose(draw.sum(1), 1, atol=1e-4):
        raise Failed("export: no probabilities")
    run = lambda images: session_of_mean(input=images)["probabilities"]
    session_of_mean = session(mean)
    pair = truth["x"]
    other = np.ascontiguousarray(1 - pair[::-1])
    halves = np.concatenate([run(pair), run(other)])
    record["batch"] = error(run(np.concatenate([pair, other])), halves)
    logits = truth["logits"].astype(np.float64)
    softmax = np.exp(logits - logits.max(1, keepdims=True))
    softmax /= softmax.sum(1, keepdims=True)
    record["probabilities"] = error(halves[:2], softmax)
    for what in ("batch", "probabilities"):
        if not record[what] <= 1e-3:
            raise Failed(f"{what} is off by {record[what]:.1e}")


def _shapes(mean):
    """The exported graph takes any batch size, as its file says."""
    import onnx

    graph = onnx.load(str(mean), load_external_data=False).graph
    dims = graph.output[0].type.tensor_type.shape.dim
    if not dims[0].dim_param or dims[1].dim_value != CLASSES:
        raise Failed(f"export: output {[d.dim_param or d.dim_value for d in dims]}")
