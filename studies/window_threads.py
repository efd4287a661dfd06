"""Predicting a case and a training step of `hybrid_off`: threads within or across windows, freed memory held or not.

    python studies/window_threads.py --output studies/results/window_threads.jsonl

Untrained networks of the planner's shapes for cases like hippocampus and ACDC, in float32 or bfloat16 as the processor
has it. "within" gives each window all threads, one window after the other; "across" computes as many windows at once,
each on one thread. Each row of held or returned memory is a process of its own. Given are the seconds of the median
round.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from record import append, facts
from table_format import markdown

from samunet.allocation import hold_freed_memory
from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.inference.predictor import predict_case
from samunet.inputs.volumes import Volumes
from samunet.planning.plans import DatasetPlan, EncoderPlan, Plans
from samunet.planning.volume_rules import plan_hybrid
from samunet.preprocessing.case import CaseProperties, PreparedCase
from samunet.training.trainer import Optimization
from samunet.variants.base import VariantContext
from samunet.variants.hybrid_off import HybridOffVariant

LIKE = {"hippocampus": ((36, 50, 35), (1.0, 1.0, 1.0), (59, 43)),
        "ACDC": ((9, 256, 216), (10.0, 1.5625, 1.5625), (160, 135))}
LABELS = LabelSpace.from_dataset_json({"labels": {"background": 0, "a": 1, "b": 2, "c": 3}})
CPU = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, help="a JSON line is appended")
    parser.add_argument("--one", choices=["held", "returned"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measured(options.one, options.threads, options.rounds)))
        return
    rows = []
    for memory in ("returned", "held"):
        environment = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
        command = [sys.executable, __file__, "--one", memory, "--threads", str(options.threads), "--rounds",
                   str(options.rounds)]
        rows += json.loads(subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout)
    print(markdown(["case like", "freed memory", "work", "s"], [[*row[:3], f"{row[3]:.3f}"] for row in rows]))
    append(options.output, facts() | {"threads": options.threads, "rounds": options.rounds, "rows": rows})


def measured(memory: str, threads: int, rounds: int) -> list[list[Any]]:
    """[case, memory, work, seconds of the median round], works in turn within each round."""
    if memory == "held":
        hold_freed_memory()
    rows = []
    for like in LIKE:
        works = works_of(like, threads)
        seconds: dict[str, list[float]] = {name: [] for name in works}
        for round_ in range(rounds + 1):
            for name, work in works.items():
                started = time.perf_counter()
                work()
                if round_:  # the first one warms up
                    seconds[name].append(time.perf_counter() - started)
        rows += [[like, memory, name, median(found)] for name, found in seconds.items()]
    return rows


def works_of(like: str, threads: int) -> dict[str, Callable[[], None]]:
    """What is timed, by name."""
    shape, spacing, tile = LIKE[like]
    dataset = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), spacing, shape, max(spacing) > 3 * min(spacing),
                          ("MRI",), ("zscore",), (False,), ({},))
    section = EncoderPlan("untrained", 256, tile, 0.5, "repeat", 16, "float16", 0, 400)
    section = EncoderPlan(**{**vars(section), "hybrid": plan_hybrid(dataset, section)})
    torch.manual_seed(0)
    variant = HybridOffVariant(VariantContext(LABELS, dataset, section, {}))
    plans = Plans("p", "d", dataset, {"untrained": section}, None)
    case = prepared(shape)

    def predicted(at_once: int, of_each: int) -> None:
        torch.set_num_threads(of_each)
        with patch("torch.get_num_threads", return_value=at_once):
            for _ in predict_case([variant], case, plans, None):
                pass

    optimization, batch = Optimization(variant, CPU), variant.batch_size(variant.context)
    image = torch.randn(batch, 1, *variant.volume.shape)
    volumes = Volumes(image, torch.zeros(batch, 0, *variant.volume.cells))
    segmentation = torch.randint(0, 4, image[:, 0].shape)

    def trained() -> None:
        torch.set_num_threads(1)
        variant.network.train()
        optimization.step(volumes, segmentation, 1e-3)

    return {"predict, 1 thread": lambda: predicted(1, 1),
            f"predict, {threads} threads within": lambda: predicted(1, threads),
            f"predict, {threads} threads across": lambda: predicted(threads, threads),
            "training step, 1 thread": trained}


def prepared(shape: tuple[int, int, int]) -> PreparedCase:
    """Noise."""
    box = ((0, shape[0]), (0, shape[1]), (0, shape[2]))
    properties = CaseProperties("noise", Geometry("SimpleITKIO", shape, (1.0, 1.0, 1.0)), shape, box, shape, shape,
                                ((0.0, 1.0),), "noise", "noise", {})
    image = np.random.default_rng(0).normal(size=(1, *shape)).astype(np.float32)
    return PreparedCase(image, np.zeros((1, *shape), np.int16), properties)


if __name__ == "__main__":
    main()
