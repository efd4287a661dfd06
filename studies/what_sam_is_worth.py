"""What pretrained features are worth to few labels: `hybrid` with and without them, beside what needs none, paired.

    samunet_plan_and_preprocess -d 4 --no_embeddings
    python studies/what_sam_is_worth.py -d 4 --encoder sam_vit_b_01ec64.pth --output what_sam_is_worth.jsonl

Every row is trained on the same draws of labelled cases, for the same minutes of one processor core, and validated on
the same cases. Each job that ends appends one line to `--output`: Dice of each case and the core-hours it took. Jobs
that have a line are not run again, so a call that was stopped goes on when it is repeated, also where the results
folder is gone, and several sittings add up. The tables are of all lines of the dataset and encoder: mean Dice, and the
difference from `--reference`, paired over patients, folds and draws (95 % interval, `samunet.evaluation.statistics`).

Fold 0 is for final figures: name it once, at the end. Each row has a folder of its own in samunet_results.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from encoder_gain import PLANS, case_dice, ensure_planned
from record import append, facts
from sittings import Key, Scores, core_seconds, dice_of, gain_of, stored, trained

from samunet.benchmarking.jobs import NNUNET, Benchmark, Job
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.errors import UserError
from samunet.files import read_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.networks.checkpoints.released import start_path
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.variants.registry import entry


@dataclass(frozen=True)
class Row:
    """One method: a variant of the registry with settings, or `nnunet_<configuration>`."""

    variant: str
    settings: Mapping[str, Any] = field(default_factory=dict)

    @property
    def trains(self) -> bool:
        """Whether a longer run is another one."""
        return self.variant.startswith(NNUNET) or entry(self.variant).needs != "arrays"


OFF, FREE = {"embeddings": "off", "augmentation": "small"}, {"embeddings": "off", "augmentation": "free"}
ON, START = {"embeddings": "on"}, {"start": "pretrained"}
ROWS = {
    "label_prior": Row("label_prior"), "atlas": Row("atlas"), "cnn_head": Row("cnn_head"),
    "unet": Row("unet"), "nnunet_2d": Row("nnunet_2d"),
    **{f"{name}_{kind}": Row(variant, settings)
       for name, variant in (("off", "hybrid_off"), ("prior", "hybrid"))
       for kind, settings in (("embeddings", ON), ("none", OFF), ("free", FREE), ("start", OFF | START),
                              ("start_embeddings", ON | START))},
    "teacher": Row("hybrid_teacher", OFF),  # trains on the fold's unlabelled images as well
}


def main() -> None:
    options = parsed()
    paths, encoder = resolve_paths(), encoder_spec(options.encoder).id
    preprocessed = paths.preprocessed / find_dataset(paths.raw, options.dataset).name
    ensure_planned(options.dataset, options.encoder, preprocessed / f"{PLANS}.json")
    torch.set_num_threads(1)
    records = stored(options.output)
    for key in wanted(options, preprocessed.name, encoder):
        if key not in records:
            append(options.output, made(key, options, paths))
    records = {key: record for key, record in stored(options.output).items()
               if (key.dataset, key.encoder) == (preprocessed.name, encoder)}
    print(tables(records, options.reference, kept_groups(preprocessed)))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--encoder", default=DEFAULT_ENCODER, help="a name, or a checkpoint in SAM's format")
    parser.add_argument("--folds", nargs="+", default=["1", "2"], help="fold 0 is for the final look (default: 1 2)")
    parser.add_argument("--draws", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--shots", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--minutes", type=float, nargs="+", default=[3.0, 10.0], help="of one core, for each job")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS))
    parser.add_argument("--reference", choices=ROWS, default="off_none")
    parser.add_argument("--output", type=Path, required=True, help="a JSON line is appended for each job")
    options = parser.parse_args()
    try:
        start_path()
    except UserError as missing:
        options.rows = [row for row in options.rows if "start" not in ROWS[row].settings]
        print(f"without the rows that start from pretrained weights: {missing.found} {missing.where}")
    return options


def wanted(options: argparse.Namespace, dataset: str, encoder: str) -> Iterator[Key]:
    """All jobs: every row on one draw before the next, so that a table of fewer draws is whole early."""
    for draw in options.draws:
        for shots in options.shots:
            for minutes in options.minutes:
                for fold in options.folds:
                    for row in options.rows:
                        yield Key(dataset, encoder, row, shots, minutes if ROWS[row].trains else None, fold, draw)


def made(key: Key, options: argparse.Namespace, paths: Paths) -> dict[str, Any]:
    """Train and validate one job; what is recorded of it."""
    row, started = ROWS[key.row], core_seconds()
    length = "whole" if key.minutes is None else f"{key.minutes:g}min"
    paths = replace(paths, results=paths.results / "what_sam_is_worth" / f"{key.row}_{length}")
    benchmark = Benchmark(options.dataset, (row.variant,), (key.fold,), (key.shots,), key.draw + 1, options.encoder,
                          PLANS, "cpu", minutes_head=key.minutes, minutes_network=key.minutes)
    folder = trained(benchmark, Job(row.variant, key.fold, key.shots, key.draw), row.settings, paths)
    run = read_json(folder / "run.json")
    return facts() | {"key": vars(key), "dice": case_dice(read_json(folder / "validation" / "summary.json")),
                      "iterations": run["settings"]["iterations"], "seconds": run["seconds"],
                      "core_hours": (core_seconds() - started) / 3600}


def tables(records: Mapping[Key, dict[str, Any]], reference: str, groups: Mapping[str, str] | None) -> str:
    """One table for each number of shots and minutes: mean Dice over draws, and the gain over `reference`."""
    parts = []
    lengths = {(key.shots, key.minutes) for key in records if key.minutes is not None}
    for shots, minutes in sorted(lengths):
        of_row = {row: by_draw(records, row, shots, minutes) for row in ROWS}
        parts.append(f"{shots} case(s), {minutes:g} minutes of one core\n\n"
                     f"| row | Dice | over `{reference}` | folds x draws |\n|---|---|---|---|")
        for row, jobs in of_row.items():
            if jobs:
                gain = gain_of(jobs, of_row[reference], groups)
                shown = gain if gain and row != reference else ""
                parts[-1] += f"\n| `{row}` | {dice_of(jobs):.3f} | {shown} | {len(jobs)} |"
    hours = sum(record["core_hours"] for record in records.values())
    return "\n\n".join([*parts, f"{hours:.2f} core-hours in {len(records)} jobs"])


def by_draw(
    records: Mapping[Key, dict[str, Any]], row: str, shots: int, minutes: float | None
) -> dict[tuple[int, str], Scores]:
    """(draw, fold) -> case -> Dice of a row."""
    length = minutes if ROWS[row].trains else None
    return {(key.draw, key.fold): record["dice"] for key, record in records.items()
            if (key.row, key.shots, key.minutes) == (row, shots, length)}


if __name__ == "__main__":
    main()
