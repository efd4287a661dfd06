"""Labels of unlabelled cases: what is decided is kept, what is not counts nowhere, and a case's own label is not looked
at.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from samunet.benchmarking.results import marked
from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.dataset.paths import Paths
from samunet.files import read_json
from samunet.preprocessing.store import ArrayStore
from samunet.training.experiment import open_experiment
from samunet.training.run import train_model
from samunet.training.settings import Request
from samunet.variants.pseudo_labels import agreed_labels, with_pseudo_labels

REQUEST = Request("5", "hybrid_selftrain", "0", "untrained", "tiny", iterations=2, shots=1)


def voting(labels: LabelSpace, shares: list[list[float]]) -> SimpleNamespace:
    """An atlas whose votes for three voxels have these shares, a row for each channel; where all are 0 nobody knows a
    label.
    """
    votes = torch.tensor(shares)[:, None, None]
    logits = votes.logit(1e-4) if labels.has_regions else votes.clamp(min=1e-4).log()
    return SimpleNamespace(labels=labels, answer=lambda _: (logits, votes.any(0).numpy()))


def test_what_less_than_seven_tenths_of_the_votes_say_is_left_out() -> None:
    plain = LabelSpace({"background": 0, "a": 1, "b": 2})
    atlas = voting(plain, [[0.8, 0.1, 0.05], [0.1, 0.65, 0.05], [0.1, 0.25, 0.9]])
    assert agreed_labels(atlas, None).tolist() == [[[[0, UNANNOTATED, 2]]]]  # type: ignore[arg-type]


def test_of_many_classes_of_which_none_is_likely_none_is_decided() -> None:
    labels = LabelSpace({"background": 0, **{name: number for number, name in enumerate("abcd", 1)}})
    atlas = voting(labels,
                   [[0.2, 0.72, 0.31], [0.2, 0.07, 0.27], [0.2, 0.07, 0.14], [0.2, 0.07, 0.14], [0.2, 0.07, 0.14]])
    assert agreed_labels(atlas, None).tolist() == [[[[UNANNOTATED, 0, UNANNOTATED]]]]  # type: ignore[arg-type]


def test_regions_are_decided_one_by_one() -> None:
    nested = LabelSpace({"background": 0, "whole": (1, 2), "core": 2}, (1, 2))
    atlas = voting(nested, [[0.9, 0.9, 0.1, 0.0], [0.9, 0.5, 0.1, 0.0]])
    found = agreed_labels(atlas, None)  # type: ignore[arg-type]
    assert found.tolist() == [[[[2, UNANNOTATED, 0, UNANNOTATED]]]] and found.dtype == np.int16


@pytest.fixture
def paths(prepared: Path, tmp_path: Path) -> Paths:
    return Paths(prepared / "raw", prepared / "preprocessed", tmp_path / "results")


def test_other_patients_of_the_fold_get_labels_and_their_own_are_not_looked_at(
    paths: Paths, tmp_path: Path, monkeypatch
) -> None:
    experiment = open_experiment(REQUEST, paths)
    [drawn] = experiment.train_cases
    read: list[str] = []
    original = ArrayStore.segmentation
    monkeypatch.setattr(ArrayStore, "segmentation", lambda store, name: read.append(name) or original(store, name))
    labelled, names = with_pseudo_labels(experiment.data({}), tmp_path)
    assert names and drawn not in names and not {*names} & {*experiment.val_cases}
    assert {path.stem for path in tmp_path.glob("*.npy")} == {*names}
    marks = {name: np.full_like(np.load(tmp_path / f"{name}.npy"), 7) for name in names}
    for name, mark in marks.items():
        np.save(tmp_path / f"{name}.npy", mark)
    again, _ = with_pseudo_labels(experiment.data({}), tmp_path)  # files that are there are kept
    for name in names:
        assert (again.arrays.segmentation(name) == 7).all() and (again.arrays.load(name).segmentation == 7).all()
    np.testing.assert_array_equal(again.segmentation(drawn), experiment.segmentation(drawn))
    assert labelled.train_cases == experiment.train_cases


def test_the_run_tells_whose_labels_it_carried_and_leaves_no_files(paths: Paths) -> None:
    train_model(REQUEST, paths, must_continue=False, workers=1)
    [folder] = paths.results.rglob("fold_0")
    run = read_json(folder / "run.json")
    assert run["pseudo_labelled_cases"] and not {*run["pseudo_labelled_cases"]} & {*run["train_cases"],
                                                                                   *run["val_cases"]}
    assert not (folder / "pseudo_labels").exists()
    assert marked("hybrid_selftrain", [run]) == "hybrid_selftrain (unlabelled data)"
    assert marked("hybrid", [{"settings": run["settings"]}]) == "hybrid"


def test_where_all_cases_are_labelled_only_those_listed_as_unlabelled_are_left(paths: Paths, tmp_path: Path) -> None:
    experiment = open_experiment(replace(REQUEST, shots=None), paths)
    assert with_pseudo_labels(experiment.data({}), tmp_path)[1] == ("b2",)
