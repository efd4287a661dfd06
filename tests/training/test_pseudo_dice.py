"""The pseudo-Dice by hand, that it changes no weight, and which runs have one."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from whole_runs import REQUEST, model, start

from samunet.dataset.labels import LabelSpace
from samunet.dataset.paths import Paths
from samunet.inference.model_weights import CHECKPOINT
from samunet.planning.tiles import TileFrame
from samunet.training import run
from samunet.training.pseudo_dice import PseudoDice, Windows, first_around, overlaps, windows_of

PLAIN = LabelSpace.from_dataset_json({"labels": {"background": 0, "one": 1, "two": 2}})
IGNORING = LabelSpace.from_dataset_json({"labels": {"background": 0, "one": 1, "ignore": 2}})
REGIONS = LabelSpace.from_dataset_json(
    {"labels": {"background": 0, "whole": [1, 2], "core": [2]}, "regions_class_order": [1, 2]})


class Fixed:
    """A variant whose logits are its inputs."""

    def __init__(self, labels: LabelSpace, slices: int = 1) -> None:
        self.labels, self.slices, self.network = labels, slices, nn.Linear(1, 1)

    def logits(self, inputs: Tensor) -> Tensor:
        assert not self.network.training and not torch.is_grad_enabled()
        return inputs


def test_the_dice_of_all_windows_by_hand() -> None:
    # Class 1: 2 voxels of the reference, 3 predicted, 2 in common: 4 / 5. Class 2: 1, 2, 1: 2 / 3.
    reference = np.array([[[[0, 1, 1, 0]]], [[[0, 0, 2, 0]]]], np.int16)
    predicted = torch.tensor([[[0, 1, 1, 1]], [[0, 2, 2, 0]]])
    logits = nn.functional.one_hot(predicted, 3).movedim(-1, 1).float()
    windows = [Windows(logits[index : index + 1], reference[index : index + 1]) for index in (0, 1)]
    variant = Fixed(PLAIN)
    assert PseudoDice(variant, windows).now() == pytest.approx((4 / 5 + 2 / 3) / 2)
    assert variant.network.training


def test_a_class_that_nobody_shows_does_not_count_and_windows_without_any_have_none() -> None:
    logits, empty = torch.tensor([[[[0.0, 0]], [[1, -1]], [[-2, -2]]]]), np.zeros((1, 1, 1, 2), np.int16)
    assert PseudoDice(Fixed(PLAIN), [Windows(logits, np.array([[[[1, 0]]]], np.int16))]).now() == 1
    missed = np.array([[[[1, 2]]]], np.int16)  # of class 2 none is found, which counts: (1 + 0) / 2
    assert PseudoDice(Fixed(PLAIN), [Windows(logits, missed)]).now() == 0.5
    background = logits - torch.tensor([0.0, 9, 9]).view(1, 3, 1, 1)
    assert np.isnan(PseudoDice(Fixed(PLAIN), [Windows(background, empty)]).now())


def test_ignored_voxels_do_not_count_and_regions_overlap() -> None:
    assert overlaps(np.array([1, 1, 0]), np.array([1, 2, 0]), IGNORING).tolist() == [[1, 2]]
    assert overlaps(np.array([1, 2, 0]), np.array([2, 2, 1]), REGIONS).tolist() == [[2, 5], [1, 3]]


@pytest.mark.parametrize(("plane", "slices", "depth", "first"), [
    (5, 1, 9, 5), (5, 3, 9, 4), (0, 3, 9, 0), (8, 3, 9, 6), (1, 5, 3, -1), (0, 4, 3, 0)])
def test_the_slices_around_one_by_hand(plane: int, slices: int, depth: int, first: int) -> None:
    assert first_around(plane, slices, depth) == first


def test_windows_are_spread_over_the_slices_with_foreground_and_show_most_of_it() -> None:
    segmentation = np.zeros((10, 4, 8), np.int16)
    segmentation[4:8, 1, 6] = 1  # in the right tile
    read: list = []
    inputs = SimpleNamespace(frame=TileFrame((4, 8), (4, 4), 1.0), read=lambda places: read.extend(places) or "read")
    windows = windows_of(inputs, segmentation, Fixed(PLAIN, slices=3), 2)
    assert read == [(4, 1), (6, 1)] and windows.inputs == "read"
    assert windows.segmentation.shape == (2, 3, 4, 4) and windows.segmentation.sum() == 5
    assert windows.segmentation[:, :, 1, 2].tolist() == [[1, 1, 1], [1, 1, 0]]


@pytest.mark.parametrize("variant", ["linear_head", "fewshot"])
def test_weights_are_the_same_with_and_without(paths: Paths, variant: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("samunet.training.trainer.ITERATIONS_PER_EPOCH", 5)  # between two lines of the log
    request, weights = replace(REQUEST, variant=variant, iterations=8), []
    for disabled in (False, True):
        if disabled:
            monkeypatch.setattr(run, "pseudo_dice_of", lambda experiment, variant: None)
        start(request, paths)
        fold = model(paths, variant) / "fold_0"
        weights.append((fold / CHECKPOINT).read_bytes())
        lines = [json.loads(line) for line in (fold / "log.jsonl").read_text().splitlines()]
        assert [0 <= line.get("pseudo_dice", -1) <= 1 for line in lines] == [not disabled] * 2
        shutil.rmtree(fold)
    assert weights[0] == weights[1]


def test_a_run_without_validation_has_none(paths: Paths, finished: Path) -> None:
    start(replace(REQUEST, validate=False), paths)
    assert "pseudo_dice" not in (model(paths) / "fold_0" / "log.jsonl").read_text()
    assert "pseudo_dice" in (finished / "log.jsonl").read_text()
