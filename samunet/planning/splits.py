"""Cross-validation folds: nnU-Net's own for ungrouped cases, the same rule over patients where they are known."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from samunet.console import say
from samunet.errors import UserError, joined, some
from samunet.files import read_json, write_json
from samunet.planning.groups import GROUPS_JSON, covering, keep_groups, known_groups
from samunet.schema import decode

if TYPE_CHECKING:
    from samunet.dataset.dataset import RawDataset

FOLDS = 5
SPLIT_SEED = 12345
SPLITS_FILE = "splits_final.json"
MEND = "Correct the file, or delete it: it is written again."
ALL = "all"

Split = dict[str, list[str]]


def make_splits(names: Sequence[str], groups: Mapping[str, str] | None) -> list[Split]:
    """Five folds, or as many as there are patients below five; none for one patient (then only fold `all` exists).

    nnU-Net's rule: `KFold(5, shuffle=True, random_state=12345)` over the sorted ids. With `groups` (case -> patient)
    the rule runs over the patients, sorted as strings, so that one patient never stands on both sides.

    Returns:
        For each fold {"train": [...], "val": [...]}, both sorted.
    """
    patient_of = {name: name if groups is None else str(groups[name]) for name in names}
    patients = np.sort(sorted(set(patient_of.values()))) if names else np.array([], str)
    count = min(FOLDS, len(patients))
    if count < 2:
        return []
    splits = []
    for places in _folds(len(patients), count):
        held_out = set(patients[places].tolist())
        ordered = sorted(patient_of)
        splits.append(
            {
                "train": [name for name in ordered if patient_of[name] not in held_out],
                "val": [name for name in ordered if patient_of[name] in held_out],
            }
        )
    return splits


def _folds(items: int, count: int) -> list[np.ndarray]:
    """scikit-learn's shuffled KFold: held-out places of each fold; the first `items % count` folds have one more."""
    order = np.arange(items)
    np.random.RandomState(SPLIT_SEED).shuffle(order)
    return np.array_split(order, count)


def ensure_splits(dataset: RawDataset, folder_preprocessed: Path, groups: Mapping[str, str] | None) -> list[Split]:
    """The folds of `dataset`: those of `splits_final.json` if there is one, else new ones, which are written.

    A file in the preprocessed folder wins; one beside dataset.json is copied there. An empty one, as is written while
    one patient alone is labelled, counts as none. Only labelled cases take part. Groups are kept in the preprocessed
    folder beside the splits; without `groups` the kept ones are used, else those of a `groups.csv` beside dataset.json.

    Raises:
        UserError: an existing file that is no list of folds, names unknown or unlabelled cases, has a case twice, on
            one side or on both, an empty side, or differs from the one beside dataset.json; a `groups.csv` that leaves
            a case out.
    """
    path = folder_preprocessed / SPLITS_FILE
    given = dataset.folder / SPLITS_FILE
    names = labelled_names(dataset)
    told = groups is not None
    groups = groups if told else known_groups(dataset, folder_preprocessed)
    if groups is not None:
        groups = covering(
            groups, names, str(folder_preprocessed / GROUPS_JSON), "Give --groups again to samunet_plan_experiment."
        )
    splits, splits_given = (read_splits(file, names) if file.is_file() else [] for file in (path, given))
    if splits:
        _must_agree(splits, path, splits_given, given)
    else:
        splits = splits_given or make_splits(names, groups)
        if splits or not path.is_file():
            write_json(path, splits)
    if groups is not None:
        try:
            keep_groups(folder_preprocessed, groups)
        except UserError:
            if told:
                raise
            # Trained on what may only be read; `known_groups` finds them there the next time, too.
        _warn_of_leaks(splits, groups, path)
    _warn_of_absent(splits, names, path)
    return splits


def read_splits(path: Path, names: Sequence[str]) -> list[Split]:
    """Read and check a `splits_final.json` against the labelled cases `names`; every problem is reported at once."""
    folds = decode(list[_Fold], read_json(path), where=path, mend=MEND,
                   rule='A splits file must be a list of {"train": [names], "val": [names]}.')
    known = set(names)
    problems = [problem for number, fold in enumerate(folds)
                for problem in _fold_problems(fold, f"{path}, fold {number}", known)]
    if problems:
        raise joined(problems)
    return [{"train": fold.train, "val": fold.val} for fold in folds]


@dataclass(frozen=True)
class _Fold:
    train: list[str]
    val: list[str]


def _fold_problems(fold: _Fold, where: str, known: set[str]) -> list[UserError]:
    sides = {"train": fold.train, "val": fold.val}
    twice = [f"{name} ({side})" for side, cases in sides.items() for name, count in Counter(cases).items() if count > 1]
    broken = {
        "Folds must name labelled cases of the dataset.": sorted({*fold.train, *fold.val} - known),
        "No case may be in train and val of one fold.": sorted(set(fold.train) & set(fold.val)),
        "No case may be twice on one side of a fold: it would count twice.": twice,
        "Both sides of a fold must have cases.": [f"no {side}" for side, cases in sides.items() if not cases],
    }
    return [UserError(rule, where=where, found=some(found), mend=MEND) for rule, found in broken.items() if found]


def fold_cases(splits: Sequence[Split], fold: str, dataset: RawDataset) -> tuple[list[str], list[str]]:
    """(training, validation) case names of `fold`, "0", "1", ... or "all", where both are all labelled cases.

    Raises:
        UserError: no such fold; lists what there is.
    """
    if fold == ALL:
        names = labelled_names(dataset)
        return names, list(names)
    known = [str(number) for number in range(len(splits))]
    if fold not in known:
        raise UserError(
            "The fold must be one that exists.",
            where="FOLD",
            found=fold,
            mend=f"Choose one of: {', '.join([*known, ALL])}.",
        )
    split = splits[int(fold)]
    return list(split["train"]), list(split["val"])


def labelled_names(dataset: RawDataset) -> list[str]:
    """Names of the cases that have a label and are not listed as unlabelled, sorted."""
    return sorted(case.name for case in dataset.cases if case.label is not None and case.name not in dataset.unlabelled)


def _must_agree(splits: list[Split], path: Path, given: list[Split], given_path: Path) -> None:
    """As in nnU-Net, the preprocessed file may have more folds, but the raw folder's must be its first."""

    def sides(folds: list[Split]) -> list[tuple[set[str], set[str]]]:
        return [(set(fold["train"]), set(fold["val"])) for fold in folds]

    if sides(splits)[: len(given)] != sides(given):
        raise UserError(
            "A dataset must not have two splits files that disagree.",
            where=path,
            found=f"other folds than {given_path}",
            mend="Delete the one that is not meant; models trained so far used the former.",
        )


def _warn_of_leaks(splits: list[Split], groups: Mapping[str, str], path: Path) -> None:
    torn: set[str] = set()
    for split in splits:
        torn |= {groups[name] for name in split["train"]} & {groups[name] for name in split["val"]}
    if torn:
        say(
            f"warning: {path} puts patients on both sides of a fold: {some(sorted(torn))}. "
            "Delete it to split by patient."
        )


def _warn_of_absent(splits: list[Split], names: Sequence[str], path: Path) -> None:
    absent = (
        sorted(set(names) - {name for split in splits for side in split.values() for name in side}) if splits else []
    )
    if absent:
        say(f"warning: labelled cases that are in no fold of {path}: {some(absent)}.")
