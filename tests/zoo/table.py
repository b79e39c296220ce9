"""The results of the zoo as Markdown."""
import datetime
import os
import platform
import re

from architectures import SHAPES_ALONE, TIMM, torchvision_names
from check import ROUNDING

HEAD = ["architecture", "exporter", "nodes", "parameters", "variational", "convert s", "gradient s", "dx error",
        "weight error", "tolerance", "dx on tract", "batch 4", "result"]

SMALL = "{:.0e}"

INTRODUCTION = """# The zoo

Every classifier of torchvision, and of timm one or more of each family, as PyTorch's two exporters write it
(`dynamo` and `script`), goes through `advbnn inspect`, `convert`, `gradient` and `export`. Written by

```sh
pip install -r tests/zoo/requirements.txt
cargo build --release --bin advbnn --example run
python tests/zoo/zoo.py
```

on {date}, {cpus} cores, {machine}, with seeded random weights and a batch of two images.

- **convert s, gradient s**: by the clock, while other programs used the machine and at times stopped this one, so
  single values mean little.
- **dx error, weight error**: relative error (Euclidean norm) of the gradient of the mean cross-entropy with
  respect to the image, and to the first and the last weight of the network, on ONNX Runtime, against PyTorch in
  float64. A weight that the exporter renamed, transposed or scaled by a BatchNormalization is found by its
  value; one that it merged with others is not (`-`).
- **tolerance**: 20 times the relative error of PyTorch's own float32 gradient, and at least 1e-4. It is more
  where PyTorch's float32 meets a kink (below) at these images itself; the headings count the files that need that.
- **batch 4**: relative error of the probabilities of the mean export at batch 4 against two runs at batch 2: the
  exporters fix the batch of two inside the file, and `convert` frees it.
- **variational**: nodes with random weights after `convert`; **parameters**: their values.
- *passes, image 2*: an error at the first batch of images is above the tolerance. An activation lies within a
  rounding error of zero there, a kink, and this engine's order of summation takes the other of its two derivatives;
  for images 1e-7 to 1e-6 away the error is below the tolerance. PyTorch's own float32 does it too
  ([results](results.md#kinks), `tests/zoo/kinks.py`). Then another batch, whose seed is its number, has to pass with
  nothing allowed for kinks, every error at most 1e-4: the second, or the third to fifth where those before lie beside
  a kink as well. The errors in the table are those of the first batch; a table below it has those of the others.
- *shapes*: too large to run on this machine; only converted, differentiated and exported.
"""


def number(value, form="{}"):
    return "-" if value is None else form.format(value)


def row(record):
    if "reason" in record:
        reason = re.sub(r"\x1b\[[0-9;]*m", "", record["reason"])
        result = "**" + reason.replace("|", "\\|") + "**"
    else:
        result = "shapes" if record["name"] in SHAPES_ALONE else "passes"
        if record.get("kinks"):
            result += f", image {record['elsewhere'][-1]['image']}"
    cells = [*who(record), number(record.get("nodes")),
             number(record.get("parameters"), "{:,}"), number(record.get("variational")),
             number(record.get("convert_s"), "{:.2f}"), number(record.get("gradient_s"), "{:.2f}"),
             *(number(record.get(key), SMALL) for key in ("dx", "dw", "tolerance", "tract_dx", "batch")), result]
    return line(cells)


def line(cells):
    return "| " + " | ".join(cells) + " |"


def who(record):
    return [record["name"].replace("timm:", ""), record["exporter"]]


def elsewhere(records):
    """The errors at other images than the first."""
    head = ["architecture", "exporter", "image", "dx error", "weight error", "dx on tract", "PyTorch's float32"]
    keys = ["dx", "dw", "tract_dx", "noise"]
    rows = [line([*who(record), str(tried["image"]), *(number(tried.get(key), SMALL) for key in keys)])
            for record in records for tried in record.get("elsewhere", [])]
    return ["Beside a kink at the first image, so at others too:\n", line(head), "|" + "---|" * len(head), *rows,
            ""] if rows else []


def section(title, records):
    if not records:
        return ""
    records = sorted(records, key=lambda record: (record["name"], record["exporter"]))
    passed = [record for record in records if "reason" not in record]
    kinks = sum(bool(record.get("kinks")) for record in passed)
    above = sum(any((record.get(key) or 0) > ROUNDING for key in ("dx", "dw", "tract_dx")) for record in passed) - kinks
    shapes = sum(record["name"] in SHAPES_ALONE for record in passed)
    header = f"\n## {title}: {len(passed)} of {len(records)} files pass"
    header += f", {kinks} of them at another image" if kinks else ""
    header += f", {above} by a tolerance above {ROUNDING:.0e}" if above else ""
    header += f", {shapes} by shapes alone" if shapes else ""
    lines = [header + "\n", line(HEAD), "|" + "---|" * len(HEAD), *map(row, records), "", *elsewhere(records)]
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
