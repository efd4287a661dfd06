"""Summaries are equal to those of nnU-Net 2.8.1, for plain labels, regions and the ignore label."""

from __future__ import annotations

import itertools
import json
import math
import multiprocessing.dummy
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from segmentation_folders import IGNORE, PLAIN, REGIONS, REGIONS_IGNORE, assert_equal, folders, space, strict, write

from samunet.evaluation.evaluate import evaluate_folder

LABEL_KINDS = {
    "plain": ({"background": 0, "a": 1, "b": 2}, None),
    "regions": ({"background": 0, "both": [1, 2], "b": 2}, [1, 2]),
    "region_with_0": ({"background": 0, "rest": [0, 1], "b": [2]}, [1, 2]),
    "only_regions_with_0": ({"background": 0, "rest": [0, 1], "other": [0, 2]}, [1, 2]),
}


@pytest.mark.parametrize("ignored", [False, True], ids=["", "ignore"])
@pytest.mark.parametrize("kind", LABEL_KINDS)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_summary_equals_nnunet_for_regions_ignore_and_empty_classes(tmp_path, monkeypatch, kind, ignored):
    """Labels 1 and 2, each absent from reference, prediction, both or neither; one case that is ignored altogether."""
    pytest.importorskip("nnunetv2")
    labels, order = LABEL_KINDS[kind]
    labels = {**labels, "ignore": 3} if ignored else labels
    random = np.random.default_rng(5)
    for number, absent in enumerate(itertools.product((False, True), repeat=4)):
        for folder, kept in (("reference", absent[:2]), ("prediction", absent[2:])):
            array = random.integers(0, 3, (2, 5, 4))
            array[np.isin(array, [value for value, gone in zip((1, 2), kept, strict=True) if gone])] = 0
            if ignored and folder == "reference":
                array[random.random(array.shape) > 0.7] = 3
            write(tmp_path / folder / f"case_{number:02d}.nii.gz", array)
    for folder in ("reference", "prediction"):
        value = 3 if ignored and folder == "reference" else 0
        write(tmp_path / folder / "case_all.nii.gz", np.full((2, 5, 4), value))
    theirs = nnunet_summary(tmp_path, monkeypatch, labels, order)
    ours = evaluate_folder(tmp_path / "reference", tmp_path / "prediction", space(labels, order), ".nii.gz",
                           "SimpleITKIO",
                           tmp_path / "ours.json", 1)
    assert_equal(json.loads((tmp_path / "ours.json").read_text()), theirs)
    counted = ours["metric_per_case"][-1]["metrics"]
    assert {sum(row[key] for key in ("TP", "FP", "FN", "TN")) for row in counted.values()} == {0 if ignored else 40}


def nnunet_summary(folder: Path, monkeypatch, labels: dict, order: list[int] | None) -> dict:
    """What nnU-Net writes of `folder`/reference and `folder`/prediction."""
    from nnunetv2.evaluation import evaluate_predictions as evaluation
    from nnunetv2.imageio.simpleitk_reader_writer import SimpleITKIO
    from nnunetv2.utilities.label_handling.label_handling import LabelManager

    manager = LabelManager(labels, order)
    wanted = manager.foreground_regions if manager.has_regions else manager.foreground_labels
    # Threads in place of its processes, which take seconds to start.
    monkeypatch.setattr(evaluation, "multiprocessing", SimpleNamespace(get_context=lambda _: multiprocessing.dummy))
    evaluation.compute_metrics_on_folder(str(folder / "reference"), str(folder / "prediction"),
                                         str(folder / "nnunet.json"),
                                         SimpleITKIO(), ".nii.gz", wanted, manager.ignore_label, num_processes=1)
    return json.loads((folder / "nnunet.json").read_text())


@pytest.mark.parametrize(
    "labels, order",
    [(PLAIN, None), (IGNORE, None), (REGIONS, [1, 2, 3, 4]), (REGIONS_IGNORE, [1, 2, 3, 4])],
    ids=["plain", "ignore", "regions", "regions_ignore"],
)
@pytest.mark.filterwarnings("ignore:Mean of empty slice")
def test_summary_equals_nnunet(tmp_path, monkeypatch, labels, order):
    pytest.importorskip("nnunetv2")
    reference, prediction = folders(tmp_path, labels.get("ignore"))
    nnunet_summary(tmp_path, monkeypatch, labels, order)
    theirs = (tmp_path / "nnunet.json").read_text()

    evaluate_folder(reference, prediction, space(labels, order), ".nii.gz", "SimpleITKIO", tmp_path / "ours.json", 1)
    ours = (tmp_path / "ours.json").read_text()
    assert_equal(json.loads(ours), json.loads(theirs))
    assert ours.count("NaN") == theirs.count("NaN") > 0
    means = json.loads(theirs)["mean"]
    assert means["3"]["Dice"] == 0 and math.isnan(means["(4,)" if order else "4"]["Dice"])  # the edges are in the data
    assert list(strict(tmp_path / "ours_metrics.json")["mean"]) == [str(key) for key in space(labels, order).foreground]
