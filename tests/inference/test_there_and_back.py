"""A label map goes through reading, preprocessing and export, and comes back on its own grid."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from samunet.dataset.dataset import RawCase
from samunet.dataset.io.readers import reader_named
from samunet.dataset.labels import LabelSpace
from samunet.inference.export import export_case
from samunet.inference.nnunet_files import write_prediction
from samunet.planning.plans import DatasetPlan
from samunet.preprocessing.preprocess import prepare_case

LABELS = LabelSpace({"background": 0, "liver": 1, "kidney": 2, "vessel": 3})
COSINE, SINE = math.cos(0.4), math.sin(0.4)
OBLIQUE = (COSINE, -SINE, 0.0, SINE, COSINE, 0.0, 0.0, 0.0, -1.0)


def ellipsoids(shape: tuple[int, int, int]) -> np.ndarray:
    """Three organs of different sizes, uint8 (z, y, x); the smallest is a tube of 11 voxels across."""
    z, y, x = np.indices(shape)
    labels = np.zeros(shape, np.uint8)
    labels[((z - 9) / 7) ** 2 + ((y - 30) / 22) ** 2 + ((x - 32) / 24) ** 2 < 1] = 1
    labels[((z - 10) / 5) ** 2 + ((y - 28) / 9) ** 2 + ((x - 38) / 8) ** 2 < 1] = 2
    labels[((y - 42) / 6) ** 2 + ((x - 20) / 6) ** 2 < 1] = 3
    return labels


def written_case(folder: Path, spacing_xyz: tuple[float, float, float]) -> tuple[RawCase, np.ndarray]:
    labels = ellipsoids((20, 60, 64))
    # Zeros around the image, so that the crop has something to undo.
    image = np.zeros(labels.shape, np.float32)
    image[1:19, 3:57, 2:61] = 1 + np.random.default_rng(0).random((18, 54, 59), np.float32)
    labels[image == 0] = 0
    for array, name in ((image, "case_0000.nii.gz"), (labels, "case.nii.gz")):
        stored = sitk.GetImageFromArray(array)
        stored.SetSpacing(spacing_xyz)
        stored.SetOrigin((-71.5, 33.25, 812.0))
        stored.SetDirection(OBLIQUE)
        sitk.WriteImage(stored, str(folder / name))
    return RawCase("case", (folder / "case_0000.nii.gz",), folder / "case.nii.gz"), labels


def plan(spacing_mm: tuple[float, float, float], forward: tuple[int, int, int], backward: tuple[int, int, int]):
    return DatasetPlan("SimpleITKIO", forward, backward, spacing_mm, (18, 54, 59), False, ("MRI",), ("zscore",),
                       (False,),
                       ({},))


def pushed_through(case: RawCase, dataset_plan: DatasetPlan, output: Path) -> sitk.Image:
    """Preprocess, take the preprocessed labels for perfect logits, export and write; the written file, read again."""
    prepared = prepare_case(case, "SimpleITKIO", dataset_plan, LABELS)
    assert prepared.segmentation is not None
    logits = np.stack(LABELS.channel_masks(prepared.segmentation[0])).astype(np.float32)
    exported = export_case([(0, logits)], prepared.properties, dataset_plan, LABELS)
    write_prediction(exported, output, prepared.properties, ".nii.gz")
    return sitk.ReadImage(str(output / "case.nii.gz"))


@pytest.mark.parametrize(("forward", "backward"), [((0, 1, 2), (0, 1, 2)), ((2, 0, 1), (1, 2, 0))])
def test_without_resampling_every_label_returns_to_its_voxel(tmp_path, forward, backward):
    case, labels = written_case(tmp_path, (0.8, 1.1, 3.0))
    file_spacing_mm = (3.0, 1.1, 0.8)
    spacing_mm = tuple(reader_named("SimpleITKIO").read_segmentation(case.label)[1].spacing_mm[axis]
                       for axis in forward)
    assert spacing_mm == pytest.approx([file_spacing_mm[axis] for axis in forward])
    back = pushed_through(case, plan(spacing_mm, forward, backward), tmp_path / "out")
    np.testing.assert_array_equal(sitk.GetArrayFromImage(back), labels)


def test_a_prediction_lies_on_the_oblique_anisotropic_shifted_grid_of_its_image(tmp_path):
    case, _ = written_case(tmp_path, (0.8, 1.1, 3.0))
    back = pushed_through(case, plan((1.0, 1.0, 2.0), (2, 0, 1), (1, 2, 0)), tmp_path / "out")
    image = sitk.ReadImage(str(case.images[0]))
    assert back.GetSize() == image.GetSize()
    assert back.GetSpacing() == pytest.approx(image.GetSpacing(), abs=1e-7)
    assert back.GetOrigin() == pytest.approx(image.GetOrigin(), abs=1e-4)
    assert back.GetDirection() == pytest.approx(image.GetDirection(), abs=1e-6)


def test_labels_survive_a_coarser_grid_and_back(tmp_path):
    case, labels = written_case(tmp_path, (1.0, 1.0, 3.0))
    back = sitk.GetArrayFromImage(
        pushed_through(case, plan((3.0, 1.25, 1.25), (0, 1, 2), (0, 1, 2)), tmp_path / "out")
    )
    for value in (1, 2, 3):
        ours, theirs = back == value, labels == value
        dice = 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())
        assert 0.97 <= dice < 1.0, f"label {value}: Dice {dice:.4f}"
