"""Probabilities are averaged and decoded class by class, as all at once."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from samunet.dataset.labels import LabelSpace
from samunet.errors import UserError
from samunet.selection.probabilities import decode_channels, mean_channels, probability_shape, written

PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))


def save(path: Path, array: np.ndarray, name: str = "probabilities") -> Path:
    np.savez_compressed(path, **{name: array})
    return path


def test_the_mean_of_two_by_hand(tmp_path: Path) -> None:
    first = save(tmp_path / "a.npz", np.array([0.75, 0.25], np.float32).reshape(2, 1, 1, 1))
    second = save(tmp_path / "b.npz", np.array([0.0, 1.0], np.float16).reshape(2, 1, 1, 1))
    assert [channel.item() for channel in mean_channels([first, second])] == [0.375, 0.625]
    assert probability_shape(first) == (2, 1, 1, 1)


def test_the_first_of_equal_classes_wins_and_regions_are_painted_in_order() -> None:
    chances = np.array([[0.5, 0.2, 0.4], [0.5, 0.4, 0.2], [0.0, 0.4, 0.4]], np.float32).reshape(3, 1, 1, 3)
    assert decode_channels(chances, PLAIN, (1, 1, 3)).ravel().tolist() == [0, 1, 0]
    chances = np.array([[0.9, 0.6, 0.5, 0.1], [0.9, 0.2, 0.2, 0.7]], np.float32).reshape(2, 1, 1, 4)
    assert decode_channels(chances, REGIONS, (1, 1, 4)).ravel().tolist() == [2, 1, 0, 2]


@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
@pytest.mark.parametrize("order", ["C", "F"])
def test_equal_to_decoding_all_at_once(tmp_path: Path, labels: LabelSpace, order: str) -> None:
    """Rounded to tenths, so that many voxels have equal classes; Fortran order is what some transposes leave."""
    random = np.random.default_rng(0)
    arrays = [random.random((labels.channels, 3, 4, 5)).round(1).astype(np.float32) for _ in range(3)]
    paths = [save(tmp_path / f"{number}.npz", np.asarray(array, order=order)) for number, array in enumerate(arrays)]
    mean = (arrays[0] + arrays[1] + arrays[2]) / 3
    channels = written(mean_channels(paths), tmp_path / "mean.npz", mean.shape)
    np.testing.assert_array_equal(decode_channels(channels, labels, (3, 4, 5)), labels.decode(mean, threshold=0.5))
    np.testing.assert_array_equal(np.load(tmp_path / "mean.npz")["probabilities"], mean)


@pytest.mark.parametrize("damage, found", [
    (lambda path: path.write_bytes(path.read_bytes()[:-40]), "zip file"),
    (lambda path: path.write_bytes(b""), "zip file"),
    (lambda path: path.unlink(), "No such file"),
    (lambda path: save(path, np.zeros((2, 3, 4), np.float32)), "floats (classes, z, y, x)"),
    (lambda path: save(path, np.zeros((2, 1, 3, 4), int)), "int64"),
    (lambda path: save(path, np.zeros((2, 1, 3, 4), np.float32), "softmax"), "no probabilities.npy"),
    (lambda path: save(path, np.full((2, 1, 3, 4), np.nan, np.float32)), "nan"),
    (lambda path: save(path, np.full((2, 1, 3, 4), -3, np.float32)), "from -3"),
])
def test_broken_files_are_reported(tmp_path: Path, damage, found: str) -> None:
    path = save(tmp_path / "case.npz", np.zeros((2, 1, 3, 4), np.float32))
    damage(path)
    with pytest.raises(UserError) as caught:
        list(mean_channels([path]))
    assert found in str(caught.value) and str(path) in str(caught.value)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "run"),)

    trap = np.empty((2, 1, 3, 4), object)
    trap[:] = Trap()
    path = save(tmp_path / "case.npz", trap)
    with pytest.raises(UserError, match="object"):
        list(mean_channels([path]))
    assert not (tmp_path / "run").exists()
