from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from scipy.ndimage import binary_dilation

from samunet.dataset.dataset import load_dataset
from samunet.dataset.integrity import verify_folder
from samunet.dataset.io.sitk_io import SimpleItkIO
from samunet.dataset.phantom import make_phantom_dataset
from samunet.files import digest_of_file


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return make_phantom_dataset(tmp_path_factory.mktemp("raw"), cases=3, test_cases=1)


def test_is_a_valid_dataset(folder):
    dataset = verify_folder(folder, 1)
    assert (dataset.name, len(dataset.cases), dataset.labels.values) == ("Dataset900_Phantom", 3, (0, 1, 2, 3))
    assert [path.name for path in (folder / "imagesTs").iterdir()] == ["phantom_003_0000.nii.gz"]
    assert [path.name for path in (folder / "labelsTs").iterdir()] == ["phantom_003.nii.gz"]


def test_objects_are_nested_and_differ_in_brightness(folder):
    for case in load_dataset(folder).cases:
        image, geometry = SimpleItkIO().read_images(case.images)
        segmentation, _ = SimpleItkIO().read_segmentation(case.label)
        shell, core = segmentation == 1, segmentation == 2
        assert not (binary_dilation(core) & ~(shell | core)).any()
        assert all((segmentation == label).sum() > 500 for label in range(4))
        means = [image[segmentation == label].mean() for label in range(4)]
        assert all(after - before > 40 for before, after in pairwise(means))
        assert image.min() > 0
        assert not np.allclose(geometry.direction, np.eye(3).ravel(), atol=0.01)
        assert not np.allclose(geometry.origin, 0, atol=1)


def test_the_same_seed_gives_the_same_bytes_and_another_does_not(folder, tmp_path):
    again = make_phantom_dataset(tmp_path / "a", cases=3, test_cases=1)
    other = make_phantom_dataset(tmp_path / "b", cases=1, test_cases=0, seed=1)
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    assert len(files) == 9
    assert all(digest_of_file(again / name) == digest_of_file(folder / name) for name in files)
    image = "imagesTr/phantom_000_0000.nii.gz"
    assert digest_of_file(other / image) != digest_of_file(folder / image)
