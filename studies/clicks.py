"""Clicks on real images: Dice after 1, 3 and 5 clicks, and the areas below the curves.

    python studies/clicks.py -d 4 --work clicks --minutes 10 --output studies/results/clicks.jsonl
    python studies/clicks.py -d 27 --work clicks --minutes 10 --output studies/results/clicks.jsonl

Several labels in one model: `3d_promptable`, trained on draw 0 of each number of cases, on validation cases of one
fold, grouped by patient. Beside it, prompted by the same simulated clicks (samunet_evaluate_clicks), `sam_zeroshot`,
which trains nothing, and a region grown by SimpleITK, whose parameters are chosen on the training cases of the smallest
draw. Every label gets one click a step, on its largest error. A case's score is the mean over its labels; intervals are
paired over patients.

All of it is an oracle's: the labels choose the clicks. Paths come from samunet_raw, samunet_preprocessed and
samunet_results; --work holds links to the cases that are looked at. A second call does only what is left to do. Appends
one JSON line to --output.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from click_rows import GROWN, UNTRAINED, clicked, effort, grown, labelled, row, trained
from commands import call
from record import append, facts

from samunet.cli.options import DEFAULT_PLANS_NAME
from samunet.dataset.dataset import read_dataset_json
from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import make_folder
from samunet.interaction.click_evaluation import ClickSettings
from samunet.planning.encoder_spec import DEFAULT_ENCODER
from samunet.planning.groups import kept_groups
from samunet.training.experiment import open_experiment
from samunet.training.settings import Request

SHOWN = (1, 3, 5)  # clicks after which methods are compared


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--work", type=Path, required=True, help="links to the cases, answers of grown regions")
    parser.add_argument("--fold", default="1", choices=["1", "2", "3", "4"], help="fold 0 is kept for the end")
    parser.add_argument("--shots", type=int, nargs="+", default=[5, 20])
    parser.add_argument("--minutes", type=float, default=1.0, help="of each training (default: 1)")
    parser.add_argument("--cases", type=int, default=6, help="validation cases that are clicked on (default: 6)")
    parser.add_argument("--variants", nargs="+", default=["3d_promptable", "sam_zeroshot"],
                        help="that answer clicks; the first is the one that is compared")
    parser.add_argument("--box", action="store_true", help="begin with the tight 3D box of each label")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    call("plan_and_preprocess", "-d", options.dataset, "--no_embeddings", "-np", "1")
    paths = resolve_paths()
    rows = measured(options, paths)
    name = find_dataset(paths.raw, options.dataset).name
    compare(rows, kept_groups(paths.preprocessed / name))
    print("| method | " + " | ".join(f"Dice after {clicks}" for clicks in SHOWN) + " | NSD area |\n|---|"
          + "---|" * (len(SHOWN) + 1))
    for method, found in rows.items():
        print(f"| {method} | " + " | ".join(f"{found['dice'][clicks]:.3f}" for clicks in SHOWN)
              + f" | {found['NSD_area']:.3f} |")
    append(options.output, facts() | {
        "dataset": name, "oracle": True, "fold": options.fold, "minutes": options.minutes, "box": options.box,
        "seed": options.seed, "threads": options.threads, "rows": rows})


def measured(options: argparse.Namespace, paths: Paths) -> dict[str, dict[str, Any]]:
    """A row for each method and number of cases, the compared one's first."""
    settings = ClickSettings(box=options.box)
    raw = find_dataset(paths.raw, options.dataset)
    training, validation = cases_of(options, paths)
    chosen = spread(validation, options.cases)
    key = f"{raw.name}_fold{options.fold}_{len(chosen)}cases{'_box' * options.box}"
    images, references = linked(raw, chosen, options.work / key)
    rows = {}
    for variant in options.variants:
        for shots in options.shots if variant not in UNTRAINED else options.shots[:1]:
            run = trained(options.dataset, variant, options.fold, options.minutes, options.seed, shots)
            found = row(clicked(run, images, references, key, settings))
            rows[variant if variant in UNTRAINED else f"{variant}, {shots} cases"] = found | (
                {} if variant in UNTRAINED else effort(run))
    labels = read_dataset_json(raw / "dataset.json")[1]
    found = grown(options.work / f"{key}_grown.json", labelled(raw / "imagesTr", raw / "labelsTr", training),
                  labelled(images, references, chosen), labels, settings)
    rows[GROWN] = row(found) | {"parameters": found["parameters"], "train_cases": len(training)}
    return rows


def cases_of(options: argparse.Namespace, paths: Paths) -> tuple[Sequence[str], Sequence[str]]:
    """The training cases of the smallest draw, and the fold's validation cases."""
    request = Request(options.dataset, "unet", options.fold, DEFAULT_ENCODER, DEFAULT_PLANS_NAME,
                      shots=min(options.shots), seed=options.seed)
    experiment = open_experiment(request, paths)
    return experiment.train_cases, experiment.val_cases


def spread(names: Sequence[str], count: int) -> list[str]:
    """At most `count` of `names`, evenly spaced."""
    names = sorted(names)
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def linked(raw: Path, names: Sequence[str], folder: Path) -> tuple[Path, Path]:
    """Folders of links to the images and to the labels of training cases `names`."""
    images, references = make_folder(folder / "images"), make_folder(folder / "labels")
    for name in names:
        for source in [*(raw / "imagesTr").glob(f"{name}_[0-9][0-9][0-9][0-9].nii.gz"),
                       raw / "labelsTr" / f"{name}.nii.gz"]:
            link = (references if source.parent.name == "labelsTr" else images) / source.name
            if not link.exists():
                link.symlink_to(source.resolve())
    return images, references


def compare(rows: dict[str, dict[str, Any]], groups: Mapping[str, str] | None) -> None:
    """Add to each row but the first how far the first is ahead of it after 1, 3 and 5 clicks, paired over patients."""
    first, *others = rows
    for other in others:
        rows[other]["first_ahead"] = {
            clicks: asdict(paired_interval([paired_differences(
                *({case: dice[clicks] for case, dice in rows[method]["cases"].items()} for method in (first, other)),
                groups)])) for clicks in SHOWN}


if __name__ == "__main__":
    main()
