#!/usr/bin/env python3
"""Takes the classifiers of torchvision and timm through `advbnn` and writes docs/zoo.md.

    pip install -r tests/zoo/requirements.txt
    cargo build --release --bin advbnn --example run
    python tests/zoo/zoo.py

Each architecture is exported to ONNX (by PyTorch's dynamo exporter and by its older
script exporter), inspected, converted, differentiated and exported again; gradients
are compared with PyTorch's in float64, on ONNX Runtime and for some on tract, and the
exports are run at another batch size than the file's. Every result is one line of a
JSON-lines file, so a run that was broken off goes on where it stopped.
"""
import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import architectures
from check import Tools, check
from table import write_table

ROOT = Path(__file__).resolve().parents[2]


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="architectures, timm's as timm:NAME; default: all")
    parser.add_argument("--exporter", choices=["dynamo", "script", "both"], default="both")
    parser.add_argument("--models", metavar="DIR", help="folder with NAME.onnx and NAME.npz from an earlier export; "
                        "{exporter} in it is replaced")
    parser.add_argument("--advbnn", type=Path, default=ROOT / "target/release/advbnn", help="the binary")
    parser.add_argument("--runner", type=Path, default=ROOT / "target/release/examples/run",
                        help="the example `run`, which runs tract")
    parser.add_argument("--results", type=Path, default=ROOT / "target/zoo.jsonl")
    parser.add_argument("--table", type=Path, default=ROOT / "docs/zoo.md")
    parser.add_argument("--timeout", type=int, default=1800, metavar="S", help="seconds for one model")
    parser.add_argument("--retry", action="store_true", help="try again what failed")
    parser.add_argument("--again", action="store_true", help="measure again what has a result")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep all files there")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def read(path):
    """The newest record of every model."""
    lines = path.read_text().splitlines() if path.exists() else []
    records = [json.loads(line) for line in lines]
    return {(record["exporter"], record["name"]): record for record in records}


def one(flags, name, exporter):
    """The record of one model, in this process."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-")) if not flags.keep else flags.keep / f"{exporter}-{name}"
    folder.mkdir(parents=True, exist_ok=True)
    try:
        if flags.models:
            source = Path(flags.models.format(exporter=exporter)) / name.replace("timm:", "timm_")
            model, truth = source.with_name(source.name + ".onnx"), source.with_name(source.name + ".npz")
        else:
            try:
                model, truth = architectures.export(name, exporter, folder)
            except Exception as refusal:  # PyTorch's exporters raise anything
                reason = re.sub(r"\x1b\[\d*m", "", (str(refusal).strip().splitlines() or [""])[0])[:200]
                return {"name": name, "exporter": exporter,
                        "reason": f"PyTorch does not export it: {type(refusal).__name__}: {reason}"}
        return check(name, exporter, model, truth, Tools(flags.advbnn, flags.runner, folder))
    finally:
        if not flags.keep:
            shutil.rmtree(folder)


def separately(flags, name, exporter):
    """The record of one model, from a process of its own that has a time limit."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", "--exporter", exporter]
    command = [part for part in command if part not in flags.names] + [name]
    record = {"name": name, "exporter": exporter}
    with tempfile.TemporaryDirectory(prefix="zoo-") as scratch:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                                   start_new_session=True, env={**os.environ, "TMPDIR": scratch})
        try:
            output, errors = process.communicate(timeout=flags.timeout)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.communicate()
            return record | {"reason": f"took more than {flags.timeout} s"}
    if process.returncode:
        last = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        return record | {"reason": last[:300]}
    return json.loads(output.splitlines()[-1])


def main():
    flags = arguments()
    if flags.one:
        print(json.dumps(one(flags, flags.names[0], flags.exporter)))
        return
    names = flags.names or architectures.torchvision_names() + architectures.TIMM
    exporters = ["dynamo", "script"] if flags.exporter == "both" else [flags.exporter]
    records = read(flags.results)
    flags.results.parent.mkdir(parents=True, exist_ok=True)
    for exporter in exporters:
        for name in names:
            known = records.get((exporter, name))
            if known and not flags.again and not (flags.retry and "reason" in known):
                continue
            record = separately(flags, name, exporter)
            print(exporter, name, record.get("reason", "passes"), flush=True)
            with flags.results.open("a") as file:
                file.write(json.dumps(record) + "\n")
    write_table(flags.table, list(read(flags.results).values()))


if __name__ == "__main__":
    main()
