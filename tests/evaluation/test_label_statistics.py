"""Statistics of labels, on volumes small enough for a calculation by hand."""

from __future__ import annotations

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.cli.statistics import main
from samunet.dataset.geometry import Geometry
from samunet.dataset.labels import LabelSpace
from samunet.evaluation.label_statistics import label_statistics

LABELS = LabelSpace({"background": 0, "liver": 1, "tumour": 2, "never": 3, "ignore": 4})
# Two voxels of 1 in row 1, one of 2, one ignored; spacing (z, y, x) = (5, 2, 1) mm, so a voxel has 0.01 ml.
VOXELS = np.array([[[0, 0, 0], [1, 1, 0]], [[0, 0, 4], [0, 0, 2]]], np.int16)
STRAIGHT = Geometry("SimpleITKIO", (2, 2, 3), (5.0, 2.0, 1.0), (100.0, 200.0, 300.0), (1.0, 0, 0, 0, 1.0, 0, 0, 0, 1.0))
IMAGE = np.stack([np.arange(12).reshape(2, 2, 3), np.full((2, 2, 3), 7)]).astype(np.float32)


def test_values_by_hand_on_a_straight_grid() -> None:
    liver, tumour, never = label_statistics(VOXELS, STRAIGHT, LABELS, IMAGE)
    assert (liver.label, liver.values, liver.voxels) == ("liver", (1,), 2)
    assert liver.volume_ml == pytest.approx(0.02)
    assert liver.bbox_voxels == ((0, 1), (1, 2), (0, 2))  # z, y, x
    # x: centres 100 and 101, half a mm each side; y: 202 -/+ 1; z: 300 -/+ 2.5
    np.testing.assert_allclose(liver.bbox_mm, [(99.5, 101.5), (201, 203), (297.5, 302.5)])
    np.testing.assert_allclose(liver.centroid_mm, (100.5, 202, 300))
    assert liver.mean == (3.5, 7) and liver.std == (0.5, 0)  # of 3 and 4
    np.testing.assert_allclose(tumour.centroid_mm, (102, 202, 305))
    assert tumour.mean == (11, 7) and tumour.std == (0, 0)
    assert (never.voxels, never.volume_ml, never.bbox_voxels, never.bbox_mm, never.centroid_mm) == (
        0, 0, None, None, None)
    assert never.mean == (None, None) and never.std == (None, None)


def test_an_oblique_grid_by_hand() -> None:
    """Rows run at 45 degrees between left and back: a step of 1 mm along x is (1, 1, 0) / sqrt 2."""
    half = math.sqrt(0.5)
    direction = (half, -half, 0, half, half, 0, 0, 0, 1)
    grid = Geometry("SimpleITKIO", (2, 2, 3), (5.0, 2.0, 1.0), (0.0, 0.0, 0.0), direction)
    liver = label_statistics(VOXELS, grid, LABELS, None)[0]
    # Centres at y = 1: 2 * (-half, half), and one step of (half, half) further.
    np.testing.assert_allclose(liver.centroid_mm, (-1.5 * half, 2.5 * half, 0))
    # Corners reach half a step of each axis further: (0.5 + 1) * half in x and in y.
    np.testing.assert_allclose(liver.bbox_mm, [(-3.5 * half, 0.5 * half), (0.5 * half, 4.5 * half), (-2.5, 2.5)],
                               atol=1e-12)
    assert liver.volume_ml == pytest.approx(0.02) and liver.mean == ()


def test_a_region_counts_all_its_values() -> None:
    labels = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,), "ignore": 3}, (1, 2))
    whole, core = label_statistics(np.where(VOXELS == 4, 3, VOXELS), STRAIGHT, labels, IMAGE)
    assert (whole.values, whole.voxels, core.voxels) == ((1, 2), 3, 1)
    assert whole.mean[0] == pytest.approx(6) and whole.std[0] == pytest.approx(math.sqrt((9 + 4 + 25) / 3))
    assert whole.bbox_voxels == ((0, 2), (1, 2), (0, 3))


def test_2d_files_have_no_millimetres_and_no_volume() -> None:
    flat = Geometry("NaturalImage2DIO", (1, 2, 3), (999.0, 1.0, 1.0))
    liver = label_statistics(VOXELS[:1], flat, LABELS, None)[0]
    assert (liver.voxels, liver.volume_ml, liver.bbox_mm, liver.centroid_mm) == (2, None, None, None)
    assert liver.bbox_voxels == ((0, 1), (1, 2), (0, 2))


def write(path: Path, array: np.ndarray, origin=(100.0, 200.0, 300.0)) -> None:
    path.parent.mkdir(exist_ok=True)
    image = sitk.GetImageFromArray(array)
    image.SetSpacing((1.0, 2.0, 5.0))
    image.SetOrigin(origin)
    sitk.WriteImage(image, str(path))


def name_channels(folder: Path, names: dict[str, str]) -> None:
    path = folder / "labels" / "dataset.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"channel_names": names}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """`labels` with cases a and b (empty) and their dataset.json; `images` of two channels, a's stored flipped."""
    for case, voxels in (("a", VOXELS), ("b", np.zeros_like(VOXELS))):
        write(tmp_path / "labels" / f"{case}.nii.gz", voxels.astype(np.uint8))
        for number, channel in enumerate(IMAGE):
            write(tmp_path / "images" / f"{case}_{number:04d}.nii.gz", channel)
    (tmp_path / "labels" / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "CT", "1": "PET"}, "labels": dict(LABELS.names), "numTraining": 2,
        "file_ending": ".nii.gz"}))
    return tmp_path


def test_the_command_writes_both_formats(folder: Path, capsys) -> None:
    labels, images = str(folder / "labels"), str(folder / "images")
    assert main(["-i", labels, "-o", str(folder / "s.csv"), "-images", images, "-np", "1"]) == 0
    with open(folder / "s.csv", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert [(row["case"], row["label"]) for row in rows] == [
        (case, label) for case in "ab" for label in ("liver", "tumour", "never")]
    first = rows[0]
    assert (first["values"], first["voxels"], float(first["volume_ml"])) == ("1", "2", pytest.approx(0.02))
    assert [first[f"bbox_{axis}_{end}"] for axis in "zyx" for end in ("start", "stop")] == list("011202")
    assert [float(first[f"centroid_{axis}_mm"]) for axis in "xyz"] == [100.5, 202, 300]
    assert [float(first[key]) for key in ("mean_0_CT", "std_0_CT", "mean_1_PET", "std_1_PET")] == [3.5, 0.5, 7, 0]
    assert float(rows[3]["volume_ml"]) == 0 and rows[3]["centroid_x_mm"] == "" and rows[3]["mean_0_CT"] == ""
    assert main(["-i", labels, "-o", str(folder / "s.json"), "-np", "1"]) == 0
    content = json.loads((folder / "s.json").read_text())
    assert content["channel_names"] == [] and set(content["cases"]) == {"a", "b"}
    assert content["cases"]["a"]["tumour"] == {
        "values": [2], "voxels": 1, "volume_ml": pytest.approx(0.01), "bbox_voxels": [[1, 2], [1, 2], [2, 3]],
        "bbox_mm": [[101.5, 102.5], [201, 203], [302.5, 307.5]], "centroid_mm": [102, 202, 305], "mean": [], "std": []}
    assert "statistics of 2 cases" in capsys.readouterr().out


def test_a_flipped_image_is_matched_by_place(folder: Path) -> None:
    write(folder / "images" / "a_0000.nii.gz", IMAGE[0])
    flipped = sitk.Flip(sitk.ReadImage(str(folder / "images" / "a_0000.nii.gz")), [True, False, True])
    sitk.WriteImage(flipped, str(folder / "images" / "a_0000.nii.gz"))
    assert main(["-i", str(folder / "labels"), "-o", str(folder / "s.json"), "-images", str(folder / "images"),
                 "-np", "1"]) == 0
    assert json.loads((folder / "s.json").read_text())["cases"]["a"]["liver"]["mean"] == [3.5, 7]


@pytest.mark.parametrize(("fault", "message"), [
    (lambda folder: (folder / "images" / "b_0000.nii.gz").unlink(), "lacks b_0000.nii.gz"),
    (lambda folder: [path.unlink() for path in (folder / "images").glob("b_*")], "have none: b"),
    (lambda folder: write(folder / "labels" / "a.nii.gz", np.full((2, 2, 3), 9, np.uint8)), "9 (12 voxels)"),
    (lambda folder: write(folder / "labels" / "a.nii.gz", np.zeros((2, 2, 4), np.uint8)), "shape"),
    (lambda folder: (folder / "labels" / "dataset.json").unlink(), "dataset.json"),
    (lambda folder: name_channels(folder, {"first": "CT", "1": "PET"}), "must map numbers to names"),
    (lambda folder: name_channels(folder, {"1": "CT", "2": "PET"}), "must map numbers to names"),
    (lambda folder: [path.unlink() for path in (folder / "labels").glob("*.gz")], "no file that ends with .nii.gz"),
])
def test_bad_input_writes_nothing(folder: Path, capsys, fault, message: str) -> None:
    fault(folder)
    assert main(["-i", str(folder / "labels"), "-o", str(folder / "s.csv"), "-images", str(folder / "images"),
                 "-np", "1"]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "s.csv").exists()


def test_the_output_must_have_a_known_ending(folder: Path, capsys) -> None:
    assert main(["-i", str(folder / "labels"), "-o", str(folder / "s.xlsx")]) == 2
    assert "must end with .csv or .json" in capsys.readouterr().err
