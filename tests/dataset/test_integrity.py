from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.integrity import verify_folder
from samunet.errors import UserError

CASES = ("a", "b", "c")


def _write(array: np.ndarray, path: Path, spacing=(1.0, 1.5, 2.0), origin=(1.0, 2.0, 3.0)) -> None:
    image = sitk.GetImageFromArray(array)
    image.SetSpacing(spacing)
    image.SetOrigin(origin)
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))


def _label(high: int = 2) -> np.ndarray:
    return np.random.default_rng(1).integers(0, high + 1, (4, 6, 5)).astype(np.uint8)


def _image() -> np.ndarray:
    return np.random.default_rng(0).normal(size=(4, 6, 5)).astype(np.float32)


@pytest.fixture
def folder(tmp_path):
    """Three good cases of one channel."""
    folder = tmp_path / "Dataset006_Good"
    for name in CASES:
        _write(_image(), folder / "imagesTr" / f"{name}_0000.nii.gz")
        _write(_label(), folder / "labelsTr" / f"{name}.nii.gz")
    (folder / "dataset.json").write_text(json.dumps({
        "channel_names": {"0": "MRI"}, "labels": {"background": 0, "x": 1, "y": 2, "ignore": 3}, "numTraining": 3,
        "file_ending": ".nii.gz"}))
    return folder


def _problem(folder: Path) -> UserError:
    with pytest.raises(UserError) as caught:
        verify_folder(folder, 1)
    return caught.value


def test_a_good_dataset_passes_ignore_included(folder, capsys):
    _write(_label(3), folder / "labelsTr" / "a.nii.gz")
    assert verify_folder(folder, 1).name == "Dataset006_Good"
    assert "Warning" not in capsys.readouterr().err


def test_label_of_another_shape(folder):
    _write(_label()[1:], folder / "labelsTr" / "b.nii.gz")
    problem = _problem(folder)
    assert problem.rule == "A label file must have its image's shape."
    assert problem.where.endswith("b.nii.gz")
    assert problem.found == f"(3, 6, 5); {folder / 'imagesTr' / 'b_0000.nii.gz'} has (4, 6, 5) (z, y, x)"


def test_label_of_another_spacing(folder):
    _write(_label(), folder / "labelsTr" / "b.nii.gz", spacing=(1.0, 1.5, 2.5))
    problem = _problem(folder)
    assert problem.rule == "A label file must have its image's spacing."
    # The outer corners lie half a voxel before the first of four slices and behind the last, 3.5 slices from the first.
    assert problem.found == (f"(2.5, 1.5, 1.0) mm; {folder / 'imagesTr' / 'b_0000.nii.gz'} has (2.0, 1.5, 1.0) mm (z, "
                             "y, x); corners are up to 1.75 mm (0.875 voxels) apart")
    assert problem.where == str(folder / "labelsTr" / "b.nii.gz")


@pytest.mark.parametrize("workers", [1, 2])
def test_another_origin_is_only_said_and_once(folder, capfd, workers):
    for name in "ab":
        _write(_label(), folder / "labelsTr" / f"{name}.nii.gz", origin=(1.0, 2.0, 6.0))
    for _ in range(2):
        verify_folder(folder, workers)
    lines = [line for line in capfd.readouterr().err.splitlines() if "Warning" in line]
    assert sorted(lines) == [
        f"Warning: origin or direction of {folder}/labelsTr/{name}.nii.gz differs from that of "
        f"{folder}/imagesTr/{name}_0000.nii.gz: corners are up to 3 mm (1.5 voxels) apart. Voxels are matched by their "
        "index; check with samunet_plot_overlay_pngs that they fit." for name in "ab"]


def test_rounding_is_no_other_grid(folder, capsys):
    _write(_label(), folder / "labelsTr" / "b.nii.gz", spacing=(1.0 + 1e-6, 1.5, 2.0), origin=(1.0, 2.0 + 1e-5, 3.0))
    verify_folder(folder, 1)
    assert "Warning" not in capsys.readouterr().err


def test_a_label_of_another_direction_is_a_problem(folder):
    image = sitk.GetImageFromArray(_label())
    image.SetSpacing((1.0, 1.5, 2.0))
    image.SetOrigin((1.0, 2.0, 3.0))
    image.SetDirection((0.0, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, -1.0))
    sitk.WriteImage(image, str(folder / "labelsTr" / "b.nii.gz"))
    problem = _problem(folder)
    assert problem.rule == "A label file must have its image's direction."
    assert problem.found.startswith(f"0 1 0 1 0 0 0 0 -1; {folder}/imagesTr/b_0000.nii.gz has 1 0 0 0 1 0 0 0 1; "
                                    "corners are up to ")
    assert problem.mend == "Resample it onto that grid, or correct the header that is wrong."


@pytest.mark.parametrize(("value", "name"), [(np.nan, "NaN"), (np.inf, "Inf")])
def test_nan_and_inf(folder, value, name):
    image = _image()
    image[0, 0, 0] = value
    _write(image, folder / "imagesTr" / "c_0000.nii.gz")
    assert _problem(folder).rule == f"Images must not hold {name}."


def test_label_value_that_dataset_json_does_not_list(folder):
    label = np.minimum(_label(), 2)
    label[0, 0, :2] = 7
    _write(label, folder / "labelsTr" / "b.nii.gz")
    problem = _problem(folder)
    assert problem.rule == "A label file or prediction must hold only values that dataset.json lists."
    assert problem.found == "7 (2 voxels)"


def test_fractional_labels(folder):
    _write(_label() * np.float32(0.25), folder / "labelsTr" / "b.nii.gz")
    assert _problem(folder).rule == "Label values must be whole numbers."


def test_4d_label(folder):
    sitk.WriteImage(sitk.JoinSeries([sitk.GetImageFromArray(_label())] * 2), str(folder / "labelsTr" / "b.nii.gz"))
    assert _problem(folder).rule.startswith("A label file must hold one value for each voxel")


def test_channel_count_that_differs(folder):
    sitk.WriteImage(sitk.JoinSeries([sitk.ReadImage(str(folder / "imagesTr" / "a_0000.nii.gz"))] * 2),
                    str(folder / "imagesTr" / "a_0000.nii.gz"))
    problem = _problem(folder)
    assert problem.rule == "A case must have the channels that dataset.json names."
    assert (problem.found, problem.mend) == ("2 channels", "Give 1: MRI.")


@pytest.mark.parametrize("file", ["imagesTr/b_0000.nii.gz", "labelsTr/b.nii.gz"])
def test_truncated_gzip(folder, file):
    path = folder / file
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 3 // 4])
    problem = _problem(folder)
    assert problem.rule.startswith("An image or label file must be readable: whole,")
    assert problem.where == str(path)


@pytest.mark.parametrize("workers", [1, 2])
def test_every_problem_of_every_case_is_reported_in_order(folder, workers):
    image = _image()
    image[0, 0, 0] = np.nan
    _write(image, folder / "imagesTr" / "a_0000.nii.gz")
    _write(_label(9)[1:], folder / "labelsTr" / "b.nii.gz", spacing=(1.0, 1.0, 1.0))
    (folder / "labelsTr" / "c.nii.gz").unlink()
    (folder / "imagesTr" / "c_0000.nii.gz").write_bytes(b"no image")
    with pytest.raises(UserError) as caught:
        verify_folder(folder, workers)
    text = str(caught.value)
    rules = ["Every training case must have a label file.", "Images must not hold NaN.",
             "only values that dataset.json lists",
             "must have its image's shape", "must have its image's spacing", "must be readable"]
    assert text.startswith("6 problems were found:")
    places = [text.index(rule) for rule in rules]
    assert places == sorted(places)


def test_unknown_ending_is_reported_with_the_other_problems(folder):
    content = json.loads((folder / "dataset.json").read_text())
    (folder
     / "dataset.json").write_text(json.dumps({**content, "overwrite_image_reader_writer": "DicomIO", "numTraining": 9}))
    with pytest.raises(UserError) as caught:
        verify_folder(folder, 1)
    assert "numTraining is 9" in str(caught.value) and "DicomIO" in str(caught.value)
