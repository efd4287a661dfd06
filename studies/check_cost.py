"""What checks cost: the same commands of two installations of samunet, side by side on one core each, as ratios.

    python studies/check_cost.py --before old/.venv/bin --after .venv/bin --dataset raw/Dataset004_Hippocampus

In every round both installations run the same step at the same time, each with one worker and one thread on a core of
its own; cores are swapped from round to round. Figures are processor seconds (user and system, child processes
included) and wall seconds; ratios are after to before, round by round, and their median. Embeddings are encoded in the
first round alone. Prediction is that of `label_prior`, which costs next to nothing itself: what is read, checked and
written weighs most there.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from record import append, facts

from samunet.files import remove_path

CORES = 2
SHOTS = 16  # of cnn_head: their embeddings and the validation cases' are encoded first


@dataclass(frozen=True)
class Step:
    """A command that is timed.

    `clears` are removed below the side's folder first, `once` steps run in the first round alone.
    """

    name: str
    command: tuple[str, ...]
    clears: tuple[str, ...] = ()
    once: bool = False


def steps(dataset: str, iterations: int, images: str) -> list[Step]:
    """Planning, training and prediction of `dataset`; {work} is the side's folder."""
    workers, model = ("-np", "1"), "{work}/results/" + dataset
    head = ("train", dataset, "cnn_head", "0", "--shots", str(SHOTS), "--iterations", str(iterations), *workers)
    return [
        Step("plan and preprocess", ("plan_and_preprocess", "-d", dataset, "--no_embeddings", *workers),
             ("preprocessed/*/dataset_fingerprint.json", "preprocessed/*/samunetPlans/arrays")),
        Step("preprocess, nothing to do", ("preprocess", "-d", dataset, "--no_embeddings", *workers)),
        Step("train label_prior", ("train", dataset, "label_prior", "0", *workers),
             ("results/" + dataset + "/label_prior*",)),
        Step("encode, train cnn_head", head, once=True),
        Step("train cnn_head", head, ("results/" + dataset + "/cnn_head*",)),
        Step("predict label_prior", ("predict", "-i", images, "-o", "{work}/label_prior", "-m",
                                     model + "/label_prior__samunetPlans__mini-3", "-f", "0"), ("label_prior",)),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--before", type=Path, required=True, help="folder with the older installation's commands")
    parser.add_argument("--after", type=Path, required=True, help="folder with the newer installation's commands")
    parser.add_argument("--dataset", type=Path, required=True, help="raw dataset folder")
    parser.add_argument("--work", type=Path, required=True, help="folder for what both write; emptied first")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--iterations", type=int, default=300, help="of cnn_head")
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    shutil.rmtree(options.work, ignore_errors=True)
    sides = {"before": options.before, "after": options.after}
    rows: dict[str, list[dict[str, Any]]] = {}
    images = str((options.dataset / "imagesTr").resolve())
    for number in range(options.rounds):
        for step in steps(options.dataset.name, options.iterations, images):
            if number and step.once:
                continue
            running = {side: Run(step, options.work.resolve() / side, options.dataset.resolve().parent,
                                 folder.resolve(),
                                 (number + core) % CORES) for core, (side, folder) in enumerate(sides.items())}
            rows.setdefault(step.name, []).append({side: run.figures() for side, run in running.items()})
            print(step.name, rows[step.name][-1], flush=True)
    table = {name: summary(measured) for name, measured in rows.items()}
    print(f"{'step':28} {'before, s':>10} {'after, s':>10} {'ratio':>7} {'of wall':>8}")
    for name, row in table.items():
        print(f"{name:28} {row['before_seconds']:10.2f} {row['after_seconds']:10.2f} {row['ratio']:7.3f} "
              f"{row['wall_ratio']:8.3f}")
    append(options.output, facts() | {"rounds": options.rounds, "steps": table, "runs": rows})


def summary(measured: list[dict[str, Any]]) -> dict[str, float]:
    """Medians over the rounds, of seconds and of each round's ratio."""
    def of(key: str, side: str) -> list[float]:
        return [row[side][key] for row in measured]

    def ratio(key: str) -> float:
        return median(after / before for before, after in zip(of(key, "before"), of(key, "after"), strict=True))

    return {"before_seconds": median(of("cpu", "before")), "after_seconds": median(of("cpu", "after")),
            "ratio": ratio("cpu"),
            "wall_ratio": ratio("wall")}


class Run:
    """One command of one side, started at once on core `core`."""

    def __init__(self, step: Step, work: Path, raw: Path, commands: Path, core: int) -> None:
        for pattern in step.clears:
            for path in work.glob(pattern):
                remove_path(path)
        work.mkdir(parents=True, exist_ok=True)
        name, *arguments = step.command
        folders = {"samunet_raw": str(raw),
                   **{f"samunet_{part}": str(work / part) for part in ("preprocessed", "results")}}
        self.log = work / "log.txt"
        self.started = time.monotonic()
        with self.log.open("a") as log:
            self.process = subprocess.Popen(
                [str(commands / f"samunet_{name}"), *(argument.format(work=work) for argument in arguments)],
                env=os.environ | folders | {"OMP_NUM_THREADS": "1"}, stdout=log, stderr=log)
        os.sched_setaffinity(self.process.pid, {core})

    def figures(self) -> dict[str, float]:
        """Processor and wall seconds, after the command has ended; ends this script where it failed."""
        _, status, used = os.wait4(self.process.pid, 0)
        if status:
            sys.exit(f"a command failed; see {self.log}")
        return {"cpu": used.ru_utime + used.ru_stime, "wall": time.monotonic() - self.started}


if __name__ == "__main__":
    main()
