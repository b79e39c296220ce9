#!/usr/bin/env python3
"""Attacks side by side: `advbnn evaluate` and the published AutoAttack implementation.

A network without noise is attacked on the same images at the same radii with the same
number of steps or queries, by APGD on the cross-entropy, on the DLR loss and on the
targeted DLR loss, and by Square; L-infinity, and APGD under L2 too. Accuracies that are
further apart than `--tolerance` points make the script fail.

    pip install -r tests/attacks/requirements.txt
    cargo build --release
    python3 tests/attacks/compare.py assets/fashion-cnn.onnx --eps 0.01,0.02,0.03
    python3 tests/attacks/compare.py adv/model.onnx --eps 0.05,0.1,0.15 --seeds 3 --json out.json
"""
import argparse
import gzip
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import onnx2torch
import torch
from pyautoattack.autopgd_base import APGDAttack, APGDAttack_targeted
from pyautoattack.square import SquareAttack

ROOT = Path(__file__).resolve().parents[2]


def read_idx(folder, kind, dimensions):
    """The array of the test split in an IDX file, gzipped or not."""
    path = next(p for p in sorted(folder.iterdir()) if p.name.startswith(f"t10k-{kind}"))
    data = (gzip.open if path.suffix == ".gz" else open)(path, "rb").read()
    shape = np.frombuffer(data, ">i4", dimensions, 4)
    return np.frombuffer(data, np.uint8, offset=4 + 4 * dimensions).reshape(shape)


def published(net, images, labels, attack, eps, budget, seed):
    """The accuracy in percent that is left by one attack of the published code."""
    norm = "L2" if attack.endswith("l2") else "Linf"
    common = {"norm": norm, "eps": eps, "seed": seed, "n_restarts": 1, "device": "cpu"}
    if attack == "square":
        run = SquareAttack(net, n_queries=budget, **common)
    elif attack == "apgd-t":
        run = APGDAttack_targeted(net, n_iter=budget, n_target_classes=9, **common)
    else:
        loss = "dlr" if "dlr" in attack else "ce"
        run = APGDAttack(net, n_iter=budget, loss=loss, **common)
    right, attacked = 0, []
    for x, y in zip(images.split(250), labels.split(250)):
        attacked.append(run.perturb(x, y).detach())
        with torch.no_grad():
            right += (net(attacked[-1]).argmax(1) == y).sum().item()
    change = (torch.cat(attacked) - images).flatten(1)
    size = change.abs().max() if norm == "Linf" else change.norm(dim=1).max()
    assert size <= eps * (1 + 1e-4) + 1e-6, f"{attack} moved an image by {size}"
    return 100 * right / len(images)


def ours(arguments, radii, budgets, seed):
    """Accuracies by (attack, radius) from one run of `advbnn evaluate`."""
    command = [arguments.advbnn, "evaluate", arguments.model, "--data", arguments.data, "--json",
               "--quiet", "--limit", str(arguments.limit), "--seed", str(seed),
               "--eps", ",".join(map(str, radii))]
    for attack, budget in budgets.items():
        option = "queries" if attack == "square" else "steps"
        command += ["--attack", f"{attack}{',' if ':' in attack else ':'}{option}={budget}"]
    report = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    rows = zip(report["attacks"], [a for a in budgets for _ in radii])
    found = {(attack, row["eps"]): row["accuracy"] for row, attack in rows}
    return report["clean"]["accuracy"], found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("model", help="an ONNX classifier without noise, channels first")
    parser.add_argument("--data", default=str(ROOT / "assets/fashion-mnist"), help="IDX files")
    parser.add_argument("--eps", default="0.01,0.02,0.03", help="L-infinity radii")
    parser.add_argument("--eps-l2", default="0.25,0.5", help="L2 radii")
    parser.add_argument("--limit", type=int, default=1000)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--target-steps", type=int, default=20, help="for each of 9 targets")
    parser.add_argument("--queries", type=int, default=1000)
    parser.add_argument("--seeds", type=int, default=1, help="means of so many runs")
    parser.add_argument("--tolerance", type=float, default=1.0)
    parser.add_argument("--advbnn", default=str(ROOT / "target/release/advbnn"))
    parser.add_argument("--json")
    arguments = parser.parse_args()

    net = onnx2torch.convert(onnx.load(arguments.model)).eval()
    data = Path(arguments.data)
    images = read_idx(data, "images", 3)[: arguments.limit].astype(np.float32) / 255
    images = torch.from_numpy(images)[:, None]
    labels = torch.from_numpy(read_idx(data, "labels", 1)[: arguments.limit].astype(np.int64))
    with torch.no_grad():
        clean = 100 * (net(images).argmax(1) == labels).float().mean().item()

    steps = {"apgd-ce": arguments.steps, "apgd-dlr": arguments.steps,
             "apgd-t": arguments.target_steps, "square": arguments.queries}
    plans = [(steps, [float(eps) for eps in arguments.eps.split(",")]),
             ({"apgd-ce:norm=l2": arguments.steps, "apgd-dlr:norm=l2": arguments.steps},
              [float(eps) for eps in arguments.eps_l2.split(",")])]
    seeds, rows = range(arguments.seeds), []
    for budgets, radii in plans:
        reports = [ours(arguments, radii, budgets, seed) for seed in seeds]
        assert all(abs(report[0] - clean) < 1e-4 for report in reports), "not the same network"
        for attack, budget in budgets.items():
            for eps in radii:
                mine = float(np.mean([report[1][attack, eps] for report in reports]))
                theirs = float(np.mean([published(net, images, labels, attack, eps, budget, seed)
                                        for seed in seeds]))
                rows.append({"attack": attack, "eps": eps, "budget": budget, "advbnn": mine,
                             "autoattack": theirs, "difference": mine - theirs})
                print(f"{attack:18} {eps:<6} {budget:>5}  advbnn {mine:6.2f}  "
                      f"AutoAttack {theirs:6.2f}  {mine - theirs:+.2f}", flush=True)
    worst = max(abs(row["difference"]) for row in rows)
    print(f"clean {clean:.2f}, {len(images)} images, {arguments.seeds} seeds: "
          f"at most {worst:.2f} points apart")
    if arguments.json:
        Path(arguments.json).write_text(json.dumps({"clean": clean, "rows": rows}, indent=1))
    return int(worst > arguments.tolerance)


if __name__ == "__main__":
    sys.exit(main())
