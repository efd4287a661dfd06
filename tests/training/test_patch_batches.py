"""Patches of an image whose voxels hold their own coordinates, without augmentation."""

from __future__ import annotations

import numpy as np
import torch

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.planning.tiles import TileFrame
from samunet.training.patch_batches import PairBatches, PatchBatches
from samunet.training.sampling import LabelSlices, Sampler

LABELS = LabelSpace({"background": 0, "a": 1})
SHAPE = (3, 20, 12)


class Plain:
    """A patch's middle, as it is."""

    patch, region = (8, 16), (8, 16)

    def __call__(self, image, labels, seed):
        return image.astype(np.float32), labels


class Coordinates:
    """One case in which voxel (z, y, x) is 10000 z + 100 y + x, and one of its slices at a time."""

    def __init__(self) -> None:
        z, y, x = np.indices(SHAPE)
        self.image, self.read = (10000 * z + 100 * y + x)[None], []

    def image_slice(self, name: str, plane: int) -> np.ndarray:
        self.read.append((name, plane))
        return self.image[:, plane]


def batches(size: int) -> tuple[PatchBatches, Coordinates]:
    segmentation = np.zeros(SHAPE, np.int16)
    segmentation[2, 17, 3] = 1
    labels = [LabelSlices.build(segmentation, TileFrame(SHAPE[1:], SHAPE[1:], 1.0), LABELS)]
    arrays = Coordinates()
    return PatchBatches(["case"], arrays, labels, Sampler(labels, LABELS, size, 0), Plain()), arrays


def test_a_patch_for_a_class_holds_it_and_ends_at_the_images_edge() -> None:
    batch = batches(1)[0].read(0)  # a batch of one is drawn from the foreground
    assert batch.inputs.shape == (1, 1, 8, 16) and batch.segmentation.shape == (1, 8, 16)
    # Rows 12 to 19, as a patch around row 17 would reach past row 19; 12 columns lie centred in 16.
    expected = 20000 + 100 * np.arange(12, 20)[:, None] + np.arange(12)
    np.testing.assert_array_equal(batch.inputs[0, 0, :, 2:14], expected)
    assert not batch.inputs[0, 0, :, :2].any() and (batch.segmentation[0, :, :2] == -1).all()
    assert batch.segmentation[0, 5, 5] == 1 and int((batch.segmentation == 1).sum()) == 1


def test_other_patches_start_anywhere_in_the_image() -> None:
    made, arrays = batches(2)
    starts = []
    for iteration in range(60):
        first = made.read(iteration).inputs[0, 0, 0, 2]
        starts.append((int(first) // 10000, int(first) // 100 % 100))
    assert {plane for plane, _ in starts} == {0, 1, 2}
    assert {row for _, row in starts} == set(range(13))
    assert {name for name, _ in arrays.read} == {"case"}


def test_a_batch_hangs_on_seed_and_iteration_alone() -> None:
    made, _ = batches(4)
    first = made.read(3)
    made.read(0)
    again = made.read(3)
    assert torch.equal(first.inputs, again.inputs) and torch.equal(first.segmentation, again.segmentation)
    assert first.names == ["case"] * 4


def test_a_pair_is_one_place_twice_and_no_label_is_read() -> None:
    arrays = Coordinates()
    batch = PairBatches(["case"], [SHAPE], arrays, Plain(), 3, seed=0).read(1)
    assert batch.inputs.shape == (6, 1, 8, 16) and batch.segmentation.shape == (6, 8, 16)
    assert torch.equal(batch.inputs[:3], batch.inputs[3:]) and len(set(batch.inputs[:3, 0, 0, 2].tolist())) > 1
    assert (batch.segmentation == UNANNOTATED).all() and len(arrays.read) == 3
