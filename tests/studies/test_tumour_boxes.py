"""The synthetic tumours and the comparison of rows, by hand."""

from __future__ import annotations

import argparse
import json

import numpy as np
import SimpleITK as sitk
from scipy.ndimage import label


def test_tumours_and_their_boxes(script, tmp_path) -> None:
    made = script("made_tumours")
    made.make_datasets(tmp_path, 1, 1, 0)
    name = "made_001"
    segmentation = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / made.PLAIN / "labelsTs" / f"{name}.nii.gz")))
    z, y, x = (np.flatnonzero(segmentation.any(tuple({0, 1, 2} - {axis}))) for axis in range(3))
    [box] = json.loads((tmp_path / "boxes0.json").read_text())["cases"][name]["tumour"]["boxes"]
    assert box == {"min": [x[0], y[0], z[0]], "max": [x[-1], y[-1], z[-1]]}
    shown = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / made.BOXED / "imagesTs0" / f"{name}_0001.nii.gz")))
    assert shown.sum() == len(z) * len(y) * len(x) and shown[segmentation > 0].all()
    [wider] = json.loads((tmp_path / "boxes10.json").read_text())["cases"][name]["tumour"]["boxes"]
    assert wider["min"][0] == max(x[0] - 0.1 * len(x), 0) or np.isclose(wider["min"][0], x[0] - 0.1 * len(x))
    # The same again, and nothing of the test case's label in the files of training cases.
    first = (tmp_path / made.BOXED / "imagesTr" / "made_000_0001.nii.gz").read_bytes()
    made.make_datasets(tmp_path / "again", 1, 1, 0)
    assert (tmp_path / "again" / made.BOXED / "imagesTr" / "made_000_0001.nii.gz").read_bytes() == first


def test_a_tumour_is_one_of_five_alike_and_an_ellipsoid_is_no_answer(script) -> None:
    made = script("made_tumours")
    segmentation, image = made.made_case(np.random.default_rng([3]))
    without = made.made_case(np.random.default_rng([3]), 0.0)[1]
    core = image - without
    assert np.allclose(np.unique(core.round(2)),
                       [0, made.CORE]) and (segmentation[core > 1] == 1).all() and 0 < (core
                                                                                        > 1).sum() < segmentation.sum()
    smooth = image - image.mean()
    assert smooth[segmentation > 0].mean() > 0.5 * made.CONTRAST and label(segmentation)[1] == 1
    # all eight middles lie 0.87 of the radius away
    assert made.ellipsoid(np.array([[0.0, 0.0, 0.0], [2.0, 2.0, 2.0]])).sum() == 8
    # middles from 0.5 on, below the end
    assert made.box_image(np.array([[0.0, 0.6, 0.5], [2.0, 2.6, 2.5]])).sum() == 2 * 2 * 2


def test_what_is_said_of_the_rows(script) -> None:
    boxes = script("tumour_boxes")
    rows = {"3d_adapter": {"dice": 0.4, "cases": {"a": 0.3, "b": 0.5}}}
    for percent, dice in ((0, 0.7), (5, 0.6), (10, 0.5)):
        mark = "(oracle box3d)" if percent == 0 else f"(oracle box3d relaxed {percent} %)"
        rows[f"3d_adapter_box {mark}"] = {"dice": dice, "cases": {"a": dice, "b": dice}}
        rows[f"unet, box as a channel {mark}"] = {"dice": 0.55, "cases": {"a": 0.55, "b": 0.55}}
        rows[f"inscribed ellipsoid {mark}"] = {"dice": 0.65, "cases": {"a": 0.65, "b": 0.65}}
    boxes.compare(rows, "3d_adapter")
    assert rows["3d_adapter_box (oracle box3d)"]["ratio"] == 0.7 / 0.4
    assert np.isclose(rows["3d_adapter_box (oracle box3d relaxed 5 %)"]["difference"]["mean"], 0.2)
    options = argparse.Namespace(cases=(2, 2), core=8.0, input_size=96, encoder="untrained", seed=0, threads=1)
    met = boxes.content(options, rows)["met"]
    assert met["0 %"] == {"1.5 x automatic": True, "above unet": True, "above ellipsoid": True}
    assert met["10 %"] == {"1.5 x automatic": False, "above unet": False, "above ellipsoid": False}
    assert met["5 %"]["above unet"] and not met["5 %"]["above ellipsoid"]
