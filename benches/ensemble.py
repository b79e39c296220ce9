#!/usr/bin/env python3
"""An exported ensemble beside a PyTorch loop: VGG-16, 16 draws of all weights, 32 images.

`advbnn export --samples 16` puts the draws, the network and the means into one ONNX graph, which runs
here as a user would run it: a plain session with a provider, one call. PyTorch draws weights and runs
the network 16 times in a loop. Both take turns; medians and their ratio are printed, and the memory
of processes that run 4 and 16 draws.

    pip install torch torchvision onnx safetensors
    cargo build --release --bin advbnn --example run
    target/release/advbnn runtime install cpu && target/release/advbnn runtime install openvino
    python3 benches/ensemble.py
"""
import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time

import torch
from safetensors.torch import save_file

from peer import Peer, network
from training import INIT_STD, Ours


def loop(peer, x, samples):
    """Mean probabilities of so many draws."""
    with torch.no_grad():
        return sum(torch.softmax(peer.forward(x), 1) for _ in range(samples)) / samples


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", nargs="?", default="vgg16", help="vgg16, small or resnet18")
    parser.add_argument("--build", default="target/release", help="the folder of the binaries to measure")
    parser.add_argument("--providers", nargs="+", default=["openvino", "cpu"])
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", help="write every figure to this file")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    torch.manual_seed(0)
    net = network(o.name).eval()
    peer, x = Peer(net, INIT_STD, INIT_STD), torch.rand(o.batch, 3, 32, 32)
    times, memory = {key: [] for key in [*o.providers, "PyTorch"]}, {}
    with tempfile.TemporaryDirectory() as folder:
        inputs, outputs = os.path.join(folder, "inputs"), os.path.join(folder, "outputs")
        save_file({"input": x}, inputs)
        ours = Ours(os.path.join(o.build, "advbnn"), net, folder)

        def run(samples, provider, repeat):
            path = os.path.join(folder, f"{provider}-{samples}.onnx")
            if not os.path.exists(path):
                ours.run("export", ours.model, "-o", path, "--samples", samples, "--provider", provider)
            command = [os.path.join(o.build, "examples", "run"), path, inputs, outputs, "--repeat", str(repeat),
                       "--engine", "ort", "--provider", provider, "--threads", str(o.threads)]
            return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)

        loop(peer, x, 2)
        for _ in range(o.rounds):
            for provider in o.providers:
                times[provider].append(statistics.median(run(o.samples, provider, 3)["seconds"]))
            start = time.perf_counter()
            loop(peer, x, o.samples)
            times["PyTorch"].append(time.perf_counter() - start)
        for provider in o.providers:
            memory[provider] = {n: run(n, provider, 1)["peak_mb"] for n in (o.samples // 4, o.samples)}
    print(f"{o.name}, {o.samples} draws, {o.batch} images, {o.threads} threads: seconds (median of {o.rounds})")
    print(f"  PyTorch loop      {statistics.median(times['PyTorch']):.3f}")
    for provider in o.providers:
        ratio = statistics.median(p / t for p, t in zip(times["PyTorch"], times[provider]))
        peaks = ", ".join(f"{n} draws {mb:.0f} MB" for n, mb in memory[provider].items())
        print(f"  export, {provider:9} {statistics.median(times[provider]):.3f}   PyTorch / it {ratio:.2f}   peak: {peaks}")
    if o.json:
        with open(o.json, "w") as file:
            json.dump({"seconds": times, "peak_mb": memory}, file, indent=1)


if __name__ == "__main__":
    main()
