"""Patches of an image whose voxels hold their own coordinates, without augmentation."""

from __future__ import annotations

import numpy as np
import torch

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.inputs.patch_batches import PairBatches, PatchBatches, cut, middle_of
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.tiles import TileFrame

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


def test_a_wanted_voxel_lies_in_the_middle_as_far_as_the_image_reaches() -> None:
    random = np.random.default_rng(0)
    # A patch of 8 x 5 has its middle behind 4 rows and 2 columns.
    assert middle_of((20, 12), (8, 5), random, (9, 6)) == (9, 6)
    # It would begin before the image, or end behind it: rows 0 to 7 and columns 7 to 11.
    assert middle_of((20, 12), (8, 5), random, (1, 11)) == (4, 9)
    # 12 columns in a patch of 16 have 2 before them and 2 behind, 11 in 16 have 3 behind.
    assert middle_of((20, 12), (8, 16), random, (9, 6)) == (9, 6) and middle_of((20, 11), (8, 16), random, (9, 6)) == (9, 6)
    image = np.arange(20 * 12).reshape(1, 20, 12)
    patch = cut(image, (9, 6), (8, 5), -1)
    assert patch[0, 4, 2] == 9 * 12 + 6 and patch[0, 0, 0] == 5 * 12 + 4
    assert cut(image, (0, 0), (4, 4), -1)[0].tolist() == [[-1] * 4, [-1] * 4, [-1, -1, 0, 1], [-1, -1, 12, 13]]


def test_a_patch_for_a_class_has_its_voxel_in_the_middle() -> None:
    segmentation = np.zeros(SHAPE, np.int16)
    segmentation[2, 9, 6] = 1
    labels = [LabelSlices.build(segmentation, TileFrame(SHAPE[1:], SHAPE[1:], 1.0), LABELS)]
    augmentation = Plain()
    augmentation.patch = augmentation.region = (8, 5)
    batch = PatchBatches(["case"], Coordinates(), labels, Sampler(labels, LABELS, 1, 0), augmentation).read(0)
    assert np.argwhere(batch.segmentation[0].numpy() == 1).tolist() == [[4, 2]]
    assert batch.inputs[0, 0, 4, 2] == 20906
