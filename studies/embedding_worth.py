"""What embeddings are worth by size of image and object: readers with `mini`'s, an untrained encoder's and none.

    python studies/embedding_worth.py --output studies/results/embedding_worth.jsonl
    python studies/embedding_worth.py --sizes --datasets 4 27 --output studies/results/embedding_worth.jsonl

The first call writes nine datasets of one synthetic anatomy (`synthetic_anatomy.py`) into samunet_raw, ids from
`--first_id` on, and plans them; `--datasets` adds real ones that are planned. Each row trains from 5 labelled cases for
the same number of iterations on one thread, and is validated on the same cases. A job appends one JSON line; jobs that
have a line of these iterations are not run again, so a call that was stopped goes on when it is repeated. The table
has Dice, and paired differences over patients and folds (95 % interval). Real datasets use folds 1 to 4; fold 0 is for
final figures.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from pathlib import Path
from typing import Any

import torch
from encoder_gain import PLANS, case_dice, ensure_planned
from record import append, facts
from sittings import Key, Scores, core_seconds, dice_of, gain_of, stored, trained
from synthetic_anatomy import Size, make_dataset
from table_format import markdown

from samunet.benchmarking.jobs import Benchmark, Job
from samunet.cli.plan_and_preprocess import main as plan_and_preprocess
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.files import read_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.groups import kept_groups

TRAINED, UNTRAINED = "mini", "untrained"


@dataclass(frozen=True)
class Row:
    """A reader and the encoder whose embeddings it reads; for a reader without any, whose plan it has."""

    variant: str
    encoder: str
    settings: Mapping[str, Any] = field(default_factory=dict)


ROWS = {
    "none": Row("hybrid_off", UNTRAINED, {"embeddings": "off"}),
    "hybrid_mini": Row("hybrid_off", TRAINED, {"embeddings": "on"}),
    "hybrid_untrained": Row("hybrid_off", UNTRAINED, {"embeddings": "on"}),
    "head_mini": Row("cnn_head", TRAINED),
    "head_untrained": Row("cnn_head", UNTRAINED),
}
PAIRS = (("hybrid_mini", "none"), ("hybrid_mini", "hybrid_untrained"), ("head_mini", "head_untrained"))


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    paths = resolve_paths()
    torch.set_num_threads(1)
    sizes = [Size(*each) for each in product(options.sizes, options.radii)]
    names = [make_dataset(paths.raw, number, size, options.cases, options.slices, options.seed).name
             for number, size in enumerate(sizes, options.first_id)]
    names += [find_dataset(paths.raw, dataset).name for dataset in options.datasets]
    for name in names:
        ensure_all_planned(name, paths)
    for key in wanted(options, names):
        if key not in stored_of(options):
            append(options.output, made(key, options, paths))
    records = {key: record for key, record in stored_of(options).items() if key in set(wanted(options, names))}
    print(table(records, names, {name: kept_groups(paths.preprocessed / name) for name in names}))


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="*", default=[64, 128, 256], help="pixels along each side")
    parser.add_argument("--radii", type=float, nargs="+", default=[0.08, 0.16, 0.32], help="of half a side")
    parser.add_argument("--first_id", type=int, default=910)
    parser.add_argument("--cases", type=int, default=15, help="of each synthetic dataset")
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--datasets", nargs="+", default=[], help="ids of planned datasets")
    parser.add_argument("--folds", nargs="+", default=["1"])
    parser.add_argument("--shots", type=int, default=5)
    parser.add_argument("--iterations", type=int, default=150)
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--output", type=Path, required=True, help="a JSON line is appended for each job")
    return parser.parse_args(arguments)


def ensure_all_planned(name: str, paths: Paths) -> None:
    """Plans and arrays of the dataset, and a section of the plans for each encoder."""
    plans = paths.preprocessed / name / f"{PLANS}.json"
    if not plans.is_file() and (code := plan_and_preprocess(["-d", name, "--encoder", TRAINED, "--no_embeddings"])):
        raise SystemExit(code)
    for encoder in (TRAINED, UNTRAINED):
        ensure_planned(name, encoder, plans)


def wanted(options: argparse.Namespace, names: list[str]) -> Iterator[Key]:
    """All jobs, dataset by dataset."""
    for name, fold, row in product(names, options.folds, options.rows):
        yield Key(name, encoder_spec(ROWS[row].encoder).id, row, options.shots, None, fold, 0)


def stored_of(options: argparse.Namespace) -> dict[Key, dict[str, Any]]:
    """The lines of jobs of as many iterations."""
    return {key: record for key, record in stored(options.output).items()
            if record["iterations"] == options.iterations}


def made(key: Key, options: argparse.Namespace, paths: Paths) -> dict[str, Any]:
    """Train and validate one job; what is recorded of it."""
    row, before = ROWS[key.row], core_seconds()
    paths = replace(paths, results=paths.results / "embedding_worth" / key.row)
    benchmark = Benchmark(key.dataset, (row.variant,), (key.fold,), (key.shots,), 1, row.encoder, PLANS, "cpu",
                          iterations=options.iterations)
    folder = trained(benchmark, Job(row.variant, key.fold, key.shots, key.draw), row.settings, paths)
    run = read_json(folder / "run.json")
    return facts() | {"key": vars(key), "dice": case_dice(read_json(folder / "validation" / "summary.json")),
                      "iterations": run["settings"]["iterations"], "seconds": run["seconds"],
                      "core_hours": (core_seconds() - before) / 3600}


def table(
    records: Mapping[Key, Mapping[str, Any]], names: list[str], groups: Mapping[str, Mapping[str, str] | None]
) -> str:
    """A row for each dataset: Dice of each reader, then the differences of PAIRS."""
    lines = []
    for name in names:
        of_row: dict[str, dict[tuple[int, str], Scores]] = {}
        for key, record in records.items():
            if key.dataset == name:
                of_row.setdefault(key.row, {})[key.draw, key.fold] = record["dice"]
        dice = [f"{dice_of(of_row[row]):.3f}" if row in of_row else None for row in ROWS]
        gains = [gain_of(of_row.get(one, {}), of_row.get(other, {}), groups[name]) for one, other in PAIRS]
        lines.append([name, *dice, *gains])
    header = ["dataset", *(f"`{row}`" for row in ROWS), *(f"`{one}` over `{other}`" for one, other in PAIRS)]
    hours = sum(record["core_hours"] for record in records.values())
    return f"{markdown(header, lines)}\n\n{hours:.2f} core-hours in {len(records)} jobs"


if __name__ == "__main__":
    main()
