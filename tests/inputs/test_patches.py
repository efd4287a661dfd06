"""Patches of an image whose voxels hold their own coordinates: read, sampled, augmented."""

from __future__ import annotations

import numpy as np
import torch

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.inputs.batches import Batches
from samunet.inputs.patches import (
    CasePatches,
    PairSamples,
    PatchAugmentation,
    PatchSampler,
    PatchSamples,
    cut,
    middle_of,
)
from samunet.inputs.sampling import LabelSlices, Sampler
from samunet.planning.tiles import TileFrame


def test_patches_by_hand() -> None:
    image = np.arange(2 * 3 * 2 * 4, dtype=np.float32).reshape(2, 3, 2, 4)
    patches = CasePatches(image, (2, 2), 1.0)
    assert patches.depth == 3 and patches.frame.starts == [(0, 0), (0, 2)]
    read = patches.read([(1, 1), (0, 0)])
    # Slice 1 begins at 8 (channel 0) and 32 (channel 1); its second patch has columns 2 and 3.
    np.testing.assert_array_equal(read[0], [[[10, 11], [14, 15]], [[34, 35], [38, 39]]])
    np.testing.assert_array_equal(read[1], [[[0, 1], [4, 5]], [[24, 25], [28, 29]]])
    mirrored = CasePatches(image, (2, 2), 1.0, mirror=(0, 1)).read([(0, 0)])
    np.testing.assert_array_equal(mirrored[0], [[[5, 4], [1, 0]], [[29, 28], [25, 24]]])


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


def batches(size: int) -> tuple[Batches, Coordinates]:
    segmentation = np.zeros(SHAPE, np.int16)
    segmentation[2, 17, 3] = 1
    labels = [LabelSlices.build(segmentation, TileFrame(SHAPE[1:], SHAPE[1:], 1.0), LABELS)]
    arrays = Coordinates()
    return Batches(["case"], Sampler(labels, LABELS, size, 0),
                   PatchSamples(["case"], arrays, labels, LABELS, Plain())), arrays


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
    batch = Batches(["case"], PatchSampler([SHAPE], Plain.patch, 3, seed=0),
                    PairSamples(["case"], arrays, Plain())).read(1)
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
    assert middle_of((20, 12), (8, 16), random, (9, 6)) == (9, 6) and middle_of((20, 11), (8, 16), random,
                                                                                (9, 6)) == (9, 6)
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
    samples = PatchSamples(["case"], Coordinates(), labels, LABELS, augmentation)
    batch = Batches(["case"], Sampler(labels, LABELS, 1, 0), samples).read(0)
    assert np.argwhere(batch.segmentation[0].numpy() == 1).tolist() == [[4, 2]]
    assert batch.inputs[0, 0, 4, 2] == 20906


def region_of(augmentation: PatchAugmentation) -> tuple[np.ndarray, np.ndarray]:
    """A patch whose image is 3 where its label is 1, -1 elsewhere."""
    rows, columns = augmentation.region
    labels = np.zeros((rows, columns), np.int16)
    labels[rows // 2 - 8 : rows // 2 + 4, columns // 2 - 3 : columns // 2 + 9] = 1
    image = np.where(labels == 1, 3.0, -1.0)[None].astype(np.float32)
    return image, labels


def test_the_region_holds_the_patch_turned_and_scaled() -> None:
    assert PatchAugmentation((30, 40), [False]).region == (70, 70)  # 1.4 times the diagonal of 50
    rows, columns = PatchAugmentation((20, 40), [False]).region  # longer than 1.5 times: 15 degrees
    assert (rows, columns) == (42, 62)  # 1.4 (20 cos + 40 sin) = 41.5, 1.4 (40 cos + 20 sin) = 61.3


def test_draws_hang_on_the_seed_alone() -> None:
    augmentation = PatchAugmentation((32, 32), [False])
    image, labels = region_of(augmentation)
    one, again, other = (augmentation(image, labels, [5, sample]) for sample in (1, 1, 2))
    np.random.seed(1)
    third = augmentation(image, labels, [5, 1])
    assert np.array_equal(one[0], again[0]) and np.array_equal(one[0], third[0]) and np.array_equal(one[1], third[1])
    assert not np.array_equal(one[0], other[0])


def test_labels_move_with_the_image() -> None:
    augmentation = PatchAugmentation((32, 32), [False])
    image, labels = region_of(augmentation)
    turned = 0
    for sample in range(40):
        patch, segmentation = augmentation(image, labels, [0, sample])
        assert patch.shape == (1, 32, 32) and patch.dtype == np.float32 and segmentation.dtype == np.int16
        assert set(np.unique(segmentation)) <= {-1, 0, 1}
        inside = segmentation == 1
        assert patch[0][inside].mean() > patch[0][segmentation == 0].mean() + 1.5
        turned += inside.sum() != 144
    assert 5 <= turned <= 30  # a fifth is rotated, a fifth scaled


def test_voxels_outside_the_mask_stay_0() -> None:
    augmentation = PatchAugmentation((32, 32), [True, False])
    image, labels = region_of(augmentation)
    labels[: labels.shape[0] // 2] = -1
    patch, segmentation = augmentation(np.concatenate([image, image]), labels, [0, 0])
    outside = segmentation < 0
    assert outside.any() and not patch[0][outside].any() and patch[1][outside].any()


def test_a_window_past_the_edge_is_filled() -> None:
    array = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 0]])
    # The middle is element 2 of 4 rows and element 1 of 3 columns.
    np.testing.assert_array_equal(cut(array, (0, 0), (4, 3), 9), [[9, 9, 9], [9, 9, 9], [9, 1, 2], [9, 4, 5]])
    np.testing.assert_array_equal(cut(array, (2, 2), (4, 3), 9), [[2, 3, 9], [5, 6, 9], [8, 0, 9], [9, 9, 9]])


def test_unannotated_voxels_are_of_the_image_and_keep_their_values() -> None:
    augmentation = PatchAugmentation((32, 32), [True])
    image, labels = region_of(augmentation)
    plain, _ = augmentation(image, labels, [0, 3])
    labels[:, : labels.shape[1] // 2] = UNANNOTATED
    patch, segmentation = augmentation(image, labels, [0, 3])
    assert np.array_equal(patch, plain) and (segmentation == UNANNOTATED).any() and (segmentation >= 0).any()
