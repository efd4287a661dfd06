"""Dice over the cost of encoding: heads on embeddings of coarser and finer tokens, paired on the same cases.

    samunet_plan_and_preprocess -d 4 --no_embeddings
    python studies/encoding_cost.py -d 4 --choices 59x43@256 59x43@128 59x43@96 --output encoding_cost.jsonl

A choice is ROWSxCOLUMNS@PIXELS or ROWSxCOLUMNS@PIXELS/STEP: the tile in voxels, the side of the encoder's input, and
the distance of neighbouring tiles as a fraction of a tile (0.5). The first choice is what the others are compared with.
Every head trains the same iterations on the same 5 cases (draw 0) and as many views of each, and is validated on the
same `--cases` of the fold's validation cases, evenly spread over the sorted list. Encoding is timed in processor
seconds, of the validation cases alone, from an empty cache; tiles, tokens and MB are counted over all cases of the
dataset.

Each job that ends appends one line to `--output`; jobs that have a line are not run again. Plans, folds, embeddings and
results are in folders of their own, `encoding_cost` in samunet_preprocessed and samunet_results.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import mean
from typing import Any

import torch
from encoder_gain import PLANS, case_dice
from record import append, facts

from samunet.dataset.paths import Paths, find_dataset, resolve_paths
from samunet.evaluation.statistics import paired_differences, paired_interval
from samunet.files import make_folder, read_json, write_json
from samunet.networks.checkpoints.encoders import encoder_spec
from samunet.planning.cache_rules import bytes_per_picture
from samunet.planning.encoder_spec import DEFAULT_ENCODER, PATCH_SIZE
from samunet.planning.groups import kept_groups
from samunet.planning.plans import Plans
from samunet.preprocessing.store import ArrayStore
from samunet.preprocessing.views import clean_images
from samunet.training.experiment import open_experiment
from samunet.training.run import ensure_trained
from samunet.training.settings import Request

FOLDER = "encoding_cost"
SHOTS = 5
ENCODE = "encode"  # the job that times the encoder; the others are variants
LINKED = ("dataset.json", "dataset_fingerprint.json", "groups.json", "gt_segmentations")
_CHOICE = re.compile(r"(\d+)x(\d+)@(\d+)(?:/([\d.]+))?")


@dataclass(frozen=True)
class Key:
    """What makes two jobs the same."""

    dataset: str
    encoder: str
    choice: str
    job: str
    fold: str
    cases: int
    views: int
    iterations: int


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    paths, spec = resolve_paths(), encoder_spec(options.encoder)
    name = find_dataset(paths.raw, options.dataset).name
    real = paths.preprocessed / name
    own = own_paths(paths)
    folder = make_folder(own.preprocessed / name)
    linked(real, folder, options.cases)
    records = stored(options.output)
    for fold in options.folds:
        for choice in options.choices:
            for job in (ENCODE, *options.heads):
                key = Key(name, spec.id, choice, job, fold, options.cases, options.views, options.iterations)
                if key not in records:
                    append(options.output, made(key, options.encoder, own, folder))
    shared = (name, spec.id, options.cases, options.views, options.iterations)
    comparable = {key: record for key, record in stored(options.output).items()
                  if (key.dataset, key.encoder, key.cases, key.views, key.iterations) == shared}
    print(table(comparable, options.choices, kept_groups(real)))


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-d", dest="dataset", required=True)
    parser.add_argument("--choices", nargs="+", required=True, metavar="ROWSxCOLUMNS@PIXELS[/STEP]")
    parser.add_argument("--encoder", default=DEFAULT_ENCODER)
    parser.add_argument("--heads", nargs="+", default=["cnn_head", "autosam"])
    parser.add_argument("--folds", nargs="+", default=["1", "2"], help="never 0, which is for final figures")
    parser.add_argument("--cases", type=int, default=10, help="validation cases of a fold")
    parser.add_argument("--views", type=int, default=1, help="of each training case")
    parser.add_argument("--iterations", type=int, default=120)
    parser.add_argument("--output", type=Path, required=True, help="a JSON line is appended for each job")
    return parser.parse_args()


def own_paths(paths: Paths) -> Paths:
    """Folders in which nothing else is planned or trained."""
    return replace(paths, preprocessed=paths.preprocessed / FOLDER, results=paths.results / FOLDER)


def linked(real: Path, folder: Path, cases: int) -> None:
    """The dataset's preprocessed files in `folder`, whose folds have `cases` of their validation cases each."""
    for name in LINKED:
        if (real / name).exists() and not (folder / name).exists():
            (folder / name).symlink_to(real / name)
    splits = read_json(real / "splits_final.json")
    write_json(folder / "splits_final.json",
               [{"train": fold["train"], "val": spread(fold["val"], cases)} for fold in splits])
    Plans.load(real / f"{PLANS}.json").save(folder / f"{PLANS}.json")
    link_arrays(real, folder, PLANS)


def link_arrays(real: Path, folder: Path, plans_name: str) -> None:
    """Arrays hang on the dataset's part of a plan alone, so all choices share them."""
    arrays = make_folder(folder / plans_name) / "arrays"
    if not arrays.exists():
        arrays.symlink_to((real / PLANS / "arrays").resolve())


def spread(names: Sequence[str], count: int) -> list[str]:
    """`count` names, evenly spread over the list; all, where there are fewer."""
    count = min(count, len(names))
    return [names[index * len(names) // count] for index in range(count)]


def made(key: Key, encoder: str, own: Paths, folder: Path) -> dict[str, Any]:
    """Run one job; what is recorded of it."""
    plans_name = planned(key, encoder, own, folder)
    started = time.process_time()
    if key.job == ENCODE:
        experiment = open_experiment(request_of(key, encoder, plans_name, "cnn_head"), own)
        shutil.rmtree(folder / plans_name / "embeddings", ignore_errors=True)  # what is cached takes no time
        started = time.process_time()
        experiment.embeddings(experiment.val_cases)
        found = counted(experiment.store, experiment.plans, key.encoder)
        found["encode_seconds_per_case"] = (time.process_time() - started) / len(experiment.val_cases)
    else:
        request = request_of(key, encoder, plans_name, key.job)
        ensure_trained(request, own, trained_by=FOLDER, workers=1)
        run = (own.results / key.dataset / f"{key.job}__{plans_name}__{key.encoder}" / f"shots{SHOTS}_draw0"
               / f"fold_{key.fold}")
        found = {"dice": case_dice(read_json(run / "validation" / "summary.json")),
                 "training_seconds": read_json(run / "run.json")["seconds"]["training"],
                 "run_views": read_json(run / "run.json").get("views", 0)}
    return facts() | {"key": vars(key), "core_seconds": time.process_time() - started} | found


def planned(key: Key, encoder: str, own: Paths, folder: Path) -> str:
    """Write the plans of a choice and fold, whose budget of views is that of `key.views`; returns their name."""
    rows, columns, pixels, step = choice_of(key.choice)
    plans_name = f"tile{rows}x{columns}at{pixels}step{step:g}_fold{key.fold}".replace(".", "")
    plans = Plans.load(folder / f"{PLANS}.json")
    section = replace(plans.for_encoder(key.encoder), tile_shape=(rows, columns), input_size=pixels, tile_step=step)
    train = open_experiment(request_of(key, encoder, PLANS, "label_prior"), own).train_cases
    store = ArrayStore(folder / PLANS / "arrays")
    clean = sum(clean_images(store.properties(name), plans.dataset, section) for name in train)
    section = replace(section, view_pictures=key.views * clean)
    replace(plans, plans_name=plans_name, encoders={key.encoder: section}).save(folder / f"{plans_name}.json")
    link_arrays(folder, folder, plans_name)
    return plans_name


def choice_of(text: str) -> tuple[int, int, int, float]:
    """Rows, columns, pixels and step of a choice."""
    found = _CHOICE.fullmatch(text)
    if found is None:
        raise SystemExit(f"a choice is ROWSxCOLUMNS@PIXELS[/STEP], not {text}")
    return int(found[1]), int(found[2]), int(found[3]), float(found[4] or 0.5)


def request_of(key: Key, encoder: str, plans_name: str, variant: str) -> Request:
    """The run of a job, or another on its cases."""
    trains = variant != "label_prior"
    return Request(key.dataset, variant, key.fold, encoder, plans_name, shots=SHOTS,
                   iterations=key.iterations if trains else None)


def counted(store: ArrayStore, plans: Plans, encoder: str) -> dict[str, float]:
    """Of a case in the mean: encoder images, tokens, and MB of the cache; over all cases that are preprocessed."""
    section = plans.for_encoder(encoder)
    images = mean(clean_images(store.properties(name), plans.dataset, section) for name in store.names())
    return {"images_per_case": images, "tokens_per_case": images * (section.input_size // PATCH_SIZE) ** 2,
            "mb_per_case": images * bytes_per_picture(section.input_size, section.cache_dtype) / 1e6,
            "voxels_per_token": max(section.tile_shape) * PATCH_SIZE / section.input_size}


def stored(path: Path) -> dict[Key, dict[str, Any]]:
    """The lines of earlier jobs; of a job that has several, the last."""
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return {Key(**record["key"]): record for record in map(json.loads, lines)}


def table(
    records: Mapping[Key, dict[str, Any]], choices: Sequence[str], groups: Mapping[str, str] | None
) -> str:
    """A row for each choice: cost, Dice of each head, and its difference from the first choice with an interval."""
    heads = [*dict.fromkeys(key.job for key in records if key.job != ENCODE)]
    columns = [part for head in heads for part in (f"`{head}`", "difference")]
    lines = ["| choice | voxels a token | tokens a case | s a case | MB a case | " + " | ".join(columns) + " |",
             "|---|" + "---|" * (4 + len(columns))]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows(records, choices, heads, groups)]
    return "\n".join(lines)


def rows(
    records: Mapping[Key, dict[str, Any]], choices: Sequence[str], heads: Sequence[str],
    groups: Mapping[str, str] | None,
) -> Iterator[list[str]]:
    """The cells of `table`."""
    for choice in choices:
        costs = [record for key, record in records.items() if (key.choice, key.job) == (choice, ENCODE)]
        if not costs:
            continue
        seconds = mean(record["encode_seconds_per_case"] for record in costs)
        cells = [f"`{choice}`", f"{costs[0]['voxels_per_token']:.1f}", f"{costs[0]['tokens_per_case']:.0f}",
                 f"{seconds:.2f}", f"{costs[0]['mb_per_case']:.2f}"]
        for head in heads:
            ours, first = (dice_of(records, each, head) for each in (choice, choices[0]))
            common = sorted(ours.keys() & first.keys())
            cells += [f"{mean(ours.values()):.3f}" if ours else "", ""]
            if common and choice != choices[0]:
                cells[-1] = str(paired_interval([paired_differences(
                    {case: ours[case] for case in common}, {case: first[case] for case in common}, groups)]))
        yield cells


def dice_of(records: Mapping[Key, dict[str, Any]], choice: str, head: str) -> dict[str, float]:
    """Case -> Dice of all folds of a choice and head; folds have no validation case in common."""
    return {case: dice for key, record in records.items() if (key.choice, key.job) == (choice, head)
            for case, dice in record["dice"].items()}


if __name__ == "__main__":
    main()
