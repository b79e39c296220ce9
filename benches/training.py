#!/usr/bin/env python3
"""Training steps side by side: `advbnn bench` and PyTorch (`benches/peer.py`), in one run.

For each network one training step of Adv-BNN is timed: PGD on a batch of 32x32 images, each step
with a fresh draw of all weights, then the update. PyTorch runs in both forms: `input` takes the
gradient of the image alone (its best), `full` is the published code's way. The contestants take
turns, round after round; medians are compared. First the losses are compared: the same network,
images and attack must give the same cross-entropy within the noise of the draws, and the same KL.

    pip install torch torchvision onnx
    cargo build --release
    target/release/advbnn runtime install cpu && target/release/advbnn runtime install openvino
    python3 benches/training.py                               # VGG-16, batch 64, PGD-10
    python3 benches/training.py vgg16 small resnet18 --json out.json
    python3 benches/training.py --scaling                     # by threads, batch and steps
    python3 benches/training.py --memory --batch 128
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

import numpy as np
import torch

from peer import Peer, network

INIT_STD, RADIUS, STEP_SIZE = 0.05, 8 / 256, 0.007


def export(net, path):
    """The network as ONNX, BatchNorm layers and all."""
    warnings.filterwarnings("ignore")
    torch.onnx.export(net.eval(), (torch.rand(2, 3, 32, 32),), path, input_names=["input"], output_names=["logits"],
                      opset_version=17, dynamo=False, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE)


class Ours:
    """`advbnn` on a converted network."""

    def __init__(self, advbnn, net, folder):
        self.advbnn, self.folder = advbnn, folder
        plain = os.path.join(folder, "plain.onnx")
        self.model = os.path.join(folder, "bayes.onnx")
        export(net, plain)
        self.run("convert", plain, "-o", self.model, "--init-s", INIT_STD, "--prior", INIT_STD)

    def run(self, *arguments):
        command = [self.advbnn, *map(str, arguments), "--quiet"]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout

    def bench(self, provider, o, iters=1, **flags):
        flags = {"batch": o.batch, "steps": o.steps, "threads": o.threads, "samples": 1, "iters": iters} | flags
        words = [word for name, value in flags.items() for word in (f"--{name}", value)]
        return json.loads(self.run("bench", self.model, "--json", "--engine", "ort", "--provider", provider, *words))

    def losses(self, images, labels, o, provider):
        """Mean cross-entropy and KL over the batches of one epoch that hardly learns."""
        data, run = os.path.join(self.folder, "data"), os.path.join(self.folder, f"run-{provider}")
        os.makedirs(data, exist_ok=True)
        rows = np.concatenate([labels[:, None].astype(np.uint8), images.reshape(len(images), -1)], axis=1)
        rows.tofile(os.path.join(data, "data_batch_1.bin"))  # CIFAR-10's binary format
        self.run("train", self.model, "--data", data, "-o", run, "--epochs", 1, "--batch", o.batch, "--lr", 1e-9,
                 "--eps", RADIUS, "--step-size", STEP_SIZE, "--steps", o.steps, "--engine", "ort", "--provider", provider,
                 "--threads", o.threads)
        with open(os.path.join(run, "metrics.jsonl")) as file:
            last = json.loads(file.read().strip().splitlines()[-1])
        return last["cross_entropy"], last["kl"]


def agreement(name, net, ours, o):
    """Losses of both sides on the same images: the row that the table shows."""
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (4 * o.batch, 3, 32, 32), dtype=np.uint8)
    labels = random.integers(0, 10, len(images))
    peer = Peer(net, INIT_STD, INIT_STD, lr=1e-9)
    found = []
    for start in range(0, len(images), o.batch):
        x = torch.tensor(images[start : start + o.batch]).float() / 255
        y = torch.tensor(labels[start : start + o.batch])
        found.append(peer.update(peer.attack(x, y, o.steps, RADIUS, STEP_SIZE), y))
    cross_entropy = [loss for loss, _ in found]
    row = {"peer": statistics.mean(cross_entropy), "peer_kl": found[0][1],
           "spread": statistics.stdev(cross_entropy) / len(found) ** 0.5}
    row |= {provider: ours.losses(images, labels, o, provider) for provider in o.providers}
    for provider in o.providers:
        loss, kl = row[provider]
        if abs(loss - row["peer"]) > 4 * 2**0.5 * row["spread"] or abs(kl / row["peer_kl"] - 1) > 1e-4:
            sys.exit(f"{name}: the losses disagree: {row}")
    return row


def torch_step(peer, x, y, o):
    """Seconds of attack and update."""
    start = time.perf_counter()
    moved = peer.attack(x, y, o.steps, RADIUS, STEP_SIZE)
    middle = time.perf_counter()
    peer.update(moved, y)
    return middle - start, time.perf_counter() - middle


def compare(name, o):
    """One network: median seconds of every contestant, and ratios."""
    torch.manual_seed(0)
    net = network(name)
    peers = {f"PyTorch, {inner}": Peer(net, INIT_STD, INIT_STD, inner=inner) for inner in ("input", "full")}
    x, y = torch.rand(o.batch, 3, 32, 32), torch.arange(o.batch) % 10
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(o.advbnn, net, folder)
        losses = agreement(name, net, ours, o)
        times = {key: [] for key in [*(f"advbnn, {p}" for p in o.providers), *peers]}
        for peer in peers.values():  # the first step allocates
            torch_step(peer, x, y, o)
        for _ in range(o.rounds):
            for provider in o.providers:
                line = ours.bench(provider, o, iters=3)
                times[f"advbnn, {provider}"].append((line["attack_s"], line["update_s"]))
            for key, peer in peers.items():
                times[key].append(torch_step(peer, x, y, o))
    medians = {key: {"attack_s": statistics.median(a for a, _ in t), "update_s": statistics.median(u for _, u in t),
                     "step_s": statistics.median(a + u for a, u in t)} for key, t in times.items()}
    ratios = {provider: {key: statistics.median((pa + pu) / (a + u) for (pa, pu), (a, u)
                                                in zip(times[key], times[f"advbnn, {provider}"])) for key in peers}
              for provider in o.providers}
    return {"network": name, "batch": o.batch, "steps": o.steps, "threads": o.threads, "losses": losses,
            "median_s": medians, "ratios": ratios}


def show(row):
    print(f"\n{row['network']}, batch {row['batch']}, PGD-{row['steps']}, {row['threads']} threads")
    losses = row["losses"]
    print(f"  cross-entropy: PyTorch {losses['peer']:.4f} +- {losses['spread']:.4f}, "
          + ", ".join(f"{p} {losses[p][0]:.4f}" for p in row["ratios"]))
    print(f"  {'seconds (median)':22} {'attack':>8} {'update':>8} {'step':>8}")
    for key, m in row["median_s"].items():
        print(f"  {key:22} {m['attack_s']:8.3f} {m['update_s']:8.3f} {m['step_s']:8.3f}")
    for provider, ratios in row["ratios"].items():
        print(f"  PyTorch / advbnn on {provider}: " + ", ".join(f"{key[9:]} {r:.2f}" for key, r in ratios.items()))


def scaling(o):
    """Seconds of a step by threads, batch and PGD steps, and the peak memory; first what a step takes
    that computes next to nothing, which is what every step takes besides."""
    idle = torch.nn.Sequential(torch.nn.Conv2d(3, 1, 1), torch.nn.AvgPool2d(32), torch.nn.Flatten(), torch.nn.Linear(1, 10))
    with tempfile.TemporaryDirectory() as folder:
        ours = Ours(o.advbnn, idle, folder)
        for provider in o.providers:
            line = ours.bench(provider, o, iters=50, batch=1)
            print(f"{provider}: a step on one image with a network of one channel {1e3 * line['step_s']:.2f} ms", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        ours = Ours(o.advbnn, network("vgg16"), folder)
        rows = []
        for provider in o.providers:
            for flags in [{}, {"threads": 1}, {"batch": 16}, {"batch": 32}, {"batch": 128}, {"steps": 1}, {"steps": 20}]:
                line = ours.bench(provider, o, iters=3, **flags)
                rows.append({key: line[key] for key in ("provider", "threads", "batch", "steps", "step_s", "peak_mb")})
                print("  ".join(f"{key} {value:.3f}" if isinstance(value, float) else f"{key} {value}"
                                for key, value in rows[-1].items()), flush=True)
    return rows


def peak(name, o):
    """Peak memory of one training step, MiB: each contestant in a process of its own."""
    script = ("import resource, torch; from peer import Peer, network; from training import *; torch.manual_seed(0); "
              f"torch.set_num_threads({o.threads}); peer = Peer(network({name!r}), INIT_STD, INIT_STD, inner='input'); "
              f"x, y = torch.rand({o.batch}, 3, 32, 32), torch.arange({o.batch}) % 10; "
              "o = argparse.Namespace(steps=1); [torch_step(peer, x, y, o) for _ in range(2)]; "
              "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)")
    command = [sys.executable, "-c", script]
    here = os.path.dirname(os.path.abspath(__file__))
    peer = float(subprocess.run(command, check=True, capture_output=True, text=True, cwd=here).stdout)
    row = {"network": name, "batch": o.batch, "PyTorch": peer}
    with tempfile.TemporaryDirectory() as folder:
        torch.manual_seed(0)
        ours = Ours(o.advbnn, network(name), folder)
        row |= {provider: ours.bench(provider, o, steps=1)["peak_mb"] for provider in o.providers}
    print(f"{name}, batch {o.batch}, peak memory, MiB: "
          + ", ".join(f"{key} {row[key]:.0f}" for key in ["PyTorch", *o.providers]), flush=True)
    return row


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=["vgg16"], help="vgg16, small, resnet18")
    parser.add_argument("--advbnn", default="target/release/advbnn", help="the binary to measure")
    parser.add_argument("--providers", nargs="+", default=["openvino", "cpu"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--scaling", action="store_true", help="time advbnn alone, by threads, batch and steps")
    parser.add_argument("--memory", action="store_true", help="peak memory of one step, of both sides")
    parser.add_argument("--json", help="write every figure to this file")
    o = parser.parse_args()
    torch.set_num_threads(o.threads)
    rows = scaling(o) if o.scaling else []
    for name in [] if o.scaling else o.names:
        if o.memory:
            rows.append(peak(name, o))
            continue
        rows.append(compare(name, o))
        show(rows[-1])
    if o.json:
        with open(o.json, "w") as file:
            json.dump(rows, file, indent=1)


if __name__ == "__main__":
    main()
