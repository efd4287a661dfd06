from __future__ import annotations

import numpy as np

from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.patch_augmentation import PatchAugmentation
from samunet.inputs.patch_batches import cut


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
