"""3D patches of a case whose voxels say where they are: 100 z + 10 y + x + 1."""

from __future__ import annotations

import numpy as np
import torch

from samunet.dataset.labels import OUTSIDE, LabelSpace
from samunet.inputs.patches_3d import CasePatches3d, KeyedSamples, Patch3dAugmentation, Patch3dSamples, cut_3d
from samunet.inputs.sampling import LabelSlices, Pick
from samunet.planning.tiles import TileFrame

SPACE = LabelSpace({"background": 0, "a": 1, "b": 2})


def image(depth: int, rows: int, columns: int) -> np.ndarray:
    z, y, x = np.indices((depth, rows, columns))
    return (100.0 * z + 10 * y + x + 1)[None].astype(np.float32)


def test_a_patch_is_zero_outside_the_image() -> None:
    # Of 2 x 3 x 3 voxels, patches of 4 x 4 x 3: slices -1 to 2, row 3 is padding (the frame's middle is 3 // 2).
    source = CasePatches3d(image(2, 3, 3), (4, 4, 3), 0.5)
    assert source.depth == 2 and source.frame.starts == [(0, 0)] and source.frame.before == (0, 0)
    patch = source.read([(-1, 0)])
    assert patch.shape == (1, 1, 4, 4, 3) and patch.dtype == torch.float32
    assert patch[0, 0, 1, 0].tolist() == [1, 2, 3] and patch[0, 0, 2, 2].tolist() == [121, 122, 123]
    assert not patch[0, 0, 0].any() and not patch[0, 0, 3].any() and not patch[0, 0, :, 3].any()


def test_patches_are_at_the_tiles_of_the_frame_and_mirrored_in_the_plane() -> None:
    # Over 3 x 6 voxels in-plane, windows of 3 x 4 half a window apart begin at columns 0 and 2.
    volume = image(2, 3, 6)
    assert CasePatches3d(volume, (2, 3, 4), 0.5).frame.starts == [(0, 0), (0, 2)]
    patch = CasePatches3d(volume, (2, 3, 4), 0.5, mirror=(1,)).read([(0, 1)])
    assert patch[0, 0, 0, 0].tolist() == [6, 5, 4, 3] and patch[0, 0, 1, 2].tolist() == [126, 125, 124, 123]


def test_channels_stay_apart() -> None:
    two = np.concatenate([image(2, 3, 3), -image(2, 3, 3)])
    patch = CasePatches3d(two, (2, 3, 3), 0.5).read([(0, 0)])
    assert torch.equal(patch[0, 0], -patch[0, 1])


def test_windows_may_lie_over_any_border() -> None:
    assert cut_3d(np.arange(1, 4).reshape(3, 1, 1), (-2, 0, 0), (6, 1, 1), 0).ravel().tolist() == [0, 0, 1, 2, 3, 0]
    assert cut_3d(np.arange(1, 4).reshape(3, 1, 1), (5, 0, 0), (2, 1, 1), -1).ravel().tolist() == [-1, -1]


class AsTheyAre(Patch3dAugmentation):
    """No augmentation: what a sample is cut from is seen."""

    def __call__(self, image, labels, random, key):
        return torch.from_numpy(image), torch.from_numpy(labels).long()


def samples(shape: tuple[int, int, int], patch: tuple[int, int, int], marked: tuple[int, int, int]) -> Patch3dSamples:
    segmentation = np.zeros(shape, np.int16)
    segmentation[marked] = 2
    frame = TileFrame(shape[1:], shape[1:], 1.0)
    slices = [LabelSlices.build(segmentation, frame, SPACE)]
    return Patch3dSamples(["one"], lambda name: image(*shape), slices, SPACE, AsTheyAre(patch, flat=False))


def test_a_patch_that_was_picked_for_a_class_holds_it_anywhere() -> None:
    made = samples((8, 9, 10), (3, 4, 5), (6, 2, 7))
    found = []
    for sample in range(30):
        patches, labels = made.read([Pick(0, 6, 0, label=1)], [[0, 0, sample]])
        places = (labels[0] == 2).nonzero()
        assert len(places) == 1
        z, y, x = places[0].tolist()
        assert patches[0, 0, z, y, x] == 100 * 6 + 10 * 2 + 7 + 1  # image and labels belong together
        found.append((z, y, x))
    # The case ends two slices below and two rows above the voxel, so that some places in the patch cannot be.
    assert {z for z, _, _ in found} == {1, 2} or {z for z, _, _ in found} == {0, 1, 2}
    assert len({x for _, _, x in found}) == 3  # columns 5 to 7 begin the patch: the voxel is at 2, 3 or 4


def test_a_case_smaller_than_the_patch_is_in_its_middle() -> None:
    patches, labels = samples((2, 3, 3), (4, 5, 3), (1, 1, 1)).read([Pick(0, 0, 0)], [[0, 0, 0]])
    assert patches[0, 0, 1, 1].tolist() == [1, 2, 3] and not patches[0, 0, 0].any()
    assert (labels[0, 0] == OUTSIDE).all() and (labels[0, :, 4] == OUTSIDE).all() and labels[0, 2, 2, 1] == 2


def test_the_same_key_gives_the_same_patch_and_another_key_another() -> None:
    shape = (8, 24, 24)
    segmentation = np.zeros(shape, np.int16)
    segmentation[2:6, 4:12, 4:12] = 1
    slices = [LabelSlices.build(segmentation, TileFrame(shape[1:], shape[1:], 1.0), SPACE)]
    made = KeyedSamples(Patch3dSamples(["one"], lambda name: image(*shape) / 1000, slices, SPACE,
                                       Patch3dAugmentation((8, 16, 16), flat=False)))
    first, again, other = (made.read([Pick(0, 4, 0)], [[0, 3, sample]])[0] for sample in (0, 0, 1))
    assert torch.equal(first.images, again.images) and torch.equal(first.labels, again.labels)
    assert not torch.equal(first.images, other.images) and first.keys.tolist() == [[0, 3, 0]]
    assert first.images.isfinite().all() and set(first.labels.unique().tolist()) <= {-1, 0, 1}
