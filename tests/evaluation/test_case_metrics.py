"""The metrics of one case, from arrays: by hand, and against those of the whole volume."""

from __future__ import annotations

import numpy as np
import pytest

from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.evaluation.case_metrics import case_metrics, case_overlap
from samunet.evaluation.surface import surface_metrics

LABELS = LabelSpace({"background": 0, "one": 1})


def test_overlap_alone_by_hand_and_as_of_all_metrics() -> None:
    """Label 1: two voxels of the reference, one of them predicted; the prediction's second is where it is ignored."""
    labels = LabelSpace({"background": 0, "one": 1, "never": 2, "ignore": 3})
    reference, prediction = np.array([[[1, 1, 0, 3]]], np.int16), np.array([[[1, 0, 0, 1]]], np.int16)
    found = case_overlap(reference, prediction, labels)
    assert found["1"] == {"Dice": pytest.approx(2 / 3), "IoU": 0.5, "TP": 1, "FP": 0, "FN": 1, "TN": 1, "n_pred": 1,
                          "n_ref": 2}
    assert np.isnan(found["2"]["Dice"])
    every = case_metrics(reference, prediction, Geometry("SimpleITKIO", (1, 1, 4), (1.0, 1.0, 1.0)), labels, 1.0)
    np.testing.assert_equal(found, every.overlap)


@pytest.mark.parametrize("plane", [0, 2, 4], ids=["first", "middle", "last"])
def test_an_object_in_one_slice_of_a_volume_is_measured_as_a_volume(plane):
    """Two squares of 10 x 10 voxels, 4 columns apart, in the same slice.

    Every voxel is at the border, so each side's mean distance is (1 + 2 + 3 + 4 + 6 x 0) / 10; of the contours alone it
    is 2.
    """
    reference, prediction = np.zeros((5, 30, 30), np.int16), np.zeros((5, 30, 30), np.int16)
    reference[plane, 10:20, 8:18] = prediction[plane, 10:20, 12:22] = 1
    geometry = Geometry("SimpleITKIO", (5, 30, 30), (5.0, 1.0, 1.0), (0.0,) * 3, tuple(np.eye(3).ravel().tolist()))
    found = case_metrics(reference, prediction, geometry, LABELS, 1.0).surface["1"]
    whole = surface_metrics(reference == 1, prediction == 1, geometry.spacing_mm, 1.0)
    assert (found["HD95_mm"], found["ASSD_mm"], found["NSD"]) == (whole.hd95_mm, whole.assd_mm, whole.nsd)
    assert found["ASSD_mm"] == pytest.approx(1.0) and found["NSD"] == pytest.approx(0.700, abs=5e-4)


@pytest.mark.parametrize("spacing_mm", [(999.0, 1.0, 1.0), (999 * 0.7, 0.5, 0.7), (999 * 2.0, 2.0, 2.0)])
def test_2d_files_have_no_volume_whatever_their_pixels(spacing_mm):
    reference, prediction = np.zeros((1, 6, 6), np.int16), np.zeros((1, 6, 6), np.int16)
    reference[0, 1, 1:3] = prediction[0, 1, 1] = 1
    found = case_metrics(reference, prediction, Geometry("SimpleITKIO", (1, 6, 6), spacing_mm), LABELS,
                         1.0).surface["1"]
    assert np.isnan(found["volume_error_ml"]) and found["relative_volume_error"] == -0.5
    thick = Geometry("SimpleITKIO", (1, 6, 6), (5.0, 2.0, 1.0))  # one slice of a scan: 10 mm3, 0.01 ml
    found = case_metrics(reference, prediction, thick, LABELS, 1.0).surface["1"]
    assert found["volume_error_ml"] == pytest.approx(-0.01)
