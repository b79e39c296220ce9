"""The results of the zoo as Markdown."""
import datetime
import os
import platform
import re

from architectures import SHAPES_ALONE, TIMM, torchvision_names

HEAD = ["architecture", "exporter", "nodes", "parameters", "variational", "convert s", "gradient s", "dx error",
        "weight error", "tolerance", "dx on tract", "batch 4", "result"]

INTRODUCTION = """# The zoo

Every classifier of torchvision, and of timm one or more of each family, as PyTorch's two exporters write it
(`dynamo` and `script`), goes through `advbnn inspect`, `convert`, `gradient` and `export`. Written by

```sh
pip install -r tests/zoo/requirements.txt
cargo build --release --bin advbnn --example run
python tests/zoo/zoo.py
```

on {date}, {cpus} cores, {machine}, with seeded random weights and a batch of two images.

- **dx error, weight error**: relative error (Euclidean norm) of the gradient of the mean cross-entropy with
  respect to the image, and to the first and the last weight of the network, on ONNX Runtime, against PyTorch in
  float64. A weight that the exporter renamed, transposed or scaled by a BatchNormalization is found by its
  value; one that it merged with others is not (`-`).
- **tolerance**: 20 times the relative error of PyTorch's own float32 gradient, and at least 1e-4.
- **batch 4**: relative error of the probabilities of the mean export at batch 4 against two runs at batch 2: the
  exporters fix the batch of two inside the file, and `convert` frees it.
- **variational**: nodes with random weights after `convert`; **parameters**: their values.
- *above, kink*: an error is above the tolerance. An activation lies within a rounding error of zero, and this
  engine's order of summation takes the other of its two derivatives; for an image 1e-7 to 1e-6 away the error is
  below the tolerance. PyTorch's own float32 does it too ([results](results.md#kinks), `tests/zoo/kinks.py`).
- *shapes*: too large to run on this machine; only converted, differentiated and exported.
"""


def number(value, form="{}"):
    return "-" if value is None else form.format(value)


def row(record):
    small = "{:.0e}"
    if "reason" in record:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", record["reason"])
        result = "**" + reason.replace("|", "\\|") + "**"
    else:
        result = "shapes" if record["name"] in SHAPES_ALONE else "above, kink" if record.get("kinks") else "passes"
    cells = [record["name"].replace("timm:", ""), record["exporter"], number(record.get("nodes")),
             number(record.get("parameters"), "{:,}"), number(record.get("variational")),
             number(record.get("convert_s"), "{:.2f}"), number(record.get("gradient_s"), "{:.2f}"),
             *(number(record.get(key), small) for key in ("dx", "dw", "tolerance", "tract_dx", "batch")), result]
    return "| " + " | ".join(cells) + " |"


def section(title, records):
    if not records:
        return ""
    records = sorted(records, key=lambda record: (record["name"], record["exporter"]))
    kinks = sum("reason" not in record and bool(record.get("kinks")) for record in records)
    passed = sum("reason" not in record for record in records) - kinks
    beside = f", {kinks} more beside a kink" if kinks else ""
    lines = [f"\n## {title}: {passed} of {len(records)} files pass{beside}\n", "| " + " | ".join(HEAD) + " |",
             "|" + "---|" * len(HEAD), *map(row, records), ""]
    return "\n".join(lines)


def write_table(path, records):
    """Writes all records as a Markdown file."""
    machine = f"{platform.machine()} {platform.system()}"
    text = INTRODUCTION.format(date=datetime.date.today(), cpus=os.cpu_count(), machine=machine)
    timm = [record for record in records if record["name"].startswith("timm:")]
    text += section("torchvision", [record for record in records if record not in timm])
    text += section("timm", timm)
    done = {(record["exporter"], record["name"]) for record in records}
    for exporter in ("dynamo", "script"):
        missing = [name for name in torchvision_names() + TIMM if (exporter, name) not in done]
        if missing:
            text += f"\n## Not run yet, {exporter}: {len(missing)}\n\n{', '.join(missing)}\n"
    path.write_text(text)
