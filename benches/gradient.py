#!/usr/bin/env python3
"""Gradient programs side by side: `advbnn gradient`, onnx-ad's reverse graph, PyTorch.

For each torchvision architecture (seeded random weights, eval mode, batch 2) the gradient
of the mean softmax cross-entropy to the image is computed three ways on the CPU:

    advbnn    the graph that `advbnn gradient` writes, on ONNX Runtime
    onnx-ad   onnx_ad.reverse of the same export, on ONNX Runtime (its seed is computed
              beforehand: softmax and loss cost it nothing)
    PyTorch   torch.autograd.grad to the image alone, the parameters frozen

The three take turns, round after round, in one process a model; medians are compared.
The gradients must agree, or the line says so and the script fails.

    pip install torch torchvision onnx onnxscript onnxruntime onnx-ad
    cargo build --release
    python3 benches/gradient.py                       # the 20 families
    python3 benches/gradient.py resnet50 --rounds 30 --json out.json
"""
import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
import warnings

FAMILIES = """alexnet convnext_tiny densenet121 efficientnet_b0 googlenet inception_v3 maxvit_t mnasnet0_5
mobilenet_v2 mobilenet_v3_small regnet_y_400mf resnet18 resnet50 resnext50_32x4d shufflenet_v2_x1_0
squeezenet1_0 swin_t swin_v2_t vgg11_bn vit_b_16""".split()
LARGE = ("alexnet", "vgg", "vit", "swin", "maxvit")


def network(name, batch, classes):
    """The network, an image batch [N, 3, H, W] and labels [N]."""
    import torch
    import torchvision
    torch.manual_seed(0)
    auxiliary = {"aux_logits": False, "init_weights": True} if name in ("inception_v3", "googlenet") else {}
    net = torchvision.models.get_model(name, weights=None, num_classes=classes, **auxiliary).eval()
    for parameter in net.parameters():
        if not parameter.any():  # a branch that starts at zero would carry no gradient
            torch.nn.init.normal_(parameter, std=0.02)
    size = 299 if "inception" in name else 224 if any(word in name for word in LARGE) else 96
    return net.requires_grad_(False), torch.rand(batch, 3, size, size), torch.arange(batch) % classes


def exact_gradient(net, x, y):
    """The gradient in float64: what the others are judged by."""
    import copy
    import torch
    images = x.double().requires_grad_()
    loss = torch.nn.functional.cross_entropy(copy.deepcopy(net).double()(images), y)
    return torch.autograd.grad(loss, images)[0].numpy()


def session(model, threads):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def contestants(name, options, folder):
    """Name -> a function that computes the image's gradient as an array."""
    import numpy as np
    import onnx
    import torch
    net, x, y = network(name, options.batch, options.classes)
    original = os.path.join(options.models or folder, f"{name}.onnx")
    ours = os.path.join(folder, "gradient.onnx")
    if not options.models:
        torch.onnx.export(net, (x,), original, input_names=["input"], output_names=["logits"], opset_version=18,
                          dynamo=options.exporter == "dynamo", verbose=False,
                          **({"external_data": False} if options.exporter == "dynamo" else {}))
    subprocess.run([options.advbnn, "gradient", original, "-o", ours, "--wrt", "input", "--quiet",
                    "--batch", str(options.batch)], check=True, stdout=subprocess.DEVNULL)
    mine = session(ours, options.threads)
    feeds = {"input": x.numpy(), "labels": y.numpy()}
    found = {"advbnn": lambda: mine.run(["input.grad"], feeds)[0]}

    def autograd():
        images = x.clone().requires_grad_()
        return torch.autograd.grad(torch.nn.functional.cross_entropy(net(images), y), images)[0].numpy()
    found["PyTorch"] = autograd
    found["truth"] = lambda: exact_gradient(net, x, y)

    try:
        import onnx_ad
        reverse = onnx_ad.reverse(onnx.load(original), layout="onnx")
        theirs = session(reverse.SerializeToString(), options.threads)
        with torch.no_grad():
            seed = (torch.softmax(net(x), 1) - torch.nn.functional.one_hot(y, options.classes)) / options.batch
        adjoint = {"input": x.numpy(), theirs.get_inputs()[1].name: seed.numpy()[..., np.newaxis]}
        output = theirs.get_outputs()[-1].name
        found["onnx-ad"] = lambda: theirs.run([output], adjoint)[0][..., 0]
    except Exception as error:  # it refuses some families: the table says so
        found["onnx-ad"] = str(error).splitlines()[0]
    return found


def measure(name, options):
    """One architecture: median seconds of each, and how far each gradient is from the truth."""
    import numpy as np
    import torch
    warnings.filterwarnings("ignore")
    torch.set_num_threads(options.threads)
    with tempfile.TemporaryDirectory() as folder:
        found = contestants(name, options, folder)
        truth = found.pop("truth")()
        runnable = {key: run for key, run in found.items() if callable(run)}
        seconds = {key: [] for key in runnable}
        gradient = {key: run() for key, run in runnable.items()}  # also the warm-up
        for _ in range(options.rounds):
            for key, run in runnable.items():
                run()  # untimed: the threads of the one before may still be spinning
                begin = time.perf_counter()
                run()
                seconds[key].append(time.perf_counter() - begin)
    error = {key: float(np.linalg.norm(g - truth) / np.linalg.norm(truth)) for key, g in gradient.items()}
    return {"name": name, "error": error, "median_s": {key: float(np.median(s)) for key, s in seconds.items()},
            "refused": {key: run for key, run in found.items() if not callable(run)}}


def geometric_mean(ratios):
    return math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else float("nan")


def line(row):
    ours = row["median_s"]["advbnn"]
    cells = [f"{row['name']:20}"]
    for key in ("advbnn", "onnx-ad", "PyTorch"):
        cells.append(f"{row['median_s'][key] * 1e3:9.1f}" if key in row["median_s"] else f"{'refused':>9}")
    for key in ("onnx-ad", "PyTorch"):
        cells.append(f"{row['median_s'][key] / ours:9.2f}" if key in row["median_s"] else f"{'':9}")
    return "  ".join(cells) + f"  {row['error']['advbnn']:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=FAMILIES)
    parser.add_argument("--advbnn", default="target/release/advbnn", help="the binary to measure")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--exporter", choices=["dynamo", "script"], default="dynamo")
    parser.add_argument("--models", help="a folder with NAME.onnx, exported before with the same seed and batch")
    parser.add_argument("--json", help="write every figure to this file")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.names[0], options)))
        return
    print(f"{'milliseconds (median)':20}  {'advbnn':>8}  {'onnx-ad':>9}  {'PyTorch':>9}  {'onnx-ad/':>9}  {'PyTorch/':>9}  error")
    rows, failed = [], []
    passed_on = [word for key in ("advbnn", "batch", "classes", "threads", "rounds", "exporter", "models")
                 if getattr(options, key) is not None for word in (f"--{key}", str(getattr(options, key)))]
    for name in options.names:  # a process each: memory goes back, and one failure stops nothing
        run = subprocess.run([sys.executable, __file__, "--one", name, *passed_on], capture_output=True, text=True)
        if run.returncode:
            failed.append(name)
            print(f"{name:20}  failed: {(run.stderr.strip().splitlines() or ['no message'])[-1]}", flush=True)
            continue
        rows.append(json.loads(run.stdout.strip().splitlines()[-1]))
        print(line(rows[-1]), flush=True)
    ratios = {key: [row["median_s"][key] / row["median_s"]["advbnn"] for row in rows if key in row["median_s"]]
              for key in ("onnx-ad", "PyTorch")}
    for key, values in ratios.items():
        print(f"geometric mean of {key} / advbnn over {len(values)}: {geometric_mean(values):.2f}")
    # 20 times what float32 costs PyTorch: kinks (ReLU, max) make that large in some networks
    wrong = [row["name"] for row in rows if row["error"]["advbnn"] > max(1e-4, 20 * row["error"]["PyTorch"])]
    if wrong:
        print("gradients disagree: " + ", ".join(wrong))
    if options.json:
        with open(options.json, "w") as file:
            json.dump({"rows": rows, "failed": failed,
                       "geometric_mean": {key: geometric_mean(values) for key, values in ratios.items()}}, file, indent=1)
    sys.exit(bool(failed or wrong))


if __name__ == "__main__":
    main()
