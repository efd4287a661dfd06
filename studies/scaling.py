"""Cost against work: time and peak memory of preprocess, embed, train step and predict as the work grows.

    python studies/scaling.py --plot scaling.png --output studies/results/scaling.jsonl
    python studies/scaling.py --factors 1 2 --slices 8 --side 48 --plot scaling.png

The work is 1, 2, 4, ... times (--factors) the slices, the in-plane area, the classes or the cases of a synthetic case
of --slices x --side x --side voxels with 3 classes. Every point has a process of its own with one thread. Given are
processor seconds, which the other load of the machine changes less than wall time, without imports, and the process's
largest resident memory. The encoder is `mini` with random weights at 64 pixels, on tiles of 48 x 48 voxels, 24 apart;
the head is `cnn_head`, its batch always 8 tiles, so that a training step's cost should depend on the classes alone;
`cases` repeats it. Linear cost is a line of slope 1 in the plot, which is dotted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from export_memory import largest_resident_bytes
from memory_rows import random_encoder
from record import append, facts

from samunet.dataset.dataset import RawCase
from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.inference.export import export_case
from samunet.inference.predictor import predict_case
from samunet.inputs.embeddings import LiveEmbeddings, all_picks
from samunet.networks.checkpoints.encoders import Encoder
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.preprocessing.case import PreparedCase
from samunet.preprocessing.preprocess import prepare_arrays
from samunet.training.trainer import Optimization
from samunet.variants.base import VariantContext
from samunet.variants.cnn_head import CnnHeadVariant

STEPS, AXES = ("preprocess", "embed", "train step", "predict"), ("slices", "area", "classes", "cases")
CLASSES, TILE, INPUT, BATCH = 3, 48, 64, 8
PLAN_MM = 1.25  # of 1 mm in the file, so that everything is resampled


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--factors", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--slices", type=int, default=16)
    parser.add_argument("--side", type=int, default=60, help="voxels (default: %(default)s)")
    parser.add_argument("--steps", nargs="+", choices=STEPS, default=STEPS)
    parser.add_argument("--axes", nargs="+", choices=AXES, default=AXES)
    parser.add_argument("--plot", type=Path, help="a PNG file")
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        step, axis, factor = options.one
        print(json.dumps(point(step, axis, int(factor), options.slices, options.side)))
        return
    rows = []
    for axis in options.axes:
        for factor in options.factors:
            for step in options.steps:
                row = measured(step, axis, factor, options)
                rows.append(row)
                print(f"{step:10} {axis:8} x{factor:<3} {row['seconds']:8.3f} s  {row['resident_gb']:.2f} GB",
                      flush=True)
    if options.plot:
        draw(rows, options.plot)
    append(options.output, facts() | {"slices": options.slices, "side": options.side, "rows": rows})


def measured(step: str, axis: str, factor: int, options: argparse.Namespace) -> dict[str, Any]:
    """One point, in a process of its own."""
    command = [sys.executable, __file__, "--one", step, axis, str(factor), "--slices", str(options.slices), "--side",
               str(options.side)]
    output = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    return {"step": step, "axis": axis, "factor": factor} | json.loads(output.strip().splitlines()[-1])


def point(step: str, axis: str, factor: int, slices: int, side: int) -> dict[str, Any]:
    """Processor seconds and largest resident memory of a step, in this process."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    side = round(side * factor**0.5) if axis == "area" else side
    shape = (slices * factor if axis == "slices" else slices, side, side)
    classes, cases = (CLASSES * factor if axis == "classes" else CLASSES), (factor if axis == "cases" else 1)
    work = prepared_work(step, shape, classes)
    started = time.process_time()
    for _ in range(cases):
        work()
    return {"seconds": time.process_time() - started, "resident_gb": largest_resident_bytes() / 1e9}


def prepared_work(step: str, shape: tuple[int, ...], classes: int) -> Callable[[], object]:
    """What is timed, with all that it needs already there."""
    labels = LabelSpace({"background": 0, **{f"organ{value}": value for value in range(1, classes)}})
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (PLAN_MM,) * 3, (16, TILE, TILE), False, ("MRI",),
                          ("zscore",), (False,), ({},))
    image = np.random.default_rng(0).normal(100, 20, (1, *shape)).astype(np.float32)
    if step == "preprocess":
        return lambda: prepared(image, dataset)
    encoder = random_encoder("mini", INPUT)
    section = EncoderPlan(encoder.spec.id, INPUT, (TILE, TILE), 0.5, "repeat", BATCH, "float16", 0, 1)
    plans = Plans("made", "made", dataset, {encoder.spec.id: section})
    variant = CnnHeadVariant(VariantContext(labels, dataset, section, encoder.sam_state, encoder))
    if step == "train step":
        optimization, side = Optimization(variant, torch.device("cpu")), INPUT // 16
        segmentation = torch.randint(0, classes, (BATCH, TILE, TILE))
        return lambda: optimization.step(torch.randn(BATCH, 256, side, side), segmentation, 1e-4)
    case = prepared(image, dataset)
    if step == "embed":
        return lambda: embed(case, plans, encoder)
    return lambda: export_case(predict_case([variant], case, plans, encoder), case.properties, dataset, labels)


def prepared(image: np.ndarray, dataset: DatasetPlan) -> PreparedCase:
    geometry = Geometry("SimpleITKIO", image.shape[1:], (1.0, 1.0, 1.0))
    return prepare_arrays(image, None, geometry, RawCase("made", (Path("made"),), None), dataset, {})


def embed(case: PreparedCase, plans: Plans, encoder: Encoder) -> None:
    """All embeddings of a case, a batch at a time, as the cache is filled."""
    live = LiveEmbeddings(case, plans, encoder)
    picks = all_picks(live.depth, live.frame)
    for first in range(0, len(picks), BATCH):
        live.read(picks[first : first + BATCH])


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """A column for each axis: seconds above, memory below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot as plt

    axes = list(dict.fromkeys(row["axis"] for row in rows))
    figure, panels = plt.subplots(2, len(axes), figsize=(3.4 * len(axes), 6), sharex=True, sharey="row", squeeze=False)
    for column, axis in enumerate(axes):
        for step in dict.fromkeys(row["step"] for row in rows):
            those = [row for row in rows if row["axis"] == axis and row["step"] == step]
            factors, seconds = [row["factor"] for row in those], [row["seconds"] for row in those]
            line, = panels[0, column].plot(factors, seconds, "o-", label=step)
            panels[0, column].plot(factors, [seconds[0] * factor / factors[0] for factor in factors], ":",
                                   color=line.get_color(), linewidth=1)
            panels[1, column].plot(factors, [row["resident_gb"] for row in those], "o-", label=step)
        panels[0, column].set(xscale="log", yscale="log", title=axis)
        panels[1, column].set(ylim=(0, None), xlabel=f"times the {axis}")
        panels[1, column].set_xticks(factors, map(str, factors), minor=False)
        panels[1, column].minorticks_off()
    panels[0, 0].set_ylabel("processor seconds")
    panels[1, 0].set_ylabel("largest resident memory in GB")
    panels[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path, dpi=120)


if __name__ == "__main__":
    main()
