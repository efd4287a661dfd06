"""Volumes of two cases: which part is whose, in image and labels alike."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from samunet.dataset.labels import UNANNOTATED
from samunet.inputs.batches import Batch
from samunet.inputs.pasted import PastedBatches, PastedVolumes, box
from samunet.inputs.volumes import Volumes

SHAPE = (3, 6, 9)


class Constant:
    """Batches of `count` volumes whose voxels are the iteration's number times `sign`, and whose labels are `label`."""

    seed = 5

    def __init__(self, name: str, sign: int, label: int, count: int = 3) -> None:
        self.name, self.sign, self.label, self.count = name, sign, label, count

    def read(self, iteration: int) -> Batch:
        image = torch.full((self.count, 2, *SHAPE), float(self.sign * (iteration + 1)))
        return Batch(iteration, [self.name] * self.count, Volumes(image, torch.zeros(self.count, 0, 1, 1, 1)),
                     torch.full((self.count, *SHAPE), self.label))


def pasted(flat: bool = False) -> PastedBatches:
    return PastedBatches(Constant("known", 1, 2), Constant("other", -1, 0), 4, flat=flat)  # type: ignore[arg-type]


@pytest.mark.parametrize(("flat", "voxels"), [(False, 2 * 4 * 6), (True, 3 * 4 * 6)])
def test_a_box_is_two_thirds_of_each_side_and_of_all_thick_slices(flat: bool, voxels: int) -> None:
    seen = set()
    for seed in range(40):
        inside = box(SHAPE, np.random.default_rng(seed), flat=flat)
        assert inside.sum() == voxels
        lows, highs = inside.nonzero().amin(0), inside.nonzero().amax(0)
        assert (highs - lows + 1).prod() == voxels  # without a hole
        seen.add(tuple(lows.tolist()))
    assert {first for first, _, _ in seen} == ({0} if flat else {0, 1})
    assert {row for _, row, _ in seen} == {0, 1, 2} and {column for _, _, column in seen} == {0, 1, 2, 3}


def test_a_volume_of_one_voxel_is_all_box() -> None:
    assert box((1, 1, 1), np.random.default_rng(0), flat=False).all()


def test_image_and_labels_change_over_at_the_same_voxels_and_every_second_volume_is_reversed() -> None:
    batch = pasted().read(6)
    inputs = batch.inputs
    assert batch.names == ["known"] * 3 + ["other"] * 3 and len(inputs) == 3
    assert torch.equal(inputs.unlabelled.image, torch.full((3, 2, *SHAPE), -7.0))
    for row in range(3):
        own = inputs.labelled[row]
        assert torch.equal(inputs.mixed.image[row], torch.where(own, 7.0, -7.0).expand(2, *SHAPE))
        assert torch.equal(batch.segmentation[row], torch.where(own, 2, UNANNOTATED))
    assert [int(own.sum()) for own in inputs.labelled] == [48, 162 - 48, 48]
    assert torch.equal(inputs.labelled[0], ~inputs.labelled[1])
    assert [int(own.sum()) for own in pasted().read(7).inputs.labelled] == [162 - 48, 48, 162 - 48]


def test_the_first_iterations_are_of_labelled_volumes_alone() -> None:
    batch = pasted().read(3)
    assert isinstance(batch.inputs, Volumes) and batch.names == ["known"] * 3
    assert (batch.inputs.image == 4).all() and (batch.segmentation == 2).all()
    assert pasted().settled == 4 and isinstance(pasted().read(4).inputs, PastedVolumes)


def test_an_iteration_is_the_same_whatever_was_read_before_and_others_have_other_boxes() -> None:
    batches = pasted()
    boxes = [batches.read(iteration).inputs.labelled for iteration in range(4, 24, 2)]
    assert all(torch.equal(pasted().read(4 + 2 * place).inputs.labelled, each) for place, each in enumerate(boxes))
    assert len({tuple(each.flatten().tolist()) for each in boxes}) > 5


def test_rows_are_chosen_in_all_parts() -> None:
    part = pasted().read(4).inputs[1:]
    assert len(part) == len(part.mixed.image) == len(part.unlabelled.image) == len(part.labelled) == 2
    assert part.to(torch.device("cpu")).mixed.image.shape == (2, 2, *SHAPE)
