"""The loss against values worked out by hand and against torch's own cross entropy."""

from __future__ import annotations

import math

import pytest
import torch

from samunet.dataset.labels import UNANNOTATED, LabelSpace
from samunet.variants.losses import deeply_supervised, dice_and_cross_entropy, soft_dice_loss

torch.set_num_threads(1)

PLAIN = LabelSpace({"background": 0, "a": 1, "b": 2})
IGNORING = LabelSpace({"background": 0, "a": 1, "ignore": 2})
REGIONS = LabelSpace({"background": 0, "whole": (1, 2), "core": (2,)}, (1, 2))


def test_dice_of_four_voxels_by_hand() -> None:
    probabilities = torch.tensor([[[0.5, 0.5, 0.0, 1.0]]])
    target = torch.tensor([[[1.0, 0.0, 0.0, 1.0]]])
    # overlap 0.5 + 1 = 1.5; total 2 + 2 = 4; Dice 3 / 4
    assert soft_dice_loss(probabilities, target, torch.ones_like(target)).item() == pytest.approx(0.25, abs=1e-5)


def test_dice_is_taken_over_the_whole_batch() -> None:
    probabilities = torch.tensor([[[1.0, 1.0]], [[1.0, 0.0]]])
    target = torch.tensor([[[1.0, 1.0]], [[0.0, 0.0]]])
    # sums over both samples: 2 * 2 / (3 + 2); the mean of single Dices would be (1 + 0) / 2
    assert soft_dice_loss(probabilities, target, torch.ones_like(target)).item() == pytest.approx(1 - 4 / 5, abs=1e-5)


def test_equal_logits_of_two_classes_by_hand() -> None:
    segmentation = torch.tensor([[[1, 0]]])
    logits = torch.zeros(1, 2, 1, 2)
    # cross entropy ln 2; Dice of class 1 with p = 0.5: 2 * 0.5 / (1 + 1) = 0.5
    loss = dice_and_cross_entropy(logits, segmentation, LabelSpace({"background": 0, "a": 1}))
    assert loss.item() == pytest.approx((0.5 + math.log(2)) / 2, abs=1e-5)


def test_cross_entropy_part_equals_torch() -> None:
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(3, 3, 5, 7, generator=generator)
    segmentation = torch.randint(0, 3, (3, 5, 7), generator=generator)
    target = torch.nn.functional.one_hot(segmentation, 3).movedim(-1, 1).float()
    dice = soft_dice_loss(logits.softmax(1)[:, 1:], target[:, 1:], torch.ones(3, 1, 5, 7))
    expected = (torch.nn.functional.cross_entropy(logits, segmentation) + dice) / 2
    assert dice_and_cross_entropy(logits, segmentation, PLAIN).item() == pytest.approx(expected.item(), abs=1e-6)


def test_regions_use_binary_cross_entropy_over_all_channels() -> None:
    logits = torch.zeros(1, 2, 1, 4)
    segmentation = torch.tensor([[[0, 1, 2, -1]]])
    # every p = 0.5: entropy ln 2; whole: 2 * 1 / (2 + 2) = 1/2; core: 2 * 0.5 / (2 + 1) = 1/3
    expected = (math.log(2) + 1 - (1 / 2 + 1 / 3) / 2) / 2
    assert dice_and_cross_entropy(logits, segmentation, REGIONS).item() == pytest.approx(expected, abs=1e-5)


def test_negative_values_are_background() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    outside = torch.full((2, 4, 4), -1)
    background = torch.zeros(2, 4, 4, dtype=torch.long)
    assert dice_and_cross_entropy(logits, outside, PLAIN) == dice_and_cross_entropy(logits, background, PLAIN)


def test_ignored_voxels_count_in_neither_part() -> None:
    logits = torch.randn(1, 2, 2, 4, generator=torch.Generator().manual_seed(1))
    segmentation = torch.tensor([[[0, 1, 1, 0], [2, 2, 2, 2]]])
    alone = dice_and_cross_entropy(logits[:, :, :1], segmentation[:, :1], IGNORING)
    assert dice_and_cross_entropy(logits, segmentation, IGNORING).item() == pytest.approx(alone.item(), abs=1e-6)


def test_a_batch_that_is_all_ignored_has_no_loss_and_no_gradient() -> None:
    logits = torch.randn(1, 2, 2, 2, requires_grad=True)
    loss = dice_and_cross_entropy(logits, torch.full((1, 2, 2), 2), IGNORING)
    loss.backward()
    assert loss.item() == 0
    assert torch.equal(logits.grad, torch.zeros_like(logits))


def test_half_precision_logits_are_computed_in_float32() -> None:
    logits = torch.full((1, 2, 64, 64), 1.0, dtype=torch.float16)
    loss = dice_and_cross_entropy(logits, torch.zeros(1, 64, 64, dtype=torch.long), IGNORING)
    assert loss.dtype == torch.float32 and torch.isfinite(loss)


def test_deep_supervision_sees_the_labels_of_the_padded_grid() -> None:
    random = torch.Generator().manual_seed(4)
    fine, coarse = torch.randn(1, 3, 6, 5, generator=random), torch.randn(1, 3, 4, 4, generator=random)
    segmentation = torch.randint(0, 3, (1, 6, 5), generator=random)
    # 8 x 8 voxels, of which 6 x 5 are there: a coarse voxel has the label of the lower right of its four, background
    # outside.
    nearest = torch.zeros(1, 4, 4, dtype=torch.long)
    nearest[:, :3, :2] = segmentation[:, 1::2, 1::2]
    expected = (2 * (2 / 3 * dice_and_cross_entropy(fine, segmentation, PLAIN)
                     + 1 / 3 * dice_and_cross_entropy(coarse, nearest, PLAIN)))
    torch.testing.assert_close(deeply_supervised([fine, coarse], segmentation, PLAIN, (8, 8)), expected)
    torch.testing.assert_close(deeply_supervised([fine], segmentation, PLAIN),
                               2 * dice_and_cross_entropy(fine, segmentation, PLAIN))


def test_the_shares_of_dice_and_entropy() -> None:
    logits = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
    segmentation = torch.randint(0, 3, (2, 4, 4), generator=torch.Generator().manual_seed(2))
    dice, entropy = (dice_and_cross_entropy(logits, segmentation, PLAIN, share).item() for share in (1.0, 0.0))
    assert dice_and_cross_entropy(logits, segmentation, PLAIN, 0.8).item() == pytest.approx(0.8 * dice + 0.2 * entropy)
    assert dice_and_cross_entropy(logits, segmentation, PLAIN).item() == pytest.approx((dice + entropy) / 2)


@pytest.mark.parametrize("labels", [PLAIN, REGIONS])
def test_unannotated_slices_give_no_loss_and_no_gradient(labels: LabelSpace) -> None:
    generator = torch.Generator().manual_seed(5)
    logits = torch.randn(2, labels.channels, 3, 4, 4, generator=generator).requires_grad_()
    segmentation = torch.randint(0, 3, (2, 3, 4, 4), generator=generator)
    masked = segmentation.clone()
    masked[:, [0, 2]] = UNANNOTATED
    loss = dice_and_cross_entropy(logits, masked, labels)
    assert loss.item() == pytest.approx(dice_and_cross_entropy(logits[:, :, 1], segmentation[:, 1], labels).item(),
                                        abs=1e-6)
    [gradient] = torch.autograd.grad(loss, logits)
    assert gradient[:, :, 1].abs().min() > 0 and not gradient[:, :, [0, 2]].any()


def test_coarser_outputs_see_what_is_unannotated() -> None:
    outputs = [torch.randn(1, 3, 4, 4), torch.randn(1, 3, 2, 2)]
    assert deeply_supervised(outputs, torch.full((1, 4, 4), UNANNOTATED), PLAIN).item() == 0
