"""Which cases a run trains on, may look at and validates on.

Which slices of its training cases count as labelled.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from samunet.dataset.dataset import RawDataset
from samunet.dataset.labels import LabelSpace
from samunet.planning.groups import known_groups
from samunet.planning.shots import choose_slices, draw_shots
from samunet.planning.splits import ensure_splits, fold_cases, make_splits
from samunet.preprocessing.arrays import labels_of
from samunet.preprocessing.store import ArrayStore
from samunet.training.settings import Request


@dataclass(frozen=True)
class RunCases:
    """The cases of a run, each tuple sorted.

    Arguments:
        train: those whose labels are learned from.
        unlabelled: those whose images alone may be learned from: the fold's training cases, except those of a drawn
            patient that the draw left out; and the cases that dataset.json lists as `unlabelled`, unless patients are
            known, since theirs are not.
        val: those to validate on.
        slices: training case -> the slices whose labels are used, by their number on the plan's grid; None: all of
            every case.
    """

    train: tuple[str, ...]
    unlabelled: tuple[str, ...]
    val: tuple[str, ...]
    slices: Mapping[str, tuple[int, ...]] | None = None


def cases_of(request: Request, dataset: RawDataset, preprocessed: Path) -> RunCases:
    """The run's cases: it trains on the drawn shots that have labelled slices.

    With `request.inner` these are split by patient, as a dataset is into folds: that inner fold is validated on, the
    others train, and the fold's validation cases are not read.

    Raises:
        UserError: no such fold; more shots than cases, or more slices than show foreground.
    """
    fold, val = fold_cases(ensure_splits(dataset, preprocessed, None), request.fold, dataset)
    groups = known_groups(dataset, preprocessed) or {}
    train = _drawn(request, fold, groups)
    patients = {groups.get(name, name) for name in train}
    unlabelled = [name for name in fold if name in train or groups.get(name, name) not in patients]
    if not groups:
        unlabelled += dataset.unlabelled
    slices = None
    if request.shot_slices is not None:
        arrays = ArrayStore(preprocessed / request.plans_name / "arrays")
        shown = {name: foreground_slices(labels_of(arrays, name), dataset.labels) for name in train}
        slices = choose_slices(shown, request.shot_slices)
        train = list(slices)
    if request.inner is not None:
        inner = make_splits(train, groups or None)[request.inner]
        train, val = inner["train"], inner["val"]
        unlabelled = [name for name in unlabelled if name not in val]
    elif not request.validate:
        val = []
    train = sorted(train)
    return RunCases(tuple(train), tuple(sorted(unlabelled)), tuple(sorted(val)),
                    None if slices is None else {name: slices[name] for name in train})


def foreground_slices(segmentation: np.ndarray, labels: LabelSpace) -> list[int]:
    """The slices of `segmentation` int16 (Z, Y, X) that show any label above 0 but the ignore label."""
    return np.flatnonzero(((segmentation > 0) & labels.valid(segmentation)).any((1, 2))).tolist()


def _drawn(request: Request, fold: Sequence[str], groups: Mapping[str, str]) -> list[str]:
    """The cases that the draw takes from the fold, in the draw's order where that matters."""
    if request.shots is None and request.shot_slices is None:
        return list(fold)
    return draw_shots(fold, groups or None, request.shots or len(fold), request.draw)
