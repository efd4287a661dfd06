"""Five-fold cross-validation over as many sittings as it takes, and the papers' tables from what has ended by then.

    samunet_plan_and_preprocess -d 27
    python studies/five_folds.py -d 27 --output studies/results/five_folds.jsonl --budget_minutes 120

Runs the jobs that have no line in `--output`, the cheapest first, each in a process of its own on one core, until the
next one is not expected to fit into what is left of the budget, in minutes of processor time. Repeat the call to go on,
on any machine that has the same file of lines; the folders of finished jobs may be gone. A job's cost is expected to be
the mean of the lines of its row and number of cases, before there is one a first guess. A job that fails is reported
and tried again in the next sitting.

Folds are those of the plans, grouped by patient where groups are known. `--shots 1` and the rows `linear_head`,
`autosam_full` and `unet_simclr`, which the defaults leave out, complete the AutoSAM paper's table. What is run is what
`samunet_benchmark` with the same lengths runs, into the same folders of samunet_results: it finds these jobs finished,
and writes its report from them.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from statistics import mean
from typing import Any

from case_results import encoded, from_lines
from paper_table import tables
from record import append, facts
from sittings import Key, core_seconds, stored

from samunet.benchmarking.jobs import NNUNET, Benchmark, Job
from samunet.benchmarking.machines import run_job
from samunet.benchmarking.results import read_cases
from samunet.cli.figures import shots as shots_or_all
from samunet.cli.options import DEFAULT_PLANS_NAME, add_paths, paths_of
from samunet.dataset.dataset import RawDataset, load_dataset
from samunet.dataset.paths import Paths, find_dataset
from samunet.files import read_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import known_groups
from samunet.variants.registry import entry

# Row -> minutes of processor time beside training: a first guess, until there are lines.
BESIDE = {
    "label_prior": 0.5, "cnn_head": 2.0, "autosam": 2.0, "unet": 2.0, "nnunet_2d": 3.0, "3d_adapter": 6.0,
    "hybrid": 8.0, "hybrid_off": 1.5, "hybrid_teacher": 1.5, "atlas": 10.0, "linear_head": 2.0, "unet_simclr": 4.0,
    "autosam_full": 6.0, "lora": 6.0, "unet_3d": 3.0, "swin_unetr": 6.0, "ux_net": 6.0, "nnformer": 6.0,
    "nnunet_3d_fullres": 6.0,
}
DEFAULT_ROWS = ("label_prior", "atlas", "cnn_head", "autosam", "3d_adapter", "hybrid_off", "hybrid", "unet",
                "nnunet_2d")
Records = Mapping[Key, Mapping[str, Any]]


def main(arguments: Sequence[str] | None = None) -> None:
    options = parsed(arguments)
    paths = paths_of(options)
    dataset = load_dataset(find_dataset(paths.raw, options.dataset))
    keys = list(wanted(options, dataset.name))

    names = {str(label): dataset.labels.name_of(label) for label in dataset.labels.foreground}
    groups = known_groups(dataset, paths.preprocessed / dataset.name)
    run = partial(made, options=options, paths=paths, dataset=dataset, groups=groups)
    sitting(keys, run, options.output, options.budget_minutes)
    records = {key: record for key, record in stored(options.output).items() if key in keys}
    print(tables(from_lines(records, options.folds), names, groups))
    hours = sum(record["core_hours"] for record in records.values())
    print(f"\n{len(records)} of {len(keys)} jobs, {hours:.2f} core-hours")


def parsed(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--output", type=Path, required=True, help="a JSON line is appended for each job")
    parser.add_argument("--budget_minutes", type=float, required=True, help="of processor time; 0: tables alone")
    parser.add_argument("--rows", nargs="+", choices=BESIDE, default=list(DEFAULT_ROWS))
    parser.add_argument("--shots", nargs="+", type=shots_or_all, default=[5, None], help="(default: 5 all)")
    parser.add_argument("--folds", nargs="+", default=["0", "1", "2", "3", "4"])
    parser.add_argument("--draws", type=int, default=1, help="of each number of cases but all (default: 1)")
    parser.add_argument("--minutes_head", type=float, default=1.5)
    parser.add_argument("--minutes_network", type=float, default=5.0)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("-p", dest="plans_name", default=DEFAULT_PLANS_NAME)
    add_paths(parser)
    return parser.parse_args(arguments)


def wanted(options: argparse.Namespace, dataset: str) -> Iterator[Key]:
    """All jobs."""
    encoder = encoder_spec(options.encoder).id
    for shots in options.shots:
        for draw in range(options.draws if shots else 1):
            for row in options.rows:
                for fold in options.folds:
                    yield Key(dataset, encoder, row, shots, minutes_of(row, options), fold, draw)


def minutes_of(row: str, options: argparse.Namespace) -> float | None:
    """Minutes of training, as a benchmark gives them; None for rows that train nothing."""
    needs = None if row.startswith(NNUNET) else entry(row).needs
    lengths = {"embeddings": options.minutes_head, "arrays": None}
    return lengths.get(needs, options.minutes_network) if needs else options.minutes_network


def sitting(
    keys: Sequence[Key], run: Callable[[Key], dict[str, Any] | None], output: Path, budget_minutes: float
) -> None:
    """Run jobs that have no line, the cheapest first, while the next is expected to fit into the budget.

    Arguments:
        run: trains and validates one job; what to record of it, or None if it failed.
    """
    failed: set[Key] = set()
    started = core_seconds()
    while waiting := [key for key in keys if key not in (records := stored(output)) and key not in failed]:
        costs = {key: expected_minutes(key, records) for key in waiting}
        key = min(waiting, key=costs.__getitem__)  # the first of equal ones
        left = budget_minutes - (core_seconds() - started) / 60
        if costs[key] > left:
            print(f"{len(waiting)} jobs are left, about {sum(costs.values()) / 60:.1f} core-hours. The next, "
                  f"{job_of(key)}, is expected to take {costs[key]:.1f} minutes; the budget has {max(left, 0):.1f}.")
            return
        if record := run(key):
            append(output, record)
        else:
            failed.add(key)


def expected_minutes(key: Key, records: Records) -> float:
    """Of processor time: the mean of the jobs of its row, number of cases and length that have a line, or a guess."""
    alike = [record["core_hours"] * 60 for other, record in records.items()
             if replace(other, fold=key.fold, draw=key.draw) == key]
    return mean(alike) if alike else (key.minutes or 0.0) + BESIDE[key.row]


def made(
    key: Key, options: argparse.Namespace, paths: Paths, dataset: RawDataset, groups: Mapping[str, str] | None
) -> dict[str, Any] | None:
    """Train and validate one job on one thread; what is recorded of it, or None if it failed, which is printed."""
    job, before = job_of(key), core_seconds()
    print(f"{job}", flush=True)
    benchmark = Benchmark(options.dataset, (key.row,), (key.fold,), (key.shots,), key.draw + 1, options.encoder,
                          options.plans_name, "cpu", minutes_head=key.minutes, minutes_network=key.minutes)
    if fault := run_job(benchmark, job, paths, threads=1).fault:
        print(f"{job} failed: {fault}", flush=True)
        return None
    folder = benchmark.folder(job, paths)
    run = read_json(folder / "run.json")
    # At least the run's own: an earlier call, which left no line, may have begun or ended it.
    seconds = max(core_seconds() - before, sum(run["seconds"].values()) * run["threads"])
    cases = read_cases(folder / "validation", dataset.label_ending)
    return facts() | {"key": vars(key), "cases": encoded(cases), "patients": {case: (groups or {}).get(case, case)
                                                                              for case in cases},
                      "train_cases": run["train_cases"], "iterations": run["settings"]["iterations"],
                      "seconds": run["seconds"], "threads": run["threads"], "core_hours": seconds / 3600}


def job_of(key: Key) -> Job:
    """The key's job of a benchmark."""
    return Job(key.row, key.fold, key.shots, key.draw)


if __name__ == "__main__":
    main()
