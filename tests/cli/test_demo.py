"""What the demo does before the first step; the steps themselves are run by tests/end_to_end/test_demo.py."""

from __future__ import annotations

import json

import numpy as np
import pytest
import tifffile

from samunet.cli.demo import _real_job, main
from samunet.dataset.dataset import collect_cases
from samunet.dataset.io.tiff3d_io import Tiff3dIO


@pytest.mark.parametrize("name", ["nothing", "MyData", "DatasetX_Name"])
def test_a_folder_that_is_no_dataset_is_refused(name, tmp_path, capsys):
    if name != "nothing":
        (tmp_path / name).mkdir()
    assert main(["--dataset", str(tmp_path / name), "--output", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert "DatasetXXX_Name" in message and str(tmp_path / name) in message and "mend" in message
    assert not (tmp_path / "out").exists()


def test_validation_cases_of_a_listing_of_3d_tiffs_are_copied_by_case_with_their_spacing(tmp_path):
    """Two cases, each both channels and a label in a folder of its own, under the same names.

    The second has no spacing file.
    """
    folder, work = tmp_path / "Dataset001_Scans", tmp_path / "work"
    listing = {}
    for value, name in enumerate(("one", "two"), 1):
        (folder / name / "label").mkdir(parents=True)
        for channel in (0, 1):
            tifffile.imwrite(folder / name / f"scan_000{channel}.tif",
                             np.full((5, 6, 7), 10 * value + channel, np.uint8))
        tifffile.imwrite(folder / name / "label" / "drawn.tif", np.full((5, 6, 7), value, np.uint8))
        listing[name] = {"images": [f"{name}/scan_0000.tif", f"{name}/scan_0001.tif"],
                         "label": f"{name}/label/drawn.tif"}
    for path in (folder / "one" / "scan.json", folder / "one" / "label" / "drawn.json"):
        path.write_text(json.dumps({"spacing": [3, 1, 1]}))
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "a": 1, "b": 2}, "numTraining": 2,
        "file_ending": ".tif", "dataset": listing}))
    splits = work / "preprocessed" / folder.name / "splits_final.json"
    splits.parent.mkdir(parents=True)
    splits.write_text(json.dumps([{"train": ["one"], "val": ["two"]}, {"train": ["two"], "val": ["one", "two"]}]))

    job = _real_job(folder, work)
    cases, reader = collect_cases(job.images, ".tif", 2), Tiff3dIO()
    assert [case.name for case in cases] == ["one", "two"]
    assert sorted(path.name for path in job.labels.iterdir()) == ["one.json", "one.tif", "two.tif"]
    for value, spacing_mm, case in zip((1, 2), ((3, 1, 1), (1, 1, 1)), cases, strict=True):
        image, geometry = reader.read_images(case.images)
        label, label_geometry = reader.read_segmentation(job.labels / f"{case.name}.tif")
        assert image[:, 0, 0, 0].tolist() == [10 * value, 10 * value + 1] and label.max() == value
        assert geometry.spacing_mm == label_geometry.spacing_mm == spacing_mm
