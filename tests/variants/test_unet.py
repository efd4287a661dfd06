from __future__ import annotations

import pytest
import torch

from samunet.dataset.labels import LabelSpace
from samunet.planning.plans import DatasetPlan, EncoderPlan
from samunet.variants.base import VariantContext
from samunet.variants.losses import dice_and_cross_entropy
from samunet.variants.unet import UnetVariant

LABELS = LabelSpace({"background": 0, "a": 1})
DATASET = DatasetPlan("SimpleITKIO", (0, 1, 2), (0, 1, 2), (1.0, 1.0, 1.0), (4, 30, 20), False, ("MRI",), ("zscore",),
                      (False,), ({},))
CONTEXT = VariantContext(LABELS, DATASET, EncoderPlan("untrained", 64, (32, 24), 0.5, "repeat", 4, "float16", 0, 1), {})


@pytest.fixture
def variant() -> UnetVariant:
    torch.manual_seed(0)
    return UnetVariant(CONTEXT)


def test_patch_batch_and_length_are_the_rules(variant: UnetVariant) -> None:
    # 30 -> 15 -> 8 and 20 -> 10 -> 5; 8 alone is too short for a third halving. 4 divides 32 and 20.
    assert variant.patch == (32, 20) and variant.batch_size(CONTEXT) == 12


def test_loss_weighs_half_of_the_finer_stage_and_the_coarsest_nothing(variant: UnetVariant) -> None:
    segmentation = torch.zeros(1, 4, 4, dtype=torch.long)
    segmentation[:, :2] = 1
    fine, middle, coarse = torch.randn(1, 2, 4, 4), torch.randn(1, 2, 2, 2), torch.randn(1, 2, 1, 1)
    expected = (2 * 2 * dice_and_cross_entropy(fine, segmentation, LABELS)
                + 2 * dice_and_cross_entropy(middle, torch.tensor([[[1, 1], [0, 0]]]), LABELS)) / 3
    assert variant.loss([fine, middle, coarse], segmentation) == pytest.approx(float(expected))
    assert variant.loss([fine, middle, coarse * 9], segmentation) == pytest.approx(float(expected))
    # A U-Net of one stage, and logits in evaluation.
    assert variant.loss([fine],
                        segmentation) == pytest.approx(2 * float(dice_and_cross_entropy(fine, segmentation, LABELS)))


def test_training_gives_all_stages_and_evaluation_the_finest(variant: UnetVariant) -> None:
    patches = torch.randn(2, 1, 32, 20)
    assert [logits.shape[2:] for logits in variant.outputs(patches)] == [(32, 20), (16, 10)]
    variant.network.eval()
    assert variant.logits(patches).shape == (2, 2, 32, 20)


def test_optimiser_is_nnunets(variant: UnetVariant) -> None:
    [group] = variant.optimizer(list(variant.network.parameters())).param_groups
    assert (group["lr"], group["momentum"], group["nesterov"], group["weight_decay"]) == (1e-2, 0.99, True, 3e-5)
